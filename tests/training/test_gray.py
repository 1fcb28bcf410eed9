"""Where all training targets are gray, so is every image that the model makes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data import toy  # noqa: E402
from p2plib.data.batches import Batches  # noqa: E402
from p2plib.data.dataset import open_dataset  # noqa: E402
from p2plib.data.image import is_gray, read_rgb, save_image  # noqa: E402
from p2plib.errors import ConfigError, DataError  # noqa: E402

WAYS = {"memory": {}, "disk": {"memory_budget": 0.0}, "crop": {"load": "crop"}}


def write(folder: Path, colored: int | None = None, suffix: str = "png") -> Path:
    """Six pairs of a street map and its gray copy; that of pair `colored` is blue in one corner."""
    for i in range(6):
        photo = toy.city(i, 40)[0]
        gray = photo.mean(-1, keepdims=True).round().astype(np.uint8).repeat(3, -1)
        if i == colored:
            gray[:4, :4] = (0, 0, 200)
        save_image(folder / "A" / f"{i}.png", photo)
        save_image(folder / "B" / f"{i}.{suffix}", gray)
    return folder


@pytest.fixture(scope="module")
def gray_pairs(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("gray"))


@pytest.fixture(scope="module")
def gray_run(gray_pairs, tiny_config, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "gray"
    return p2plib.train(dataclasses.replace(tiny_config, data=str(gray_pairs), run_dir=str(run)))


def channels(config: TrainConfig) -> int:
    return Batches(open_dataset(config), config).target_channels


@pytest.mark.parametrize("way", WAYS)
def test_gray_targets_are_found(tiny_config, gray_pairs, tmp_path, way):
    config = dataclasses.replace(tiny_config, data=str(gray_pairs), **WAYS[way])
    assert channels(config) == 1
    assert channels(dataclasses.replace(config, direction="BtoA")) == 3
    assert channels(dataclasses.replace(config, target_channels=3)) == 3
    held_out = open_dataset(config)["val"].names[0]
    colored = next(i for i in range(6) if f"{i}.png" not in held_out)
    assert channels(dataclasses.replace(config, data=str(write(tmp_path, colored)))) == 3
    with pytest.raises(DataError, match="target_channels is 1, but there are colors in B"):
        channels(dataclasses.replace(config, data=str(tmp_path), target_channels=1))


@pytest.mark.parametrize("suffix", ["jpg", "webp", "bmp"])
def test_lossy_files_of_gray_images_are_gray(tiny_config, tmp_path, suffix):
    assert channels(dataclasses.replace(tiny_config, data=str(write(tmp_path, suffix=suffix)))) == 1


def test_every_image_of_the_model_is_gray(gray_run, gray_pairs, capsys):
    assert TrainConfig.read(gray_run / "config.json").target_channels == 1
    model = p2plib.load(gray_run)
    for size in (32, 90):  # as a whole, and in tiles
        [image] = p2plib.translate(model, [toy.city(9, size)[0]])
        np.testing.assert_array_equal(image, image[..., :1].repeat(3, -1))
        assert image.std() > 0
    sheet = read_rgb(gray_run / "samples" / "0000008.png")
    assert not is_gray(sheet)  # the sources beside them keep their colors


def test_it_is_said_and_kept_when_a_run_goes_on(gray_run, gray_pairs, tiny_config, capsys):
    config = dataclasses.replace(tiny_config, data=str(gray_pairs), run_dir=None)
    assert config.target_channels is None
    p2plib.train(dataclasses.replace(config, epochs=5), resume=gray_run)
    assert TrainConfig.read(gray_run / "config.json").target_channels == 1
    with pytest.raises(ConfigError, match="cannot change target_channels"):
        p2plib.train(dataclasses.replace(config, target_channels=3), resume=gray_run)


def test_a_color_model_is_a_beginning_for_gray_ones(gray_pairs, tiny_config, tiny_run, tmp_path, capsys):
    config = dataclasses.replace(tiny_config, data=str(gray_pairs), init=str(tiny_run), epochs=1, decay_epochs=0)
    p2plib.train(dataclasses.replace(config, run_dir=str(tmp_path / "new")))
    said = capsys.readouterr().out
    assert "all training targets are gray, so the generated images are, too" in said
    assert "weights taken" in said and "new:" not in said


def test_runs_of_before_stay_in_color(tiny_config):
    values = tiny_config.to_dict()
    del values["target_channels"]
    assert TrainConfig.from_dict(values).target_channels == 3
    with pytest.raises(ConfigError, match="target_channels is 0; it must be from 1 to 16"):
        dataclasses.replace(tiny_config, target_channels=0)


def test_gray_is_what_no_eye_tells_from_gray():
    image = np.full((4, 4, 3), 100, np.uint8)
    assert is_gray(image)
    image[2, 3, 1] = 104
    assert is_gray(image)
    image[2, 3, 0] = 99
    assert not is_gray(image)
