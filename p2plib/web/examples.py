"""Example images for a model, and the colors for drawing its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from p2plib.config import TrainConfig
from p2plib.data.dataset import Dataset, open_dataset
from p2plib.data.image import Color, image_files, read_rgb
from p2plib.errors import DataError
from p2plib.registry import TASKS

LARGEST = 1024
"""Longest side of the user's images in pixels; larger ones are shrunk."""
_MADE_START = 10_000  # toy images beyond all splits


@dataclass(frozen=True)
class Examples:
    """Source images for one model: the user's, else its validation images, else toy images."""

    config: TrainConfig
    files: Sequence[Path] = ()
    dataset: Dataset | None = None
    """The model's training data, if available."""
    palette: dict[str, Color] = field(default_factory=dict)
    """The color of each class if the model's sources are labels, else empty."""

    @classmethod
    def of(cls, config: TrainConfig, folder: Path | None) -> Examples:
        """Find examples for the model described by `config`; `folder` holds the user's images.

        Raises:
            DataError: `folder` holds no images.
        """
        files = _files(folder) if folder else ()
        try:
            dataset = open_dataset(replace(config, skip_broken=True))
            return cls(config, files, dataset, dataset.classes("source", "val") or {})
        except DataError:
            return cls(config, files)

    def image(self, seed: int) -> np.ndarray:
        """The source image number `seed`, uint8 (H, W, 3); numbers wrap around.

        Raises:
            DataError: the file cannot be read.
        """
        if self.files:
            return _shrunk(read_rgb(self.files[seed % len(self.files)]))
        if self.dataset is None or (self.dataset.entry and self.dataset.entry.make):
            a, b = TASKS[self.config.task]().example(_MADE_START + seed, self.config.image_size)
            return a if self.config.direction == "AtoB" else b
        split = self.dataset["val"]
        return split.resized(seed % len(split))[0]


def _files(folder: Path) -> list[Path]:
    files = image_files(folder)
    if not files:
        raise DataError(f"{folder}: no images for examples in this folder (JPEG, PNG or WebP).")
    return files


def _shrunk(image: np.ndarray) -> np.ndarray:
    opened = Image.fromarray(image)
    opened.thumbnail((LARGEST, LARGEST))
    return np.array(opened)
