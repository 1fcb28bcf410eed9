"""What short trainings on the toy set showed, kept for notebooks: `python tools/lesson_runs.py` makes all of it anew.

NAME.json has the runs of a lesson (title, settings, scores, log), NAME.jpg the images, one run below the other.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

from p2plib.errors import ConfigError


@dataclass(frozen=True)
class Kept:
    """One training."""

    title: str
    settings: dict[str, Any]
    """The fields of `TrainConfig` in which it differs from the other runs of its lesson."""
    scores: dict[str, float]
    """Means over the validation images, of the last generator."""
    rows: list[dict[str, float]]
    """The log, one row per epoch."""
    image: np.ndarray
    """Validation images that the last generator made, side by side, uint8 (S, N * S, 3)."""

    @property
    def label(self) -> str:
        """Title and scores in one line."""
        return f"{self.title}: " + ", ".join(f"{name} {value:.2f}" for name, value in self.scores.items())


@dataclass(frozen=True)
class Lesson:
    """Trainings that differ in one thing, on the same data."""

    runs: list[Kept]
    sources: np.ndarray
    """The sources of the images, side by side, uint8 (S, N * S, 3)."""
    targets: np.ndarray
    """The expected images, like `sources`."""


def lesson(name: str) -> Lesson:
    """Read a lesson.

    Args:
        name: for example "lambda"; see `tools/lesson_runs.py`.

    Raises:
        ConfigError: there is no lesson of that name.
    """
    folder = files(__name__)
    known = sorted(path.name.removesuffix(".json") for path in folder.iterdir() if path.name.endswith(".json"))
    if name not in known:
        raise ConfigError(f"There is no lesson {name}; the lessons are {', '.join(known)}.")
    runs = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    strip = np.asarray(Image.open(io.BytesIO((folder / f"{name}.jpg").read_bytes())))
    sources, targets, *images = np.split(strip, len(runs) + 2)
    return Lesson([Kept(image=image, **run) for run, image in zip(runs, images, strict=True)], sources, targets)
