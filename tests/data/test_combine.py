from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2plib.cli.main import main
from p2plib.data import combine
from p2plib.data.image import read_rgb, save_image
from p2plib.data.listing import list_pairs
from p2plib.errors import DataError


def image(seed: int, height: int = 12, width: int = 14) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Five pairs in two folders, of different formats and with other files beside them."""
    a, b = tmp_path / "a", tmp_path / "b"
    for i in range(5):
        save_image(a / f"{i}.png", image(i))
        save_image(b / f"{i}.{'webp' if i % 2 else 'png'}", image(10 + i))
    (a / "notes.txt").write_text("mine")
    (b / ".hidden.png").write_text("?")
    return a, b


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_two_folders_become_side_by_side_pairs(folders, tmp_path):
    a, b = folders
    expected = {i: (read_rgb(a / f"{i}.png"), read_rgb(next(b.glob(f"{i}.*")))) for i in range(5)}
    made = combine.combine(a, b, tmp_path / "out")
    assert files(tmp_path / "out") == [f"{i}.png" for i in range(5)]
    assert str(made) == f"{tmp_path / 'out'}: 5 train; not images, left out: 1 .txt, 1 hidden"
    listing = list_pairs(tmp_path / "out")
    assert listing.unpaired == {"train": []} and len(listing.splits["train"]) == 5
    for i, pair in enumerate(listing.splits["train"]):
        for side, original in zip(pair.read(), expected[i], strict=True):
            assert (side == original).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "out"]


def test_splits_stay(tmp_path):
    for side in "ab":
        for split in ("train", "val"):
            save_image(tmp_path / side / split / "x.png", image(ord(side)))
    made = combine.combine(tmp_path / "a", tmp_path / "b", tmp_path / "out")
    assert made.counts == {"train": 1, "val": 1}
    assert files(tmp_path / "out") == ["train/x.png", "val/x.png"]
    assert list(list_pairs(tmp_path / "out").splits) == ["train", "val"]


def test_every_problem_is_named_and_nothing_is_written(folders, tmp_path):
    a, b = folders
    save_image(a / "alone.png", image(1))
    save_image(b / "2.jpg", image(2))
    save_image(a / "0.png", image(0, 9, 9))
    (b / "3.webp").write_bytes(b"not an image")
    save_image(a / "deep" / "down.png", image(3))
    with pytest.raises(DataError) as error:
        combine.combine(a, b, tmp_path / "out")
    text = str(error.value)
    assert text.startswith("5 problem(s), nothing was written (--resize 256 makes sizes equal):\n")
    assert "a/alone.png: there is no image called alone in b/; add it, or remove this one." in text
    assert "a/2.png | b/2.jpg | b/2.png: files of one folder share a stem; keep one of them." in text
    assert "a/0.png | b/0.png: A is 9x9 and B is 14x12; make them equal." in text
    assert "a/3.png | b/3.webp: B cannot be read as an image" in text
    assert "a/deep/down.png: is outside the folders that are used; move or remove it." in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_sizes_are_made_equal_on_demand(folders, tmp_path):
    a, b = folders
    save_image(a / "0.png", image(0, 90, 9))
    combine.combine(a, b, tmp_path / "out", resize=32)
    assert {Image.open(path).size for path in (tmp_path / "out").iterdir()} == {(64, 32)}


def test_halves_that_would_not_be_seen_as_a_pair_are_refused(tmp_path):
    for side in "ab":
        save_image(tmp_path / side / "tall.png", image(0, 40, 20))
    with pytest.raises(DataError, match=r"tall\.png: 20x40 is too narrow for two halves side by side"):
        combine.combine(tmp_path / "a", tmp_path / "b", tmp_path / "out")


def test_what_is_there_is_not_overwritten(folders, tmp_path):
    a, b = folders
    save_image(tmp_path / "out" / "mine.png", image(0))
    with pytest.raises(DataError, match=r"out: is there already, and nothing is overwritten"):
        combine.combine(a, b, tmp_path / "out")
    with pytest.raises(DataError, match="lies where the images come from"):
        combine.combine(a, b, a / "pairs")
    with pytest.raises(DataError, match="are the same folder"):
        combine.combine(a, a, tmp_path / "new")
    with pytest.raises(DataError, match="missing: no such folder"):
        combine.combine(a, tmp_path / "missing", tmp_path / "new")
    with pytest.raises(DataError, match="resized to 0 pixels"):
        combine.combine(a, b, tmp_path / "new", resize=0)
    with pytest.raises(DataError, match="cannot be written"):
        combine.combine(a, b, tmp_path / "out" / "mine.png" / "new")
    assert files(tmp_path / "out") == ["mine.png"]


def test_an_empty_folder_is_taken(folders, tmp_path):
    (tmp_path / "out").mkdir()
    assert combine.combine(*folders, tmp_path / "out").counts == {"train": 5}


def test_folders_without_images_are_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="no images found"):
        combine.combine(tmp_path / "a", tmp_path / "b", tmp_path / "out")


def test_an_interrupted_call_leaves_nothing(folders, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(combine, "save_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        combine.combine(*folders, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.fixture(params=["side by side", "two folders"])
def whole(request, tmp_path) -> Path:
    """Twenty pairs without splits, in either layout."""
    for i in range(20):
        if request.param == "side by side":
            save_image(tmp_path / "whole" / f"{i}.png", image(i, 10, 20))
        else:
            save_image(tmp_path / "whole" / "A" / f"{i}.png", image(i))
            save_image(tmp_path / "whole" / "B" / f"{i}.jpg", image(-i % 99))
    return tmp_path / "whole"


def contents(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_split_copies_every_file_once(whole, tmp_path):
    before = contents(whole)
    made = combine.split(whole, tmp_path / "out", val=0.2, test=0.1, seed=3)
    assert made.counts == {"train": 14, "val": 4, "test": 2}
    assert contents(whole) == before and contents(tmp_path / "out") == before
    listing = list_pairs(tmp_path / "out")
    assert {name: len(found) for name, found in listing.splits.items()} == made.counts
    assert not any(listing.unpaired.values())


def test_the_seed_chooses(whole, tmp_path):
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        combine.split(whole, tmp_path / name, seed=seed)
    assert files(tmp_path / "one") == files(tmp_path / "again") != files(tmp_path / "two")


def test_a_split_of_what_is_split_or_broken_is_refused(whole, tmp_path):
    combine.split(whole, tmp_path / "out")
    with pytest.raises(DataError, match="has the splits train, val already"):
        combine.split(tmp_path / "out", tmp_path / "new")
    with pytest.raises(DataError, match="is there already"):
        combine.split(whole, tmp_path / "out")
    save_image(whole / "elsewhere" / "x.png", image(0))
    with pytest.raises(
        DataError,
        match=r"1 problem\(s\), nothing was written:\n  elsewhere/x.png: is outside the folders",
    ):
        combine.split(whole, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_without_partner_is_named_once(tmp_path):
    for name in ("A/1.png", "A/2.png", "B/1.png", "B/3.png"):
        save_image(tmp_path / "whole" / name, image(1))
    with pytest.raises(DataError) as error:
        combine.split(tmp_path / "whole", tmp_path / "out", val=0.4)
    assert "2 problem(s)" in str(error.value) and "A/2.png" in str(error.value) and "B/3.png" in str(error.value)


def test_links_to_files_that_are_gone_are_named(whole, tmp_path):
    path = next(whole.rglob("7.*"))
    path.unlink()
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(
        DataError, match=r"1 problem\(s\), nothing was written:\n.*7\.png.*: is a link to a missing file"
    ):
        combine.split(whole, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_is_no_image_whatever_it_is_called(folders, tmp_path):
    a, b = folders
    (a / "folder.png").mkdir()
    assert combine.combine(a, b, tmp_path / "out").counts == {"train": 5}


@pytest.mark.parametrize(("val", "test"), [(0, 0), (1, 0), (0.5, 0.5), (-0.1, 0.3), (float("nan"), 0)])
def test_shares_must_leave_something(whole, tmp_path, val, test):
    with pytest.raises(DataError, match="must be shares that leave some pairs to train on"):
        combine.split(whole, tmp_path / "out", val, test)


def test_too_few_pairs_are_refused(tmp_path):
    save_image(tmp_path / "whole" / "1.png", image(1, 10, 20))
    with pytest.raises(DataError, match="1 pairs are too few for these splits"):
        combine.split(tmp_path / "whole", tmp_path / "out")


def test_from_the_command_line(folders, tmp_path, capsys):
    a, b = map(str, folders)
    assert main(["data", "combine", a, b, str(tmp_path / "pairs")]) == 0
    assert main(["data", "split", str(tmp_path / "pairs"), "--val", "0.4"]) == 0
    assert "3 train, 2 val" in capsys.readouterr().out
    assert main(["data", "check", str(tmp_path / "pairs-split"), "--sheet", str(tmp_path / "sheet.png")]) == 0
    assert list(list_pairs(tmp_path / "pairs-split").splits) == ["train", "val"]
