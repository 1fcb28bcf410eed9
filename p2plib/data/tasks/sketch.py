"""Photos from sketches of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p2plib.data import sketch
from p2plib.data.image import shrink_image
from p2plib.data.pairs import Listing
from p2plib.data.tasks.base import PhotoTask
from p2plib.data.vase import vase
from p2plib.registry import TASKS


@TASKS.register("sketch")
class Sketch(PhotoTask):
    """A sketch of the photo | the photo. Strokes are varied in training, so that drawings by hand work later."""

    name = "sketch"
    names = ("sketch", "photo")
    redraws = True

    def list(self, data: str | Path, size: int | None = None, sources: Sequence[str] = ()) -> Listing:
        """See `Task.list`; also raises DataError if scikit-image, which draws, is not installed."""
        listing = super().list(data, size, sources)
        sketch.require()
        return listing

    def make_pair(
        self, photo: np.ndarray, path: Path | None = None, side: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `PhotoTask.make_pair`. Sketches of files are cached."""
        drawn = sketch.cached_sketch(path, image=photo) if path else sketch.sketch(photo)
        return shrink_image(drawn, side), shrink_image(photo, side)

    def redraw(self, source: np.ndarray, seed: Sequence[int]) -> np.ndarray:
        """See `Task.redraw`: strokes like those of an unsteady hand."""
        return sketch.augment_strokes(source, seed)

    def example_photo(self, index: int, size: int) -> np.ndarray:
        """A product photo of a vase."""
        return vase(index, size)
