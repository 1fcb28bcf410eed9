"""Tasks and data sets of one's own: registered, they work wherever the built-in ones do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from coordinates import config

from p2plib.data import catalog
from p2plib.data.catalog import CATALOG, Entry
from p2plib.data.check import check, sheet
from p2plib.data.dataset import open_dataset
from p2plib.errors import DataError


def test_a_task_of_ones_own_is_a_task(invert, photos):
    data = open_dataset(config(photos, task="invert"))
    assert (data.names, data.direction, type(data.task)) == (("negative", "photo"), "AtoB", invert)
    loaded = data["train"].load(size=48)
    assert len(loaded.names) == 7
    np.testing.assert_array_equal(loaded.sources, 255 - loaded.targets)
    report = check(photos, "invert")
    assert report.counts == {"train": 7, "val": 3} and report.noun == "photos"
    assert sheet(photos, 3, 48, "invert").shape == (3 * 52 - 4, 2 * 52 - 4, 3)
    with pytest.raises(DataError, match="maps holds pairs, not photos; for invert, name coco-sample"):
        open_dataset(config("maps", task="invert"))


@pytest.fixture
def ramps() -> Iterator[Entry]:
    """A data set of one's own that a function makes, registered for one test."""

    def make(index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        image = np.full((size, size, 3), index, np.uint8)
        return image, 255 - image

    fields = {"title": "Ramps", "url": None, "terms": "Mine.", "citation": "Me", "direction": "BtoA"}
    shape = {"splits": {"train": 5, "test": 2}, "size": (48, 48), "names": ("dark", "light")}
    yield catalog.register(Entry(name="ramps", make=make, **fields, **shape))
    del CATALOG["ramps"]


def test_a_registered_data_set_can_be_opened(ramps):
    data = open_dataset(config("ramps"))
    assert (data.entry, data.direction, data.names, data.held_out) == (ramps, "BtoA", ("light", "dark"), 5)
    assert data.splits == ["train", "val", "test"]
    assert {split: len(data[split]) for split in data.splits} == {"train": 4, "val": 1, "test": 2}
    sources, targets, names, _ = data["test"].load()
    assert names == ["test/0", "test/1"]
    assert targets[:, 0, 0, 0].tolist() == [5, 6], "no split has an index of another"
    np.testing.assert_array_equal(sources, 255 - targets)
    assert data["test"].read(0)[0].shape == (48, 48, 3)
    with pytest.raises(DataError, match="ramps holds pairs, not photos"):
        open_dataset(config("ramps", task="colorize"))
