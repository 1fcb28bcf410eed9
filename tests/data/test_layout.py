"""Folders and names as people, archives, network disks and version control make them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from p2plib.data import layout
from p2plib.data.formats import image_files, unsupported
from p2plib.data.image import read_rgb
from p2plib.data.listing import list_pairs
from p2plib.data.problems import PairError
from p2plib.errors import DataError


def image(path: Path, width: int = 8, height: int = 8, seed: int = 0, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Train", "Val"), ["train", "val"]),
        (("train", "valid"), ["train", "val"]),
        (("training", "validation", "testing"), ["train", "val", "test"]),
        (("TRAIN", "dev"), ["train", "val"]),
    ],
)
def test_splits_may_be_spelled_as_people_do(tmp_path, folders, splits):
    for folder in folders:
        image(tmp_path / folder / "1.png", 16)
    assert list(list_pairs(tmp_path).splits) == splits


@pytest.mark.parametrize("folders", [("traina", "trainb"), ("Train_A", "Train_B"), ("train/a", "train/b"), ("a", "b")])
def test_sides_may_be_spelled_as_people_do(tmp_path, folders):
    for folder in folders:
        image(tmp_path / folder / "1.png")
    [pair] = list_pairs(tmp_path).splits["train"]
    assert [path.parent.relative_to(tmp_path).as_posix() for path in pair.files.values()] == list(folders)


def test_two_spellings_of_one_split_are_refused(tmp_path):
    for folder in ("train", "val", "valid"):
        image(tmp_path / folder / "1.png", 16)
    with pytest.raises(DataError, match=r"val and in .*valid: these are two layouts"):
        list_pairs(tmp_path)


@pytest.mark.parametrize("deeper", ["maps", "maps/maps"])
@pytest.mark.parametrize("inside", ["train/1.png", "trainA/1.png", "A/train/1.png"])
def test_a_folder_unpacked_too_deep_is_named(tmp_path, deeper, inside):
    image(tmp_path / deeper / inside, 16)
    with pytest.raises(DataError) as error:
        list_pairs(tmp_path)
    assert f"probably {tmp_path / deeper} is meant" in str(error.value)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("{}_A.png", "{}_B.png"),
        ("{}.png", "{}_mask.png"),
        ("img_{}.png", "gt_{}.png"),
        ("{}_leftImg8bit.png", "{}_gtFine_color.png"),
        ("{}A.png", "{}B.png"),
        ("IMG_{}.JPG", "img_{}.png"),
    ],
)
def test_partners_by_what_their_sides_share(tmp_path, a, b):
    for i in (1, 2, 10):
        image(tmp_path / "trainA" / a.format(i), seed=i)
        image(tmp_path / "trainB" / b.format(i), seed=i + 100)
    listing = list_pairs(tmp_path)
    found = [[path.name for path in pair.files.values()] for pair in listing.splits["train"]]
    assert found == [[a.format(i), b.format(i)] for i in (1, 2, 10)]
    assert len(listing.notes) == 1
    assert not listing.unpaired["train"]


def test_partners_in_one_folder(tmp_path):
    for i in range(3):
        for side in "AB":
            image(tmp_path / "train" / f"{i}_{side}.png", seed=i)
    listing = list_pairs(tmp_path)
    assert [len(pair.files) for pair in listing.splits["train"]] == [2, 2, 2]
    assert listing.notes == [
        "train: partners have the same name but for '_A' and '_B', for example 0_A (A) and 0_B (B)."
    ]


def test_side_by_side_files_are_never_joined_by_their_names(tmp_path):
    for i in range(3):
        for time in ("day", "night"):
            image(tmp_path / "train" / f"{i}_{time}.png", 16)
    assert [list(pair.files) for pair in list_pairs(tmp_path).splits["train"]] == [["A|B"]] * 6


def test_equal_names_win_over_similar_ones(tmp_path):
    for name in ("1", "1_A"):
        image(tmp_path / "A" / f"{name}.png")
        image(tmp_path / "B" / f"{name}.png")
    listing = list_pairs(tmp_path)
    assert len(listing.splits["train"]) == 2
    assert not listing.notes


def test_accents_are_the_same_in_every_unicode_form(tmp_path):
    image(tmp_path / "A" / "caf\u00e9.png")
    image(tmp_path / "B" / "cafe\u0301.png")  # as macOS and its archives write it
    assert len(list_pairs(tmp_path).splits["train"]) == 1


@given(
    st.lists(st.text("ab1 _", min_size=1, max_size=5), min_size=2, max_size=5, unique=True),
    st.sampled_from(["_A", "-x y", ".b"]),
)
@settings(derandomize=True, max_examples=50, deadline=None)
def test_an_ending_that_one_side_has_finds_the_same_partners(stems, ending):
    a, b, _ = layout.keys(stems, [stem + ending for stem in stems])
    if not set(stems) & {stem + ending for stem in stems} and a != stems:
        assert a == b


def test_what_systems_keep_is_not_data(tmp_path):
    for name in ("__MACOSX/1.png", "@eaDir/1.jpg/thumb.jpg", "#recycle/2.png", "$RECYCLE.BIN/3.png", ".Trash/4.png"):
        image(tmp_path / name)
    kept = image(tmp_path / "1.png")
    assert image_files(tmp_path) == [kept]


@pytest.mark.parametrize("name", ["1.heic", "1.HEIC", "1.dng", "1.svg", "1.png.dvc", ".1.png.icloud", "1.jpg.part"])
def test_what_only_looks_like_an_image_is_named(tmp_path, name):
    image(tmp_path / "trainA" / "2.png")
    image(tmp_path / "trainB" / "2.png")
    (tmp_path / "trainA" / name).write_bytes(b"?")
    [problem] = list_pairs(tmp_path).unpaired["train"]
    assert problem.kind == "unsupported"
    assert problem.name == f"trainA/{name}"
    assert problem.broken


def test_a_stand_in_beside_its_image_is_no_problem(tmp_path):
    path = image(tmp_path / "1.png")
    (tmp_path / "1.png.dvc").touch()
    assert unsupported(tmp_path / "1.png.dvc", tmp_path) is None
    assert unsupported(path, tmp_path) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
        (b"/annex/objects/SHA256E-s1--00.png\n", "git-annex"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\0" * 100, "zeros"),
        (b"", "no image data"),
    ],
)
def test_a_file_that_holds_something_else_is_said_to(tmp_path, content, said):
    (tmp_path / "1.png").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_rgb(tmp_path / "1.png")


def test_dead_links_are_said_to_be(tmp_path):
    (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match="a link to a file that is not here"):
        read_rgb(tmp_path / "1.png")


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".gif", ".ppm", ".tga", ".jfif", ".webp", ".JPE"])
def test_every_kind_is_an_image_on_either_side(tmp_path, suffix):
    image(tmp_path / "trainA" / f"1{suffix}")
    image(tmp_path / "trainB" / "1.png")
    [pair] = list_pairs(tmp_path).splits["train"]
    assert pair.read()[0].shape == (8, 8, 3)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("side", ["A", "B"])
def test_an_orientation_of_one_half_only_is_reported(tmp_path, orientation, side):
    image(tmp_path / side / "1.jpg", exif=turned(orientation))
    image(tmp_path / ("B" if side == "A" else "A") / "1.png")
    [pair] = list_pairs(tmp_path).splits["train"]
    with pytest.raises(PairError, match=rf"{side} has an EXIF orientation \({orientation}\)") as error:
        pair.read()
    assert error.value.problem.kind == "orientation"


def test_an_orientation_that_only_upright_sizes_agree_with_is_right(tmp_path):
    image(tmp_path / "A" / "1.jpg", 12, 8, exif=turned(6))
    image(tmp_path / "B" / "1.png", 8, 12)
    [pair] = list_pairs(tmp_path).splits["train"]
    a, b = pair.read()
    assert a.shape == b.shape == (12, 8, 3)


@pytest.mark.parametrize(("first", "second"), [(6, 6), (6, 1), (3, 8)])
def test_two_halves_with_orientation_are_both_made_upright(tmp_path, first, second):
    for side, orientation in (("A", first), ("B", second)):
        width, height = (12, 8) if orientation >= 5 else (8, 12)
        image(tmp_path / side / "1.jpg", width, height, exif=turned(orientation))
    [pair] = list_pairs(tmp_path).splits["train"]
    assert [half.shape for half in pair.read()] == [(12, 8, 3)] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_halves_of_one_file_are_taken_as_stored(tmp_path, orientation):
    path = image(tmp_path / "train" / "1.png", 16, exif=turned(orientation))
    [pair] = list_pairs(tmp_path).splits["train"]
    np.testing.assert_array_equal(np.hstack(pair.read()), np.asarray(Image.open(path)))


def test_a_file_that_is_side_by_side_only_upright_is_turned(tmp_path):
    path = image(tmp_path / "train" / "1.png", 8, 16, exif=turned(6))
    [pair] = list_pairs(tmp_path).splits["train"]
    np.testing.assert_array_equal(np.hstack(pair.read()), np.rot90(np.asarray(Image.open(path)), 3))


def test_a_folder_that_cannot_be_opened_is_named_unless_it_is_the_system_s(tmp_path, monkeypatch):
    for name in ("train", "val", "lost+found"):
        (tmp_path / name).mkdir()
    (tmp_path / "train" / "0.png").touch()
    scandir, closed = os.scandir, {"lost+found"}

    def refusing(path):
        if Path(path).name in closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert image_files(tmp_path) == [tmp_path / "train" / "0.png"]
    closed.add("val")
    with pytest.raises(DataError, match=r"val: this folder cannot be opened \(Permission denied\); make it readable"):
        image_files(tmp_path)
