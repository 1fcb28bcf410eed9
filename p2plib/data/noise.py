"""Smooth random fields for procedural images: cubic splines over lattices of random numbers."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator


def make_lattice(rng: Generator, cells: int) -> np.ndarray:
    """Random numbers for `cells` bumps per side of an image: float32 (cells + 3, cells + 3)."""
    return rng.uniform(-2, 2, (cells + 3, cells + 3)).astype(np.float32)  # splines halve it


def noise(lattice: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Smooth noise at places of an image, from 0 to 1 along both axes; (size, size), mostly in [-1, 1]."""
    first, weights, _ = splines(len(lattice) - 3, axis)
    return blend(blend(lattice.T, first, weights).T, first, weights)


def splines(cells: int, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first of four numbers of a lattice that matter at each place, their weights, and those of the slope."""
    place = axis * cells
    first = np.minimum(place.astype(np.intp), cells - 1)
    t = (place - first.astype(np.float32))[:, None]
    cubic = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t * t + 4) / 6, (-3 * t**3 + 3 * t * t + 3 * t + 1) / 6, t**3 / 6)
    slope = (-((1 - t) ** 2) / 2, (3 * t * t - 4 * t) / 2, (-3 * t * t + 2 * t + 1) / 2, t * t / 2)
    return first, np.stack(cubic), np.stack(slope)


def pixel_centers(size: int) -> np.ndarray:
    """Where the pixels of an image lie along an axis, from 0 to 1; float32 (size,)."""
    return ((np.arange(size) + 0.5) / size).astype(np.float32)


def smooth_step(value: np.ndarray, width: float) -> np.ndarray:
    """0 below -width, 1 above width, smooth in between."""
    t = (value / (2 * width) + 0.5).clip(0, 1)
    return t * t * (3 - 2 * t)


def blend(rows: np.ndarray, first: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A row for each place: four rows in a row, weighed. Without BLAS, whose threads fight over the cores."""
    blended = rows.take(first, axis=0) * weights[0]
    for step in (1, 2, 3):
        blended += rows.take(first + step, axis=0) * weights[step]
    return blended
