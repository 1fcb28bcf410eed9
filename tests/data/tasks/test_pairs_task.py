from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from p2plib.data.catalog import CATALOG
from p2plib.data.download import dataset_dir
from p2plib.data.image import save_image
from p2plib.data.listing import list_pairs
from p2plib.data.pairs import Pair
from p2plib.data.tasks.pairs import Pairs
from p2plib.data.toy import city
from p2plib.errors import DataError


def names(data: str | Path, split: str) -> list[str]:
    return [pair.name for pair in found(data)[split]]


def found(data: str | Path) -> dict[str, Sequence[Pair]]:
    return Pairs().list(data).splits


def save_pair(path: Path) -> None:
    save_image(path, np.hstack(city(0, 12)))


def test_pairs_of_a_folder_are_those_that_it_holds(tiny_pairs):
    assert Pairs().list(tiny_pairs) == Pairs().list(str(tiny_pairs)) == list_pairs(tiny_pairs)
    assert Pairs().list(tiny_pairs).ignored == Counter()
    assert {split: len(pairs) for split, pairs in found(tiny_pairs).items()} == {"train": 10, "val": 3}


def test_no_such_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"mapz: neither a folder nor a data set of the catalog \(.*maps.*\)"):
        found("mapz")


def test_catalog_names_win_over_folders_and_say_how_to_download(tmp_path, monkeypatch):
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    save_pair(tmp_path / "maps" / "train" / "mine.png")
    with pytest.raises(DataError, match=r"python -m p2plib data get maps`, or write \./maps"):
        found("maps")
    assert names("./maps", "train") == names(Path("maps"), "train") == ["train/mine.png"]
    save_pair(dataset_dir("maps") / "val" / "7.png")
    assert names("maps", "val") == ["val/7.png"]


def test_toy_pairs_are_drawn_and_no_split_shares_a_city():
    pairs = found("toy")
    assert list(pairs) == list(CATALOG["toy"].splits)
    assert {split: len(found) for split, found in pairs.items()} == dict(CATALOG["toy"].splits)
    everything = [pair for found in pairs.values() for pair in found]
    assert len({pair.index for pair in everything}) == len({pair.name for pair in everything}) == len(everything)
    first = pairs["val"][0]
    np.testing.assert_array_equal(first.read(), city(first.index, CATALOG["toy"].size[0]))
    assert Pairs().list("toy").ignored == {}
    assert first.files == {} and list(first.views()) == ["A", "B"]


@pytest.mark.parametrize(("size", "drawn"), [(None, 256), (64, 64), (1024, 256)])
def test_toy_cities_are_drawn_no_larger_than_needed(size, drawn):
    assert {pair.size for pairs in Pairs().list("toy", size).splits.values() for pair in pairs} == {drawn}


def test_photos_of_the_catalog_are_no_pairs():
    with pytest.raises(DataError, match="coco-sample holds photos, not pairs; add --task colorize or --task sketch"):
        found("coco-sample")


@pytest.mark.parametrize(
    ("asked", "name", "direction"),
    [
        ("auto", None, "AtoB"),
        ("auto", "maps", "AtoB"),
        ("auto", "facades", "BtoA"),
        ("AtoB", "facades", "AtoB"),
        ("BtoA", "maps", "BtoA"),
        ("BtoA", None, "BtoA"),
    ],
)
def test_the_direction_is_the_one_asked_for_or_the_usual_one(asked, name, direction):
    assert Pairs().direction(asked, CATALOG.get(name)) == direction
