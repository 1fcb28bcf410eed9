"""The sizes of training images, measured by their headers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import ExifTags, Image

from p2plib.config import TrainConfig
from p2plib.data.dataset import open_dataset
from p2plib.data.scale import Scale, native_size, scale_of


def save(path, height, width, turn=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(path, exif=exif)


def test_the_median_and_the_largest_of_both_splits(tmp_path):
    for i, (height, width) in enumerate([(40, 80), (44, 100), (50, 90)]):
        save(tmp_path / "train" / f"{i}.png", height, width)
    save(tmp_path / "val" / "3.png", 60, 120)
    config = TrainConfig(data=str(tmp_path), image_size=32)
    assert scale_of(open_dataset(config)) == Scale((47, 48), (60, 60))
    assert scale_of(open_dataset(dataclasses.replace(config, load="crop"))) is None


@pytest.mark.parametrize("turn", [1, 6])
def test_it_is_that_of_the_pairs_as_they_are_read(tmp_path, turn):
    for side in "AB":
        save(tmp_path / "train" / side / "1.jpg", 40, 60, turn)
        save(tmp_path / "val" / side / "2.jpg", 40, 60, turn)
    for split in ("train", "val"):
        [pair] = open_dataset(TrainConfig(data=str(tmp_path)))[split].pairs
        assert native_size(pair) == pair.read()[0].shape[:2]


def test_the_toy_set_has_the_size_it_is_made_at():
    assert scale_of(open_dataset(TrainConfig(data="toy", image_size=32))) == Scale((64, 64), (64, 64))
