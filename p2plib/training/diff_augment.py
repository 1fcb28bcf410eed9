"""Random changes of images within the training step, through which gradients flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops, random

SHIFT = 1 / 8
"""Largest translation, as a share of the side."""
CUTOUT = 1 / 2
"""Side of the square that is covered, as a share of the side."""


class RandomShift(keras.layers.Layer):
    """Shifts images by up to 7 pixels in either direction; what leaves on one side comes back on the other."""

    def __init__(self) -> None:
        super().__init__(name="random_shift", dtype="float32")
        self.seeds = random.SeedGenerator(0)
        self.built = True

    def call(self, images: Sequence[Any]) -> list[Any]:
        """Shift several batches (N, S, S, 3) alike."""
        down, right = ops.unstack(random.randint((2,), 0, 8, seed=self.seeds), 2)
        return [ops.roll(ops.roll(x, down, axis=1), right, axis=2) for x in images]


class DiffAugment(keras.layers.Layer):
    """Changes color, position and a covered square of images, differently for each pair (Zhao et al. 2020).

    On a small data set, D learns the training pairs by heart, and G then learns little from it. D sees changed pairs
    only, real and generated ones alike, so G is not taught the changes; gradients flow through them to G.

    Args:
        recolor: whether sources, and targets, are colors, which may change; measured values and class masks may not.
    """

    def __init__(self, recolor: tuple[bool, bool] = (True, True)) -> None:
        super().__init__(name="diff_augment", dtype="float32")
        self.recolor = recolor
        self.seeds = random.SeedGenerator(0)
        self.built = True

    def call(self, images: Sequence[Any]) -> list[Any]:
        """Change several batches equally.

        Args:
            images: each (N, H, W, C), in [-1, 1]: sources, then targets of all kinds.

        Returns:
            The changed images. Colors may leave [-1, 1]; what moved out or is covered is 0. Colors change only where
            there are three channels.
        """
        count, (height, width) = ops.shape(images[0])[0], images[0].shape[1:3]
        amounts = [random.uniform((count, 1, 1, 1), seed=self.seeds) for _ in range(3)]
        keep = 1 - self._inside(count, height)[:, :, None, None] * self._inside(count, width)[:, None, :, None]
        rows, columns = self._shift(count, height), self._shift(count, width)
        changed = []
        for i, image in enumerate(images):
            x = ops.cast(image, "float32")
            x = keep * (_recolor(x, *amounts) if image.shape[-1] == 3 and self.recolor[min(i, 1)] else x)
            changed.append(ops.einsum("nij,njwc->niwc", rows, ops.einsum("nij,nhjc->nhic", columns, x)))
        return changed

    def _inside(self, count: Any, side: int) -> Any:
        """(N, S): 1 in a random interval of half the side, 0 elsewhere."""
        centers = random.randint((count, 1), 0, side, seed=self.seeds)
        return ops.cast(ops.abs(ops.arange(side) - centers) < round(side * CUTOUT / 2), "float32")

    def _shift(self, count: Any, side: int) -> Any:
        """(N, S, S): identity matrices, randomly shifted. A product with them shifts images and leaves zeros."""
        limit = round(side * SHIFT)
        shifts = random.randint((count, 1), -limit, limit + 1, seed=self.seeds)
        return ops.one_hot(ops.arange(side) + shifts, side)


def _recolor(x: Any, brightness: Any, saturation: Any, contrast: Any) -> Any:
    """Brightness +-1/2, saturation times 0 to 2, contrast times 1/2 to 3/2, from amounts in [0, 1]."""
    x = x + brightness - 0.5
    gray = ops.mean(x, axis=-1, keepdims=True)
    x = gray + (x - gray) * 2 * saturation
    mean = ops.mean(x, axis=(1, 2, 3), keepdims=True)
    return mean + (x - mean) * (0.5 + contrast)
