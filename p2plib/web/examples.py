"""Example images for a model, and the colors for drawing its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from p2plib.config import TrainConfig
from p2plib.data.catalog import CATALOG, entry_of
from p2plib.data.dataset import Split, direction_of, open_dataset
from p2plib.data.formats import image_files
from p2plib.data.image import Color, read_rgb
from p2plib.data.kind import PLAIN, ImageKind
from p2plib.data.reading import read_as
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
    split: Split | None = None
    """What the model was validated on, if it is at hand; toy ones are made anew instead."""
    palette: dict[str, Color] = field(default_factory=dict)
    """The color of each class if the model's sources are labels, else empty."""
    kind: ImageKind = PLAIN[0]
    """What the model's sources are."""

    @classmethod
    def of(cls, config: TrainConfig, folder: Path | None, kind: ImageKind = PLAIN[0]) -> Examples:
        """Find examples for the model described by `config`, with sources of `kind`; `folder` holds the user's images.

        Raises:
            DataError: `folder` holds no images.
        """
        files = _files(folder) if folder else ()
        task, entry = TASKS[config.task](), entry_of(config.data)
        try:
            dataset = open_dataset(replace(config, skip_broken=True))
            split = None if entry and entry.url is None and kind.plain else dataset["val"]
            return cls(config, files, split, dict(kind.classes) or dataset.classes("source", "val") or {}, kind)
        except DataError:  # the images are not at hand; the catalog knows the classes of its data sets
            classes = kind.classes or task.sides(entry)[_source_side(config)].classes
            return cls(config, files, None, dict(classes), kind)

    def image(self, seed: int) -> np.ndarray:
        """The source image number `seed`, stored values (H, W, C); numbers wrap around.

        Raises:
            DataError: the file cannot be read, or there is no example.
        """
        if self.files:
            file = self.files[seed % len(self.files)]
            return _shrunk(read_rgb(file)) if self.kind.plain else read_as(file, self.kind, missing=self.kind.low)
        if self.split is None and not self.kind.plain:
            raise DataError("The images of the training are not here; upload a file, or name a folder by --examples.")
        if self.split is None:
            size = max(self.config.shape)
            if self.config.load == "crop":  # as large as the toy images that crops are cut from
                size = max(size, CATALOG["toy"].size[0])
            pair = TASKS[self.config.task]().example(_MADE_START + seed, size)
            return pair[_source_side(self.config)]
        return self.split.resized(seed % len(self.split))[0]


def _source_side(config: TrainConfig) -> int:
    """0 where A is the source, 1 where it is B."""
    return int(direction_of(config) == "BtoA")


def _files(folder: Path) -> list[Path]:
    files = image_files(folder)
    if not files:
        raise DataError(f"{folder}: no images for examples in this folder (JPEG, PNG or WebP).")
    return files


def _shrunk(image: np.ndarray) -> np.ndarray:
    opened = Image.fromarray(image)
    opened.thumbnail((LARGEST, LARGEST))
    return np.array(opened)
