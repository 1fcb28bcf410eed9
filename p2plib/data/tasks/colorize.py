"""Photos in color from their lightness."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from p2plib.data import color, toy
from p2plib.data.image import shrink_image
from p2plib.data.kind import ImageKind
from p2plib.data.tasks.base import PhotoTask
from p2plib.registry import TASKS


@TASKS.register("colorize")
class Colorize(PhotoTask):
    """The photo in gray, of the same lightness | the photo.

    A photo without colors would teach the network to paint gray, and its score would say nothing. Such photos are left
    out of every split, with a note and without an error.
    """

    name = "colorize"
    names = ("gray", "color")
    shrinks_first = True
    keeps_lightness = True
    metrics = ("ab", "ab_grey")
    validation_metrics = ("ab",)

    def make_pair(
        self, photo: np.ndarray, path: Path | None = None, side: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `PhotoTask.make_pair`."""
        photo = shrink_image(photo, side)
        return color.gray(photo), photo

    def example_photo(self, index: int, size: int) -> np.ndarray:
        """The toy city from above."""
        return toy.city(index, size)[0]

    def fault(self, photo: np.ndarray) -> tuple[str, str] | None:
        """See `PhotoTask.fault`."""
        return ("grey", "has no colors to learn from; it is left out") if color.is_gray(photo) else None

    def finish(self, generated: np.ndarray, source: np.ndarray, target: ImageKind) -> np.ndarray:
        """The source with the generated colors, enlarged. Its own lightness is kept, and with it every detail."""
        return color.recolor(source, color.rgb_to_lab((generated + 1) / 2)[..., 1:])
