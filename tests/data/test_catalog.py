from __future__ import annotations

from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import numpy as np
import pytest

from p2plib.data.catalog import CATALOG, Direction, Entry, find
from p2plib.data.image import read_rgb
from p2plib.errors import DataError


def test_has_the_promised_data_sets():
    promised = {"toy", "maps", "facades", "cityscapes", "edges2shoes", "edges2handbags", "night2day"}
    promised |= {"coco-sample"}
    assert promised <= CATALOG.keys()


@pytest.mark.parametrize("key", CATALOG)
def test_every_entry_is_complete(key: str):
    entry = CATALOG[key]
    assert entry.name == key
    assert entry.direction in get_args(Direction)
    assert len(entry.names) == 2 and all(entry.names) and (entry.names[0] == entry.names[1]) == entry.photos
    assert entry.splits["train"] > 0 and all(count > 0 for count in entry.splits.values())
    assert entry.splits.keys() <= {"train", "val", "test"}
    assert len(entry.size) == 2 and min(entry.size) >= 32
    for text in (entry.title, entry.terms, entry.citation):
        assert text.strip() and "\n" not in text
    assert entry.terms.endswith(".")
    assert len(set(entry.classes.values())) == len(entry.classes)
    assert all(0 <= value <= 255 for color in entry.classes.values() for value in color)


def test_facade_colors_are_those_of_the_files(shared_data: Path):
    pairs = sorted((shared_data / "facades" / "train").iterdir())[:12]
    labels = np.concatenate([image[:, 256:].reshape(-1, 3) for image in map(read_rgb, pairs)])
    for name, color in CATALOG["facades"].classes.items():
        near = np.abs(labels - np.array(color, int)).max(axis=1) <= 3
        assert near.mean() > 0.0003, name


@pytest.mark.parametrize("entry", [d for d in CATALOG.values() if d.url and not d.photos], ids=lambda d: d.name)
def test_address_names_the_archive(entry: Entry):
    assert entry.url is not None
    parts = urlsplit(entry.url)
    assert parts.scheme in ("http", "https") and parts.hostname
    assert parts.path.endswith(f"/{entry.name}.tar.gz")


def test_what_is_made_needs_no_download():
    assert {name for name, entry in CATALOG.items() if entry.url is None} == {"toy", "terrain", "scan"}


@pytest.mark.parametrize("name", ["terrain", "scan"])
def test_what_is_made_is_of_the_kinds_that_the_catalog_says(name):
    entry = CATALOG[name]
    for kind, values in zip(entry.kinds, entry.make(3, 64), strict=True):
        assert (values.shape, values.dtype) == ((64, 64, kind.channels), kind.dtype)
        assert kind.low <= values.min() < values.max() <= kind.high


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("facades", {"train": 400, "val": 100, "test": 106}),
        ("maps", {"train": 1096, "val": 1098}),
        ("cityscapes", {"train": 2975, "val": 500}),
        ("edges2shoes", {"train": 49825, "val": 200}),
        ("edges2handbags", {"train": 138567, "val": 200}),
    ],
)
def test_published_counts(name: str, splits: dict[str, int]):
    assert find(name).splits == splits


def test_find_returns_the_entry():
    assert find("facades") is CATALOG["facades"]


@pytest.mark.parametrize(("typed", "meant"), [("facade", "facades"), ("Maps", "maps"), ("edges2shoe", "edges2shoes")])
def test_unknown_name_gets_the_closest_and_all(typed: str, meant: str):
    with pytest.raises(DataError, match=f"Did you mean {meant}") as caught:
        find(typed)
    assert all(name in str(caught.value) for name in CATALOG)


def test_name_like_nothing_gets_no_guess():
    with pytest.raises(DataError) as caught:
        find("../../etc")
    assert "Did you mean" not in str(caught.value)
