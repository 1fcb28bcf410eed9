from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2plib.data.listing import list_pairs
from p2plib.data.pairs import FilePair, Pair
from p2plib.data.problems import PairError, Problem
from p2plib.errors import DataError

quick = settings(derandomize=True, max_examples=25, deadline=None)


def noise(seed: int, height: int = 12, width: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))
    return path


def save_pair(path: Path, seed: int = 0) -> Path:
    return save(path, np.hstack([noise(seed), noise(seed + 1)]))


def names(pairs: Sequence[Pair]) -> list[str]:
    return [pair.name for pair in pairs]


def find_pairs(root: Path, split: str) -> tuple[Sequence[Pair], list[Problem]]:
    listing = list_pairs(root)
    return listing.splits[split], listing.unpaired[split]


def splits(root: Path) -> list[str]:
    return list(list_pairs(root).splits)


@given(st.data())
@quick
def test_side_by_side_gives_back_the_two_halves(tmp_path_factory, data):
    height = data.draw(st.integers(1, 20))
    half = data.draw(st.integers(height, 40))
    suffix = data.draw(st.sampled_from([".png", ".webp"]))
    left, right = noise(height, height, half), noise(half + 100, height, half)
    path = save(tmp_path_factory.mktemp("pair") / f"1{suffix}", np.hstack([left, right]))
    a, b = FilePair("1", path).read()
    np.testing.assert_array_equal(a, left)
    np.testing.assert_array_equal(b, right)


def test_jpeg_in_capital_letters_is_a_pair(tmp_path):
    save_pair(tmp_path / "1.JPG")
    (pair,) = find_pairs(tmp_path, "train")[0]
    a, b = pair.read()
    assert a.shape == b.shape == (12, 12, 3) and a.dtype == b.dtype == np.uint8


@given(st.sets(st.integers(0, 3000), min_size=2, max_size=12), st.sampled_from(["_AB", " b", ""]))
@quick
def test_pairs_come_in_natural_order(tmp_path_factory, numbers, end):
    folder = tmp_path_factory.mktemp("natural")
    for number in numbers:
        (folder / f"shoe {number}{end}.jpg").touch()
    assert names(find_pairs(folder, "train")[0]) == [f"shoe {number}{end}.jpg" for number in sorted(numbers)]


@pytest.mark.parametrize(
    ("folder_a", "folder_b"), [("val/A", "val/B"), ("A/val", "B/val"), ("valA", "valB")], ids=lambda name: name
)
def test_every_layout_gives_the_same_pairs(tmp_path, folder_a, folder_b):
    one, two = tmp_path / "one", tmp_path / "two"
    for i in (1, 2, 10):
        a, b = noise(i), noise(i + 50)
        save(one / "val" / f"{i}.png", np.hstack([a, b]))
        save(two / folder_a / f"{i}.png", a)
        save(two / folder_b / f"{i}.webp", b)
    assert splits(one) == splits(two) == ["val"]
    pairs = find_pairs(two, "val")[0]
    assert names(pairs) == [f"{folder_a}/{i}.png | {folder_b}/{i}.webp" for i in (1, 2, 10)]
    for side_by_side, two_files in zip(find_pairs(one, "val")[0], pairs, strict=True):
        np.testing.assert_array_equal(side_by_side.read(), two_files.read())


def test_a_folder_without_splits_is_train(tmp_path):
    save_pair(tmp_path / "files" / "1.png")
    save(tmp_path / "folders" / "A" / "1.png", noise(1))
    save(tmp_path / "folders" / "B" / "1.png", noise(2))
    assert splits(tmp_path / "files") == splits(tmp_path / "folders") == ["train"]
    assert names(find_pairs(tmp_path / "files", "train")[0]) == ["1.png"]
    assert names(find_pairs(tmp_path / "folders", "train")[0]) == ["A/1.png | B/1.png"]


def test_splits_come_in_fixed_order_and_empty_ones_do_not_count(tmp_path):
    for name in ("test/1.png", "train/1.png"):
        save_pair(tmp_path / name)
    (tmp_path / "val").mkdir()
    assert splits(tmp_path) == ["train", "test"]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "readme.txt").touch()
    with pytest.raises(DataError, match="no images found"):
        splits(tmp_path)


def test_two_layouts_for_one_split_are_refused(tmp_path):
    save_pair(tmp_path / "train" / "1.png")
    save(tmp_path / "trainA" / "1.png", noise(1))
    with pytest.raises(DataError, match="two layouts"):
        splits(tmp_path)


def test_files_without_partner_are_named_and_never_dropped_silently(tmp_path):
    for i in range(1, 9):
        save(tmp_path / "trainA" / f"{i}.png", noise(i))
    save(tmp_path / "trainB" / "1.jpg", noise(20))
    save(tmp_path / "trainB" / "x.png", noise(21))
    pairs, problems = find_pairs(tmp_path, "train")
    assert names(pairs) == ["trainA/1.png | trainB/1.jpg"]
    assert [problem.name for problem in problems] == [f"trainA/{i}.png" for i in range(2, 9)] + ["trainB/x.png"]
    assert "no image called x in trainA/" in str(problems[-1])


def test_a_whole_missing_side_is_missing_partners_not_side_by_side(tmp_path):
    save_pair(tmp_path / "train" / "A" / "1.png")
    pairs, problems = find_pairs(tmp_path, "train")
    assert pairs == [] and [problem.kind for problem in problems] == ["missing partner"]


def test_one_stem_twice_in_a_folder_is_ambiguous(tmp_path):
    for name in ("A/1.png", "A/1.jpg", "B/1.png"):
        save(tmp_path / name, noise(1))
    pairs, (problem,) = find_pairs(tmp_path, "train")
    assert pairs == [] and problem.kind == "ambiguous stem" and problem.broken
    assert problem.name == "A/1.jpg | A/1.png | B/1.png"


def test_files_of_no_split_are_counted(tmp_path):
    save_pair(tmp_path / "train" / "1.png")
    for name in (
        "notes.txt",
        "train/.DS_Store",
        "train/._1.png",
        "train/more/2.png",
        "lone.jpg",
        ".git/config",
        "LICENSE",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names(find_pairs(tmp_path, "train")[0]) == ["train/1.png"]
    assert list_pairs(tmp_path).ignored == {
        ".txt": 1,
        "hidden": 3,
        "images outside the splits": 1,
        "images outside the splits, in train/more/": 1,
        "without suffix": 1,
    }


@pytest.mark.parametrize(
    ("height", "width", "kind"),
    [
        (32, 65, "odd width"),
        (321, 481, "odd width"),
        (320, 480, "not a pair"),  # 3:2
        (480, 320, "not a pair"),
        (480, 640, "not a pair"),  # 4:3
        (90, 160, "not a pair"),  # 16:9
        (64, 64, "not a pair"),
    ],
)
def test_a_lone_image_is_never_cut_in_half(tmp_path, height, width, kind):
    pair = FilePair("train/1.png", save(tmp_path / "1.png", noise(0, height, width)))
    with pytest.raises(PairError, match=rf"train/1.png: {width}x{height} .* lone image") as caught:
        pair.read()
    assert caught.value.problem.kind == kind


@pytest.mark.parametrize(("height", "width"), [(10, 18), (256, 512), (25, 50), (20, 60)])
def test_two_halves_side_by_side_are_accepted(tmp_path, height, width):
    a, b = FilePair("1", save(tmp_path / "1.png", noise(0, height, width))).read()
    assert a.shape == b.shape == (height, width // 2, 3)


def test_sides_of_different_size_are_refused(tmp_path):
    a, b = save(tmp_path / "a.png", noise(0, 10, 12)), save(tmp_path / "b.png", noise(0, 10, 14))
    with pytest.raises(PairError, match=r"1 \| 2: A is 12x10 and B is 14x10"):
        FilePair("1 | 2", a, b).read()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_truncated_file_is_named(tmp_path, suffix):
    path = save_pair(tmp_path / f"1{suffix}")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(PairError, match=rf"^train/1{suffix}: cannot be read as an image") as caught:
        FilePair(f"train/1{suffix}", path).read()
    assert caught.value.problem.kind == "unreadable"


def test_of_two_files_the_unreadable_one_is_named(tmp_path):
    a = save(tmp_path / "a.png", noise(0))
    b = tmp_path / "b.png"
    b.write_text("<html>")
    with pytest.raises(PairError, match=r"A/1 \| B/1: B cannot be read"):
        FilePair("A/1 | B/1", a, b).read()


def test_pair_errors_keep_their_problem_between_processes(tmp_path):
    with pytest.raises(PairError) as caught:
        FilePair("1", tmp_path / "gone.png").read()
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.problem) == (str(caught.value), caught.value.problem)


def test_orientation_is_applied_before_the_halves_are_cut(tmp_path):
    upright = np.hstack([noise(0), noise(1)])
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned, to be shown turned back by 90 degrees clockwise
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "1.png", exif=exif)
    a, b = FilePair("1", tmp_path / "1.png").read()
    np.testing.assert_array_equal(np.hstack([a, b]), upright)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("facades", {"train": 400, "val": 100}),
        ("maps", {"train": 60, "val": 20}),
        ("edges2shoes", {"train": 100, "val": 20}),
    ],
)
def test_real_data_sets_are_found(shared_data, name, counts):
    assert {split: len(find_pairs(shared_data / name, split)[0]) for split in splits(shared_data / name)} == counts
