"""What the images of a data set are is found in them, or said by the configuration."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2plib.config import TrainConfig
from p2plib.data.check import check, sheet
from p2plib.data.dataset import open_dataset
from p2plib.data.problems import PairError
from p2plib.data.values import write_values
from p2plib.errors import ConfigError, DataError

rasterio = pytest.importorskip("rasterio")


def values(i: int, dtype: str, channels: int, highest: float, lowest: float = 0) -> np.ndarray:
    rng = np.random.default_rng(i)
    found = rng.uniform(lowest, highest, (40, 56, channels))
    found[0, 0], found[0, 1] = lowest, highest
    return found.astype(dtype)


def pairs(folder: Path, a, b, suffixes=(".tif", ".tif"), count: int = 4) -> Path:
    """A folder of pairs; `a(i)` and `b(i)` make the sides."""
    for side, make, suffix in (("A", a, suffixes[0]), ("B", b, suffixes[1])):
        for split, many in (("train", count), ("val", 2)):
            (folder / split / side).mkdir(parents=True, exist_ok=True)
            for i in range(many):
                write_values(folder / split / side / f"{i}{suffix}", make(i + 100 * (split == "val")))
    return folder


def opened(folder: Path, **fields):
    return open_dataset(TrainConfig(data=str(folder), image_size=32, **fields))


@pytest.fixture
def bands_and_heights(tmp_path):
    return pairs(
        tmp_path / "data", lambda i: values(i, "uint16", 4, 3000), lambda i: values(i, "float32", 1, 812.5, -3.25)
    )


def test_channels_types_and_ranges_are_found(bands_and_heights):
    data = opened(bands_and_heights)
    assert data.source.describe() == "A: 4 channels of uint16, 0 to 4095"
    assert data.target.describe() == "B: 1 channel of float32, -3.25 to 812.5"
    source, target = data["train"].read(2)
    np.testing.assert_array_equal(source, values(2, "uint16", 4, 3000))
    np.testing.assert_array_equal(target, values(2, "float32", 1, 812.5, -3.25))
    loaded = data["val"].load()
    assert loaded.sources.shape == (2, 32, 32, 4) and loaded.sources.dtype == np.uint16
    assert loaded.targets.shape == (2, 32, 32, 1) and loaded.targets.dtype == np.float32


def test_the_direction_decides_which_is_the_source(bands_and_heights):
    data = opened(bands_and_heights, direction="BtoA")
    assert (data.source.dtype, data.target.dtype) == ("float32", "uint16")
    assert [side.shape[-1] for side in data["train"].resized(0)] == [1, 4]


def test_settings_win(bands_and_heights):
    data = opened(bands_and_heights, source_range=(0, 2000), target_window=(10, 90), target_scale="log")
    assert (data.source.low, data.source.high) == (0, 2000)
    assert -3.25 < data.target.low < 100 and 700 < data.target.high < 812 and data.target.log
    with pytest.raises(ConfigError, match="target_range and target_window both choose the range; leave one"):
        TrainConfig(target_range=(0, 1), target_window=(1, 99))
    with pytest.raises(ConfigError, match="source_range is 5 to 5; the first must be the smaller one"):
        TrainConfig(source_range=(5, 5))
    with pytest.raises(ConfigError, match="source_channels is 17; it must be from 1 to 16"):
        TrainConfig(source_channels=17)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (np.zeros((40, 56, 20), np.uint16), "has 20 channels; at most 16 are supported, so save fewer of them"),
        (np.zeros((2, 40, 56, 3), np.uint16), r"holds an array of shape \(2, 40, 56, 3\)"),
        (np.zeros((40, 56), np.complex64), "holds values of the type complex64, not numbers"),
    ],
)
def test_files_of_what_is_not_taken_say_so(tmp_path, content, sentence):
    for split in ("train", "val"):
        for side in "AB":
            (tmp_path / split / side).mkdir(parents=True)
            np.save(tmp_path / split / side / "a.npy", content)
    with pytest.raises(DataError, match=sentence):
        opened(tmp_path)


def test_people_choose_the_bands_that_they_see(bands_and_heights):
    data = opened(bands_and_heights, source_bands=(3, 2, 1))
    assert data.source.bands == (3, 2, 1) and data.target.bands is None
    stored = json.loads(json.dumps(TrainConfig(source_bands=(3, 2, 1)).to_dict()))
    assert TrainConfig.from_dict(stored).source_bands == (3, 2, 1)
    with pytest.raises(ConfigError, match="source_bands is 5 2 1; choose three of the bands 1 to 4 of A"):
        opened(bands_and_heights, source_bands=(5, 2, 1))
    with pytest.raises(ConfigError, match="source_bands is for images of bands, and this is satellite: 3 channels of"):
        open_dataset(TrainConfig(data="toy", source_bands=(3, 2, 1)))


def test_twelve_bits_in_sixteen_keep_their_range(tmp_path):
    """Case C1: 207 levels became 14."""
    depth = pairs(
        tmp_path / "depth",
        lambda i: values(i, "uint8", 3, 255),
        lambda i: values(i, "uint16", 1, 3561),
        (".png", ".png"),
    )
    data = opened(depth)
    assert data.source.plain and data.target.describe() == "B: 1 channel of uint16, 0 to 4095"
    assert len(np.unique(data["train"].read(0)[1])) > 1000


def test_alpha_is_a_channel_if_it_is_asked_for(tmp_path):
    folder = pairs(
        tmp_path / "rgba", lambda i: values(i, "uint8", 4, 255), lambda i: values(i, "uint8", 3, 255), (".png", ".png")
    )
    assert opened(folder).source.plain, "laid on white otherwise"
    data = opened(folder, source_channels=4)
    assert data.source.describe() == "A: 4 channels of uint8, 0 to 255"
    np.testing.assert_array_equal(data["train"].read(1)[0], values(1, "uint8", 4, 255))


def test_an_image_of_another_kind_is_broken(bands_and_heights):
    write_values(bands_and_heights / "train" / "A" / "1.tif", values(1, "uint16", 3, 3000))
    data = opened(bands_and_heights)
    with pytest.raises(PairError, match="A holds 3 channels of uint16, not 4 of uint16 as the others; convert it"):
        data["train"].read(1)
    with pytest.raises(DataError, match=r"1 broken pair\(s\)"):
        data["train"].load()


def test_equal_values_teach_nothing(tmp_path):
    flat = pairs(tmp_path / "flat", lambda i: values(i, "uint8", 3, 255), lambda i: np.ones((40, 56, 1), np.float32))
    with pytest.raises(DataError, match="All values of the images are 1, so there is nothing to learn"):
        opened(flat)


def test_the_checker_says_what_it_found(bands_and_heights):
    report = check(bands_and_heights)
    assert report.counts == {"train": 4, "val": 2} and not report.broken
    assert "A: 4 channels of uint16, 0 to 4095; training maps this range to [-1, 1]" in report.table()
    shown = sheet(bands_and_heights, 2, 32)
    assert shown.shape == (2 * 36 - 4, 2 * 36 - 4, 3) and shown.dtype == np.uint8


def test_gray_files_of_eight_bits_stay_ordinary(tmp_path):
    for split, side in (("train", "A"), ("train", "B"), ("val", "A"), ("val", "B")):
        (tmp_path / split / side).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(values(i, "uint8", 1, 255)[..., 0]).save(tmp_path / split / side / f"{i}.png")
    data = opened(tmp_path, source_channels=1, target_channels=1)
    assert data.source.plain and data.target.plain
