"""A pack holds the very pairs of the folder that it was made of, whatever these are and wherever it lies."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import test_stack
from PIL import Image

from p2plib import TrainConfig
from p2plib.data import batches, combine, record, toy
from p2plib.data.check import check
from p2plib.data.dataset import Dataset, open_dataset
from p2plib.data.draws import shuffled
from p2plib.data.image import save_image
from p2plib.data.pack import pack
from p2plib.data.scale import scale_of
from p2plib.data.shards import DESCRIPTION, is_pack, rows
from p2plib.data.values import write_values
from p2plib.errors import ConfigError, DataError

SMALL = 0.012
"""Megabytes of a shard: some pairs of these images."""


def side_by_side(root: Path) -> None:
    for split, numbers in (("train", range(12)), ("val", range(12, 15))):
        for i in numbers:
            save_image(root / split / f"{i}.jpg", np.hstack(toy.city(i, 48)))


def two_folders(root: Path) -> None:
    for i in range(10):
        a, b = toy.city(i, 32)
        save_image(root / "A" / f"é {i}.png", a)
        save_image(root / "B" / f"é {i}.webp", b)


def depth(root: Path) -> None:
    for i in range(10):
        a, b = toy.city(i, 32)
        save_image(root / "A" / f"{i}.png", a)
        write_values(root / "B" / f"{i}.tif", b[..., :1].astype(np.uint16) * 16)


def class_numbers(root: Path) -> None:
    for i in range(10):
        a, b = toy.city(i, 32)
        (root / "A").mkdir(parents=True, exist_ok=True)
        Image.fromarray(b).quantize(6).save(root / "A" / f"{i}.png")
        save_image(root / "B" / f"{i}.jpg", a)


def stack(root: Path) -> None:
    test_stack.write(root, test_stack.LAYOUTS[0])


LAYOUTS: list[Callable[[Path], None]] = [side_by_side, two_folders, depth, class_numbers, stack]


@pytest.fixture(params=LAYOUTS)
def folder(request, tmp_path) -> Path:
    request.param(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def plain(tmp_path) -> Path:
    side_by_side(tmp_path / "data")
    return tmp_path / "data"


def config(data: object, **settings: object) -> TrainConfig:
    return TrainConfig(data=str(data), **{"image_size": 32, "batch_size": 2} | settings)


def assert_same(one: Dataset, other: Dataset) -> None:
    assert one.kinds == other.kinds and one.splits == other.splits and scale_of(one) == scale_of(other)
    for split in one.splits:
        assert one[split].names == other[split].names
        for i in range(len(one[split])):
            for side, same in zip(one[split].read(i), other[split].read(i), strict=True):
                np.testing.assert_array_equal(side, same)
                assert side.dtype == same.dtype


def test_a_pack_holds_the_same_pairs(folder, tmp_path):
    done = pack(str(folder), tmp_path / "pack", shard_size=SMALL)
    assert_same(open_dataset(config(folder)), open_dataset(config(tmp_path / "pack")))
    assert str(done).endswith(f"next: python -m p2plib train --data {tmp_path / 'pack'}")
    assert check(tmp_path / "pack").table().split("\n", 1)[1:] == check(folder).table().split("\n", 1)[1:]


def test_training_sees_the_same_batches_from_any_step_on(folder, tmp_path):
    pack(str(folder), tmp_path / "pack", shard_size=SMALL)
    streams = [
        batches.Batches(open_dataset(config(data, memory_budget=budget)), config(data, memory_budget=budget))
        for data, budget in ((folder, 4.0), (tmp_path / "pack", 0.0))
    ]
    for one, other in zip(streams[0].start(1, 2), streams[1].start(1, 2), strict=True):
        for side, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(side, same)
        break


def test_settings_on_the_images_win_over_the_pack(tmp_path):
    depth(tmp_path / "data")
    pack(str(tmp_path / "data"), tmp_path / "pack")
    settings = {"target_range": (0, 9000)}
    for way in ("AtoB", "BtoA"):
        found = [open_dataset(config(tmp_path / name, direction=way, **settings)).kinds for name in ("data", "pack")]
        assert found[0] == found[1] and found[0][1].high == 9000


def test_photos_are_packed_for_both_tasks(photos, tmp_path):
    done = pack(str(photos), tmp_path / "pack", "colorize")
    assert str(done).endswith("--task colorize")
    settings = {"skip_broken": True, "task": "colorize"}
    for data in (photos, tmp_path / "pack"):
        loaded = open_dataset(config(data, **settings))["train"].load()
        assert len(loaded.names) == 6 and [problem.kind for problem in loaded.left_out] == ["grey"]
    with pytest.raises(DataError, match="holds photos, and the task pairs takes pairs"):
        open_dataset(config(tmp_path / "pack"))


def test_a_shard_is_a_tar_archive_as_webdataset_reads_it(plain, tmp_path):
    pack(str(plain), tmp_path / "pack", shard_size=SMALL)
    shards = sorted((tmp_path / "pack").glob("train-*.tar"))
    assert len(shards) > 2
    found = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            members = tar.getmembers()
            keys = [member.name.partition(".")[0] for member in members]
            assert keys == sorted(keys)  # the files of a pair lie beside each other
            for name, image in zip(members[::2], members[1::2], strict=True):
                assert image.name == name.name.replace(".name.txt", ".AB.jpg")
                found[tar.extractfile(name).read().decode()] = tar.extractfile(image).read()
    assert found == {f"train/{i}.jpg": (plain / "train" / f"{i}.jpg").read_bytes() for i in range(12)}


def test_packing_goes_on_where_it_was(plain, tmp_path):
    out = tmp_path / "pack"
    whole = (plain / "train/8.jpg").read_bytes()
    (plain / "train/8.jpg").write_bytes(b"\xff\xd8\xff broken")
    with pytest.raises(DataError, match=r"1 broken pair\(s\)(.|\n)*train/8.jpg"):
        pack(str(plain), out, shard_size=SMALL)
    first = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert len(first) >= 1
    with pytest.raises(DataError, match="did not come to its end; run the same `data pack` again"):
        open_dataset(config(out))
    (plain / "train/8.jpg").write_bytes(whole)
    done = pack(str(plain), out, shard_size=SMALL)
    assert done.kept == len(first) and f"{len(first)} of them from before" in str(done)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert_same(open_dataset(config(plain)), open_dataset(config(out)))
    assert not list(out.glob(".*"))


def test_only_what_changed_is_packed_again(plain, tmp_path):
    out = tmp_path / "pack"
    shards = sum(map(len, pack(str(plain), out, shard_size=SMALL).pack.shards.values()))
    assert pack(str(plain), out, shard_size=SMALL).kept == shards
    save_image(plain / "train/0.jpg", np.hstack(toy.city(50, 48)))
    assert pack(str(plain), out, shard_size=SMALL).kept == shards - 1
    assert_same(open_dataset(config(plain)), open_dataset(config(out)))
    pack(str(plain), out, shard_size=100)  # larger shards: what is left of the smaller ones goes
    assert sorted(path.name for path in out.glob("*.tar")) == ["train-00000.tar", "val-00000.tar"]


def test_broken_pairs_are_left_out_by_name(plain, tmp_path):
    (plain / "train/3.jpg").write_bytes(b"nothing")
    (plain / "val/13.heic").write_bytes(b"nothing")
    done = pack(str(plain), tmp_path / "pack", skip_broken=True)
    assert [line.partition(":")[0] for line in done.left_out] == ["val/13.heic", "train/3.jpg"]
    assert len(open_dataset(config(tmp_path / "pack"))["train"]) == 11
    assert pack(str(plain), tmp_path / "pack", skip_broken=True).left_out == done.left_out  # also when it is kept


def test_damage_is_seen(plain, tmp_path):
    out = tmp_path / "pack"
    pack(str(plain), out)
    content = bytearray((out / "train-00000.tar").read_bytes())
    content[3000] ^= 1
    (out / "train-00000.tar").write_bytes(content)
    assert [problem.name for problem in check(out).broken] == ["train/0.jpg"]
    (out / "train-00000.tar").write_bytes(content[:-20_000])
    assert check(out).broken[-1].detail == "is damaged in train-00000.tar; copy the pack anew, or pack it again"
    (out / "train-00000.index").write_bytes(b"\0" * 24 * 12)
    with pytest.raises(DataError, match=r"train-00000.index is damaged; copy the pack anew"):
        open_dataset(config(out))["train"].load()
    (out / DESCRIPTION).write_text("{}")
    with pytest.raises(DataError, match=r"pack.json: is damaged"):
        open_dataset(config(out))
    (out / DESCRIPTION).write_text('{"format": 9}')
    with pytest.raises(DataError, match="was packed by a later version of p2plib"):
        open_dataset(config(out))


def test_a_pack_in_an_object_store_is_the_same(plain, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    pack(str(plain), tmp_path / "pack", shard_size=SMALL)
    store = fsspec.filesystem("memory")
    store.put(f"{tmp_path / 'pack'}/", "/bucket/pack", recursive=True)
    try:
        there = open_dataset(config("memory://bucket/pack"))
        assert_same(open_dataset(config(plain)), there)
        one, other = (
            next(batches.Batches(open_dataset(config(data)), config(data)).start(1, 3))
            for data in (plain, "memory://bucket/pack")
        )
        np.testing.assert_array_equal(one, other)
        assert record.record_of(there, {})["folder"] is None
        record.check_there("memory://bucket/pack")
    finally:
        store.rm("/bucket", recursive=True)
    with pytest.raises(DataError, match=r"memory://bucket/pack/pack.json: cannot be read"):
        open_dataset(config("memory://bucket/pack"))
    with pytest.raises(DataError, match="nosuch://bucket: cannot be opened"):
        open_dataset(config("nosuch://bucket"))


def test_a_run_knows_its_pack_by_its_content(plain, tmp_path):
    pack(str(plain), tmp_path / "pack")
    pack(str(plain), tmp_path / "copy", shard_size=100)
    first = open_dataset(config(tmp_path / "pack"))
    known = record.record_of(first, {})
    assert "pairs" not in known and (known["train"], known["val"]) == (12, 3)
    there = open_dataset(config(tmp_path / "copy"))
    assert record.same_pairs(there, known, print) is there and record.holds_same(there, known)
    save_image(plain / "train/0.jpg", np.hstack(toy.city(50, 48)))
    pack(str(plain), tmp_path / "copy")
    other = open_dataset(config(tmp_path / "copy"))
    assert not record.holds_same(other, known)
    with pytest.raises(ConfigError, match="is not the pack that this run started with"):
        record.same_pairs(other, known, print)
    with pytest.raises(DataError, match="is not the pack that this run validated on"):
        record.kept(other, known)


def test_a_run_on_a_folder_goes_on_with_its_pack(plain, tmp_path):
    known = json.loads(json.dumps(record.record_of(open_dataset(config(plain)), {})))
    pack(str(plain), tmp_path / "pack")
    packed = open_dataset(config(tmp_path / "pack"))
    assert record.same_pairs(packed, known, print)["val"].names == open_dataset(config(plain))["val"].names
    assert record.record_of(packed, known)["pairs"] == known["pairs"]


def test_what_cannot_be_packed_says_why(plain, tmp_path):
    pack(str(plain), tmp_path / "pack")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    side_by_side(tmp_path / "other")
    for data, out, why in (
        (plain, tmp_path / "full", "is not empty; choose a new folder"),
        (tmp_path / "other", tmp_path / "pack", r"holds the pack of other images \(data\)"),
        (tmp_path / "pack", tmp_path / "new", "is a pack already"),
        ("toy", tmp_path / "new", "a function makes these pairs"),
        (plain, "s3://bucket/pack", "packs are written into a folder"),
    ):
        with pytest.raises(DataError, match=why):
            pack(str(data), out)
    with pytest.raises(DataError, match="must be a positive number"):
        pack(str(plain), tmp_path / "new", shard_size=0)
    assert not (tmp_path / "new").exists()
    with pytest.raises(DataError, match="is a pack; name the folder that it was made of"):
        combine.split(tmp_path / "pack", tmp_path / "new")
    with pytest.raises(DataError, match="was packed with one source; leave sources out"):
        open_dataset(config(tmp_path / "pack", sources=("x", "y")))


def test_a_name_of_the_catalog_is_no_pack(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / DESCRIPTION).write_text("{}")
    assert [is_pack(data) for data in ("maps", "./maps", Path("maps"), "gs://maps", "toy")] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_a_pair_takes_few_bytes_of_memory():
    assert rows(1).itemsize == 20 and rows(2).itemsize == 28


def test_an_order_of_many_is_one_of_all(monkeypatch):
    monkeypatch.setattr("p2plib.data.draws.SWAPPED", 99)
    order = shuffled((3, 1), 100)
    assert sorted(order) == list(range(100)) and order.tolist() != shuffled((3, 2), 100).tolist()
    assert order.tolist() == shuffled((3, 1), 100).tolist() and order.dtype == np.int64
