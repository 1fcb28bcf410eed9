"""Images to try a model with, and the colors to draw its labels in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from p2plib.config import TrainConfig
from p2plib.data import photos, pipeline
from p2plib.data.image import image_files, read_rgb
from p2plib.data.pairs import Pair
from p2plib.data.statistics import Color
from p2plib.errors import DataError
from p2plib.evaluation.evaluate import label_palette

LARGEST = 1024
"""Side in pixels that the user's images are shrunk to."""
_TOY_START = 10_000  # toy images that no split holds


@dataclass(frozen=True)
class Examples:
    """Source images for one model: the user's, those it was validated on, or else toy ones."""

    config: TrainConfig
    files: Sequence[Path] = ()
    pairs: Sequence[Pair] = ()
    palette: dict[str, Color] = field(default_factory=dict)
    """The color of each class, where the model's sources are labels; else empty."""

    @classmethod
    def of(cls, config: TrainConfig, folder: Path | None) -> Examples:
        """What there is for the model that `config` describes; `folder` holds the user's own images.

        Raises:
            DataError: `folder` holds no images.
        """
        return cls(config, _files(folder) if folder else (), _validation(config), _classes(config))

    def image(self, seed: int) -> np.ndarray:
        """The source image number `seed`, uint8 (H, W, 3); beyond the last it begins again.

        Raises:
            DataError: the file cannot be read.
        """
        if self.files:
            return _shrunk(read_rgb(self.files[seed % len(self.files)]))
        return self._source(seed)

    def _source(self, seed: int) -> np.ndarray:
        size, direction = self.config.image_size, pipeline.direction(self.config)
        if self.pairs:
            return pipeline.read_pair(self.pairs[seed % len(self.pairs)], size, direction)[0]
        toy = photos.toy_pair(f"{seed}", _TOY_START + seed, size, self.config.task)
        return toy.read()[0 if direction == "AtoB" else 1]


def _classes(config: TrainConfig) -> dict[str, Color]:
    """The classes of the sources, if these are labels; none can be found in images that are not at hand."""
    try:
        return label_palette(replace(config, skip_broken=True), "val", "source") or {}
    except DataError:
        return {}


def _validation(config: TrainConfig) -> Sequence[Pair]:
    """The pairs that the model was validated on, if they are at hand; toy images are made by seed instead."""
    if config.data == "toy":
        return ()
    try:
        return pipeline.pairs_of(replace(config, skip_broken=True), "val")[0]
    except DataError:
        return ()


def _files(folder: Path) -> list[Path]:
    files = image_files(folder)
    if not files:
        raise DataError(f"{folder}: no images for examples there (JPEG, PNG or WebP).")
    return files


def _shrunk(image: np.ndarray) -> np.ndarray:
    opened = Image.fromarray(image)
    opened.thumbnail((LARGEST, LARGEST))
    return np.array(opened)
