from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from p2plib import metrics


@pytest.fixture(params=["noise", "smooth"])
def pictures(request):
    rng = np.random.default_rng(3)
    target = rng.integers(0, 256, (3, 40, 48, 3), np.uint8)
    if request.param == "smooth":
        target = np.cumsum(rng.integers(0, 3, target.shape), axis=1).astype(np.uint8)
    generated = np.clip(target + rng.normal(0, 25, target.shape), 0, 255).astype(np.uint8)
    return target, generated


def test_l1_is_on_minus_one_to_one(pictures):
    target, generated = pictures
    expected = np.abs(target / 127.5 - generated / 127.5).mean((1, 2, 3))
    np.testing.assert_allclose(metrics.l1(target, generated), expected, rtol=1e-5)
    assert metrics.l1(np.zeros((1, 11, 11, 3), np.uint8), np.full((1, 11, 11, 3), 255, np.uint8)) == 2


def test_psnr_is_scikit_images(pictures):
    expected = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(*pictures, strict=True)]
    np.testing.assert_allclose(metrics.psnr(*pictures), expected, rtol=1e-5)


def test_ssim_is_scikit_images(pictures):
    expected = []
    for a, b in zip(*pictures, strict=True):
        options = {"data_range": 255, "channel_axis": -1, "gaussian_weights": True, "use_sample_covariance": False}
        full = structural_similarity(a, b, **options, sigma=1.5, truncate=3.34, full=True)[1]
        expected.append(full[5:-5, 5:-5].mean())  # windows that lie inside
    np.testing.assert_allclose(metrics.ssim(*pictures), expected, atol=2e-4)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_every_metric_gives_a_number_a_picture_and_does_not_mix_them(name, pictures):
    target, generated = pictures
    values = metrics.METRICS[name](target, generated)
    assert values.shape == (3,)
    assert values[1] == metrics.METRICS[name](target[1:2], generated[1:2])[0]


def test_equal_pictures():
    same = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    assert metrics.l1(same, same) == 0
    assert metrics.psnr(same, same) == np.inf
    assert metrics.ssim(same, same) == pytest.approx(1)
