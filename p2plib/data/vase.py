"""Procedural product photos of vases on white, to try the sketch task without a download.

The shape determines the glaze, so a network can learn the color from an outline: slim vases are blue, round ones are
terracotta, and the others are green.
"""

from __future__ import annotations

import numpy as np

_GLAZES = np.array([(52, 92, 176), (196, 104, 62), (78, 142, 84)], np.float32)
_PAPER, _SHADOW = 250.0, 190.0
_LINES = 3  # rings around the body, at most


def vase(index: int, size: int = 256) -> np.ndarray:
    """Photo number `index`: uint8 (size, size, 3). The same index at another size shows the same vase."""
    rng = np.random.default_rng([77, index])
    x, y = np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2)
    height, belly, neck = rng.uniform(0.5, 0.75), rng.uniform(0.1, 0.32), rng.uniform(0.05, 0.12)
    t = (y - (1 - height) / 2) / height  # 0 at the rim, 1 at the foot
    along = np.clip(t, 0, 1)
    low = rng.uniform(0.5, 0.75)  # where it is widest
    shape = np.exp(-(((along - low) / 0.28) ** 2))
    half = neck + (belly - neck) * shape + 0.04 * np.exp(-along / 0.06)
    inside = (np.abs(x - 0.5) < half) & (t > 0) & (t < 1)
    across = np.clip((x - 0.5) / half, -1, 1)
    light = 0.45 + 0.55 * np.sqrt(1 - across**2) + 0.5 * np.exp(-(((across + 0.4) / 0.12) ** 2)) * shape
    glaze = _GLAZES[0 if belly < 0.17 else 1 if belly > 0.24 else 2]
    body = glaze * light[..., None]
    for ring in rng.uniform(0.15, 0.9, rng.integers(1, _LINES + 1)):
        body[np.abs(t - ring) < 0.012] *= 0.6
    shadow = np.exp(-(((x - 0.55) / (1.3 * half.max())) ** 2) - ((t - 1) / 0.03) ** 2)
    paper = _PAPER - (_PAPER - _SHADOW) * shadow
    photo = np.where(inside[..., None], body, paper[..., None]) + rng.normal(0, 1.5, (1, 1, 3))
    return np.rint(np.clip(photo, 0, 255)).astype(np.uint8)
