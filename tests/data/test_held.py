"""Files in memory are read as those on disk."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2plib.data import toy
from p2plib.data.held import HeldFile, as_path
from p2plib.data.image import read_class_numbers, read_oriented, save_image
from p2plib.data.values import probe, read_values, size_of, write_values
from p2plib.errors import DataError


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp", "a.npy"])
def test_it_gives_what_a_file_gives(tmp_path, name):
    path = tmp_path / name
    (write_values if name == "a.npy" else save_image)(path, toy.city(0, 32)[0])
    held = HeldFile(f"train/{name}", path.read_bytes())
    np.testing.assert_array_equal(read_values(held), read_values(path))
    assert probe(held) == probe(path) and size_of(held) == size_of(path) == (32, 32)
    if name != "a.npy":
        np.testing.assert_array_equal(read_oriented(held)[0], read_oriented(path)[0])


def test_class_numbers_too(tmp_path):
    Image.fromarray(toy.city(0, 32)[1]).quantize(6).save(tmp_path / "a.png")
    held = HeldFile("a.png", (tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(read_class_numbers(held), read_class_numbers(tmp_path / "a.png"))


def test_messages_name_it():
    for read in (read_oriented, read_values):
        with pytest.raises(DataError, match=r"^train/a.png: cannot be read as an image \(it holds no image data\)"):
            read(HeldFile("train/a.png", b"no image"))


def test_it_is_a_path_at_which_nothing_lies():
    held = HeldFile("train/a.png", b"123")
    assert (held.name, held.stem, held.suffix, str(held)) == ("a.png", "a", ".png", "train/a.png")
    assert held.exists() and held.is_file() and not held.is_symlink() and held.stat().st_size == 3
    assert held.read_bytes() == held.open("rb").read() == b"123"
    assert as_path(held) is held and as_path("x") == Path("x")
    assert held.parent == Path("train") and str(held.with_name("b.png")) == str(Path("train/b.png"))
