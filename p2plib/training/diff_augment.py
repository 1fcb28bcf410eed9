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
    """

    def __init__(self) -> None:
        super().__init__(name="diff_augment", dtype="float32")
        self.seeds = random.SeedGenerator(0)
        self.built = True

    def call(self, images: Sequence[Any]) -> list[Any]:
        """Change several batches equally.

        Args:
            images: each (N, S, S, 3), in [-1, 1].

        Returns:
            The changed images. Colors may leave [-1, 1]; what moved out or is covered is 0.
        """
        x = ops.cast(ops.stack(images, axis=1), "float32")  # (N, K, S, S, 3)
        x = self._recolor(x)
        keep = self._uncovered(ops.shape(x)[0], x.shape[2])
        x = self._translate(x * keep[:, None, :, :, None])
        return list(ops.unstack(x, len(images), axis=1))

    def _recolor(self, x: Any) -> Any:
        """Brightness +-1/2, saturation times 0 to 2, contrast times 1/2 to 3/2."""
        x = x + self._draw(x) - 0.5
        gray = ops.mean(x, axis=-1, keepdims=True)
        x = gray + (x - gray) * 2 * self._draw(x)
        mean = ops.mean(x, axis=(2, 3, 4), keepdims=True)
        return mean + (x - mean) * (0.5 + self._draw(x))

    def _translate(self, x: Any) -> Any:
        """Shift rows and columns: a product with a shifted identity matrix, whose missing ones leave zeros."""
        side = x.shape[2]
        limit = round(side * SHIFT)
        shifts = random.randint((2, ops.shape(x)[0], 1), -limit, limit + 1, seed=self.seeds)
        rows, columns = ops.one_hot(ops.arange(side) + shifts[0], side), ops.one_hot(ops.arange(side) + shifts[1], side)
        return ops.einsum("nij,nkjwc->nkiwc", rows, ops.einsum("nij,nkhjc->nkhic", columns, x))

    def _uncovered(self, count: Any, side: int) -> Any:
        """(N, S, S): 0 in a random square, 1 elsewhere."""
        centers = random.randint((2, count, 1), 0, side, seed=self.seeds)
        covered = ops.cast(ops.abs(ops.arange(side) - centers) < round(side * CUTOUT / 2), "float32")  # (2, N, S)
        return 1 - covered[0][:, :, None] * covered[1][:, None, :]

    def _draw(self, x: Any) -> Any:
        return random.uniform((ops.shape(x)[0], 1, 1, 1, 1), seed=self.seeds)
