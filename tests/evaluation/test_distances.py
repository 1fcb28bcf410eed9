"""The mathematics against independent implementations, on random features and random images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, ndimage, stats
from tolerance import rounding

from p2plib.data import toy
from p2plib.data.image import resize_image, to_float
from p2plib.errors import DataError
from p2plib.evaluation import distances
from p2plib.evaluation.distances import Extractor, fid, kid, sliced_wasserstein


def features(seed: int, count: int, size: int, shift: float = 0.0) -> np.ndarray:
    """Features that are correlated and not centered."""
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, (count, size)) @ rng.normal(0, 1, (size, size)) + rng.normal(0, 1, size)


@pytest.mark.parametrize(("count", "other"), [(50, 60), (7, 60), (7, 5)])
def test_fid_is_that_of_scipys_matrix_root(count, other):
    """With more features than images, too: scipy's root of a singular product has an imaginary part there."""
    a, b = features(0, count, 10), features(1, other, 10, 0.5)
    c1, c2 = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(c1 @ c2 + 1e-12 * np.eye(10)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * root)
    assert fid(a, b) == pytest.approx(expected, rel=1e-4)


def test_fid_of_gaussians_is_the_closed_form():
    """Features with exactly these means and (commuting) covariances: |m1 - m2|^2 + sum((s1 - s2)^2)."""
    rng = np.random.default_rng(0)
    white = np.linalg.qr(rng.normal(size=(40, 5)) - rng.normal(size=5))[0]
    white -= white.mean(0)
    white = np.linalg.qr(white)[0] * np.sqrt(39)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    s1, s2, m1, m2 = rng.uniform(0.1, 3, (4, 5))
    a, b = white * s1 @ turn + m1, white[::-1] * s2 @ turn + m2
    assert fid(a, b) == pytest.approx(((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum())


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 8))
def test_fid_is_a_symmetric_distance(seed, count, size):
    a, b = features(seed, count, size), features(seed + 1, count + 1, size)
    assert fid(a, a) == pytest.approx(0, abs=1e-9 * (1 + a.var()) * size)
    assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-8)
    assert fid(a, b) > 0
    assert fid(a, a + 2) == pytest.approx(4 * size)


def naive_kid(a: np.ndarray, b: np.ndarray) -> float:
    """The definition, one pair after another."""

    def mean(x, y, own):
        values = [(p @ q / len(p) + 1) ** 3 for i, p in enumerate(x) for j, q in enumerate(y) if own is False or i != j]
        return np.mean(values)

    return mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)


def test_kid_and_its_error_by_definition():
    a, b = features(0, 9, 4), features(1, 12, 4, 0.3)
    value, error = kid(a, b)
    assert value == pytest.approx(naive_kid(a, b))
    without_a = np.array([naive_kid(np.delete(a, i, 0), b) for i in range(9)])
    without_b = np.array([naive_kid(a, np.delete(b, i, 0)) for i in range(12)])
    variances = [(len(x) - 1) / len(x) * ((x - x.mean()) ** 2).sum() for x in (without_a, without_b)]
    assert error == pytest.approx(np.sqrt(sum(variances)))
    assert kid(b, a) == pytest.approx((value, error))


def test_fid_does_not_depend_on_how_many_rows_are_taken_at_a_time(monkeypatch):
    a, b = features(0, 300, 7), features(1, 250, 7, 0.5)
    at_once = fid(a, b)
    monkeypatch.setattr(distances, "_ROWS", 16)
    assert fid(a, b) == pytest.approx(at_once)


def test_features_of_networks_count_in_float64():
    """Far from 0, float32 would lose the small differences between sets."""
    a, b = (features(seed, 200, 5, shift).astype(np.float32) + 1000 for seed, shift in ((0, 0), (1, 0.5)))
    assert fid(a, b) == pytest.approx(fid(a.astype(np.float64), b.astype(np.float64)), rel=1e-12)
    assert kid(a, b) == kid(a.astype(np.float64), b.astype(np.float64))


def test_kid_does_not_depend_on_how_many_rows_are_taken_at_a_time(monkeypatch):
    monkeypatch.setattr(distances, "_ROWS", 512)
    a, b = features(0, 1100, 3), features(1, 600, 3)
    kernels = [(x @ y.T / 3 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b))]
    own = [(kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1)) for kernel in kernels[:2]]
    assert kid(a, b)[0] == pytest.approx(sum(own) - 2 * kernels[2].mean())


def test_kid_has_no_bias_and_its_error_covers():
    """Features of one number, uniform on [0, 1] and [0.4, 1.4]: the kernel compares their first three moments."""
    rng = np.random.default_rng(0)
    moments = [[(high ** (k + 1) - low ** (k + 1)) / (k + 1) for k in (1, 2, 3)] for low, high in ((0, 1), (0.4, 1.4))]
    true = sum(weight * (m1 - m2) ** 2 for weight, m1, m2 in zip((3, 3, 1), *moments, strict=True))
    results = np.array([kid(rng.uniform(0, 1, (40, 1)), rng.uniform(0.4, 1.4, (50, 1))) for _ in range(400)])
    values, errors = results.T
    assert values.mean() == pytest.approx(true, abs=3 * values.std() / 20)
    assert errors.mean() == pytest.approx(values.std(), rel=0.1)
    assert 0.91 <= (np.abs(values - true) < 1.96 * errors).mean() <= 0.98


def test_kid_of_one_distribution_is_around_zero_and_its_error_is_not_too_small():
    rng = np.random.default_rng(0)
    results = np.array([kid(*rng.normal(0, 1, (2, 40, 6))) for _ in range(300)])
    values, errors = results.T
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(300)
    assert values.std() <= errors.mean() < 2 * values.std()
    assert (np.abs(values) < 1.96 * errors).mean() >= 0.95


@pytest.fixture(scope="module")
def cities() -> np.ndarray:
    """Ten maps and ten photos."""
    return np.stack([[toy.city(i, 48)[side] for i in range(10)] for side in (1, 0)])


def test_sliced_wasserstein_has_a_number_a_level(cities):
    assert list(sliced_wasserstein(*cities)) == [48, 24]
    assert list(sliced_wasserstein(cities[0, :, :32], cities[1, :, :32])) == [32, 16]
    assert list(sliced_wasserstein(cities[0, :, :17, :19], cities[1, :, :17, :19])) == [17]


def test_sliced_wasserstein_of_equal_sets_is_zero_and_symmetric_else(cities):
    maps, photos = cities
    assert set(sliced_wasserstein(maps, maps).values()) == {0}
    assert sliced_wasserstein(maps, photos) == sliced_wasserstein(photos, maps) != sliced_wasserstein(maps, photos, 1)


def test_sliced_wasserstein_sees_blur_where_it_is(cities):
    """A slight blur takes away detail of the finest level more than of the coarse one; more blur, more of it."""
    _, photos = cities
    some, more = (sliced_wasserstein(photos, ndimage.gaussian_filter(photos, (0, s, s, 0))) for s in (0.5, 1))
    assert some[48] > 1.5 * some[24] > 0
    assert more[48] > some[48]


def test_the_distance_of_projections_is_scipys():
    a, b = np.random.default_rng(0).normal(0, 1, (2, 50, 4)) * [[[1]], [[2]]]
    expected = np.mean([stats.wasserstein_distance(a[:, k], b[:, k]) for k in range(4)])
    assert distances._distance(a, b) == pytest.approx(expected)


def test_projections_of_a_shifted_set_move_by_the_mean_shift_along_a_direction():
    """In D dimensions, |unit vector . shift| is |shift| times the mean of |cos|, as its Gaussian limit says."""
    a = np.random.default_rng(0).normal(0, 1, (300, 147)).astype(np.float32)
    shift = np.full(147, 0.5, np.float32)
    expected = np.linalg.norm(shift) * np.sqrt(2 / np.pi / 147)
    assert distances._sliced(a, a + shift, np.random.default_rng(1)) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("shape", [(32, 32, 3), (33, 46, 3)])
def test_the_pyramid_is_scipys_and_adds_up_again(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    window = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])[..., None] / 256
    fine, coarse = distances._pyramid(image, 2)
    expected = ndimage.convolve(image.astype(float), window, mode="mirror")[::2, ::2]
    np.testing.assert_allclose(coarse, expected, rtol=rounding(10))  # five operations that round in each direction
    doubled = np.zeros(shape)
    doubled[::2, ::2] = coarse
    blurred = ndimage.convolve(doubled, 4 * window, mode="mirror")
    np.testing.assert_allclose(fine + blurred, image, atol=rounding(12, 4 * 255))  # it blurs four times the pixels


def test_patches_are_normalized_per_channel(cities):
    found = distances.Patches(10, (48, 48))
    found.add(*cities)
    patches = distances._normalize(found.found[0][0].reshape(-1, 3, 7, 7)).reshape(-1, 3, 49)
    error = rounding(len(patches) * 49, 255 / cities[0].std())  # of the mean of so many pixels, in deviations
    np.testing.assert_allclose(patches.mean((0, 2)), 0, atol=error)
    np.testing.assert_allclose(patches.std((0, 2)), 1, atol=error)


def test_patches_are_the_same_however_many_images_come_at_a_time(cities):
    found = distances.Patches(10, (48, 48))
    for i in range(0, 10, 3):
        found.add(*cities[:, i : i + 3])
    assert found.distances() == sliced_wasserstein(*cities)


def test_an_extractor_gets_a_few_images_at_a_time():
    seen = []

    def mean_color(images):
        seen.append(len(images))
        return images.mean((1, 2)).astype(np.float32)

    images = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), np.uint8)
    found = Extractor("mean color", mean_color)(images)
    assert seen == [32, 32, 6]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, images.mean((1, 2)), rtol=rounding(1))


@pytest.mark.keras
@pytest.mark.once
def test_inception_without_its_weights(monkeypatch, tmp_path):
    """The way up to the weights, and what is said where they are not."""
    keras = pytest.importorskip("keras")
    extractor = distances.inception_v3(weights=None)
    image = toy.city(0, 64)[0]
    found = extractor(image[None])
    assert found.shape == (1, 2048)
    assert np.isfinite(found).all()
    assert "Keras InceptionV3" in extractor.name
    resized = resize_image(image, 299, 299)
    expected = keras.applications.inception_v3.preprocess_input(resized.astype(np.float32))
    np.testing.assert_allclose(to_float(resized), expected, atol=rounding(2, 2))
    with pytest.raises(DataError, match=r"nowhere\.h5 weights of InceptionV3 cannot be"):
        distances.inception_v3(weights=str(tmp_path / "nowhere.h5"))
