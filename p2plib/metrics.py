"""How close generated pictures are to the expected ones; each metric is a function, one number a picture.

All take uint8 arrays (N, H, W, 3), the pictures as they would be saved, so that anyone can repeat a number from files.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def l1(target: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Mean absolute difference on [-1, 1], the scale of the training loss: 0 (equal) to 2. Returns (N,)."""
    return np.abs(target.astype(np.float32) - generated.astype(np.float32)).mean((1, 2, 3)) / 127.5


def psnr(target: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB for pictures on [0, 1]; infinite for equal pictures. Returns (N,)."""
    error = ((target.astype(np.float32) - generated.astype(np.float32)) / 255) ** 2
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error.mean((1, 2, 3), dtype=np.float64))


def ssim(target: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Structural similarity for pictures on [0, 1]: -1 to 1, 1 for equal pictures. Returns (N,).

    Wang et al. 2004, equation 13, with their 11x11 Gaussian window (sigma 1.5), K1 = 0.01 and K2 = 0.03; computed per
    RGB channel over all windows that lie inside the picture, then averaged. One picture at a time bounds the memory.
    """
    return np.array([_ssim(a / np.float32(255), b / np.float32(255)) for a, b in zip(target, generated, strict=True)])


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"l1": l1, "psnr": psnr, "ssim": ssim}
"""What every evaluation reports, by name."""


def _ssim(x: np.ndarray, y: np.ndarray) -> float:
    mean_x, mean_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mean_x**2
    var_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean(dtype=np.float64))


_WINDOW = np.exp(-(np.arange(-5, 6, dtype=np.float32) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()


def _blur(x: np.ndarray) -> np.ndarray:
    """Weighted mean over the window, without padding: (H, W, C) -> (H - 10, W - 10, C)."""
    height, width = x.shape[0] - 10, x.shape[1] - 10
    x = sum(weight * x[i : i + height] for i, weight in enumerate(_WINDOW))
    return sum(weight * x[:, i : i + width] for i, weight in enumerate(_WINDOW))
