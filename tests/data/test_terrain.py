"""The procedural landscape: bands, meters, and that the one can be inferred from the other."""

from __future__ import annotations

import numpy as np
import pytest

from p2plib.data.terrain import BRIGHTEST, terrain

FIRST = [804.1, 980.4, 806.7, 2347.5, 349.7]  # mean of each band and of the height, at size 64


def shrink(values: np.ndarray) -> np.ndarray:
    """Half the size, by means of 2x2 pixels."""
    height, width, channels = values.shape
    return values.reshape(height // 2, 2, width // 2, 2, channels).astype(float).mean(axis=(1, 3))


@pytest.fixture(scope="module")
def lands() -> list[tuple[np.ndarray, np.ndarray]]:
    return [terrain(index, 128) for index in range(24)]


@pytest.mark.parametrize("size", [32, 64, 100, 256])
def test_four_bands_of_16_bits_and_meters(size):
    image, height = terrain(3, size)
    assert (image.shape, image.dtype) == ((size, size, 4), np.uint16)
    assert (height.shape, height.dtype) == ((size, size, 1), np.float32)
    assert image.flags.c_contiguous and height.flags.c_contiguous


def test_values_are_within_their_range_and_use_it(lands):
    images, heights = (np.stack(side) for side in zip(*lands, strict=True))
    assert images.max() <= BRIGHTEST and 2500 < np.percentile(images[..., 3], 80) < 4000
    assert images.min() > 5
    assert np.isfinite(heights).all() and 0 <= heights.min() < 150 and 2000 < heights.max() < 4500
    spread = heights.max(axis=(1, 2, 3)) - heights.min(axis=(1, 2, 3))
    assert spread.min() > 80 and np.percentile(spread, 80) > 800, "hills, and mountains"


def test_an_index_names_one_landscape(lands):
    for again, once in zip(terrain(7, 128), lands[7], strict=True):
        np.testing.assert_array_equal(again, once)
    assert len({height.tobytes() for _, height in lands}) == len(lands)


def test_the_landscapes_stay_what_they_are_across_versions_and_platforms():
    """Results trained on them are comparable only as long as this holds."""
    image, height = terrain(0, 64)
    np.testing.assert_allclose([*image.mean(axis=(0, 1)), height.mean()], FIRST, rtol=2e-3)


@pytest.mark.parametrize("index", range(4))
def test_the_same_landscape_at_two_sizes(index):
    for large, small, other in zip(terrain(index, 256), terrain(index, 128), terrain(index + 1, 128), strict=True):
        difference = np.abs(shrink(large) - small).mean()
        assert difference < 0.25 * np.abs(other.astype(float) - small).mean()


def water(height: np.ndarray) -> np.ndarray:
    """Where the surface is lowest: water, if there is any."""
    return height[..., 0] == height.min()


def test_near_infrared_tells_plants_from_water(lands):
    plants = wet = 0
    for image, height in lands:
        red, green, _, infrared = np.moveaxis(image.astype(float), -1, 0)
        green_land = (green > 1.15 * red) & (green > 450) & ~water(height)  # not in a mountain's shadow
        plants += green_land.mean()
        assert (infrared > 1.5 * red)[green_land].mean() > 0.9
        lake = water(height)
        if lake.sum() > 100:
            wet += 1
            assert np.median(infrared[lake]) < 250 and np.median(infrared[lake]) < np.median(red[lake])
    assert plants / len(lands) > 0.3 and wet > len(lands) / 3


def test_snow_lies_high_and_slopes_to_the_sun_are_bright(lands):
    high, low, sunny, dark = [], [], [], []
    for image, height in lands:
        blue, meters = image[..., 2].astype(float), height[..., 0]
        high += list(blue[meters > 2500])
        low += list(blue[meters < 1500])
        down, across = np.gradient(meters, 8000 / 128)
        for found, side in ((sunny, down + across > 0.4), (dark, down + across < -0.4)):
            found += list(image[..., 3][side & (meters < 1500)])
    assert np.mean(high) > 1.8 * np.mean(low)
    assert np.mean(sunny) > 1.5 * np.mean(dark)


def test_air_and_plants_tell_the_height(lands):
    """Even a straight line through the colors of whole scenes knows more than their mean."""
    colors = np.stack([np.append(np.log(np.percentile(image, 30, axis=(0, 1))), 1) for image, _ in lands])
    heights = np.array([np.percentile(height, 30) for _, height in lands])
    fitted = colors @ np.linalg.lstsq(colors, heights, rcond=None)[0]
    assert np.abs(fitted - heights).mean() < 0.7 * np.abs(heights - heights.mean()).mean()
