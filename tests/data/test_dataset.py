from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from coordinates import SIZE, config, coordinates

from p2plib.config import TrainConfig
from p2plib.data import color, toy
from p2plib.data.catalog import CATALOG
from p2plib.data.dataset import Dataset, open_dataset
from p2plib.data.image import resize_image, save_image
from p2plib.data.pairs import spread
from p2plib.data.problems import PairError, Problem, say_left_out
from p2plib.errors import ConfigError, DataError
from p2plib.registry import TASKS


def opened(folder: Path, **values) -> Dataset:
    return open_dataset(config(folder, **values))


@pytest.fixture
def unsplit(folder) -> Path:
    """Twenty training pairs and no split for validation."""
    shutil.rmtree(folder / "val")
    for i in range(7, 20):
        save_image(folder / "train" / f"{i}.png", np.hstack([coordinates(i), coordinates(i)]))
    return folder


# Opening.


def test_an_opened_data_set_has_everything_resolved(folder):
    data = opened(folder)
    assert (data.data, data.entry, data.task.name, data.shape, data.held_out) == (
        str(folder),
        None,
        "pairs",
        (SIZE, SIZE),
        None,
    )
    assert (data.direction, data.names, data.splits) == ("AtoB", ("A", "B"), ["train", "val"])
    assert {split: len(data[split]) for split in data.splits} == {"train": 7, "val": 3}


def test_files_are_listed_once_and_not_read(folder, monkeypatch):
    walks, walk = [], os.walk
    monkeypatch.setattr(os, "walk", lambda *given, **named: walks.append(given) or walk(*given, **named))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail(f"{image.filename} was read"))
    data = opened(folder)
    for _ in range(2):
        assert data.splits == ["train", "val"] and data.names == ("A", "B")
        assert len(data["train"]) == 7 and data["val"].names == ["val/0.png", "val/1.png", "val/2.png"]
        assert data.fingerprint
    assert len(walks) == 1


def test_names_of_both_sides_come_from_the_catalog(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))
    for name in ("maps", "facades"):
        shutil.copytree(folder / "train", tmp_path / "cache" / "datasets" / name / "train")
    assert opened("maps").names == ("satellite", "map")
    assert opened("maps", direction="BtoA").names == ("map", "satellite")
    assert opened("facades").names == ("labels", "photo")
    assert opened(folder).names == ("A", "B")
    assert opened(folder, direction="BtoA").names == ("B", "A")


def test_the_direction_is_never_auto(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))
    for name in ("maps", "facades"):
        shutil.copytree(folder / "train", tmp_path / "cache" / "datasets" / name / "train")
    assert [opened(data).direction for data in (folder, "toy", "maps", "facades")] == ["AtoB", "AtoB", "AtoB", "BtoA"]
    assert opened("facades", direction="AtoB").direction == "AtoB"
    assert opened(folder, direction="BtoA").direction == "BtoA"


@pytest.mark.parametrize(("task", "names"), [("colorize", ("gray", "color")), ("sketch", ("sketch", "photo"))])
def test_the_task_names_both_sides(photos, task, names):
    for data in ("toy", photos):
        assert (opened(data, task=task).names, opened(data, task=task).direction) == (names, "AtoB")
    for data in ("toy", "coco-sample", "my/photos"):
        kind = TASKS[task]()
        assert tuple(side.name for side in kind.sides(CATALOG.get(data))) == names
        assert kind.direction("auto", CATALOG.get(data)) == "AtoB"
    with pytest.raises(ConfigError, match=f"task {task} knows only one"):
        opened(photos, task=task, direction="BtoA")


def test_no_such_split_is_said_with_those_there_are(folder, photos):
    with pytest.raises(DataError, match=r"there is no split 'test'; it has train, val"):
        opened(folder)["test"]
    with pytest.raises(DataError, match=r"there is no split 'test'; it has train, val"):
        opened(photos, task="colorize")["test"]
    shutil.rmtree(folder / "train")
    with pytest.raises(DataError, match=r"there is no split 'train'; it has val"):
        opened(folder)["train"]
    (folder / "val").rename(folder / "test")
    assert opened(folder).splits == ["test"]
    for split in ("train", "val"):
        with pytest.raises(DataError, match=f"there is no split '{split}'; it has test"):
            opened(folder)[split]


@pytest.mark.parametrize(("image_size", "drawn"), [(32, 64), (64, 128), (128, 256), (256, 256)])
def test_toy_cities_are_drawn_no_larger_than_needed(image_size, drawn):
    pairs = open_dataset(TrainConfig(data="toy", image_size=image_size))["val"].pairs
    assert {pair.size for pair in pairs} == {drawn}


# Pairs that are held out.


def test_without_val_some_training_pairs_are_held_out(unsplit):
    data = opened(unsplit)
    assert (data.held_out, data.splits) == (5, ["train", "val"])
    train, val = data["train"], data["val"]
    assert (len(train), len(val)) == (18, 2)
    assert not set(train.names) & set(val.names)
    assert list(val.pairs) == list(data["val"].pairs) == list(opened(unsplit)["val"].pairs)
    assert val.pairs != opened(unsplit, seed=6)["val"].pairs


def test_held_out_pairs_are_those_of_earlier_versions(unsplit):
    """Otherwise a resumed run would validate on what it trained on."""
    order = np.random.default_rng(5).permutation(20)
    assert opened(unsplit)["val"].names == [f"train/{i}.png" for i in sorted(order[:2])]
    assert opened(unsplit)["train"].names == [f"train/{i}.png" for i in sorted(order[2:])]


def test_val_stands_between_train_and_test(unsplit):
    (unsplit / "test").mkdir()
    shutil.copy(unsplit / "train" / "1.png", unsplit / "test")
    data = opened(unsplit)
    assert data.splits == ["train", "val", "test"]
    assert data["test"].names == ["test/1.png"]


def test_one_pair_is_too_few_to_hold_one_out(tmp_path):
    save_image(tmp_path / "1.png", np.hstack([coordinates(1)] * 2))
    for split in ("train", "val"):
        with pytest.raises(DataError, match="one pair is too few to train and validate on; add pairs"):
            opened(tmp_path)[split]


def test_photos_without_val_are_split_by_the_seed(photos):
    shutil.rmtree(photos / "val")
    data = opened(photos, task="colorize")
    both = [data[split].pairs for split in ("train", "val")]
    assert [len(pairs) for pairs in both] == [6, 1]
    assert not {pair.name for pair in both[0]} & {pair.name for pair in both[1]}


# Reading.


def test_validation_pairs_are_only_resized(folder):
    sources, targets, names, left_out = opened(folder)["val"].load()
    assert names == ["val/0.png", "val/1.png", "val/2.png"]
    assert left_out == []
    assert sources.shape == targets.shape == (3, SIZE, SIZE, 3) and sources.dtype == targets.dtype == np.uint8
    for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
        np.testing.assert_array_equal(source, resize_image(coordinates(i, 36), SIZE, SIZE))
        np.testing.assert_array_equal(target, resize_image(255 - coordinates(i, 36), SIZE, SIZE))


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_the_source_comes_first_wherever_a_pair_is_read(folder, direction):
    split = opened(folder, direction=direction)["train"]
    a, b = coordinates(3, 36), 255 - coordinates(3, 36)
    expected = (a, b) if direction == "AtoB" else (b, a)
    assert split.name(3) == split.names[3] == "train/3.png"
    np.testing.assert_array_equal(split.read(3), expected)
    np.testing.assert_array_equal(split.originals()[3], expected)
    np.testing.assert_array_equal(split.resized(3, 36), expected)
    np.testing.assert_array_equal(split.resized(3), [resize_image(side, SIZE, SIZE) for side in expected])
    loaded = split.load(size=36)
    np.testing.assert_array_equal([loaded.sources[3], loaded.targets[3]], expected)


def test_a_limit_takes_pairs_evenly_spaced(folder):
    split = opened(folder)["train"]
    assert split.load(3).names == split.spread(3).names == ["train/0.png", "train/3.png", "train/6.png"]
    assert [source[0, 0, 2] for source, _ in split.originals(3)] == [0, 3, 6]


def test_spread_keeps_the_ends():
    assert spread(range(10), 4) == [0, 3, 6, 9]
    assert spread(range(3), 0) == spread(range(3), 5) == [0, 1, 2]


# Broken pairs.


def test_broken_pairs_are_refused_by_name_or_left_out(folder):
    (folder / "val" / "1.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"1 broken pair.*--skip-broken(.|\n)*val/1\.png: cannot be read"):
        opened(folder)["val"].load()
    with pytest.raises(DataError, match=r"1 broken pair.*--skip-broken(.|\n)*val/1\.png"):
        opened(folder)["val"].originals()
    with pytest.raises(PairError, match=r"^val/1\.png: cannot be read"):
        opened(folder)["val"].read(1)
    loaded = opened(folder, skip_broken=True)["val"].load()
    assert loaded.names == ["val/0.png", "val/2.png"] and len(loaded.sources) == 2
    assert [problem.name for problem in loaded.left_out] == ["val/1.png"]


def test_files_without_partner_are_refused_by_name_or_left_out(tmp_path):
    for name in ("trainA/1", "trainB/1", "trainA/2", "trainB/2", "trainA/3", "valA/1"):
        save_image(tmp_path / f"{name}.png", coordinates(1))
    with pytest.raises(DataError, match=r"1 broken pair.*--skip-broken(.|\n)*trainA/3\.png"):
        opened(tmp_path)["train"]
    data = opened(tmp_path, skip_broken=True)
    assert [problem.name for problem in data["train"].left_out] == ["trainA/3.png"]
    assert [problem.name for problem in data["train"].load().left_out] == ["trainA/3.png"]
    with pytest.raises(DataError, match=r"No pair can be used; 1 pair\(s\) are left out \(1 missing partner\)"):
        data["val"].load()


def test_only_gray_photos_are_an_error(photos):
    for i in (7, 8, 9):
        save_image(photos / "val" / f"{i}.png", color.gray(toy.city(i, 48)[0]))
    with pytest.raises(DataError, match=r"No pair can be used; 3 pair\(s\) are left out \(3 grey\)"):
        opened(photos, task="colorize")["val"].load()


def test_an_error_names_ten_pairs_at_most_and_the_rest_is_counted(tmp_path):
    for name in ("val/0.png", *(f"train/{i}.png" for i in range(12))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"12 broken pair\(s\)(.|\n)*train/9\.png") as caught:
        opened(tmp_path)["train"].load()
    assert str(caught.value).endswith("\n  ... and 2 more")
    problems = [Problem(f"{i}", "odd width", "is odd") for i in range(3)]
    assert say_left_out(problems, 2) == (
        "3 pair(s) are left out (3 odd width):\n  0: is odd.\n  1: is odd.\n  ... and 1 more"
    )
    assert say_left_out(problems).endswith("\n  2: is odd.")


# Links.


def test_a_dead_link_is_a_broken_pair_by_name(folder):
    (folder / "train" / "9.png").symlink_to(folder / "gone.png")
    data = opened(folder)
    assert data["train"].names[-1] == "train/9.png"
    with pytest.raises(DataError, match=r"1 broken pair(.|\n)*train/9\.png: cannot be read as an image"):
        data["train"].load()
    loaded = opened(folder, skip_broken=True)["train"].load()
    assert len(loaded.sources) == 7 and [problem.kind for problem in loaded.left_out] == ["unreadable"]
    assert data.fingerprint == opened(folder).fingerprint


def test_a_dead_link_is_a_broken_photo_by_name(photos):
    (photos / "val" / "9.png").unlink()
    (photos / "val" / "9.png").symlink_to(photos / "gone.png")
    with pytest.raises(DataError, match=r"1 broken pair(.|\n)*val/9\.png: cannot be read as an image"):
        opened(photos, task="sketch")["val"].load()


def test_links_to_folders_are_followed_and_never_in_a_circle(folder, tmp_path_factory):
    there = tmp_path_factory.mktemp("linked")
    for split in ("train", "val"):
        (there / split).symlink_to(folder / split)
    (folder / "train" / "back").symlink_to(folder)
    (folder / "val" / "here").symlink_to(".")
    (there / "up").symlink_to(there.parent)
    data = opened(there)
    assert {split: len(data[split]) for split in data.splits} == {"train": 7, "val": 3}
    np.testing.assert_array_equal(data["val"].load().sources, opened(folder)["val"].load().sources)


@pytest.mark.parametrize("names", [("train", "val"), ("val", "train")])
def test_two_links_to_one_folder_are_both_followed(folder, names):
    """Whichever the system lists first: what is there does not depend on it."""
    shutil.rmtree(folder / "val")
    (folder / "train").rename(folder / "all")
    for name in names:
        (folder / name).symlink_to("all")
    data = opened(folder)
    assert {split: len(data[split]) for split in data.splits} == {"train": 7, "val": 7}


def test_photos_behind_links_are_photos_of_the_split(photos, tmp_path):
    (photos / "train" / "more").symlink_to(photos / "val")
    (photos / "val" / "circle").symlink_to(photos)
    data = opened(photos, task="sketch")
    assert [name for name in data["train"].names if "more" in name] == [f"train/more/{i}.png" for i in (7, 8, 9)]
    assert data["val"].names == ["val/7.png", "val/8.png", "val/9.png"]


# Classes and fingerprints.


def test_classes_are_the_catalogs_or_seen_in_the_images(tmp_path):
    assert open_dataset(TrainConfig(data="toy")).classes("target") == toy.PALETTE
    assert open_dataset(TrainConfig(data="toy")).classes("source") is None
    assert open_dataset(TrainConfig(data="toy", direction="BtoA")).classes("source") == toy.PALETTE
    assert open_dataset(TrainConfig(data="toy", task="colorize")).classes("target") is None
    for i in range(4):
        save_image(tmp_path / "val" / f"{i}.png", np.hstack(toy.city(i, 128)))
    data = opened(tmp_path)
    assert data.classes("source", "val") is None
    assert set(data.classes("target", "val").values()) <= set(toy.PALETTE.values())
    assert opened(tmp_path, direction="BtoA").classes("source", "val") == data.classes("target", "val")


def test_a_copy_elsewhere_has_the_same_fingerprint(folder, photos, tmp_path_factory):
    there = tmp_path_factory.mktemp("copies")
    shutil.copytree(folder, there / "pairs")
    shutil.copytree(photos, there / "photos")
    assert opened(folder).fingerprint == opened(there / "pairs").fingerprint
    first, second = (opened(place, task="colorize").fingerprint for place in (photos, there / "photos"))
    assert first == second != opened(photos, task="sketch").fingerprint
    assert opened(folder).fingerprint != opened(folder, direction="BtoA").fingerprint
    assert opened("toy").fingerprint == opened("toy").fingerprint != opened("toy", task="colorize").fingerprint


def add(folder: Path) -> None:
    shutil.copy(folder / "train" / "1.png", folder / "train" / "9.png")


def remove(folder: Path) -> None:
    (folder / "val" / "1.png").unlink()


def rename(folder: Path) -> None:
    (folder / "val" / "1.png").rename(folder / "val" / "9.png")


def grow(folder: Path) -> None:
    with (folder / "train" / "1.png").open("ab") as file:
        file.write(b"x")


def break_link(folder: Path) -> None:
    (folder / "train" / "1.png").unlink()
    (folder / "train" / "1.png").symlink_to("gone.png")


@pytest.mark.parametrize("change", [add, remove, rename, grow, break_link])
def test_other_images_have_another_fingerprint(folder, change):
    before = opened(folder).fingerprint
    change(folder)
    assert opened(folder).fingerprint != before


def test_what_is_no_image_and_the_test_split_do_not_count(folder):
    before = opened(folder).fingerprint
    (folder / "notes.txt").touch()
    shutil.copytree(folder / "val", folder / "test")
    assert opened(folder).fingerprint == before
