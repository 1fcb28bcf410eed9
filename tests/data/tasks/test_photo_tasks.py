from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2plib.data import catalog, color, sketch, toy
from p2plib.data.catalog import Entry
from p2plib.data.image import save_image
from p2plib.data.pairs import Listing, Pair
from p2plib.data.problems import PairError
from p2plib.data.tasks import base
from p2plib.data.tasks.base import PhotoPair
from p2plib.data.vase import vase
from p2plib.errors import ConfigError, DataError
from p2plib.registry import TASKS

MADE_OF_PHOTOS = ("colorize", "sketch")
PHOTO = toy.city(0, 64)[0]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def listed(data: Path | str, task: str = "colorize", size: int | None = None) -> Listing:
    return TASKS[task]().list(data, size)


def splits(data: Path | str, task: str) -> list[str]:
    return list(listed(data, task).splits)


def names(data: Path | str, split: str, task: str = "colorize") -> list[str]:
    listing = listed(data, task)
    assert listing.unpaired == {}
    return [pair.name for pair in listing.splits[split]]


def pair_of(path: Path, task: str, size: int | None = None) -> PhotoPair:
    return PhotoPair(path.name, path, TASKS[task](), size)


def test_any_folder_of_photos_is_a_training_set(tmp_path):
    folder = touch(tmp_path / "photos", "b.jpg", "sea/a.PNG", "sea/deep/c.webp", "sea/notes.txt", ".trash/d.jpg")
    for task in MADE_OF_PHOTOS:
        assert splits(folder, task) == ["train"]
        assert names(folder, "train", task) == ["b.jpg", "sea/a.PNG", "sea/deep/c.webp"]
        assert listed(folder, task).ignored == {".txt": 1, "hidden": 1}


def test_splits_are_folders_with_photos_at_any_depth(tmp_path):
    folder = touch(tmp_path / "photos", "train/1.jpg", "train/sea/2.jpg", "val/3.jpg", "other/4.jpg", "5.jpg")
    (folder / "test").mkdir()
    assert splits(folder, "colorize") == ["train", "val"]
    assert names(folder, "train") == ["train/1.jpg", "train/sea/2.jpg"]
    assert names(folder, "val") == ["val/3.jpg"]
    assert listed(folder).ignored == {"images outside the splits": 1, "images outside the splits, in other/": 1}


def test_a_folder_without_photos_or_none(tmp_path):
    with pytest.raises(DataError, match="no photos found"):
        splits(tmp_path, "sketch")
    with pytest.raises(DataError, match="neither a folder nor a data set"):
        splits(tmp_path / "nowhere", "sketch")


def test_colorize_pairs_a_photo_with_its_light(tmp_path):
    save_image(tmp_path / "1.png", PHOTO)
    source, target = pair_of(tmp_path / "1.png", "colorize").read()
    np.testing.assert_array_equal(target, PHOTO)
    np.testing.assert_array_equal(source, color.gray(PHOTO))


def test_sketch_pairs_a_photo_with_its_sketch(tmp_path):
    save_image(tmp_path / "1.png", PHOTO)
    for _ in range(2):  # drawn, then from the cache
        source, target = pair_of(tmp_path / "1.png", "sketch").read()
        np.testing.assert_array_equal(target, PHOTO)
        np.testing.assert_array_equal(source, sketch.sketch(PHOTO))


@pytest.mark.parametrize("task", MADE_OF_PHOTOS)
@pytest.mark.parametrize(("size", "shape"), [(32, (32, 64, 3)), (64, (64, 128, 3)), (100, (64, 128, 3))])
def test_large_photos_are_shrunk_in_proportion(tmp_path, task, size, shape):
    save_image(tmp_path / "photos" / "1.png", np.hstack([PHOTO, PHOTO]))
    (pair,) = listed(tmp_path / "photos", task, size).splits["train"]
    assert [image.shape for image in pair.read()] == [shape, shape]
    assert pair.views()["photo"].shape == (64, 128, 3), "the checker sees the whole photo"


def test_a_gray_photo_has_nothing_to_teach_a_colorizer(tmp_path):
    save_image(tmp_path / "gray.png", color.gray(PHOTO))
    with pytest.raises(PairError, match=r"gray\.png: has no colors") as caught:
        pair_of(tmp_path / "gray.png", "colorize").read()
    assert (caught.value.problem.kind, caught.value.problem.broken) == ("grey", False)
    assert len(pair_of(tmp_path / "gray.png", "sketch").read()) == 2


@pytest.mark.parametrize("task", MADE_OF_PHOTOS)
def test_a_damaged_photo_is_broken(tmp_path, task):
    (tmp_path / "1.jpg").write_bytes(b"<html>")
    with pytest.raises(PairError, match=r"^train/1\.jpg: cannot be read as an image") as caught:
        PhotoPair("train/1.jpg", tmp_path / "1.jpg", TASKS[task]()).read()
    assert caught.value.problem.broken


@pytest.mark.parametrize(
    ("task", "photo", "make"),
    [("colorize", lambda i: toy.city(i, 64)[0], color.gray), ("sketch", lambda i: vase(i, 64), sketch.sketch)],
    ids=["colorize", "sketch"],
)
def test_toy_works_for_every_task(task, photo, make):
    assert splits("toy", task) == ["train", "val", "test"]
    assert names("toy", "val", task) == names("toy", "val", "pairs") == [f"val/{i}" for i in range(50)]
    source, target = listed("toy", task, 64).splits["val"][0].read()
    np.testing.assert_array_equal(target, photo(CATALOG_START))
    np.testing.assert_array_equal(source, make(target))


CATALOG_START = catalog.CATALOG["toy"].splits["train"]


def test_a_set_of_the_catalog_that_does_not_suit_the_task(monkeypatch):
    with pytest.raises(DataError, match="maps holds pairs, not photos; for sketch, name coco-sample, toy, or a folder"):
        listed("maps", "sketch")
    made = dataclasses.replace(catalog.CATALOG["toy"], name="made")
    monkeypatch.setitem(catalog.CATALOG, "made", made)
    with pytest.raises(DataError, match="made holds pairs, not photos; for colorize"):
        listed("made", "colorize")


@pytest.mark.parametrize("task", MADE_OF_PHOTOS)
def test_photos_have_one_direction(task):
    for entry in (None, catalog.CATALOG["toy"], catalog.CATALOG["coco-sample"]):
        assert TASKS[task]().direction("auto", entry) == TASKS[task]().direction("AtoB", entry) == "AtoB"
    with pytest.raises(ConfigError, match=f"direction is 'BtoA', and task {task} knows only one; leave direction out"):
        TASKS[task]().direction("BtoA", None)


def test_without_scikit_image_sketches_say_how_to_get_it(monkeypatch):
    monkeypatch.setattr(sketch, "available", lambda: False)
    with pytest.raises(DataError, match=r"pip install 'p2plib\[sketch\]'"):
        listed("toy", "sketch")


def some(**splits: int) -> Entry:
    return Entry("some", "", "", splits, (8, 8), ("photo", "photo"), "AtoB", ".", ".", photos=True)


def test_photos_of_the_catalog_are_chosen_from_all(cache, monkeypatch):
    monkeypatch.setitem(catalog.CATALOG, "some", some(train=5, val=1, test=2))
    with pytest.raises(DataError, match="python -m p2plib data get some"):
        splits("some", "colorize")
    folder = touch(cache / "datasets" / "some", *(f"top/photos/{i}.jpg" for i in range(20)))
    assert splits("some", "colorize") == ["train", "val", "test"]
    chosen = {split: names("some", split) for split in splits("some", "colorize")}
    assert len(set().union(*chosen.values())) == 8
    assert chosen == {split: names("some", split, "sketch") for split in chosen}
    assert listed("some").ignored == {"images outside the splits, in top/photos/": 12}
    assert splits(folder, "colorize") == ["train"], "the folder itself has all of them"
    for i in range(15):
        (folder / "top" / "photos" / f"{i}.jpg").unlink()
    with pytest.raises(DataError, match=r"5 photos are here, and its splits need 8; .*data get some --force"):
        splits("some", "colorize")


@given(st.integers(1, 30), st.integers(0, 10), st.integers(0, 10), st.integers(0, 20))
@settings(deadline=None)
def test_chosen_splits_have_their_sizes_and_nothing_in_common(train, val, test, more):
    files = [Path(f"{i}.jpg") for i in range(train + val + test + more)]
    chosen = base._chosen(some(train=train, val=val, test=test), files)
    assert {split: len(found) for split, found in chosen.items()} == {"train": train, "val": val, "test": test}
    together = [path for found in chosen.values() for path in found]
    assert len(set(together)) == len(together) and set(together) <= set(files)
    assert chosen == base._chosen(some(train=train, val=val, test=test), files)


def test_real_photos_are_found_and_none_is_gray(shared_data):
    assert splits(shared_data / "photos", "colorize") == ["train", "val"]
    found: Sequence[Pair] = [pair for pairs in listed(shared_data / "photos").splits.values() for pair in pairs]
    assert len(found) == 80
    for pair in found[::4]:
        assert pair.views()["photo"].shape[2] == 3
