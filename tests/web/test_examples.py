"""Each model gets sources of its own kind to try, and the colors of its labels."""

from __future__ import annotations

import numpy as np
import pytest

from p2plib.config import TrainConfig
from p2plib.data import color, sketch, toy
from p2plib.data.catalog import CATALOG
from p2plib.data.image import resize_image, save_image
from p2plib.data.vase import vase
from p2plib.errors import DataError
from p2plib.web.examples import Examples


def test_toy_models_get_new_cities():
    config = TrainConfig(image_size=64)
    found = Examples.of(config, None)
    assert found.image(3).shape == (64, 64, 3)
    np.testing.assert_array_equal(found.image(3), found.image(3))
    assert (found.image(3) != found.image(4)).any()
    seen = [toy.city(i, 64)[0] for i in range(500)[::50]]
    assert not any((found.image(0) == city).all() for city in seen)


def test_models_of_crops_get_cities_at_the_scale_of_their_training():
    config = TrainConfig(image_size=64, load="crop")
    np.testing.assert_array_equal(Examples.of(config, None).image(7), toy.city(10_007, 256)[0])


def test_the_side_is_that_of_the_sources():
    aerial, city = (Examples.of(TrainConfig(image_size=64, direction=side), None) for side in ("AtoB", "BtoA"))
    np.testing.assert_array_equal(aerial.image(7), toy.city(10_007, 64)[0])
    np.testing.assert_array_equal(city.image(7), toy.city(10_007, 64)[1])
    assert (aerial.palette, city.palette) == ({}, toy.PALETTE)


def test_models_of_photos_get_sources_of_their_task():
    found = {task: Examples.of(TrainConfig(image_size=64, task=task), None) for task in ("colorize", "sketch")}
    np.testing.assert_array_equal(found["colorize"].image(7), color.gray(toy.city(10_007, 64)[0]))
    np.testing.assert_array_equal(found["sketch"].image(7), sketch.sketch(vase(10_007, 64)))
    assert all(examples.palette == {} for examples in found.values()), "a city's map is not part of them"


def test_models_of_pairs_get_their_validation_split(tiny_config, tiny_pairs):
    found = Examples.of(tiny_config, None)
    expected = [resize_image(toy.city(i, 40)[0], 32, 32) for i in (10, 11, 12)]
    for seed in range(6):
        np.testing.assert_array_equal(found.image(seed), expected[seed % 3])


def test_data_that_is_not_at_hand_gives_cities():
    assert Examples.of(TrainConfig(data="/nowhere", image_size=32), None).image(0).shape == (32, 32, 3)


def test_few_flat_colors_are_labels(tmp_path):
    rng = np.random.default_rng(0)
    colors = np.array([(0, 0, 0), (250, 0, 0), (0, 250, 0), (0, 0, 250)], np.uint8)
    for name in ("train", "val"):
        labels = colors[np.kron(rng.integers(0, 4, (4, 4)), np.ones((8, 8), int))]
        photo = rng.integers(0, 256, (32, 32, 3), np.uint8)
        save_image(tmp_path / name / "1.png", np.hstack([labels, photo]))
    config = TrainConfig(data=str(tmp_path), image_size=32)
    assert set(Examples.of(config, None).palette) == {"#000000", "#fa0000", "#00fa00", "#0000fa"}
    assert Examples.of(TrainConfig(data=str(tmp_path), image_size=32, direction="BtoA"), None).palette == {}


def test_known_classes_have_their_names():
    facades = Examples.of(TrainConfig(data="facades"), None).palette
    assert facades == CATALOG["facades"].classes
    assert Examples.of(TrainConfig(data="facades", direction="AtoB"), None).palette == {}


def test_the_users_own_images_come_first(tiny_config, tmp_path):
    for i in range(3):
        save_image(tmp_path / "deep" / f"{i}.png", np.full((20, 3000 if i == 2 else 30, 3), i, np.uint8))
    (tmp_path / ".hidden.png").write_text("no image")
    found = Examples.of(tiny_config, tmp_path)
    assert [int(found.image(seed)[0, 0, 0]) for seed in range(4)] == [0, 1, 2, 0]
    assert found.image(0).shape == (20, 30, 3)
    assert found.image(2).shape[1] == 1024


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(DataError, match="no images for examples"):
        Examples.of(TrainConfig(), tmp_path)
    with pytest.raises(DataError, match="nowhere: no images"):
        Examples.of(TrainConfig(), tmp_path / "nowhere")
