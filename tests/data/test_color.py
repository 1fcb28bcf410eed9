from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.color import lab2rgb, rgb2lab

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from gradients import gradients  # noqa: E402
from tolerance import LAB, RGB, rounding  # noqa: E402

from p2plib.data import color  # noqa: E402

IMAGE = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
CHROMA = arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(2)), elements=st.floats(-128, 128, width=32)
)
LEVELS = np.stack(np.meshgrid(*[np.arange(0, 256, 15, np.uint8)] * 3, indexing="ij"), axis=-1).reshape(18, -1, 3)


def in_keras(function, values):
    return keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(np.float32(values)), keras.ops))


def light(image):
    return rgb2lab(image)[..., 0]


def test_lab_is_that_of_skimage():
    reference = rgb2lab(LEVELS)
    assert np.abs(color.rgb_to_lab(LEVELS / 255) - reference).max() <= 500 * rounding(12, dtype=float)
    assert np.abs(in_keras(color.rgb_to_lab, LEVELS / 255) - reference).max() <= LAB
    assert np.abs(color.lightness(LEVELS / 255) - reference[..., 0]).max() <= 116 * rounding(12, dtype=float)


def test_rgb_is_that_of_skimage():
    lab = rgb2lab(LEVELS)
    assert np.abs(color.lab_to_rgb(lab) - lab2rgb(lab)).max() < 1e-6
    assert np.abs(in_keras(color.lab_to_rgb, lab) - lab2rgb(lab)).max() <= RGB


def test_colors_that_srgb_cannot_show_are_those_of_skimage_but_for_its_clipping():
    lab = np.stack(np.meshgrid([40, 60, 80.0], [-90, 0, 90], [-60, 0, 60], indexing="ij"), axis=-1)
    rgb = color.lab_to_rgb(lab)
    assert rgb.min() < -0.1 and rgb.max() > 1.1
    assert np.abs(np.clip(rgb, 0, 1) - lab2rgb(lab)).max() < 1e-3


@given(IMAGE)
def test_there_and_back(image):
    assert np.abs(color.lab_to_rgb(color.rgb_to_lab(image / 255)) - image / 255).max() < 1e-6


def test_there_and_back_in_keras():
    both = in_keras(lambda x, xp: color.lab_to_rgb(color.rgb_to_lab(x, xp), xp), LEVELS / 255)
    assert np.abs(both - LEVELS / 255).max() <= RGB


@pytest.mark.parametrize("function", [color.rgb_to_lab, color.lab_to_rgb])
def test_gradients_are_finite_at_black_white_and_every_joint(function):
    lab = [[0, 0, 0], [100, 0, 0], [7.9996, 0, 0], [8, 0, 0], [50, 110, -110], [0, 110, 110], [-16, 0, 0]]
    grays = [-0.1, 0, 0.04045, 0.0031308 * 12.92, 0.008856 * 12.92, 0.0922, 1, 1.1]
    points = np.array(lab if function is color.lab_to_rgb else [[v] * 3 for v in grays] + [[0, 0, 1], [1, 0, 0]])
    x = keras.Variable(np.float32([points, points + 1e-6, points - 1e-6]))
    (found,) = gradients(lambda: keras.ops.sum(function(x, keras.ops)), [x])
    assert np.isfinite(found).all()


def test_the_gradient_is_the_slope():
    points = rgb2lab(LEVELS)[:, ::40].reshape(-1, 3)
    weights = np.array([0.3, -1, 0.7])
    for function, values, step in ((color.lab_to_rgb, points, 1e-4), (color.rgb_to_lab, LEVELS[::5, ::40] / 255, 1e-6)):
        x = keras.Variable(np.float32(values))
        (found,) = gradients(lambda f=function, x=x: keras.ops.sum(f(x, keras.ops) * weights), [x])
        for i in range(3):
            move = np.eye(3)[i] * step
            slope = ((function(values + move) - function(values - move)) @ weights) / (2 * step)
            np.testing.assert_allclose(found[..., i], slope, rtol=0.01, atol=1e-3 * np.abs(slope).max())


@given(IMAGE)
def test_gray_keeps_the_lightness(image):
    gray = color.gray(image)
    assert gray.dtype == np.uint8 and (gray == gray[..., :1]).all()
    assert np.abs(light(gray) - light(image)).max() < 0.3
    np.testing.assert_array_equal(color.gray(gray), gray)


def test_grayness():
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    assert not color.is_gray(noise)
    assert color.is_gray(color.gray(noise))
    faded = np.clip(color.gray(noise) + np.array([4, 0, -3]), 0, 255).astype(np.uint8)
    assert color.is_gray(faded)
    stamped = np.full((100, 100, 3), 128, np.uint8)
    stamped[:10, :20] = [255, 0, 0]
    assert color.is_gray(stamped)
    stamped[:10] = [255, 0, 0]
    assert not color.is_gray(stamped)


@given(IMAGE, CHROMA)
def test_new_colors_keep_the_lightness(image, chroma):
    result = color.recolor(image, chroma)
    assert result.dtype == np.uint8 and result.shape == image.shape
    assert np.abs(light(result) - light(image)).max() < 0.5


@given(IMAGE)
def test_its_own_colors_give_the_image_back(image):
    lab = rgb2lab(image)
    assert np.abs(color.recolor(image, lab[..., 1:]).astype(int) - image).max() <= 1
    assert np.abs(color.recolor(color.gray(image), np.zeros((1, 1, 2))).astype(int) - color.gray(image)).max() <= 1


def test_impossible_colors_keep_their_hue():
    image = np.full((4, 4, 3), 200, np.uint8)
    result = rgb2lab(color.recolor(image, np.full((1, 1, 2), [90.0, -60.0])))
    angle = np.arctan2(result[..., 2], result[..., 1])
    assert np.abs(angle - np.arctan2(-60, 90)).max() < 0.05
    assert 15 < np.hypot(result[..., 1], result[..., 2]).min() < 100


def test_a_tall_image_is_recolored_without_seams():
    rng = np.random.default_rng(1)
    image = rng.integers(60, 190, (3 * color.STRIP - 50, 6, 3), np.uint8)
    chroma = rng.uniform(-20, 20, (16, 16, 2)).astype(np.float32)
    whole = color.recolor(image, chroma).astype(int)
    original, color.STRIP = color.STRIP, len(image)
    try:
        assert np.abs(color.recolor(image, chroma) - whole).max() <= 1
    finally:
        color.STRIP = original
