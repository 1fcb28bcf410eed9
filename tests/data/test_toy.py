from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from p2plib.data.image import read_rgb, resize_image, tile_images
from p2plib.data.toy import PALETTE, city

COLORS = np.array(list(PALETTE.values()), float)

FIRST_CITY = [[124.27, 122.20, 108.07], [226.83, 223.20, 207.22]]  # mean colors at size 64: aerial, map


def classes(map_image: np.ndarray, tolerance: int = 3) -> dict[str, np.ndarray]:
    """Where the map shows each class, up to the pixels on edges."""
    away = np.abs(map_image[:, :, None].astype(int) - COLORS).max(axis=-1)
    return {name: away[..., i] <= tolerance for i, name in enumerate(PALETTE)}


@pytest.fixture(scope="module")
def cities() -> list[tuple[np.ndarray, np.ndarray]]:
    return [city(index, 128) for index in range(20)]


@pytest.mark.parametrize("size", [32, 64, 100, 256])
def test_both_images_are_rgb_of_the_size_asked_for(size):
    for image in city(3, size):
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8


def test_an_index_names_one_city(cities):
    for again, once in zip(city(7, 128), cities[7], strict=True):
        np.testing.assert_array_equal(again, once)
    maps = {map_image.tobytes() for _, map_image in cities}
    assert len(maps) == len(cities)


def test_the_cities_stay_what_they_are_across_versions_and_platforms():
    """Results trained on the toy set are comparable only as long as this holds."""
    means = [image.mean(axis=(0, 1)) for image in city(0, 64)]
    np.testing.assert_allclose(means, FIRST_CITY, atol=0.1)


def test_every_pixel_stays_what_it_is():
    """Processors round sines differently, which can move a point over an edge: a few pixels of 9216 may differ."""
    painted = tile_images([[*city(index, 48)] for index in (0, 7)], gap=0)
    stored = read_rgb(Path(__file__).parent / "reference" / "toy.png")
    assert painted.shape == stored.shape
    assert (painted != stored).any(axis=-1).sum() <= 9


@pytest.mark.parametrize("index", range(4))
def test_the_same_city_at_two_sizes(index):
    for large, small, other in zip(city(index, 256), city(index, 128), city(index + 1, 128), strict=True):
        difference = np.abs(resize_image(large, 128, 128).astype(float) - small).mean()
        assert difference < 9
        assert difference < 0.25 * np.abs(other.astype(float) - small).mean()


def test_the_map_is_flat(cities):
    for _, map_image in cities:
        assert sum(mask.mean() for mask in classes(map_image).values()) > 0.6


def test_every_class_occurs(cities):
    shares = [{name: mask.mean() for name, mask in classes(map_image).items()} for _, map_image in cities]
    for name in PALETTE:
        assert sum(share[name] > 0.02 for share in shares) >= 10, name
    for share in shares:
        assert min(share["land"], share["street"], share["building"]) > 0.02


@pytest.mark.parametrize(
    ("name", "is_it"),
    [
        ("water", lambda red, green, blue: blue > np.maximum(red + 15, green)),
        ("park", lambda red, green, blue: green > np.maximum(red, blue)),
        ("street", lambda red, green, blue: np.maximum(abs(red - green), abs(blue - green)) < 25),
        ("avenue", lambda red, green, blue: np.maximum(abs(red - green), abs(blue - green)) < 25),
    ],
)
def test_the_photo_shows_what_the_map_says(cities, name, is_it):
    shown = []
    for aerial, map_image in cities:
        mask = classes(map_image)[name]
        if mask.sum() > 50:
            shown.append(is_it(*np.moveaxis(aerial.astype(int), -1, 0))[mask].mean())
    assert len(shown) >= 10
    assert min(shown) > 0.75, shown


def test_the_photo_has_texture_where_the_map_is_flat(cities):
    for aerial, map_image in cities:
        steps = np.abs(np.diff(aerial.astype(int), axis=1)).mean(axis=-1)
        for name, mask in classes(map_image).items():
            inside = mask[:, 1:] & mask[:, :-1]
            if inside.sum() > 50:
                assert steps[inside].mean() > 1, name


def test_no_image_is_nearly_constant(cities):
    for aerial, map_image in cities:
        assert aerial.std() > 25
        assert map_image.std() > 15


def test_shadows_fall_to_the_lower_right(cities):
    """The sun stands in the upper left: so the ground below and right of a building is dark."""
    for aerial, map_image in cities:
        where, light = classes(map_image), aerial.mean(axis=-1)
        shifts = {s: where["land"] & np.roll(where["building"], (s, s), (0, 1)) for s in (2, -2)}
        assert light[shifts[2]].mean() < light[shifts[-2]].mean() - 15
