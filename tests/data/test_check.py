from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2plib.data.check import check, sheet
from p2plib.data.listing import list_pairs
from p2plib.data.problems import PairError
from p2plib.errors import DataError


def noise(seed: int, height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def scene(seed: int, size: int = 64) -> np.ndarray:
    """Soft shapes, which survive JPEG as photos do."""
    return np.array(Image.fromarray(noise(seed, 12, 12)).resize((size, size), Image.Resampling.BICUBIC))


def save(path: Path, image: np.ndarray | Image.Image, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = image if isinstance(image, Image.Image) else Image.fromarray(image)
    opened.save(path, **options)
    return path


def write_png16(path: Path, image: np.ndarray) -> None:
    """Write uint16 (H, W, 3) as a PNG; Pillow cannot."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = image.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.fixture
def root(tmp_path) -> Path:
    """Two good side-by-side pairs in train, one in val."""
    for seed, name in enumerate(["train/1.png", "train/2.png", "val/1.png"]):
        save(tmp_path / name, noise(seed, 32, 64))
    return tmp_path


def found(root: Path) -> list[tuple[str, str, bool]]:
    return [(problem.name, problem.kind, problem.broken) for problem in check(root).problems]


def test_good_pairs_have_no_problems(root):
    report = check(root)
    assert report.counts == {"train": 2, "val": 1}
    assert report.sizes == {"train": {(32, 32): 2}, "val": {(32, 32): 1}}
    assert report.problems == report.broken == []


def test_the_progress_bar_changes_nothing(root, capsys):
    report = check(root)
    assert capsys.readouterr().err == ""
    assert check(root, progress=True) == report
    assert "train: 100%" in capsys.readouterr().err


def truncate(path):
    path.write_bytes(path.read_bytes()[:-500])


BROKEN = {
    "unreadable": truncate,
    "odd width": lambda path: save(path, noise(9, 32, 65)),
    "not a pair": lambda path: save(path, noise(9, 320, 480)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_reported_and_refused_by_name(root, kind):
    BROKEN[kind](root / "train" / "2.png")
    report = check(root)
    assert [(problem.name, problem.kind) for problem in report.broken] == [("train/2.png", kind)]
    assert report.counts == {"train": 1, "val": 1}
    with pytest.raises(PairError) as caught:  # training comes to the same judgment
        list_pairs(root).splits["train"][1].read()
    assert caught.value.problem == report.broken[0]


def test_other_bytes_under_an_image_name_are_unreadable(root):
    (root / "val" / "1.png").write_text("<html>404</html>")
    assert found(root) == [("val/1.png", "unreadable", True)]


def test_two_folders_report_sizes_partners_and_stems(tmp_path):
    for name, height in [("1", 30), ("2", 32), ("3", 32)]:
        save(tmp_path / "trainA" / f"{name}.png", noise(height + int(name), height, 32))
    save(tmp_path / "trainB" / "1.png", noise(5))
    save(tmp_path / "trainB" / "3.png", noise(6))
    save(tmp_path / "trainB" / "3.jpg", noise(7))
    save(tmp_path / "trainA" / "4.png", noise(8))
    save(tmp_path / "trainB" / "4.jpg", noise(9))
    assert sorted(found(tmp_path)) == [
        ("trainA/1.png | trainB/1.png", "different size", True),
        ("trainA/2.png", "missing partner", True),
        ("trainA/3.png | trainB/3.jpg | trainB/3.png", "ambiguous stem", True),
    ]
    assert check(tmp_path).counts == {"train": 1}


NOTES = {
    "16-bit": lambda path: write_png16(path, noise(9, 32, 64).astype(np.uint16) * 257),
    "alpha": lambda path: save(path, Image.fromarray(noise(9, 32, 64)).convert("RGBA")),
    "greyscale": lambda path: save(path, noise(9, 32, 64)[..., 0]),
    "palette": lambda path: save(path, Image.fromarray(noise(9, 32, 64)).convert("P")),
}


@pytest.mark.parametrize("kind", NOTES)
def test_files_that_are_converted_get_a_note(root, kind):
    NOTES[kind](root / "train" / "2.png")
    assert found(root) == [("train/2.png", kind, False)]
    assert check(root).counts == {"train": 2, "val": 1}


def test_16_bit_grayscale_is_both_and_keeps_its_brightness(root):
    gray = noise(9, 32, 64)[..., 0]
    save(root / "train" / "2.png", gray.astype(np.uint16) * 257)
    assert found(root) == [("train/2.png", "16-bit", False), ("train/2.png", "greyscale", False)]
    np.testing.assert_array_equal(np.hstack(list_pairs(root).splits["train"][1].read())[..., 1], gray)


def test_notes_say_which_of_two_files(tmp_path):
    save(tmp_path / "A" / "1.png", noise(1))
    save(tmp_path / "B" / "1.png", noise(2)[..., 0])
    assert str(check(tmp_path).problems[0]) == "A/1.png | B/1.png: B is grayscale, read as RGB."


def test_near_constant_images_get_a_note_by_side(root):
    empty = np.full((32, 32, 3), (170, 200, 250), np.uint8)
    empty[0, 0] += 3
    save(root / "train" / "2.png", np.hstack([noise(9), empty]))
    (problem,) = check(root).problems
    assert (problem.name, problem.kind, problem.broken) == ("train/2.png", "near-constant", False)
    assert problem.detail.startswith("B ")


def test_one_image_in_two_splits(root):
    a, b = np.hsplit(noise(0, 32, 64), 2)  # train/1.png
    save(root / "val" / "copy.webp", np.hstack([a, b]), lossless=True)
    save(root / "val" / "half.png", np.hstack([a, noise(9)]))
    save(root / "train" / "again.png", np.hstack([noise(10), b]))  # twice in one split: no leak
    problems = check(root).problems
    assert [(problem.name, problem.kind, problem.broken) for problem in problems] == [
        ("val/copy.webp", "in two splits", False),
        ("val/half.png", "in two splits", False),
    ]
    assert problems[1].detail == "A is the same image as in train/1.png"


def test_empty_images_are_no_duplicates(root):
    water = np.full((32, 32, 3), 200, np.uint8)
    save(root / "train" / "2.png", np.hstack([noise(9), water]))
    save(root / "val" / "2.png", np.hstack([noise(10), water]))
    assert {problem.kind for problem in check(root).problems} == {"near-constant"}


def test_a_recompressed_copy_is_nearly_in_two_splits(tmp_path):
    for seed in range(6):
        save(tmp_path / "train" / f"{seed}.png", np.hstack([scene(seed), scene(seed + 50)]))
        save(tmp_path / "val" / f"{seed}.png", np.hstack([scene(seed + 100), scene(seed + 150)]))
    assert found(tmp_path) == []
    copy = Image.open(tmp_path / "train" / "3.png").resize((96, 48))
    save(tmp_path / "val" / "copy.jpg", copy, quality=70)
    (problem,) = check(tmp_path).problems
    assert (problem.name, problem.kind, problem.broken) == ("val/copy.jpg", "nearly in two splits", False)
    assert "train/3.png" in problem.detail


def photo_problems(folder: Path, task: str) -> list[tuple[str, str, bool]]:
    return [(problem.name, problem.kind, problem.broken) for problem in check(folder, task).problems]


def test_photos_are_checked_as_photos(tmp_path):
    for seed in range(3):
        save(tmp_path / "train" / "deep" / f"{seed}.png", scene(seed))
        save(tmp_path / "val" / f"{seed}.png", scene(seed + 100))
    report = check(tmp_path, "colorize")
    assert report.problems == [] and report.counts == {"train": 3, "val": 3}
    assert "6 usable photos, 0 broken\n  train       3 photos  64x64 (3)" in report.table()
    Image.open(tmp_path / "train" / "deep" / "1.png").resize((50, 50)).save(tmp_path / "val" / "copy.jpg", quality=70)
    save(tmp_path / "val" / "same.png", scene(2))
    save(tmp_path / "val" / "flat.png", np.full((32, 32, 3), (200, 0, 0), np.uint8))
    save(tmp_path / "val" / "gray.png", scene(7)[..., 0])
    save(tmp_path / "val" / "wide.png", np.hstack([scene(8), scene(9)]))
    (tmp_path / "val" / "page.jpg").write_bytes(b"<html>")
    common = [
        ("val/flat.png", "near-constant", False),
        ("val/page.jpg", "unreadable", True),
        ("val/wide.png", "side by side?", False),
        ("val/copy.jpg", "nearly in two splits", False),
        ("val/same.png", "in two splits", False),
    ]
    assert photo_problems(tmp_path, "colorize") == [common[0], ("val/gray.png", "grey", False), *common[1:]]
    assert photo_problems(tmp_path, "sketch") == [common[0], ("val/gray.png", "greyscale", False), *common[1:]]


def test_real_photos_are_all_good(shared_data):
    report = check(shared_data / "photos", "colorize")
    assert report.counts == {"train": 60, "val": 20} and report.problems == []


def test_the_table_names_everything(root):
    truncate(root / "train" / "2.png")
    for i in range(3, 7):
        save(root / "val" / f"{i}.png", noise(i, 32, 64)[..., 0])
    (root / "train" / "notes.txt").touch()
    report = check(root)
    text = report.table(limit=3)
    assert "6 usable pairs, 1 broken" in text
    assert "train       1 pairs  32x32 (1)" in text
    assert "1 files  .txt" in text
    assert text.index("BROKEN: unreadable (1)\n  train/2.png: cannot be read") < text.index("note: greyscale (4)")
    assert "val/5.png" in text and "val/6.png" not in text and "and 1 more" in text
    assert "val/6.png" in report.table(limit=None)


def test_the_sheet_shows_pairs_and_leaves_broken_ones_out(root):
    truncate(root / "train" / "1.png")
    image = sheet(root, count=6, size=32)
    assert image.shape == (32, 68, 3) and image.dtype == np.uint8
    a, b = list_pairs(root).splits["train"][1].read()
    np.testing.assert_array_equal(image[:, :32], a)
    np.testing.assert_array_equal(image[:, 36:], b)
    truncate(root / "train" / "2.png")
    with pytest.raises(DataError, match="no pair to show"):
        sheet(root)


@pytest.mark.parametrize(
    ("name", "counts", "size"),
    [("facades", {"train": 400, "val": 100}, (256, 256)), ("maps", {"train": 60, "val": 20}, (600, 600))],
)
def test_real_pairs_are_all_good(shared_data, name, counts, size):
    report = check(shared_data / name)
    assert report.counts == counts
    assert report.sizes == {split: {size: count} for split, count in counts.items()}
    assert report.problems == []


def test_real_photos_are_no_pairs(shared_data):
    report = check(shared_data / "photos")
    assert report.counts == {"train": 0, "val": 0} and len(report.broken) == 80


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_a_named_pipe_is_named_and_blocks_nothing(root):
    before = [problem.name for problem in check(root).problems]
    os.mkfifo(root / "train" / "pipe.png")
    [problem] = [problem for problem in check(root).problems if problem.name not in before]
    assert str(problem) == "train/pipe.png: cannot be read as an image (it is no file); replace or remove it."
