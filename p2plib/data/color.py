"""Conversion between sRGB and CIE Lab (D65, 2 degrees), and new colors for an image of the same lightness.

The formulas work on NumPy arrays and, with `xp=keras.ops`, on tensors inside a network, with finite gradients
everywhere. The sums over channels are written out, because GPUs and TPUs compute matrix products with lower precision.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from p2plib.data.image import resize_image

XYZ_OF_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""CIE XYZ of linear sRGB, one row each (Rec. 709 primaries)."""
RGB_OF_XYZ = tuple(map(tuple, np.linalg.inv(np.array(XYZ_OF_RGB)).tolist()))
WHITE = (0.95047, 1.0, 1.08883)
"""XYZ of D65, the white of sRGB."""
GRAY_CHROMA = 8.0
"""Chroma below this counts as none: old paper and compression add about this much. See `is_gray`."""
LOOK = 64
"""`is_gray` shrinks images to this many pixels a side."""
STRIP = 256
"""Number of rows that are recolored at a time, so that a large photo needs little memory."""


def rgb_to_lab(rgb: Any, xp: ModuleType = np) -> Any:
    """CIE Lab of sRGB.

    Args:
        rgb: floats (..., 3), sRGB in [0, 1].
        xp: `numpy` or `keras.ops`.

    Returns:
        Floats (..., 3): L from 0 to 100, a and b within about -108 and 99.
    """
    xyz = _weigh(_to_linear(rgb, xp), XYZ_OF_RGB)
    x, y, z = (_root(value / white, xp) for value, white in zip(xyz, WHITE, strict=True))
    return xp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lab_to_rgb(lab: Any, xp: ModuleType = np) -> Any:
    """SRGB of CIE Lab, the inverse of `rgb_to_lab`. Colors that sRGB cannot show are below 0 or above 1."""
    y = (lab[..., 0] + 16) / 116
    roots = (y + lab[..., 1] / 500, y, y - lab[..., 2] / 200)
    xyz = xp.stack([white * _unroot(root, xp) for root, white in zip(roots, WHITE, strict=True)], axis=-1)
    return _to_gamma(xp.stack(_weigh(xyz, RGB_OF_XYZ), axis=-1), xp)


def lightness(rgb: Any, xp: ModuleType = np) -> Any:
    """The L of `rgb_to_lab` alone: (..., 3) to (...)."""
    return 116 * _root(_luminance(rgb, xp), xp) - 16


def gray(image: np.ndarray) -> np.ndarray:
    """The image without its colors: uint8 (H, W, 3) to the same, R = G = B, of the same L."""
    red, green, blue = _LUMINANCE  # a look-up table is three times as fast
    luminance = red[image[..., 0]] + green[image[..., 1]] + blue[image[..., 2]]
    values = _to_gamma(luminance, np)
    return np.repeat(_to_uint8(values)[..., None], 3, axis=-1)


def is_gray(image: np.ndarray) -> bool:
    """Whether 95% of the pixels of a shrunken image, uint8 (H, W, 3), have almost no chroma."""
    lab = rgb_to_lab(np.float32(resize_image(image, LOOK, LOOK)) / 255)
    return bool(np.percentile(np.hypot(lab[..., 1], lab[..., 2]), 95) < GRAY_CHROMA)


def recolor(source: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Give an image new colors. The lightness of every pixel stays the same, so no detail is lost.

    Where sRGB has no color of this lightness and chroma, chroma is reduced; hue and lightness are kept.

    Args:
        source: uint8 (H, W, 3), in color or gray.
        chroma: floats (h, w, 2), the a and b of CIE Lab; of any size, resized to the source's.

    Returns:
        uint8 (H, W, 3), whose L differs from the source's by less than 0.5.
    """
    height, width = source.shape[:2]
    rows, columns = chroma.shape[:2]
    planes = [Image.fromarray(np.ascontiguousarray(chroma[..., i], np.float32)) for i in range(2)]
    result = np.empty_like(source)
    for top in range(0, height, STRIP):
        strip = source[top : top + STRIP]
        size = (width, len(strip))
        box = (0.0, top * rows / height, float(columns), min(rows, (top + len(strip)) * rows / height))
        ab = [np.asarray(plane.resize(size, Image.Resampling.BICUBIC, box)) for plane in planes]
        lab = np.stack([lightness(np.float32(strip) / 255), *ab], axis=-1)
        result[top : top + STRIP] = _to_uint8(_into_gamut(lab))
    return result


def _into_gamut(lab: np.ndarray, steps: int = 10) -> np.ndarray:
    """SRGB of Lab. Colors outside of sRGB get the highest chroma that is inside, found by bisection."""
    rgb = lab_to_rgb(lab)
    outside = ~_shown(rgb)
    wrong = lab[outside]
    low, high = np.zeros(len(wrong), np.float32), np.ones(len(wrong), np.float32)
    for _ in range(steps if len(wrong) else 0):
        middle = (low + high) / 2
        fits = _shown(lab_to_rgb(_faded(wrong, middle)))
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    rgb[outside] = lab_to_rgb(_faded(wrong, low))
    return rgb


def _faded(lab: np.ndarray, share: np.ndarray) -> np.ndarray:
    return np.concatenate([lab[:, :1], lab[:, 1:] * share[:, None]], axis=1)


def _shown(rgb: np.ndarray) -> np.ndarray:
    """Whether sRGB can show a color; values up to half a step below 0 or above 255 are rounded to the right one."""
    return np.all(np.abs(rgb - 0.5) <= 0.5 + 0.5 / 255, axis=-1)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _luminance(rgb: Any, xp: ModuleType) -> Any:
    return _weigh(_to_linear(rgb, xp), XYZ_OF_RGB[1:2])[0]


def _weigh(values: Any, rows: tuple[tuple[float, ...], ...]) -> list[Any]:
    """One weighted sum of the three channels for each row of weights."""
    return [values[..., 0] * r + values[..., 1] * g + values[..., 2] * b for r, g, b in rows]


# `where` computes and differentiates both branches, so the argument of each power is kept above the joint.


def _to_linear(rgb: Any, xp: ModuleType) -> Any:
    return xp.where(rgb > 0.04045, ((xp.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)


def _to_gamma(linear: Any, xp: ModuleType) -> Any:
    return xp.where(linear > 0.0031308, 1.055 * xp.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055, linear * 12.92)


def _root(t: Any, xp: ModuleType) -> Any:
    return xp.where(t > 0.008856, xp.maximum(t, 0.008856) ** (1 / 3), 7.787 * t + 16 / 116)


def _unroot(root: Any, xp: ModuleType) -> Any:
    return xp.where(root > 0.2068966, xp.maximum(root, 0.2068966) ** 3, (root - 16 / 116) / 7.787)


_LUMINANCE = (np.array(XYZ_OF_RGB[1])[:, None] * _to_linear(np.arange(256) / 255, np)).astype(np.float32)
