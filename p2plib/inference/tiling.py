"""Images larger than the network: overlapping tiles, blended so that nobody sees where one ends.

Tiles are spread evenly over the image and a little beyond its borders, where it is mirrored (the overlap-tile
strategy of Ronneberger et al. 2015, arXiv 1505.04597). Where tiles overlap, each counts by a raised cosine that falls
to nothing at its edge; at every pixel the weights sum to 1. The network's values are blended before they are rounded to
8 bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from p2plib.data.image import to_uint8

DELAY = 1.0
"""Seconds before the bar of an image's tiles is worth showing."""

Function = Callable[[np.ndarray], np.ndarray]
"""Takes uint8 images (N, S, S, 3); returns float arrays of the same shape in [-1, 1], each from its image alone."""


def tiled(
    function: Function,
    image: np.ndarray,
    size: int,
    overlap: int | None = None,
    batch_size: int = 8,
    progress: bool = False,
) -> np.ndarray:
    """Translate one image of any size in tiles.

    Borders are reflected: a side shorter than a tile up to its size, a longer one by size // 16, since the outermost
    pixels of a network are its worst. An image of exactly the network's size is one tile, as it is.

    Beside uint8 copies of source and result, memory holds one row of tiles as floats: it grows with the width, not
    with the height.

    Args:
        function: the network.
        image: uint8 (H, W, 3).
        size: side of a tile, S, in pixels.
        overlap: pixels that neighbors share at least, from 0 (hard edges) to size - 1; None means size // 4.
        batch_size: tiles in a call of the network.
        progress: show a bar on stderr, unless it takes less than a second.

    Returns:
        uint8 (H, W, 3).
    """
    overlap = size // 4 if overlap is None else overlap
    height, width = image.shape[:2]
    top, left = padding = [_border(length, size) for length in (height, width)]
    padded = np.pad(image, [*padding, (0, 0)], mode="reflect")
    rows, columns = (axis(length, size, overlap) for length in padded.shape[:2])
    tiles = (padded[y : y + size, x : x + size] for y in rows.starts for x in columns.starts)
    count = len(rows.starts) * len(columns.starts)
    results = batched(function, tiles, batch_size)
    outputs = tqdm(results, "tiles", count, leave=False, delay=DELAY, disable=not progress)
    return _blend(outputs, rows, columns)[top[0] : top[0] + height, left[0] : left[0] + width]


def _border(length: int, size: int) -> tuple[int, int]:
    """Pixels to reflect before and after a side."""
    more = size - length if length <= size else 2 * (size // 16)
    return more // 2, more - more // 2


def batched(function: Function, images: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """What `function` makes of each of `images`, one by one, computed in batches.

    All batches have the size of the first, since another shape is compiled anew: the last is filled up.
    """
    remaining, full = iter(images), 0
    while chunk := list(itertools.islice(remaining, batch_size)):
        full = full or len(chunk)
        yield from np.asarray(function(np.stack(chunk + chunk[-1:] * (full - len(chunk)))))[: len(chunk)]


@dataclass(frozen=True)
class Axis:
    """Tiles along one side of an image."""

    starts: list[int]
    """Where the T tiles begin."""
    weights: np.ndarray
    """float32 (T, S): what each pixel of each tile counts; over the tiles that share a pixel they sum to 1."""
    length: int
    """Length of the side in pixels."""


def axis(length: int, size: int, overlap: int) -> Axis:
    """Spread as few tiles as needed evenly over `length` pixels, `size` or more, neighbors sharing `overlap` or more.

    They are blended over all that neighbors share: weights 1/2 - 1/2 cos(pi t), t from 0 to 1.
    """
    count = 1 + -(-(length - size) // (size - overlap))
    starts = np.linspace(0, length - size, count).round().astype(int).tolist()
    shared = size - int(np.diff(starts).max(initial=0)) if overlap else 0
    t = (np.arange(size) + 0.5) / max(shared, 0.5)  # 1 and more from where the neighbor ends
    ramp = 0.5 - 0.5 * np.cos(np.pi * t.clip(0, 1))
    window = ramp * ramp[::-1]
    total = np.zeros(length)
    for start in starts:
        total[start : start + size] += window
    weights = [window / total[start : start + size] for start in starts]
    return Axis(starts, np.array(weights, np.float32), length)


def _blend(tiles: Iterable[np.ndarray], rows: Axis, columns: Axis) -> np.ndarray:
    """The image that float tiles, row by row, add up to: uint8 (H, W, 3)."""
    size, outputs = rows.weights.shape[1], iter(tiles)
    result = np.empty((rows.length, columns.length, 3), np.uint8)
    band = np.zeros((size, columns.length, 3), np.float32)
    for y, below, vertical in zip(rows.starts, [*rows.starts[1:], rows.length], rows.weights, strict=True):
        for x, horizontal in zip(columns.starts, columns.weights, strict=True):
            band[:, x : x + size] += next(outputs) * (vertical[:, None] * horizontal)[..., None]
        done = below - y  # no later tile reaches these rows
        result[y:below] = to_uint8(band[:done])
        band[: size - done] = band[done:].copy()
        band[size - done :] = 0
    return result
