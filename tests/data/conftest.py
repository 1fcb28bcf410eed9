"""Folders of pairs and of photos, for the data set and for its batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coordinates import coordinates

from p2plib.data import color, toy
from p2plib.data.image import save_image
from p2plib.data.tasks.base import PhotoTask
from p2plib.registry import TASKS


@pytest.fixture
def folder(tmp_path) -> Path:
    """Seven pairs at load size; B is A in other colors (255 - A)."""
    for split, count in (("train", 7), ("val", 3)):
        for i in range(count):
            a = coordinates(i, 36)
            save_image(tmp_path / split / f"{i}.png", np.hstack([a, 255 - a]))
    return tmp_path


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """Seven photos to train on, one of them gray, and three to validate on."""
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))
    for split, start, count in (("train", 0, 7), ("val", 7, 3)):
        for i in range(start, start + count):
            save_image(tmp_path / "photos" / split / f"{i}.png", toy.city(i, 48)[0])
    save_image(tmp_path / "photos" / "train" / "2.png", color.gray(toy.city(2, 48)[0]))
    return tmp_path / "photos"


class Invert(PhotoTask):
    """A photo from its negative."""

    name = "invert"
    names = ("negative", "photo")

    def make_pair(
        self, photo: np.ndarray, path: Path | None = None, side: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        return 255 - photo, photo


@pytest.fixture
def invert(monkeypatch) -> type[Invert]:
    """A task of one's own, registered for one test."""
    monkeypatch.setattr(TASKS, "_things", dict(TASKS._things))
    return TASKS.register("invert")(Invert)
