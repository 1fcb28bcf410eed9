"""Several source folders: which files are stacked, in which order, and what the networks see of them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2plib import TrainConfig
from p2plib.data import combine
from p2plib.data.check import check
from p2plib.data.dataset import open_dataset
from p2plib.data.kind import ImageKind
from p2plib.data.stack import partners, read_stacked, stacked
from p2plib.data.values import write_values
from p2plib.errors import ConfigError, DataError


def image(i: int, channels: int = 1, dtype: str = "uint8", scale: float = 200) -> np.ndarray:
    return (np.random.default_rng(i).random((32, 32, channels)) * scale).astype(dtype)


def write(root: Path, names: dict[str, str], count: int = 4) -> Path:
    """A data set of color images, of decibels as float32, and of gray targets, in folders with these names."""
    for split in ("train", "val"):
        for i in range(count):
            for side, (channels, dtype, scale, suffix) in {
                "A1": (3, "uint8", 255, ".png"),
                "A2": (1, "float32", -25, ".tif"),
                "B": (1, "uint16", 4000, ".png"),
            }.items():
                path = root / names[side].format(split=split) / f"{i}{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_values(path, image(i + 10 * len(side) + ord(side[-1]), channels, dtype, scale))
    return root


LAYOUTS = [
    {"A1": "{split}/A1", "A2": "{split}/A2", "B": "{split}/B"},
    {"A1": "a1/{split}", "A2": "a2/{split}", "B": "b/{split}"},
    {"A1": "{split}A1", "A2": "{split}A2", "B": "{split}B"},
    {"A1": "{split}/optical", "A2": "{split}/sar", "B": "{split}/height"},
    {"A1": "optical/{split}", "A2": "sar/{split}", "B": "B/{split}"},
]


@pytest.mark.parametrize("names", LAYOUTS)
def test_the_channels_of_all_folders_are_stacked_in_order(tmp_path, names):
    sources = ("optical", "sar") if "optical" in names["A1"] else ()
    root = write(tmp_path, names)
    dataset = open_dataset(TrainConfig(data=str(root), image_size=32, sources=sources))
    source, target = dataset["val"].read(2)
    np.testing.assert_array_equal(source[..., :3], image(2 + 20 + ord("1"), 3, "uint8", 255))
    np.testing.assert_array_equal(source[..., 3:], image(2 + 20 + ord("2"), 1, "float32", -25))
    assert (source.dtype, source.shape, target.shape) == (np.float32, (32, 32, 4), (32, 32, 1))
    seen = dataset.source.to_float(source)
    np.testing.assert_array_equal(seen[..., :3], ImageKind("").to_float(source[..., :3].astype(np.uint8)))
    assert seen[..., 3].min() < -0.9 and seen[..., 3].max() > 0.9  # decibels have a range of their own
    np.testing.assert_array_equal(dataset.source.preview(source), source[..., :3])
    if sources:
        assert dataset.names == ("optical + sar", "height" if "height" in names["B"] else "B")
        reverse = open_dataset(TrainConfig(data=str(root), image_size=32, sources=("sar", "optical")))
        np.testing.assert_array_equal(reverse["val"].read(2)[0], source[..., [3, 0, 1, 2]])


def test_the_checker_says_what_is_stacked(tmp_path):
    root = write(tmp_path, LAYOUTS[0])
    (root / "train/A2/1.tif").unlink()
    write_values(root / "val/A2/0.tif", image(0, 1, "float32")[:16])
    report = check(root)
    assert report.counts == {"train": 3, "val": 3}
    assert [str(problem) for problem in report.broken] == [
        "train/A1/1.png: there is no image called 1 in train/A2/; add it, or remove this one.",
        "val/A1/0.png | val/B/0.png: A1 is 32x32, A2 is 32x16, B is 32x32; make them equal.",
    ]
    assert report.kinds[0].startswith("A1 + A2: 4 channels, stacked: A1: 3 channels of uint8, 0 to 255; A2: 1 channel")
    assert check(root, sources=("A2", "A1")).kinds[0].startswith("A2 + A1: 4 channels")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"sources": ("optical", "dem")}, DataError, "there are no images in dem; found: height, optical, sar"),
        ({"sources": ("sar",)}, DataError, "beside the sources there is height, optical; call the target's"),
        ({"sources": ("optical", "sar", "height")}, DataError, "beside the sources there is no folder"),
        ({"sources": ("optical", "sar"), "direction": "BtoA"}, DataError, "Several folders cannot be the target"),
        ({"sources": ("optical", "sar"), "source_range": (0, 1)}, ConfigError, "source_range is one for all sources"),
        ({"sources": ("optical", "sar"), "task": "sketch"}, ConfigError, "leave sources, source and target out"),
    ],
)
def test_what_cannot_be_stacked_is_refused(tmp_path, settings, error, message):
    root = write(tmp_path, LAYOUTS[3], count=2)
    with pytest.raises(error, match=message):
        open_dataset(TrainConfig(data=str(root), image_size=32, **settings))


def test_class_numbers_cannot_be_stacked(tmp_path):
    root = write(tmp_path, LAYOUTS[0])
    for path in root.glob("*/A2/*.tif"):
        write_values(path.with_suffix(".png"), image(0, 1, "uint8", 5))
        path.unlink()
    with pytest.raises(DataError, match="A2 seems to hold class numbers, which cannot be stacked"):
        open_dataset(TrainConfig(data=str(root), image_size=32))


KINDS = st.lists(
    st.sampled_from(
        [
            ImageKind("photo"),
            ImageKind("gray", channels=1),
            ImageKind("depth", channels=1, dtype="uint16", high=4095),
            ImageKind("ct", channels=1, dtype="int16", low=-1000, high=2000),
            ImageKind("sar", channels=2, dtype="float32", low=-25, high=5),
        ]
    ),
    min_size=2,
    max_size=4,
)


@given(KINDS, st.integers(0, 100))
def test_a_stack_keeps_the_values_of_every_part(parts, seed):
    rng = np.random.default_rng(seed)
    values = [rng.uniform(kind.low, kind.high, (3, 5, kind.channels)).astype(kind.dtype) for kind in parts]
    kind = stacked(parts)
    together = np.concatenate(values, axis=-1).astype(kind.dtype)
    assert together.shape[-1] == kind.channels == kind.network_channels and not kind.plain
    apart = [one.to_float(own) for one, own in zip(parts, values, strict=True)]
    np.testing.assert_array_equal(kind.to_float(together), np.concatenate(apart, axis=-1))
    np.testing.assert_allclose(kind.to_values(kind.to_float(together)), together, atol=1e-4)
    assert ImageKind.from_json(kind.to_json()) == kind


def test_a_stack_has_a_limit():
    with pytest.raises(DataError, match="a \\+ b: has 17 channels; at most 16"):
        stacked([ImageKind("a", channels=9), ImageKind("b", channels=8)])


def test_partners_lie_in_folders_of_the_names_of_the_parts(tmp_path):
    root = write(tmp_path, LAYOUTS[3])
    kind = open_dataset(TrainConfig(data=str(root), image_size=32, sources=("optical", "sar"))).source
    first = root / "val/optical/1.png"
    assert partners(first, kind) == (first, root / "val/sar/1.tif")
    whole = read_stacked(first, kind)
    write_values(tmp_path / "all.tif", whole)
    assert partners(tmp_path / "all.tif", kind) == (tmp_path / "all.tif",)
    np.testing.assert_array_equal(read_stacked(tmp_path / "all.tif", kind), whole)
    (root / "val/sar/1.tif").unlink()
    with pytest.raises(DataError, match=r"1\.png: there is no image called 1 in .*sar; each needs exactly one"):
        read_stacked(first, kind)


def test_a_stack_is_split_by_its_pairs(tmp_path):
    root = write(tmp_path / "data", {"A1": "A1", "A2": "A2", "B": "B"})
    done = combine.split(root, tmp_path / "out", val=0.25)
    assert done.counts == {"train": 3, "val": 1}
    dataset = open_dataset(TrainConfig(data=str(tmp_path / "out"), image_size=32))
    assert dataset.source.name == "A1 + A2" and [len(dataset[name]) for name in ("train", "val")] == [3, 1]
