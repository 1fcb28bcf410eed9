"""The scale at which a model sees its training images, so that other images can be brought to it."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from p2plib.data.dataset import Dataset
from p2plib.data.pairs import MIN_ASPECT, Pair, spread
from p2plib.data.values import size_of

SEEN = 1000
"""How many pairs are looked at, evenly spaced."""


class Scale(NamedTuple):
    """The sizes (height, width) in pixels of training images as they lie on disk, before they were resized."""

    median: tuple[int, int]
    """Medians of the heights and of the widths."""
    largest: tuple[int, int]
    """The greatest height and the greatest width."""


def scale_of(dataset: Dataset) -> Scale | None:
    """Measure a data set by the headers of at most `SEEN` images for training and validation.

    Returns:
        None if its images are not resized as a whole: with `load` "crop", models see images at their own scale.
    """
    if dataset.crop:
        return None
    splits = [dataset[name].pairs for name in ("train", "val") if name in dataset.splits]
    ends = list(accumulate(map(len, splits)))
    seen = [(i, bisect_right(ends, i)) for i in spread(range(ends[-1]), SEEN)]
    pairs = [splits[split][i - ends[split]] for i, split in seen]  # a negative number, from the end
    sizes = np.array([size for pair in pairs if (size := native_size(pair))])
    if not len(sizes):
        return None
    (height, width), (most, widest) = np.median(sizes, 0).round().astype(int).tolist(), sizes.max(0).tolist()
    return Scale((height, width), (most, widest))


def native_size(pair: Pair) -> tuple[int, int] | None:
    """Height and width of one side of a pair on disk, from the header; None if it cannot be read."""
    if not pair.files:
        return pair.read()[0].shape[:2]
    content, path = next(iter(pair.files.items()))
    if not (size := size_of(path, upright=content != "A|B")) or content != "A|B":
        return size
    height, width = size if size[1] >= MIN_ASPECT * size[0] else size[::-1]
    return height, width // 2
