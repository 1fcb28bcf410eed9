"""A checkpoint against a split: a table of metrics, the numbers about the whole set, and the images behind them."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from p2plib import files
from p2plib.data.dataset import Dataset, open_dataset
from p2plib.evaluation import distances, metrics
from p2plib.inference.translate import translate
from p2plib.registry import METRICS

if TYPE_CHECKING:
    from p2plib.inference.checkpoint import Checkpoint


class FewImagesWarning(UserWarning):
    """FID was asked for on fewer images than it needs."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found."""

    protocol: dict[str, Any]
    """How the numbers came about: checkpoint step, data, split, direction, size, noise, extractor, palette."""
    images: list[str]
    """Names of the pairs."""
    scores: dict[str, np.ndarray]
    """A metric's name: its values (N,). l1 is on [-1, 1]; psnr, ssim and ms_ssim are for images on [0, 1]; accuracy,
    of labels only, is the share of pixels of the right class; ab, of colorizers only, is the mean color error in units
    of CIE Lab, and ab_grey that of the gray source, the number to beat."""
    sources: np.ndarray
    """uint8 (N, S, S, 3), as are `generated` and `targets`."""
    generated: np.ndarray
    targets: np.ndarray
    sets: dict[str, float] = field(default_factory=dict)
    """Numbers about the whole set: `swd` (times 1000), the mean over its levels; with an extractor `kid`, `kid_se` (its
    standard error) and `fid`; of labels `class_accuracy` and `mean_iou`; of colorizers `colourfulness`, the images'
    mean, and `colourfulness_real`, that of the targets."""
    total: int = 0
    """How many pairs the split has in all."""

    @property
    def mean(self) -> dict[str, float]:
        """The mean of every metric."""
        return metrics.means(self.scores)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row an image: its name and its metrics."""
        for i, name in enumerate(self.images):
            yield {"picture": name} | {metric: float(values[i]) for metric, values in self.scores.items()}

    def write_json(self, path: str | Path) -> None:
        """Write `{"mean": {...}, "sets": {...}, "protocol": {...}, "pictures": [...]}`, atomically.

        An infinite psnr, of equal images, is null, and so is the mean then: JSON has no infinity.
        """
        content: dict[str, Any] = {"mean": without_infinity(self.mean), "sets": self.sets, "protocol": self.protocol}
        content |= {"pictures": [without_infinity(row) for row in self.rows()]}
        files.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def write_csv(self, path: str | Path) -> None:
        """Write one line an image, atomically."""
        files.write_csv(path, list(self.rows()))

    def table(self) -> str:
        """The table as text: the images, the mean, then the numbers about the whole set."""
        width = max(map(len, [*self.images, *self.sets, "image"]))
        lines = [f"{'image':{width}}" + "".join(f"{metric:>9}" for metric in self.scores)]
        for row in [*self.rows(), {"picture": "mean"} | self.mean]:
            lines.append(f"{row['picture']:{width}}" + "".join(f"{row[metric]:9.4f}" for metric in self.scores))
        lines += [f"{name:{width}}{value:9.4f}" for name, value in self.sets.items()]
        return "\n".join(lines)


def evaluate(
    checkpoint: Checkpoint,
    data: str | None = None,
    split: str = "val",
    limit: int = 0,
    noise: int | None = None,
    extractor: distances.Extractor | None = None,
    palette: Mapping[str, Sequence[int]] | Literal["auto"] | None = "auto",
    fid: bool | None = None,
    size: int | None = None,
) -> Evaluation:
    """Score a checkpoint on a split, at one size without crops.

    Args:
        checkpoint: what `p2plib.load` returns.
        data: a catalog name or a folder; None takes what the checkpoint was trained on.
        split: `train`, `val` or `test`.
        limit: how many pairs to score, at most; evenly spaced over the split (0: all).
        noise: see `p2plib.translate`; None switches dropout off.
        extractor: draws features for KID and FID, as `distances.inception_v3()` does; None leaves both out.
        palette: the colors of the classes where targets are labels: pixels snap to the nearest one and are compared.
            "auto" takes those of the catalog or finds them in the targets; None leaves these numbers out.
        fid: whether to compute FID too; None: from `distances.FID_IMAGES` images on; True warns on fewer.
        size: at which images are compared; None means the generator's.

    Raises:
        P2PError: the data set, the split, an image or the size cannot be used.
    """
    dataset = opened(checkpoint, data, size)
    images, names, _ = dataset[split].load(limit)
    sources, targets = images[:, 0], images[:, 1]
    generated = np.stack(translate(checkpoint, list(sources), noise, fit=True))
    dropout = "off" if noise is None else f"on, seed {noise}"
    how = {"noise": noise, "dropout": dropout, "ms_ssim_scales": metrics.scales(dataset.size)}
    protocol = conditions(checkpoint, dataset, split, len(names)) | how
    wanted = (*metrics.COMMON, *METRICS.added, *dataset.task.metrics)
    scores = metrics.score(targets, generated, sources, wanted)
    sets = {"swd": float(np.mean(list(distances.sliced_wasserstein(targets, generated).values())))}
    if colors := dataset.classes("target", split) if palette == "auto" else palette:
        accuracy, labels = _label_scores(targets, generated, colors)
        scores, sets = scores | accuracy, sets | labels
        where = "given" if palette != "auto" else "of the catalog" if dataset.entry else "found in the targets"
        protocol["palette"] = f"{len(colors)} colors, {where}"
    if dataset.task.keeps_lightness:
        sets |= _colorfulness(targets, generated)
    if extractor:
        sets |= _feature_distances(targets, generated, extractor, fid)
        protocol |= {"extractor": extractor.name, "fid": _fid_note(len(names), fid)}
    return Evaluation(protocol, names, scores, sources, generated, targets, sets, len(dataset[split]))


def opened(checkpoint: Checkpoint, data: str | None = None, size: int | None = None) -> Dataset:
    """The data set that a checkpoint is judged on: what it was trained on, or other data, or at another size.

    Raises:
        DataError: see `open_dataset`.
    """
    config = checkpoint.info.config
    return open_dataset(dataclasses.replace(config, data=data or config.data, image_size=size or config.image_size))


def conditions(checkpoint: Checkpoint, dataset: Dataset, split: str, count: int) -> dict[str, Any]:
    """How every protocol begins: which generator was judged, and on what.

    Args:
        checkpoint: what is judged.
        dataset: what it is judged on.
        split: which split of it.
        count: how many images of that.
    """
    return {
        "step": checkpoint.info.step,
        "data": dataset.data,
        "split": split,
        "pictures": count,
        "direction": dataset.direction,
        "size": dataset.size,
        "crops": "none",
    }


def without_infinity(row: Mapping[str, Any]) -> dict[str, Any]:
    """Infinity made None, for JSON."""
    return {name: None if value == math.inf else value for name, value in row.items()}


def _label_scores(
    targets: np.ndarray, generated: np.ndarray, palette: Mapping[str, Sequence[int]]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The accuracy of each image, and the numbers over all pixels of the set."""
    matrices = metrics.confusion(targets, generated, palette)
    accuracy = matrices.trace(axis1=1, axis2=2) / matrices.sum((1, 2))
    overall = metrics.label_scores(matrices.sum(0))
    del overall["pixel_accuracy"]  # the mean of the images' accuracies, as they have one size
    return {"accuracy": accuracy}, overall


def _colorfulness(targets: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """How colorful the sets are."""
    named = {"colourfulness": generated, "colourfulness_real": targets}
    return {name: float(metrics.colorfulness(images).mean()) for name, images in named.items()}


def _feature_distances(
    targets: np.ndarray, generated: np.ndarray, extractor: distances.Extractor, fid: bool | None
) -> dict[str, float]:
    real, fake = extractor(targets), extractor(generated)
    value, error = distances.kid(real, fake)
    return {"kid": value, "kid_se": error} | ({"fid": distances.fid(real, fake)} if _with_fid(len(real), fid) else {})


def _with_fid(count: int, asked: bool | None) -> bool:
    return count >= distances.FID_IMAGES if asked is None else asked


def _fid_note(count: int, asked: bool | None) -> str:
    """What the protocol says of FID; warns where it is wanted and should not be."""
    if count >= distances.FID_IMAGES:
        return "computed" if _with_fid(count, asked) else "not asked for"
    few = f"fewer than {distances.FID_IMAGES:,} images"
    if not asked:
        return f"left out: {few}"
    message = f"FID of {count} images is biased: it needs {distances.FID_IMAGES:,}; rather quote KID with its error."
    warnings.warn(message, FewImagesWarning, stacklevel=3)
    return f"biased: {few}"
