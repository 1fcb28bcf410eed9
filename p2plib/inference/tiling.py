"""Images larger than the network: overlapping tiles, blended without visible seams.

Tiles are spread evenly over the image and slightly beyond its borders, where the image is mirrored (the overlap-tile
strategy of Ronneberger et al. 2015, arXiv 1505.04597). Overlapping tiles are blended with raised-cosine weights that
fall to zero at each tile's edge and sum to 1 at every pixel. Blending happens before rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from p2plib.data.image import Shape, sides
from p2plib.data.kind import PLAIN, ImageKind

DELAY = 1.0
"""Seconds before an image's progress bar appears."""

Function = Callable[[np.ndarray], np.ndarray]
"""Maps stored images (N, H, W, C) to float arrays (N, H, W, C) in [-1, 1], each image independently."""


def tiled(
    function: Function,
    image: np.ndarray,
    size: int | Shape,
    overlap: int | None = None,
    batch_size: int = 8,
    progress: bool = False,
    kind: ImageKind = PLAIN[1],
) -> np.ndarray:
    """Translate one image of any size in tiles; see `tiled_rows`.

    Args:
        function: the network.
        image: (H, W, C).
        size: height and width of a tile in pixels, or one number for both.
        overlap: minimum overlap of neighboring tiles in pixels, from 0 (hard edges) to less than a tile; None means a
            quarter of it.
        batch_size: tiles per call of the network.
        progress: show a progress bar on stderr if it takes more than a second.
        kind: what the result is.

    Returns:
        Stored values (H, W, C).
    """

    def read(top: int, bottom: int) -> np.ndarray:
        return image[top:bottom]

    rows = tiled_rows(function, read, image.shape[:2], size, overlap, batch_size, progress, kind)
    return np.concatenate(list(rows))


def tiled_rows(
    function: Function,
    read: Callable[[int, int], np.ndarray],
    shape: Shape,
    size: int | Shape,
    overlap: int | None = None,
    batch_size: int = 8,
    progress: bool = False,
    kind: ImageKind = PLAIN[1],
) -> Iterator[np.ndarray]:
    """Translate an image in tiles, from the top to the bottom; memory holds a row of tiles.

    Borders are padded by reflection: a side shorter than a tile to the tile size, a longer one by a 16th of it, because
    a network is least accurate at its borders. An image of exactly the network's size is one tile, without padding.

    `read(top, bottom)` returns rows of an image of this `shape`, (bottom - top, W, C); all else is as for `tiled`.
    Yields the next rows of the result, stored values (h, W, C).
    """
    tall, wide = sides(size)
    top, left = _border(shape[0], tall), _border(shape[1], wide)
    rows = axis(shape[0] + sum(top), tall, tall // 4 if overlap is None else overlap)
    columns = axis(shape[1] + sum(left), wide, wide // 4 if overlap is None else overlap)
    down = np.pad(np.arange(shape[0]), top, mode="reflect")  # which row of the image each row of the padded one is

    def tiles() -> Iterator[np.ndarray]:
        for y in rows.starts:
            here = down[y : y + tall]
            strip = read(int(here.min()), int(here.max()) + 1)[here - here.min()]
            strip = np.pad(strip, [(0, 0), left, (0, 0)], mode="reflect")
            yield from (strip[:, x : x + wide] for x in columns.starts)

    count = len(rows.starts) * len(columns.starts)
    results = batched(function, tiles(), batch_size)
    outputs = tqdm(results, "tiles", count, leave=False, delay=DELAY, disable=not progress)
    at = -top[0]  # the row of the image where the next rows begin
    for blended in _blend(outputs, rows, columns):
        inside = blended[max(0, -at) : shape[0] - at, left[0] : left[0] + shape[1]]
        at += len(blended)
        if len(inside):
            yield kind.to_values(inside)


def _border(length: int, size: int) -> tuple[int, int]:
    """Reflection padding in pixels before and after a side."""
    more = size - length if length <= size else 2 * (size // 16)
    return more // 2, more - more // 2


def batched(function: Function, images: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Apply `function` to `images` in batches; yields the results one by one.

    The last batch is padded to full size, because a new shape would be recompiled.
    """
    remaining, full = iter(images), 0
    while chunk := list(itertools.islice(remaining, batch_size)):
        full = full or len(chunk)
        yield from np.asarray(function(np.stack(chunk + chunk[-1:] * (full - len(chunk)))))[: len(chunk)]


@dataclass(frozen=True)
class Axis:
    """Tiles along one side of an image."""

    starts: list[int]
    """Start of each of the T tiles."""
    weights: np.ndarray
    """float32 (T, S): weight of each pixel of each tile; over the tiles that share a pixel, the weights sum to 1."""
    length: int
    """Length of the side in pixels."""


def axis(length: int, size: int, overlap: int) -> Axis:
    """Spread the fewest tiles evenly over `length` >= `size` pixels, so that neighbors overlap by at least `overlap`.

    Blending uses the whole overlap: weights 1/2 - 1/2 cos(pi t), t from 0 to 1.
    """
    count = 1 + -(-(length - size) // (size - overlap))
    starts = np.linspace(0, length - size, count).round().astype(int).tolist()
    shared = size - int(np.diff(starts).max(initial=0)) if overlap else 0
    t = (np.arange(size) + 0.5) / max(shared, 0.5)  # 1 or more beyond the neighbor's end
    ramp = 0.5 - 0.5 * np.cos(np.pi * t.clip(0, 1))
    window = ramp * ramp[::-1]
    total = np.zeros(length)
    for start in starts:
        total[start : start + size] += window
    weights = [window / total[start : start + size] for start in starts]
    return Axis(starts, np.array(weights, np.float32), length)


def _blend(tiles: Iterable[np.ndarray], rows: Axis, columns: Axis) -> Iterator[np.ndarray]:
    """Blend float tiles, given row by row; yields the rows of pixels that are complete, float32 (h, W, C)."""
    size, wide, outputs = rows.weights.shape[1], columns.weights.shape[1], iter(tiles)
    band = np.zeros((0, columns.length, 0), np.float32)
    for y, below, vertical in zip(rows.starts, [*rows.starts[1:], rows.length], rows.weights, strict=True):
        for x, horizontal in zip(columns.starts, columns.weights, strict=True):
            tile = next(outputs)
            if not band.size:
                band = np.zeros((size, columns.length, tile.shape[-1]), np.float32)
            band[:, x : x + wide] += tile * (vertical[:, None] * horizontal)[..., None]
        done = below - y  # no later tile reaches these rows
        yield band[:done].copy()
        band[: size - done] = band[done:].copy()
        band[size - done :] = 0
