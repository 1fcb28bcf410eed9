"""What is packed trains like what is here: the same batches, from as few bytes as possible."""

from __future__ import annotations

import itertools
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from p2plib.config import TrainConfig
from p2plib.data import record, toy
from p2plib.data.batches import Batches
from p2plib.data.dataset import open_dataset
from p2plib.data.image import save_image
from p2plib.errors import ConfigError, DataError
from p2plib.kaggle import pack
from p2plib.kaggle.pack import ARCHIVE, RECORD, Packed

SMALL = TrainConfig(image_size=32, base_filters=4, receptive_field=16, batch_size=2)


def draw(folder: Path, layout: str, count: int = 5, size: int = 90) -> Path:
    """A folder of pairs, larger than training needs them, in one of the layouts that are understood."""
    for i in range(count):
        a, b = toy.city(i, size)
        if layout == "two folders":
            save_image(folder / "trainA" / f"city {i}.png", a)
            save_image(folder / "trainB" / f"city {i}.bmp", b)
        elif layout == "two files":
            save_image(folder / f"{i}_A.png", a)
            save_image(folder / f"{i}_B.png", b)
        elif layout == "photos":
            save_image(folder / "deep" / "er" / f"{i}.png", a)
        else:
            save_image(folder / layout / f"{i}.tiff", np.hstack((a, b)))
    return folder


def unpack(folder: Path) -> Path:
    with zipfile.ZipFile(folder / ARCHIVE) as archive:
        assert archive.testzip() is None
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def assert_the_same(config: TrainConfig, there: Path) -> None:
    """Training and validation get the same arrays from both folders, in the same order."""
    other = replace(config, data=str(there))
    ours, theirs = (Batches(open_dataset(one), one).start() for one in (config, other))
    for (source, target), (source_there, target_there) in itertools.islice(zip(ours, theirs, strict=True), 4):
        np.testing.assert_array_equal(source, source_there)
        np.testing.assert_array_equal(target, target_there)
    for split in ("val", "train"):
        loaded, loaded_there = (open_dataset(one)[split].load() for one in (config, other))
        if split == "val":
            np.testing.assert_array_equal(loaded.sources, loaded_there.sources)
            np.testing.assert_array_equal(loaded.targets, loaded_there.targets)
        assert [_bare(name) for name in loaded.names] == [_bare(name) for name in loaded_there.names]


def _bare(name: str) -> list[str]:
    return [part.rpartition(".")[0] for part in name.split(" | ")]


@pytest.mark.parametrize("layout", ["train", ".", "two folders", "two files"])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_pairs_at_the_size_of_training_give_the_same_batches(tmp_path, layout, direction):
    folder = draw(tmp_path / "mine", layout)
    config = replace(SMALL, data=str(folder), direction=direction)
    packed = pack.pack(config, tmp_path / "out")
    assert (packed.counts, packed.noun, packed.resized, packed.left_out) == ({"train": 4, "val": 1}, "pairs", 5, 0)
    there = unpack(tmp_path / "out")
    assert {path.suffix for path in there.rglob("*") if path.is_file()} == {".png"}
    assert_the_same(config, there)


@pytest.mark.parametrize("layout", ["train", "two folders"])
def test_a_run_on_what_was_packed_is_judged_here_on_the_pairs_that_it_validated_on(tmp_path, layout):
    config = replace(SMALL, data=str(draw(tmp_path / "mine", layout)))
    pack.pack(config, tmp_path / "out")
    there = record.record_of(open_dataset(replace(config, data=str(unpack(tmp_path / "out")))), {})
    here = open_dataset(replace(config, seed=3))  # by itself, it would hold others out
    assert record.kept(here, there)["val"].names == open_dataset(config)["val"].names
    with pytest.raises(ConfigError, match=r"5 changed"):
        record.same_pairs(here, there, print)


def test_photos_to_colorize_are_shrunk_and_give_the_same_batches(tmp_path):
    config = replace(SMALL, data=str(draw(tmp_path / "mine", "photos")), task="colorize")
    packed = pack.pack(config, tmp_path / "out")
    assert (packed.noun, packed.resized) == ("photos", 5)
    assert_the_same(config, unpack(tmp_path / "out"))


def test_photos_to_sketch_are_drawn_at_their_own_size(tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))
    folder = draw(tmp_path / "mine", "photos")
    packed = pack.pack(replace(SMALL, data=str(folder), task="sketch"), tmp_path / "out")
    assert packed.resized == 0
    assert_copies(folder, unpack(tmp_path / "out"))


def assert_copies(folder: Path, there: Path) -> None:
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {path.relative_to(there): path.read_bytes() for path in there.rglob("*") if path.is_file()}


@pytest.mark.parametrize("options", [{"load": "crop"}, {}])
def test_windows_need_the_files_as_they_are_and_so_does_who_asks_for_it(tmp_path, options):
    folder = draw(tmp_path / "mine", "two folders")
    packed = pack.pack(replace(SMALL, data=str(folder), **options), tmp_path / "out", original=not options)
    assert str(packed).startswith("4 train, 1 val pairs (5 as they are), ")
    assert_copies(folder, unpack(tmp_path / "out"))


def test_what_is_smaller_as_it_is_travels_so(tmp_path):
    folder = tmp_path / "mine"
    for i in range(3):
        save_image(folder / "train" / f"{i}.jpg", np.hstack(toy.city(i, 36)))
    config = replace(SMALL, data=str(folder), image_size=128, receptive_field=70)
    assert pack.pack(config, tmp_path / "out").resized == 0
    assert_copies(folder, unpack(tmp_path / "out"))


def test_every_split_travels_and_nothing_else(tmp_path, tiny_pairs):
    folder = Path(shutil.copytree(tiny_pairs, tmp_path / "mine"))
    shutil.copytree(tiny_pairs / "val", folder / "test")
    (folder / "diary.txt").write_text("private")
    (folder / "train" / ".hidden.png").write_bytes(b"x")
    packed = pack.pack(replace(SMALL, data=str(folder)), tmp_path / "out")
    assert packed.counts == {"train": 10, "val": 3, "test": 3}
    names = {
        path.relative_to(tmp_path / "out" / "unpacked").as_posix() for path in unpack(tmp_path / "out").rglob("*.*")
    }
    assert names == {f"{path.parent.name}/{path.name}" for path in folder.rglob("*/[!.]*.png")}


def test_the_same_images_are_packed_once(tmp_path):
    folder = draw(tmp_path / "mine", "train")
    config = replace(SMALL, data=str(folder))
    first = pack.pack(config, tmp_path / "out")
    before = (tmp_path / "out" / ARCHIVE).stat()
    shutil.move(folder, tmp_path / "moved")
    assert pack.pack(replace(config, data=str(tmp_path / "moved")), tmp_path / "out") == first
    assert (tmp_path / "out" / ARCHIVE).stat() == before
    assert pack.read(tmp_path / "out" / RECORD) == first
    assert "moved" not in (tmp_path / "out" / RECORD).read_text()  # what travels says nothing of this computer


def test_other_images_or_sizes_are_packed_anew_and_so_is_a_damaged_archive(tmp_path):
    folder = draw(tmp_path / "mine", "train")
    config = replace(SMALL, data=str(folder))
    found = [pack.pack(config, tmp_path / "out")]
    found.append(pack.pack(replace(config, image_size=64), tmp_path / "out"))
    save_image(folder / "train" / "0.tiff", np.hstack(toy.city(9, 90)))
    found.append(pack.pack(replace(config, image_size=64), tmp_path / "out"))
    found.append(pack.pack(replace(config, image_size=64), tmp_path / "out", original=True))
    found.append(pack.pack(replace(config, seed=4), tmp_path / "out"))  # other pairs are held out
    assert len({packed.fingerprint for packed in found}) == 5
    (tmp_path / "out" / ARCHIVE).write_bytes(b"half")
    assert pack.pack(replace(config, seed=4), tmp_path / "out") == found[-1]
    unpack(tmp_path / "out")


def test_broken_pairs_are_refused_by_name_or_stay_here(tmp_path):
    folder = draw(tmp_path / "mine", "train")
    (folder / "train" / "3.tiff").write_bytes(b"no image")
    config = replace(SMALL, data=str(folder))
    for original in (False, True):
        with pytest.raises(DataError, match=r"train/3\.tiff"):
            pack.pack(config, tmp_path / "out", original)
        assert not list((tmp_path / "out").iterdir())
        packed = pack.pack(replace(config, skip_broken=True), tmp_path / "skipped", original)
        assert sum(packed.counts.values()) == 4 and packed.left_out == 1 and "1 stay here" in str(packed)
    assert_the_same(replace(config, skip_broken=True, batch_size=1), unpack(tmp_path / "skipped"))


def test_files_that_differ_by_their_suffix_keep_it(tmp_path):
    folder = draw(tmp_path / "mine", "train")
    save_image(folder / "train" / "3.bmp", np.hstack(toy.city(7, 90)))
    config = replace(SMALL, data=str(folder))
    assert pack.pack(config, tmp_path / "out").resized == 4
    assert_the_same(config, unpack(tmp_path / "out"))


def test_a_record_is_read_or_not_there(tmp_path):
    for text in ("", "[]", "{}", '{"format": 99}', '{"format": 1, "fingerprint": "x"}'):
        (tmp_path / RECORD).write_text(text)
        assert pack.read(tmp_path / RECORD) is None


def test_what_is_packed_is_said_in_one_line():
    packed = Packed("0", "pairs", {"train": 1200, "val": 100}, 1290, 2, 123_456_789)
    assert str(packed) == (
        "1200 train, 100 val pairs (1290 at the size of training, 10 as they are; 2 stay here), 123.5 MB"
    )


def test_masks_travel_with_the_names_of_their_classes(tmp_path):
    for i in range(5):
        numbers = (np.arange(1600).reshape(40, 40) // 300 + i) % 5
        save_image(tmp_path / "in" / "trainA" / f"{i}.png", numbers.astype(np.uint8))
        save_image(tmp_path / "in" / "trainB" / f"{i}.png", toy.city(i, 40)[0])
    table = tmp_path / "in" / "classes.csv"
    table.write_text("id,name\n" + "".join(f"{i},thing {i}\n" for i in range(6)))
    config = replace(SMALL, data=str(tmp_path / "in"))
    packed = pack.pack(config, tmp_path / "out")
    there = unpack(tmp_path / "out")
    assert open_dataset(replace(config, data=str(there))).source == open_dataset(config).source
    assert_the_same(config, there)
    table.write_text(table.read_text() + "6,thing 6\n")
    assert pack.pack(config, tmp_path / "out").fingerprint != packed.fingerprint
