"""A checkpoint against a split: a table of metrics, and the pictures behind it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib import files, runtime
from p2plib.data import images, pipeline
from p2plib.metrics import METRICS
from p2plib.translation import generate

if TYPE_CHECKING:
    from p2plib.checkpoint import Checkpoint, Discriminator


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found."""

    protocol: dict[str, Any]
    """How the numbers came about: checkpoint step, data, split, direction, size, noise."""
    pictures: list[str]
    """Names of the pairs."""
    scores: dict[str, np.ndarray]
    """A metric's name: its values (N,). l1 is on [-1, 1]; psnr and ssim are for pictures on [0, 1]."""
    sources: np.ndarray
    """uint8 (N, S, S, 3), as are `generated` and `targets`."""
    generated: np.ndarray
    targets: np.ndarray

    @property
    def mean(self) -> dict[str, float]:
        """The mean of every metric."""
        return means(self.scores)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row a picture: its name and its metrics."""
        for i, name in enumerate(self.pictures):
            yield {"picture": name} | {metric: float(values[i]) for metric, values in self.scores.items()}

    def write_json(self, path: str | Path) -> None:
        """Write `{"mean": {...}, "protocol": {...}, "pictures": [...]}`, atomically.

        An infinite psnr, of equal pictures, is null, and so is the mean then: JSON has no infinity.
        """
        pictures = [_without_infinity(row) for row in self.rows()]
        content = {"mean": _without_infinity(self.mean), "protocol": self.protocol, "pictures": pictures}
        files.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def write_csv(self, path: str | Path) -> None:
        """Write one line a picture, atomically."""
        files.write_text(path, to_csv(list(self.rows())))

    def table(self) -> str:
        """The table as text, the mean last."""
        width = max(map(len, [*self.pictures, "picture"]))
        lines = [f"{'picture':{width}}" + "".join(f"{metric:>9}" for metric in self.scores)]
        for row in [*self.rows(), {"picture": "mean"} | self.mean]:
            lines.append(f"{row['picture']:{width}}" + "".join(f"{row[metric]:9.4f}" for metric in self.scores))
        return "\n".join(lines)


def evaluate(
    checkpoint: Checkpoint,
    data: str | None = None,
    split: str = "val",
    limit: int = 0,
    noise: int | None = None,
) -> Evaluation:
    """Score a checkpoint on a split.

    Sources and targets are resized to the generator's size without crops; dropout is off unless `noise` seeds it.

    Args:
        checkpoint: what `p2plib.load` returns.
        data: a catalog name or a folder; None takes what the checkpoint was trained on.
        split: `train`, `val` or `test`.
        limit: at most so many pairs, evenly spaced over the split (0: all).
        noise: see `p2plib.translate`.

    Raises:
        DataError: the data set, the split or a picture cannot be used.
    """
    config = checkpoint.info.config
    if data is not None:
        config = dataclasses.replace(config, data=data)
    both, pairs, _ = pipeline.load_split(config, split, limit)
    generated = generate(checkpoint.generator, both[:, 0], noise)
    protocol = {
        "step": checkpoint.info.step,
        "data": config.data,
        "split": split,
        "pictures": len(pairs),
        "direction": pipeline.direction(config),
        "size": config.image_size,
        "noise": noise,
    }
    names = [pair.name for pair in pairs]
    return Evaluation(protocol, names, score(both[:, 1], generated), both[:, 0], generated, both[:, 1])


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

    from p2plib.losses import GAN_LOSSES

    realness = GAN_LOSSES[discriminator.config.gan_loss].realness
    with runtime.one_device():
        pairs = zip(images.to_float(sources), images.to_float(targets), strict=True)
        logits = [discriminator.model([source[None], target[None]]) for source, target in pairs]
        return ops.convert_to_numpy(realness(ops.concatenate(logits)))[..., 0]


def score(targets: np.ndarray, generated: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of uint8 pictures (N, H, W, 3) against the expected ones: its name, and (N,) values."""
    return {name: metric(targets, generated) for name, metric in METRICS.items()}


def means(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean of every metric, as plain numbers."""
    return {name: float(np.mean(values)) for name, values in scores.items()}


def _without_infinity(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value == math.inf else value for name, value in row.items()}


def to_csv(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys as CSV text, the keys as its first line."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
