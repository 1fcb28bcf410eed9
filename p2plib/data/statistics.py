"""The colors of images: statistics per channel, the most common colors, and the shares of label classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from p2plib.data.image import Color

_PIXELS = 1 << 20  # a palette is made from about this many
_APART = 20  # levels in one channel: less than between the closest classes of the toy map, more than most JPEG noise
_STEP = 3  # levels between neighbors in a flat area of a JPEG file
_CLOSE = 6  # levels by which JPEG changes the color of a flat area
_LABELS = 0.3  # see `label_palette`
_MOST = 32  # classes at most; cityscapes has 30


def channel_statistics(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of red, green and blue over all pixels of uint8 images (H, W, 3), float64 (3,)."""
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for image in images:
        values = image.reshape(-1, 3).astype(np.float64)
        count, total, squares = count + len(values), total + values.sum(0), squares + (values**2).sum(0)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))


def palette(images: Sequence[np.ndarray], count: int = 8) -> dict[str, Color]:
    """The most common colors, most common first. Colors close to one already found are left out.

    This finds the classes of label images, even in JPEG files of good quality, whose artifacts are mostly close to the
    true color. About a million evenly spaced pixels are used.

    Args:
        images: uint8 (H, W, 3).
        count: how many colors at most.

    Returns:
        Colors by name: {"#ede9df": (237, 233, 223), ...}.
    """
    step = _step(images)
    pixels = np.concatenate([image.reshape(-1, 3)[::step] for image in images])
    codes, counts = np.unique(pixels @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    found: list[np.ndarray] = []
    while len(found) < count and counts.any():
        found.append(colors[counts.argmax()])
        counts[np.abs(colors - found[-1]).max(axis=1) < _APART] = 0
    return {f"#{r:02x}{g:02x}{b:02x}": (int(r), int(g), int(b)) for r, g, b in found}


def label_palette(images: Sequence[np.ndarray]) -> dict[str, Color] | None:
    """The colors of the classes of label images; None if the images are not labels.

    Labels are flat areas of few colors. A pixel is flat here if it differs from its right and lower neighbors by no
    more than JPEG adds. A color is a class if the flat pixels close to it make up a thousandth of all pixels or more.
    The images are labels if, of the pixels not close to the most common color (which may be the white around a
    product), at least 0.3 are flat and close to a class. This share was 0.45 to 0.76 for facades, maps and the toy map,
    and at most 0.18 for photos of any kind. Line drawings have no flat colored areas, so they are not labels.

    Args:
        images: uint8 (H, W, 3), at their own size: resizing adds colors between the classes. Forty are enough.

    Returns:
        Colors by name, the most common one first, as `palette` names them; or None.
    """
    step = _step(images)
    pixels = np.concatenate([image[:-1, :-1].reshape(-1, 3)[::step] for image in images])
    flat = pixels[np.concatenate([_flat(image).ravel()[::step] for image in images])]
    if not len(flat):
        return None
    found = palette([flat], _MOST)
    colors = np.array(list(found.values()), np.int16)
    index = nearest(flat, found)
    close = np.bincount(index[np.abs(flat - colors[index]).max(-1) <= _CLOSE], minlength=len(found))
    common = (np.abs(pixels - colors[0]).max(-1) < _APART).sum()
    classes = close >= len(pixels) / 1000
    if classes.sum() < 2 or close[1:][classes[1:]].sum() < _LABELS * (len(pixels) - common):
        return None
    return {name: color for (name, color), kept in zip(found.items(), classes, strict=True) if kept}


def nearest(image: np.ndarray, palette: Mapping[str, Sequence[int]]) -> np.ndarray:
    """The class of each pixel, the index of the nearest color: uint8 (..., 3) -> int64 (...).

    Args:
        image: uint8, RGB last.
        palette: the color of each class (RGB, 0 to 255).
    """
    # |p - c|^2 = |p|^2 - 2 (p.c - |c|^2 / 2): the nearest color has the largest bracket, exact in float32
    colors = np.array(list(palette.values()), np.float32)
    return (image.astype(np.float32) @ colors.T - (colors**2).sum(1) / 2).argmax(-1)


def class_shares(images: Iterable[np.ndarray], palette: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """The share of all pixels in each class, where a pixel belongs to the class of the nearest color.

    Args:
        images: uint8 (H, W, 3).
        palette: the color of each class (RGB, 0 to 255).

    Returns:
        The shares by class, in the palette's order; their sum is 1.
    """
    counts = np.zeros(len(palette), np.int64)
    for image in images:
        counts += np.bincount(nearest(image, palette).ravel(), minlength=len(palette))
    return {name: float(share) for name, share in zip(palette, counts / counts.sum(), strict=True)}


def _step(images: Sequence[np.ndarray]) -> int:
    """The step between pixels that leaves about a million of all images' pixels."""
    return sum(image.size // 3 for image in images) // _PIXELS + 1


def _flat(image: np.ndarray) -> np.ndarray:
    """Which pixels are nearly equal to their right and lower neighbors: bool (H - 1, W - 1)."""
    values = image.astype(np.int16)
    here = values[:-1, :-1]
    step = np.maximum(np.abs(values[1:, :-1] - here), np.abs(values[:-1, 1:] - here))
    return step.max(-1) <= _STEP
