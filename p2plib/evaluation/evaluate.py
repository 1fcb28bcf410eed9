"""Scores a checkpoint on a split: metrics per image, numbers for the whole set, and the images themselves."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from p2plib import files
from p2plib.data import record
from p2plib.data.dataset import Dataset, Loaded, open_dataset
from p2plib.data.image import Shape
from p2plib.data.pairs import spread
from p2plib.evaluation import distances, metrics
from p2plib.evaluation.tally import Tally, in_chunks
from p2plib.inference.translate import translate

if TYPE_CHECKING:
    from p2plib.inference.checkpoint import Checkpoint


KEPT = 200
"""How many images an evaluation holds unless told otherwise: 120 MB at 256 x 256."""


class FewImagesWarning(UserWarning):
    """FID was requested on fewer images than it needs."""


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation."""

    protocol: dict[str, Any]
    """The evaluation protocol: checkpoint step, data, split, direction, size, noise, extractor, palette."""
    images: list[str]
    """Names of the pairs."""
    scores: dict[str, np.ndarray]
    """Values (N,) by metric name. l1 is on [-1, 1]; psnr, ssim and ms_ssim are for images on [0, 1]; perceptual is
    there if the weights of its network are. Labels only: accuracy is the share of correct pixels. Colorizers only: ab
    is the mean color error in units of CIE Lab, and ab_grey is that of the gray source, the baseline. mae, for targets
    other than 8-bit RGB, is the mean absolute error in stored values, with their unit."""
    sources: np.ndarray
    """uint8 (K, H, W, 3), like `generated` and `targets`: as people see them, whatever their values are. K is N or, of
    more images than were to be kept, the number of those; `shown` says which they are."""
    generated: np.ndarray
    targets: np.ndarray
    sets: dict[str, float] = field(default_factory=dict)
    """Numbers for the whole set. `swd` (times 1000) is the mean over its levels. With an extractor: `kid`, `kid_se`
    (its standard error) and `fid`. Labels: `class_accuracy` and `mean_iou`; of masks also "iou NAME" for each class
    that occurs in the targets. Colorizers: mean `colourfulness` of the generated images, and `colourfulness_real` of
    the targets."""
    total: int = 0
    """Number of pairs in the whole split."""

    @property
    def shown(self) -> list[int]:
        """The positions in `images` of the pairs whose images are here, evenly spaced."""
        return spread(range(len(self.images)), len(self.sources))

    @property
    def mean(self) -> dict[str, float]:
        """The mean of every metric."""
        return metrics.means(self.scores)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per image: its name and its metrics."""
        for i, name in enumerate(self.images):
            yield {"picture": name} | {metric: float(values[i]) for metric, values in self.scores.items()}

    def write_json(self, path: str | Path) -> None:
        """Write `{"mean": {...}, "sets": {...}, "protocol": {...}, "pictures": [...]}`, atomically.

        JSON has no infinity, so an infinite PSNR (equal images) becomes null, and so does its mean.
        """
        content: dict[str, Any] = {"mean": without_infinity(self.mean), "sets": self.sets, "protocol": self.protocol}
        content |= {"pictures": [without_infinity(row) for row in self.rows()]}
        files.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def write_csv(self, path: str | Path) -> None:
        """Write one line per image, atomically."""
        files.write_csv(path, list(self.rows()))

    def table(self) -> str:
        """Format as text: the images, the mean, then the numbers for the whole set."""
        width = max(map(len, [*self.images, *self.sets, "image"]))
        columns = {metric: max(9, len(metric) + 1) for metric in self.scores}
        lines = [f"{'image':{width}}" + "".join(f"{metric:>{wide}}" for metric, wide in columns.items())]
        for row in [*self.rows(), {"picture": "mean"} | self.mean]:
            numbers = "".join(f"{row[metric]:{wide}.4f}" for metric, wide in columns.items())
            lines.append(f"{row['picture']:{width}}{numbers}")
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
    size: int | str | None = None,
    keep: int = KEPT,
) -> Evaluation:
    """Score a checkpoint on a split, at one size without crops; where training `load` was crop, on center crops.

    All pairs are read once to find broken ones; then a few at a time are read, translated and scored (see `Tally`).

    Args:
        checkpoint: from `p2plib.load`.
        data: a catalog name or a folder; None means the checkpoint's training data.
        split: `train`, `val` or `test`.
        limit: maximum number of pairs, evenly spaced over the split (0: all).
        noise: see `p2plib.translate`; None turns dropout off.
        extractor: computes features for KID and FID, such as `distances.inception_v3()` or
            `perceptual.lite2()`; None skips both.
        palette: class colors if targets are labels; each pixel counts as the class of the nearest color. "auto" takes
            the catalog's or finds them in the targets; None skips the label metrics.
        fid: whether to compute FID; None: only with `distances.FID_IMAGES` or more images; True warns on fewer.
        size: image size for the comparison; None means the generator's.
        keep: how many of the images the result holds, evenly spaced (0: all).

    Raises:
        P2PError: the data set, the split, an image or the size cannot be used.
    """
    dataset = opened(checkpoint, data, size)
    pairs = dataset[split].spread(limit).readable()
    dropout = "off" if noise is None else f"on, seed {noise}"
    protocol = conditions(checkpoint.info.step, dataset, split, len(pairs)) | {"noise": noise, "dropout": dropout}
    fit = not dataset.crop  # crops keep their scale
    made = ((it, np.stack(translate(checkpoint, list(it.sources), noise, fit=fit))) for it in in_chunks(pairs))
    return judge(dataset, split, len(pairs), made, protocol, extractor, palette, fid, keep)


def judge(
    dataset: Dataset,
    split: str,
    count: int,
    made: Iterable[tuple[Loaded, np.ndarray]],
    protocol: Mapping[str, Any],
    extractor: distances.Extractor | None = None,
    palette: Mapping[str, Sequence[int]] | Literal["auto"] | None = "auto",
    fid: bool | None = None,
    keep: int = KEPT,
) -> Evaluation:
    """Score images that p2plib or another program generates.

    Args:
        dataset: where the pairs are from.
        split: its split, of which these are pairs.
        count: how many pairs there are.
        made: a few of the pairs at a time, as `dataset[split].load()` gives them, and what was generated from them:
            stored values (N, H, W, C).
        protocol: how the images were made.
        extractor: as for `evaluate`, like all that follow.
        palette: class colors.
        fid: whether to compute FID.
        keep: how many images the result holds.
    """
    protocol = dict(protocol) | {"ms_ssim_scales": metrics.scales(min(dataset.shape))}
    if colors := dataset.classes("target", split) if palette == "auto" else palette:
        protocol["palette"] = f"{len(colors)} colors, {_from_where(dataset, palette)}"
    if extractor:
        protocol |= {"extractor": extractor.name, "fid": _fid_note(count, fid)}
    tally = Tally(dataset, count, colors, extractor, keep)
    for loaded, generated in made:
        tally.add(loaded, generated)
    sets = tally.sets(_with_fid(count, fid))
    scores = {name: column.rows for name, column in tally.scores.items()}
    sources, generated, targets = (column.rows for column in tally.kept)
    return Evaluation(protocol, tally.names, scores, sources, generated, targets, sets, len(dataset[split]))


def _from_where(dataset: Dataset, palette: Any) -> str:
    """Where the colors of classes come from, in words."""
    if palette != "auto":
        return "given"
    if dataset.target.are_classes:
        return "of the model"
    return "of the catalog" if dataset.entry else "found in the targets"


def opened(checkpoint: Checkpoint, data: str | None = None, size: int | str | None = None) -> Dataset:
    """Open the data set for an evaluation: the checkpoint's training data unless `data` is given, at any size.

    Training data that were moved keep the split that the run made of them.

    Raises:
        DataError: see `open_dataset`.
    """
    config = checkpoint.info.config
    if not data:
        record.check_there(config.data)
    known_as = {} if checkpoint.info.kinds else {"source": "image", "target": "image"}
    more: dict[str, Any] = {"data": data or config.data, "image_size": size or config.image_size}
    config = dataclasses.replace(config, **more | known_as)
    dataset, known = open_dataset(config, checkpoint.info.kinds), checkpoint.record
    return dataset if data and not record.holds_same(dataset, known) else record.kept(dataset, known)


def conditions(step: int, dataset: Dataset, split: str, count: int) -> dict[str, Any]:
    """The entries that every protocol starts with: generator and data.

    Args:
        step: the training iteration of the evaluated checkpoint.
        dataset: the evaluation data.
        split: the split of `dataset`.
        count: the number of images.
    """
    return {
        "step": step,
        "data": dataset.data,
        "split": split,
        "pictures": count,
        "direction": dataset.direction,
        "size": say_shape(dataset.shape),
        "crops": "center" if dataset.crop else "none",
    }


def say_shape(shape: Shape) -> int | str:
    """Height and width as `image_size` has them: one number for squares, HEIGHTxWIDTH for others."""
    return shape[0] if shape[0] == shape[1] else f"{shape[0]}x{shape[1]}"


def sized(size: int | str, crop: bool) -> str:
    """How the images of an evaluation came to their size, given as `image_size` has it, in words."""
    pixels = f"{str(size).replace('x', ' x ') if isinstance(size, str) else f'{size} x {size}'} pixels"
    return f"the center {pixels} at the images' own scale" if crop else f"resized to {pixels} without crops"


def in_words(protocol: Mapping[str, Any], say: Callable[[Any], str] = str) -> str:
    """A protocol as one line for people, each value as `say` gives it. What files call pictures are images to them."""
    return ", ".join(f"{'images' if key == 'pictures' else key} {say(value)}" for key, value in protocol.items())


def without_infinity(row: Mapping[str, Any]) -> dict[str, Any]:
    """Replace infinity by None, for JSON."""
    return {name: None if value == math.inf else value for name, value in row.items()}


def _with_fid(count: int, asked: bool | None) -> bool:
    return count >= distances.FID_IMAGES if asked is None else asked


def _fid_note(count: int, asked: bool | None) -> str:
    """The protocol's note on FID; warns if FID was requested on too few images."""
    if count >= distances.FID_IMAGES:
        return "computed" if _with_fid(count, asked) else "not asked for"
    few = f"fewer than {distances.FID_IMAGES:,} images"
    if not asked:
        return f"left out: {few}"
    message = f"FID of {count} images is biased: it needs {distances.FID_IMAGES:,}; report KID and its error instead."
    warnings.warn(message, FewImagesWarning, stacklevel=3)
    return f"biased: {few}"
