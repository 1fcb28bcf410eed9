"""Distances between two sets of images, which measure whether the generated images look real.

`fid` and `kid` compare features from an `Extractor`; `sliced_wasserstein` compares patches and needs no network. All
depend on the number of images and how they were prepared, and FID and KID also on the extractor. Compare only numbers
from the same protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from p2plib import runtime
from p2plib.data.image import Shape, resize_image, to_float
from p2plib.errors import DataError

FID_IMAGES = 2048
"""Fewest images for FID with 2,048 features: below this, the covariance is singular and the bias is large."""

BATCH = 32
"""How many images an extractor sees at a time."""
_ROWS = 2048  # of features at a time: the temporary arrays do not grow with their number


@dataclass(frozen=True)
class Extractor:
    """Computes the features for FID and KID."""

    name: str
    """Network and weights, for the protocol."""
    function: Callable[[np.ndarray], np.ndarray]
    """uint8 images (N, H, W, 3) -> features, float (N, D). It is called with at most `BATCH` images at a time."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The features of uint8 images (N, H, W, 3): float (N, D), in the type that the function gives."""
        return np.concatenate([self.function(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])


def inception_v3(weights: str | None = "imagenet") -> Extractor:
    """Keras' InceptionV3 up to its last pooling: 2,048 features of the image resized to 299 x 299.

    Published numbers used the TensorFlow graph of 2015 and resizing without antialiasing. Do not compare these FID and
    KID values with them.

    Args:
        weights: "imagenet" (Keras downloads 88 MB once), a weights file, or None for random weights (for tests).

    Raises:
        DataError: the weights cannot be downloaded or read.
    """
    runtime.start()
    import keras

    try:
        with runtime.one_device():
            model = keras.applications.InceptionV3(include_top=False, weights=weights, pooling="avg")
    except Exception as error:  # Keras raises a bare Exception if a download fails
        raise DataError(
            f"The {weights} weights of InceptionV3 cannot be downloaded or read ({error}); go online, evaluate without "
            "an extractor, or pass your own Extractor."
        ) from error

    def features(images: np.ndarray) -> np.ndarray:
        resized = np.stack([resize_image(image, 299, 299) for image in images])
        with runtime.one_device():
            return model.predict_on_batch(to_float(resized))  # [-1, 1], like InceptionV3's `preprocess_input`

    return Extractor(f"Keras InceptionV3, {weights} weights, 299x299, average pooling", features)


def fid(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet inception distance (Heusel et al. 2017, equation 6): 0 for equal sets, no upper bound.

    The squared 2-Wasserstein distance of Gaussians fitted to the features:
    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). With C1 = A^T A and C2 = B^T B, the trace of (C1 C2)^(1/2) is the sum
    of the singular values of A B^T. This needs no matrix square root, so it stays real with fewer images than features.

    FID is biased for small sets; see `FID_IMAGES`. `kid` is unbiased. Both compute in float64, whatever the features'
    type.

    Args:
        a: features, float (N, D), N at least 2.
        b: features, float (M, D).
    """
    means = [features.mean(0, dtype=np.float64) for features in (a, b)]
    factors = [_factor(features, mean) for features, mean in zip((a, b), means, strict=True)]
    cross = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    spread = sum((factor**2).sum() for factor in factors)
    return float(max(((means[0] - means[1]) ** 2).sum() + spread - 2 * cross, 0))


def kid(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Kernel inception distance and its standard error (Binkowski et al. 2018, section 4, equation 4).

    The unbiased estimate of the squared maximum mean discrepancy with the kernel (x.y / D + 1)^3, over all pairs of
    features. It can be negative if the sets are similar. The standard error is the jackknife estimate, which leaves out
    one row at a time. It is somewhat too large for similar sets, but deterministic, unlike the paper's random subsets.

    Args:
        a: features, float (N, D), N at least 3.
        b: features, float (M, D), M at least 3.

    Returns:
        KID and its standard error.
    """
    n, m = len(a), len(b)
    in_a, in_b = (_kernel_sums(x, x)[0] - _own_kernel(x) for x in (a, b))
    a_to_b, b_to_a = _kernel_sums(a, b)
    all_a, all_b, cross = in_a.sum(), in_b.sum(), a_to_b.sum()
    value = all_a / (n * (n - 1)) + all_b / (m * (m - 1)) - 2 * cross / (n * m)
    # estimates without row i of a, or of b; each row appears twice in the sum over its own set
    without_a = (all_a - 2 * in_a) / ((n - 1) * (n - 2)) + all_b / (m * (m - 1)) - 2 * (cross - a_to_b) / ((n - 1) * m)
    without_b = all_a / (n * (n - 1)) + (all_b - 2 * in_b) / ((m - 1) * (m - 2)) - 2 * (cross - b_to_a) / (n * (m - 1))
    variance = (n - 1) * without_a.var() + (m - 1) * without_b.var()
    return float(value), float(np.sqrt(variance))


def sliced_wasserstein(real: np.ndarray, generated: np.ndarray, seed: int = 0) -> dict[int, float]:
    """Sliced Wasserstein distance of patches, times 1000, at each level of detail (Karras et al. 2018, section 5).

    Both sets become Laplacian pyramids, halved down to 16 pixels. At each level, 7x7 patches at random positions are
    normalized per color channel (mean 0 and deviation 1 over the set) and projected on 512 random directions. The
    distance is the mean absolute difference of the sorted projections.

    As in the paper, each image gives 128 patches. A set gives at most 16,384, but at least one per image. More patches
    lower the distance slightly, so compare only sets of equal size. Positions are the same in both sets, so equal sets
    have distance 0.

    Args:
        real: uint8 (N, H, W, 3), with H and W at least 16.
        generated: uint8 of the same shape.
        seed: random seed for positions and directions.

    Returns:
        The distance by the shorter side of each level: {256: 21.3, 128: ..., 16: ...}.
    """
    patches = Patches(len(real), real.shape[1:3], seed)
    patches.add(real, generated)
    return patches.distances()


class Patches:
    """The patches of two sets of images, a few of which are added at a time; see `sliced_wasserstein`.

    Args:
        count: how many images each set will have.
        shape: their height and width.
        seed: random seed for positions and directions.
    """

    def __init__(self, count: int, shape: Shape, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.shapes = _level_shapes(*shape)
        each = max(1, min(128, _PATCHES // count))
        self.places = [self.rng.integers(0, np.array(level) - _SIDE + 1, (count, each, 2)) for level in self.shapes]
        sizes = (2, count, each, 3, _SIDE, _SIDE)
        self.found = [np.empty(sizes, np.float32) for _ in self.shapes]
        self.filled = 0

    def add(self, real: np.ndarray, generated: np.ndarray) -> None:
        """Take the patches of the next images of both sets, uint8 (N, H, W, 3); processes one image at a time."""
        for pair in zip(real, generated, strict=True):
            for side, image in enumerate(pair):
                levels = _pyramid(image, len(self.shapes))
                for found, level, places in zip(self.found, levels, self.places, strict=True):
                    windows = np.lib.stride_tricks.sliding_window_view(level, (_SIDE, _SIDE), (0, 1))
                    corners = places[self.filled]
                    found[side, self.filled] = windows[corners[:, 0], corners[:, 1]]
            self.filled += 1

    def distances(self) -> dict[int, float]:
        """The distance by the shorter side of each level, once all images are there. The patches are gone then."""
        found, self.found = self.found, []
        distances = {}
        for shape in self.shapes:
            real, generated = (_normalize(patches.reshape(-1, *patches.shape[2:])) for patches in found.pop(0))
            distances[min(shape)] = 1000 * _sliced(real, generated, self.rng)
        return distances


_PATCHES = 1 << 14
_SIDE = 7  # side of a patch
_COARSEST = 16
_DIRECTIONS = 512  # the paper's code: 4 times 128


def _factor(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """A matrix F with F^T F = the covariance of the features (N, D); F has min(N, D) rows."""
    factor = np.zeros((0, features.shape[1]))
    for block in _blocks(features):
        factor = np.concatenate([factor, (block - mean) / np.sqrt(len(features) - 1)])
        if len(factor) > features.shape[1]:  # the R of Q R keeps R^T R, and the next rows can be put below it
            factor = np.asarray(np.linalg.qr(factor, mode="r"))
    return factor


def _kernel_sums(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums of the kernel of all rows of `a` with all of `b`: for each row of `a`, (N,), and each of `b`, (M,)."""
    of_a, of_b = np.zeros(len(a)), np.zeros(len(b))
    for i, x in enumerate(_blocks(a)):
        for j, y in enumerate(_blocks(b)):
            kernel = (x @ y.T / a.shape[1] + 1) ** 3
            of_a[i * _ROWS :][: len(x)] += kernel.sum(1)
            of_b[j * _ROWS :][: len(y)] += kernel.sum(0)
    return of_a, of_b


def _own_kernel(a: np.ndarray) -> np.ndarray:
    """The kernel of each row with itself, (N,)."""
    return np.concatenate([((block**2).sum(1) / a.shape[1] + 1) ** 3 for block in _blocks(a)])


def _blocks(features: np.ndarray) -> Iterator[np.ndarray]:
    """The rows, a few at a time, in float64."""
    for i in range(0, len(features), _ROWS):
        yield features[i : i + _ROWS].astype(np.float64)


def _level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    shapes = [(height, width)]
    while min(shapes[-1]) // 2 >= _COARSEST:
        shapes.append(((shapes[-1][0] + 1) // 2, (shapes[-1][1] + 1) // 2))
    return shapes


def _normalize(patches: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 per channel, in place: (N, C, 7, 7) -> (N, C * 49)."""
    mean, deviation = patches.mean((0, 2, 3), keepdims=True), patches.std((0, 2, 3), keepdims=True)
    patches -= mean
    patches /= np.maximum(deviation, 1e-8)
    return patches.reshape(len(patches), -1)


def _sliced(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> float:
    directions = rng.standard_normal((a.shape[1], _DIRECTIONS), np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    return float(np.mean([_distance(a @ block, b @ block) for block in np.array_split(directions, 8, axis=1)]))


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """The 1-Wasserstein distance of two samples (N, K), averaged over K directions."""
    return float(np.abs(np.sort(a, axis=0) - np.sort(b, axis=0)).mean(dtype=np.float64))


def _pyramid(image: np.ndarray, levels: int) -> list[np.ndarray]:
    """The Laplacian pyramid (Burt and Adelson 1983) of one image: float32 arrays (H, W, C), finest first."""
    found, x = [], image.astype(np.float32)
    for _ in range(levels - 1):
        smaller = _smooth(x)[::2, ::2]
        doubled = np.zeros_like(x)
        doubled[::2, ::2] = 4 * smaller
        found.append(x - _smooth(doubled))
        x = smaller
    return [*found, x]


def _smooth(x: np.ndarray) -> np.ndarray:
    """Blur with the binomial window 1 4 6 4 1 in both directions; borders are mirrored."""
    for axis in (0, 1):
        padded = np.pad(x, [(2, 2) if axis == i else (0, 0) for i in range(x.ndim)], mode="reflect")
        shifts = [padded.take(range(i, i + x.shape[axis]), axis) for i in range(5)]
        x = (shifts[0] + shifts[4] + 4 * (shifts[1] + shifts[3]) + 6 * shifts[2]) / 16
    return x
