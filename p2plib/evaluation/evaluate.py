"""A checkpoint against a split: a table of metrics, the numbers about the whole set, and the images behind them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from p2plib import files, runtime
from p2plib.data import pipeline, statistics
from p2plib.data.catalog import CATALOG
from p2plib.data.image import to_float
from p2plib.evaluation import distances, metrics
from p2plib.evaluation.metrics import COLOR, METRICS
from p2plib.inference.translate import translate

if TYPE_CHECKING:
    from p2plib.config import TrainConfig
    from p2plib.data.statistics import Color
    from p2plib.inference.checkpoint import Checkpoint, Discriminator

PALETTE_FROM = 40
"""So many images of a split, evenly spaced, show whether it holds labels and of which colors."""


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
    of CIE Lab, and ab_gray that of the gray source, the number to beat."""
    sources: np.ndarray
    """uint8 (N, S, S, 3), as are `generated` and `targets`."""
    generated: np.ndarray
    targets: np.ndarray
    sets: dict[str, float] = field(default_factory=dict)
    """Numbers about the whole set: `swd` (times 1000), the mean over its levels; with an extractor `kid`, `kid_se` (its
    standard error) and `fid`; of labels `class_accuracy` and `mean_iou`; of colorizers `colourfulness`, the images'
    mean, and `colourfulness_real`, that of the targets."""

    @property
    def mean(self) -> dict[str, float]:
        """The mean of every metric."""
        return means(self.scores)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row an image: its name and its metrics."""
        for i, name in enumerate(self.images):
            yield {"picture": name} | {metric: float(values[i]) for metric, values in self.scores.items()}

    def write_json(self, path: str | Path) -> None:
        """Write `{"mean": {...}, "sets": {...}, "protocol": {...}, "pictures": [...]}`, atomically.

        An infinite psnr, of equal images, is null, and so is the mean then: JSON has no infinity.
        """
        images = [without_infinity(row) for row in self.rows()]
        content: dict[str, Any] = {"mean": without_infinity(self.mean), "sets": self.sets, "protocol": self.protocol}
        content |= {"pictures": images}
        files.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def write_csv(self, path: str | Path) -> None:
        """Write one line an image, atomically."""
        files.write_text(path, to_csv(list(self.rows())))

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
    """Score a checkpoint on a split.

    Sources and targets are resized to one size without crops; dropout is off unless `noise` seeds it.

    Args:
        checkpoint: what `p2plib.load` returns.
        data: a catalog name or a folder; None takes what the checkpoint was trained on.
        split: `train`, `val` or `test`.
        limit: at most so many pairs, evenly spaced over the split (0: all).
        noise: see `p2plib.translate`.
        extractor: draws the features for KID and FID, for example `distances.inception_v3()`; None leaves both out.
        palette: the colors of the classes, for targets that are labels: pixels of target and generated image snap to
            the nearest one and are compared. "auto" takes those of the catalog or, in other folders, finds them in the
            split's targets, if these are labels (`statistics.label_palette`); None leaves these numbers out.
        fid: whether to compute FID too. None does so from `distances.FID_IMAGES` images on; True does so on fewer,
            with a `FewImagesWarning`.
        size: at which images are compared, a power of two; None means the generator's size. At another one, sources
            are resized for the generator, and what it made is resized back.

    Raises:
        ConfigError: there can be no images of that size.
        DataError: the data set, the split or an image cannot be used.
    """
    config = checkpoint.info.config
    config = dataclasses.replace(config, data=data or config.data, image_size=size or config.image_size)
    both, pairs, _ = pipeline.load_split(config, split, limit)
    sources, targets = both[:, 0], both[:, 1]
    colors = label_palette(config, split, "target") if palette == "auto" else palette
    generated = np.stack(translate(checkpoint, list(sources), noise, fit=True))
    protocol = conditions(checkpoint, config, split, len(pairs)) | {
        "noise": noise,
        "dropout": "off" if noise is None else f"on, seed {noise}",
        "ms_ssim_scales": metrics.scales(config.image_size),
    }
    scores, sets = score(targets, generated), {"swd": _mean_swd(targets, generated)}
    if colors:
        accuracy, labels = _label_scores(targets, generated, colors)
        scores, sets = scores | accuracy, sets | labels
        where = "given" if palette != "auto" else "of the catalog" if config.data in CATALOG else "found in the targets"
        protocol["palette"] = f"{len(colors)} colors, {where}"
    if checkpoint.colorizes:
        errors, colorful = _color_scores(targets, generated, sources)
        scores, sets = scores | errors, sets | colorful
    if extractor:
        wanted = fid or (fid is None and len(pairs) >= distances.FID_IMAGES)
        sets |= _feature_distances(targets, generated, extractor, wanted)
        protocol |= {"extractor": extractor.name, "fid": _fid_note(len(pairs), wanted)}
    return Evaluation(protocol, [pair.name for pair in pairs], scores, sources, generated, targets, sets)


def conditions(checkpoint: Checkpoint, config: TrainConfig, split: str, images: int) -> dict[str, Any]:
    """How every protocol begins: which generator was judged, and on what.

    Args:
        checkpoint: what is judged.
        config: its configuration, with the data and the size that it is judged on.
        split: which split of the data.
        images: how many of it.
    """
    return {
        "step": checkpoint.info.step,
        "data": config.data,
        "split": split,
        "pictures": images,
        "direction": pipeline.direction(config),
        "size": config.image_size,
        "crops": "none",
    }


def label_palette(config: TrainConfig, split: str, side: Literal["source", "target"]) -> dict[str, Color] | None:
    """The classes of a split's sources or targets; None where these are no labels.

    The catalog knows those of its data sets. Of other folders, images at their own size show it. Photos and what is
    made of them are none.

    Raises:
        DataError: the split cannot be used.
    """
    if config.task != "pairs":
        return None
    if config.data in CATALOG:
        is_b = (side == "target") == (pipeline.direction(config) == "AtoB")
        return (dict(CATALOG[config.data].classes) or None) if is_b else None
    originals = pipeline.originals(config, split, PALETTE_FROM)
    return statistics.label_palette([pair[side == "target"] for pair in originals])


def _mean_swd(targets: np.ndarray, generated: np.ndarray) -> float:
    return float(np.mean(list(distances.sliced_wasserstein(targets, generated).values())))


def _label_scores(
    targets: np.ndarray, generated: np.ndarray, palette: Mapping[str, Sequence[int]]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The accuracy of each image, and the numbers over all pixels of the set."""
    matrices = metrics.confusion(targets, generated, palette)
    accuracy = matrices.trace(axis1=1, axis2=2) / matrices.sum((1, 2))
    overall = metrics.label_scores(matrices.sum(0))
    del overall["pixel_accuracy"]  # the mean of the images' accuracies, as they have one size
    return {"accuracy": accuracy}, overall


def _color_scores(
    targets: np.ndarray, generated: np.ndarray, sources: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The color errors of each image, beside those of the gray sources, and how colorful the sets are."""
    errors = {"ab": metrics.ab_error(targets, generated), "ab_grey": metrics.ab_error(targets, sources)}
    named = {"colourfulness": generated, "colourfulness_real": targets}
    return errors, {name: float(metrics.colorfulness(images).mean()) for name, images in named.items()}


def _feature_distances(
    targets: np.ndarray, generated: np.ndarray, extractor: distances.Extractor, fid: bool
) -> dict[str, float]:
    real, fake = extractor(targets), extractor(generated)
    value, error = distances.kid(real, fake)
    return {"kid": value, "kid_se": error} | ({"fid": distances.fid(real, fake)} if fid else {})


def _fid_note(count: int, wanted: bool) -> str:
    """What the protocol says of FID; warns where it is wanted and should not be."""
    if count >= distances.FID_IMAGES:
        return "computed" if wanted else "not asked for"
    few = f"fewer than {distances.FID_IMAGES:,} images"
    if not wanted:
        return f"left out: {few}"
    message = f"FID of {count} images is biased: it needs {distances.FID_IMAGES:,}; rather quote KID with its error."
    warnings.warn(message, FewImagesWarning, stacklevel=3)
    return f"biased: {few}"


def judge(discriminator: Discriminator, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """How real the discriminator finds each patch of targets, or of what was generated in their place.

    Args:
        discriminator: what `checkpoint.load_discriminator` returns.
        sources: uint8 (N, S, S, 3), of the size it was trained at.
        targets: uint8 of the same shape.

    Returns:
        float32 (N, P, P) in [0, 1], one value a patch, P as `models.patchgan.logits_size` says; 1/2 is undecided. With
        the vanilla GAN loss it is the probability of "real".
    """
    from keras import ops

    from p2plib.training.terms import GAN_LOSSES

    realness = GAN_LOSSES[discriminator.config.gan_loss].realness
    with runtime.one_device():
        pairs = zip(to_float(sources), to_float(targets), strict=True)
        logits = [discriminator.model([source[None], target[None]]) for source, target in pairs]
        return ops.convert_to_numpy(realness(ops.concatenate(logits)))[..., 0]


def score(targets: np.ndarray, generated: np.ndarray, names: Iterable[str] = tuple(METRICS)) -> dict[str, np.ndarray]:
    """Metrics (the common or the named ones) of uint8 images (N, H, W, 3) against the expected: name, (N,) values."""
    return {name: (METRICS | COLOR)[name](targets, generated) for name in names}


def means(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean of every metric, as plain numbers."""
    return {name: float(np.mean(values)) for name, values in scores.items()}


def without_infinity(row: Mapping[str, Any]) -> dict[str, Any]:
    """Infinity made None, for JSON."""
    return {name: None if value == math.inf else value for name, value in row.items()}


def to_csv(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys as CSV text, the keys as its first line."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
