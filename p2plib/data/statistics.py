"""The colours of pictures: statistics per channel, the most common colours, and the shares of label classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

Colour = tuple[int, int, int]

_PIXELS = 1 << 20  # so many decide on a palette
_APART = 20  # in one channel at least: less than between the closest classes of the toy map, more than JPEG moves most


def channel_statistics(pictures: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of red, green and blue over all pixels of uint8 pictures (H, W, 3), float64 (3,)."""
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for picture in pictures:
        values = picture.reshape(-1, 3).astype(np.float64)
        count, total, squares = count + len(values), total + values.sum(0), squares + (values**2).sum(0)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))


def palette(pictures: Sequence[np.ndarray], count: int = 8) -> dict[str, Colour]:
    """The most common colours, the first one first; colours next to one that is already there are left out.

    This finds the classes of label pictures; also in JPEG files of good quality, whose artefacts mostly lie next to the
    true colour. About a million evenly spaced pixels decide.

    Args:
        pictures: uint8 (H, W, 3).
        count: how many colours at most.

    Returns:
        Colours by name: {"#ede9df": (237, 233, 223), ...}.
    """
    step = sum(picture.size // 3 for picture in pictures) // _PIXELS + 1
    pixels = np.concatenate([picture.reshape(-1, 3)[::step] for picture in pictures])
    codes, counts = np.unique(pixels @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    found: list[np.ndarray] = []
    while len(found) < count and counts.any():
        found.append(colours[counts.argmax()])
        counts[np.abs(colours - found[-1]).max(axis=1) < _APART] = 0
    return {f"#{r:02x}{g:02x}{b:02x}": (int(r), int(g), int(b)) for r, g, b in found}


def class_shares(pictures: Iterable[np.ndarray], palette: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """What share of all pixels each class has, where a pixel belongs to the nearest colour.

    Args:
        pictures: uint8 (H, W, 3).
        palette: the colour of each class (RGB, 0 to 255).

    Returns:
        The shares by class, in the palette's order; their sum is 1.
    """
    colours = np.array(list(palette.values()), np.float32)
    counts = np.zeros(len(colours), np.int64)
    for picture in pictures:
        # |p - c|^2 = |p|^2 - 2 (p.c - |c|^2 / 2): the nearest colour has the largest bracket, exact in float32
        nearness = picture.reshape(-1, 3).astype(np.float32) @ colours.T - (colours**2).sum(1) / 2
        counts += np.bincount(nearness.argmax(1), minlength=len(colours))
    return {name: float(share) for name, share in zip(palette, counts / counts.sum(), strict=True)}
