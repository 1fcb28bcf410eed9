from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.measure import block_reduce
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from tolerance import LAB, rounding

from p2plib.data import color, toy
from p2plib.evaluation import metrics
from p2plib.registry import METRICS

PALETTE = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}
RED, GREEN, BLUE = PALETTE.values()


@pytest.fixture(params=["noise", "smooth"])
def images(request):
    rng = np.random.default_rng(3)
    target = rng.integers(0, 256, (3, 40, 48, 3), np.uint8)
    if request.param == "smooth":
        target = np.cumsum(rng.integers(0, 3, target.shape), axis=1).astype(np.uint8)
    generated = np.clip(target + rng.normal(0, 25, target.shape), 0, 255).astype(np.uint8)
    return target, generated


def test_l1_is_on_minus_one_to_one(images):
    target, generated = images
    expected = np.abs(target / 127.5 - generated / 127.5).mean((1, 2, 3))
    # pixels of at most 1 are divided and subtracted in float32; the rest is float64
    np.testing.assert_allclose(metrics.l1(target, generated), expected, atol=2 * rounding(3))
    assert metrics.l1(np.zeros((1, 11, 11, 3), np.uint8), np.full((1, 11, 11, 3), 255, np.uint8)) == 2


def test_psnr_is_scikit_images(images):
    expected = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(*images, strict=True)]
    difference = 10 ** (-max(expected) / 20)  # the least root mean square; from it to decibels, the slope is 20 / ln 10
    np.testing.assert_allclose(metrics.psnr(*images), expected, atol=20 / np.log(10) * rounding(3) / difference)


def test_ab_error_is_that_of_skimage(images):
    target, generated = images
    for values, x, y in zip(metrics.ab_error(target, generated), target, generated, strict=True):
        (a, b), (c, d) = (np.moveaxis(rgb2lab(image)[..., 1:], -1, 0) for image in (x, y))
        assert values == pytest.approx(np.sqrt((a - c) ** 2 + (b - d) ** 2).mean(), abs=2 * LAB)
    np.testing.assert_array_equal(metrics.ab_error(target, target), 0)


def test_the_ab_error_of_gray_is_the_chroma():
    photo = toy.city(1, 32)[0]
    a, b = np.moveaxis(rgb2lab(photo)[..., 1:], -1, 0)
    assert metrics.ab_error(photo[None], color.gray(photo)[None])[0] == pytest.approx(np.hypot(a, b).mean(), abs=0.02)


def test_colorfulness_is_the_papers(images):
    for value, image in zip(metrics.colorfulness(images[0]), images[0].astype(float), strict=True):
        rg = image[..., 0] - image[..., 1]
        yb = (image[..., 0] + image[..., 1]) / 2 - image[..., 2]
        spread, mean = (rg.var() + yb.var()) ** 0.5, (rg.mean() ** 2 + yb.mean() ** 2) ** 0.5
        assert value == pytest.approx(spread + 0.3 * mean)
    half = np.zeros((1, 4, 4, 3), np.uint8)
    half[:, :2, :, 0] = 200  # red and black: rg 200 or 0, yb 100 or 0
    assert metrics.colorfulness(half)[0] == pytest.approx((100**2 + 50**2) ** 0.5 * 1.3)
    assert metrics.colorfulness(color.gray(images[0][0])[None])[0] == 0


def test_ssim_is_scikit_images(images):
    expected = []
    for a, b in zip(*images, strict=True):
        options = {"data_range": 255, "channel_axis": -1, "gaussian_weights": True, "use_sample_covariance": False}
        full = structural_similarity(a, b, **options, sigma=1.5, truncate=3.34, full=True)[1]
        expected.append(full[5:-5, 5:-5].mean())  # windows that lie inside
    np.testing.assert_allclose(metrics.ssim(*images), expected, atol=2e-4)


@pytest.mark.parametrize("name", [name for name, module in METRICS.builtin.items() if module == metrics.__name__])
def test_every_metric_gives_a_number_an_image_and_does_not_mix_them(name, images):
    target, generated = images
    source = np.random.default_rng(4).integers(0, 256, target.shape, np.uint8)
    values = METRICS[name](target, generated, source)
    assert values.shape == (3,)
    assert values[1] == METRICS[name](target[1:2], generated[1:2], source[1:2])[0]


def test_the_ab_error_of_the_source_is_the_number_to_beat(images):
    target, generated = images
    np.testing.assert_array_equal(
        metrics.ab_gray(target, generated, generated[::-1]), metrics.ab_error(target, generated[::-1])
    )


def test_scores_are_those_of_the_named_metrics(images):
    target, generated = images
    found = metrics.score(target, generated, generated[::-1], ("ssim", "ab_grey"))
    assert list(found) == ["ssim", "ab_grey"]
    np.testing.assert_array_equal(found["ssim"], metrics.ssim(target, generated))
    np.testing.assert_array_equal(found["ab_grey"], metrics.ab_error(target, generated[::-1]))
    assert list(metrics.score(target, generated, generated)) == ["l1", "psnr", "ssim", "ms_ssim"]
    assert metrics.means(found) == {name: pytest.approx(values.mean()) for name, values in found.items()}


def test_equal_images():
    same = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    assert metrics.l1(same, same) == 0
    assert metrics.psnr(same, same) == np.inf
    assert metrics.ssim(same, same) == pytest.approx(1)
    assert metrics.ms_ssim(same, same) == pytest.approx(1)


def similarity(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """SSIM, and its contrast and structure, of one float64 channel: the textbook's formulas, with scipy's filter."""

    def mean(z):
        return ndimage.gaussian_filter(z, 1.5, radius=5)[5:-5, 5:-5]

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y, both = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2, mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    structure = (2 * both + 0.03**2) / (var_x + var_y + 0.03**2)
    return (luminance * structure).mean(), structure.mean()


def multi_scale(x: np.ndarray, y: np.ndarray, weights: list[float]) -> float:
    """MS-SSIM of one float64 channel, from equation 7."""
    result = 1.0
    for weight in weights[:-1]:
        result *= max(similarity(x, y)[1], 0) ** weight
        x, y = block_reduce(x, (2, 2), np.mean), block_reduce(y, (2, 2), np.mean)
    return result * max(similarity(x, y)[0], 0) ** weights[-1]


@pytest.mark.parametrize(
    ("side", "weights"),
    [
        (192, [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]),
        (176, [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]),
        (96, [0.0448, 0.2856, 0.3001, 0.2363]),
        (32, [0.0448, 0.2856]),
        (16, [0.0448]),
    ],
)
def test_ms_ssim_is_the_papers(side, weights):
    rng = np.random.default_rng(side)
    target = np.stack([toy.city(i, side)[1] for i in range(2)])
    generated = np.clip(target + rng.normal(0, 30, target.shape), 0, 255).astype(np.uint8)
    weights = [weight / sum(weights) for weight in weights]
    expected = [
        np.mean([multi_scale(a[..., c] / 255, b[..., c] / 255, weights) for c in range(3)])
        for a, b in zip(target, generated, strict=True)
    ]
    np.testing.assert_allclose(metrics.ms_ssim(target, generated), expected, atol=2e-4)
    assert metrics.scales(side) == len(weights)


def test_ms_ssim_of_opposites_is_zero():
    target = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    assert metrics.ms_ssim(target, 255 - target) == 0


@pytest.mark.parametrize(("side", "count"), [(256, 5), (176, 5), (175, 4), (128, 4), (64, 3), (32, 2), (21, 1)])
def test_a_scale_must_hold_the_window(side, count):
    assert metrics.scales(side) == count
    assert side // 2 ** (count - 1) >= 11
    assert count == 5 or side // 2**count < 11


def test_validation_keeps_its_columns():
    assert metrics.VALIDATION == ("l1", "psnr", "ssim")


def test_confusion_counts_pixels_of_the_nearest_classes():
    target = np.array([[[RED, RED], [GREEN, GREEN]], [[RED, RED], [RED, RED]]], np.uint8)
    generated = np.array([[[RED, (200, 30, 9)], [BLUE, (10, 180, 40)]], [[GREEN, RED], [RED, RED]]], np.uint8)
    matrices = metrics.confusion(target, generated, PALETTE)
    assert matrices.tolist() == [[[2, 0, 0], [0, 1, 1], [0, 0, 0]], [[3, 1, 0], [0, 0, 0], [0, 0, 0]]]


def test_label_scores_by_hand():
    """Red: 5 of 6 right, union 6; green: 1 of 2 right, union 3; blue was never true."""
    scores = metrics.label_scores(np.array([[5, 1, 0], [0, 1, 1], [0, 0, 0]]))
    assert scores == pytest.approx(
        {"pixel_accuracy": 6 / 8, "class_accuracy": (5 / 6 + 1 / 2) / 2, "mean_iou": (5 / 6 + 1 / 3) / 2}
    )


@given(st.integers(0, 1000), st.integers(2, 6))
def test_label_scores_are_those_of_sets(seed, classes):
    truth, said = np.random.default_rng(seed).integers(0, classes, (2, 30))
    there = sorted(set(truth))
    scores = metrics.label_scores(metrics.count(truth, said, classes))
    assert scores["pixel_accuracy"] == pytest.approx((truth == said).mean())
    assert scores["class_accuracy"] == pytest.approx(np.mean([(said[truth == c] == c).mean() for c in there]))
    iou = [((truth == c) & (said == c)).sum() / ((truth == c) | (said == c)).sum() for c in there]
    assert scores["mean_iou"] == pytest.approx(np.mean(iou))
