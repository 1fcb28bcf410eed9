"""How close generated images are to the expected ones. Each metric is a function that returns one number per image.

All take uint8 arrays (N, H, W, 3), the images as saved, so that numbers can be reproduced from files. They process one
image at a time to limit memory. Images of other values come on the same scale, from 0 to 255, as float32 (N, H, W, C).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from p2plib.data import color, statistics
from p2plib.data.kind import PLAIN, Kinds
from p2plib.registry import METRICS


@METRICS.register("l1")
def l1(target: np.ndarray, generated: np.ndarray, source: np.ndarray | None = None) -> np.ndarray:
    """Mean absolute difference on [-1, 1], the scale of the training loss: 0 (equal) to 2. Returns (N,)."""
    return _each(lambda x, y: 2 * np.abs(x - y).mean(dtype=np.float64), target, generated)


@METRICS.register("psnr")
def psnr(target: np.ndarray, generated: np.ndarray, source: np.ndarray | None = None) -> np.ndarray:
    """Peak signal-to-noise ratio in dB for images on [0, 1]; infinite for equal images. Returns (N,)."""
    error = _each(lambda x, y: ((x - y) ** 2).mean(dtype=np.float64), target, generated)
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error)


@METRICS.register("ssim")
def ssim(target: np.ndarray, generated: np.ndarray, source: np.ndarray | None = None) -> np.ndarray:
    """Structural similarity for images on [0, 1]: -1 to 1, 1 for equal images. Returns (N,).

    Wang et al. 2004, equation 13, with their 11x11 Gaussian window (sigma 1.5), K1 = 0.01 and K2 = 0.03; computed per
    RGB channel over all windows inside the image, then averaged.
    """
    return _each(lambda x, y: _ssim(x, y)[0].mean(), target, generated)


@METRICS.register("ms_ssim")
def ms_ssim(target: np.ndarray, generated: np.ndarray, source: np.ndarray | None = None) -> np.ndarray:
    """Multi-scale structural similarity for images on [0, 1]: 0 to 1, 1 for equal images. Returns (N,).

    Wang, Simoncelli and Bovik 2003, equation 7: the contrast and structure terms of `ssim` at up to five scales, each
    halved by averaging 2x2 pixels, and the luminance at the coarsest scale only. The weighted product is computed per
    RGB channel, then averaged. A negative term counts as 0, because its power is undefined.

    Five scales need 176 pixels. Smaller images use fewer (see `scales`), with weights rescaled to sum to 1, so values
    at different sizes are not comparable.
    """
    return _each(_ms_ssim, target, generated)


@METRICS.register("ab")
def ab_error(target: np.ndarray, generated: np.ndarray, source: np.ndarray | None = None) -> np.ndarray:
    """Mean Euclidean distance of colors in the (a, b) plane of CIE Lab, without lightness: 0 to about 250.

    For a gray image it is the target's mean chroma, the baseline for a colorizer. Returns (N,).
    """
    return _each(lambda x, y: np.linalg.norm(_ab(x) - _ab(y), axis=-1).mean(dtype=np.float64), target, generated)


@METRICS.register("ab_grey")
def ab_gray(target: np.ndarray, generated: np.ndarray, source: np.ndarray) -> np.ndarray:
    """`ab_error` of the gray source, the baseline for a colorizer. Returns (N,)."""
    return ab_error(target, source)


def colorfulness(images: np.ndarray) -> np.ndarray:
    """Colorfulness: 0 is gray, about 15 slightly, 45 averagely, 82 highly, 109 extremely colorful. Returns (N,).

    Hasler and Suesstrunk 2003, "Measuring colorfulness in natural images", section 7: from mean and spread of the
    opponent colors R - G and (R + G) / 2 - B, on 0 to 255. Compare with the colorfulness of real images.

    Args:
        images: uint8 (N, H, W, 3).
    """
    return np.array([_colorfulness(image) for image in images])


COMMON = ("l1", "psnr", "ssim", "ms_ssim")
"""The metrics of every evaluation."""
VALIDATION = ("l1", "psnr", "ssim")
"""The metrics that training logs after every epoch. They are columns of `log.csv`, so do not change them."""


def score(
    targets: np.ndarray,
    generated: np.ndarray,
    sources: np.ndarray,
    names: Iterable[str] = COMMON,
    kinds: Kinds = PLAIN,
) -> dict[str, np.ndarray]:
    """Compute metrics of generated images against the targets.

    Args:
        targets: stored values (N, H, W, C), like `generated`; uint8 and C = 3 unless `kinds` differ.
        generated: the generated images.
        sources: the images they were generated from.
        names: metric names in `registry.METRICS`.
        kinds: what sources and targets are.

    Returns:
        Values (N,) by metric name. Where targets are not 8-bit RGB, the common metrics are over the range of their
        values, the others see images as people do, and `mae` is the mean absolute error in stored values. Class masks
        are seen in the colors of their classes, and have no `mae`.
    """
    source, target = kinds
    if target.plain:
        shown = source.preview(sources)
        return {name: METRICS[name](targets, generated, shown) for name in names}
    levels, seen = (
        [function(values) for values in (targets, generated)] + [source.preview(sources)]
        for function in (target.levels, target.preview)
    )
    scores = {name: METRICS[name](*(levels if name in COMMON else seen)) for name in names}
    if target.are_classes:
        return scores
    errors = [np.abs(x.astype(np.float64) - y).mean() for x, y in zip(targets, generated, strict=True)]
    return scores | {"mae": np.array(errors)}


def means(scores: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The mean of every metric as a Python float."""
    return {name: float(np.mean(values)) for name, values in scores.items()}


def scales(side: int) -> int:
    """Number of `ms_ssim` scales for images with a shorter side of `side` pixels: at most 5, and the window must fit.

    4 scales at 128 pixels, 3 at 64, 2 at 32.
    """
    return max(1, min(len(_WEIGHTS), (side // len(_WINDOW)).bit_length()))


def confusion(targets: np.ndarray, generated: np.ndarray, palette: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Compute confusion matrices, with each pixel assigned to the class of the nearest color.

    In JPEG files, pixels near an edge have mixed colors and may be assigned to a third class, even in the targets. So
    even perfect labels, saved again, do not reach an accuracy of 1.

    Args:
        targets: uint8 (N, H, W, 3).
        generated: uint8 of the same shape.
        palette: the colors (RGB, 0 to 255) of C classes by name.

    Returns:
        int64 (N, C, C): one matrix per image; rows are classes of the target, columns of the generated image.
    """
    classes = zip(*([statistics.nearest(x, palette) for x in images] for images in (targets, generated)), strict=True)
    return np.stack([count(target, other, len(palette)) for target, other in classes])


def count(target: np.ndarray, other: np.ndarray, classes: int) -> np.ndarray:
    """The confusion matrix, int64 (C, C), of two integer arrays of the same shape with classes from 0 to C - 1."""
    codes = target.astype(np.int64) * classes + other
    return np.bincount(codes.ravel(), minlength=classes**2).reshape(classes, classes)


def label_scores(matrix: np.ndarray) -> dict[str, float]:
    """Compute label metrics from a confusion matrix over all pixels (Long et al. 2015, section 5).

    Args:
        matrix: (C, C), one row per true class. Both means exclude classes that never occur in the targets; pixels
            wrongly labeled as such a class still count against their true class.

    Returns:
        `pixel_accuracy`, the share of correct pixels; `class_accuracy`, the mean over classes of the share of their
        correct pixels; `mean_iou`, the mean over classes of intersection over union. All are from 0 to 1.
    """
    right, true, said = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    there = true > 0
    return {
        "pixel_accuracy": float(right.sum() / true.sum()),
        "class_accuracy": float((right[there] / true[there]).mean()),
        "mean_iou": float((right[there] / (true + said - right)[there]).mean()),
    }


def class_iou(matrix: np.ndarray, names: Iterable[str]) -> dict[str, float]:
    """Intersection over union of each class that occurs in the targets, by "iou NAME".

    Args:
        matrix: (C, C), as for `label_scores`.
        names: those of the C classes.
    """
    right, true, said = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    return {f"iou {name}": float(right[i] / (true + said - right)[i]) for i, name in enumerate(names) if true[i]}


def _each(metric: Callable[[np.ndarray, np.ndarray], float], target: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Apply a metric to each pair of images, as float32 (H, W, 3) in [0, 1]."""
    return np.array([metric(x / np.float32(255), y / np.float32(255)) for x, y in zip(target, generated, strict=True)])


def _ab(x: np.ndarray) -> np.ndarray:
    return color.rgb_to_lab(x)[..., 1:]


def _colorfulness(image: np.ndarray) -> float:
    red, green, blue = (image[..., i].astype(np.float64) for i in range(3))
    opponents = red - green, (red + green) / 2 - blue
    spread, mean = ([measure(x) for x in opponents] for measure in (np.std, np.mean))
    return math.hypot(*spread) + 0.3 * math.hypot(*mean)


def _ssim(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over all windows of SSIM, and of its contrast-structure term; each (C,)."""
    mean_x, mean_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mean_x**2
    var_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return (luminance * structure).mean((0, 1), dtype=np.float64), structure.mean((0, 1), dtype=np.float64)


# weights of the scales, finest first, from the paper's section 3.2
_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def _ms_ssim(x: np.ndarray, y: np.ndarray) -> float:
    weights = _WEIGHTS[: scales(min(x.shape[:2]))]
    terms = []
    for _ in weights[1:]:
        terms.append(_ssim(x, y)[1])
        x, y = _halve(x), _halve(y)
    terms.append(_ssim(x, y)[0])
    powers = np.maximum(terms, 0) ** (weights / weights.sum())[:, None]
    return float(powers.prod(0).mean())


def _halve(x: np.ndarray) -> np.ndarray:
    """The mean of every 2x2 pixels: (H, W, C) -> (H // 2, W // 2, C); an odd last row or column is dropped."""
    x = x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


_WINDOW = np.exp(-(np.arange(-5, 6, dtype=np.float32) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()


def _blur(x: np.ndarray) -> np.ndarray:
    """Weighted mean over the window, without padding: (H, W, C) -> (H - 10, W - 10, C)."""
    height, width = x.shape[0] - 10, x.shape[1] - 10
    x = sum(weight * x[i : i + height] for i, weight in enumerate(_WINDOW))
    return sum(weight * x[:, i : i + width] for i, weight in enumerate(_WINDOW))
