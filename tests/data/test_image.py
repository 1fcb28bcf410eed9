from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms, PngImagePlugin

from p2plib.data.image import read_rgb, resize_image, save_image, tile_images, to_float, to_rgb, to_uint8
from p2plib.errors import ConfigError, DataError

IMAGE = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


@given(IMAGE)
def test_to_float_and_back_is_exact(image):
    values = to_float(image)
    assert values.dtype == np.float32
    assert np.abs(values).max() <= 1
    np.testing.assert_array_equal(to_uint8(values), image)


def test_to_uint8_clips_and_rounds():
    np.testing.assert_array_equal(to_uint8(np.array([-3, -1, 0.0, 1, 3])), [0, 0, 128, 255, 255])


@given(IMAGE)
@settings(deadline=None)
def test_png_round_trip(tmp_path_factory, image):
    path = tmp_path_factory.mktemp("png") / "image.png"
    save_image(path, image)
    np.testing.assert_array_equal(read_rgb(path), image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[0, 0] = 255  # the upper left corner
    stored = {1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud}
    stored |= {5: lambda p: p.transpose(1, 0, 2), 6: np.rot90, 7: lambda p: np.rot90(p, 2).transpose(1, 0, 2)}
    stored |= {8: lambda p: np.rot90(p, -1)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(stored[orientation](upright))).save(path, exif=exif)
    np.testing.assert_array_equal(read_rgb(path), upright)


def test_other_modes_become_rgb(tmp_path):
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    cases = {
        "gray.png": (Image.fromarray(gray), gray),
        "gray16.png": (Image.fromarray(gray.astype(np.uint16) * 257), gray),
        "palette.png": (Image.fromarray(gray).convert("P"), gray),
        "bits.png": (Image.fromarray(gray > 31), np.where(gray > 31, 255, 0)),
    }
    for name, (opened, expected) in cases.items():
        opened.save(tmp_path / name)
        np.testing.assert_array_equal(read_rgb(tmp_path / name), np.repeat(expected[..., None], 3, 2), name)


def test_transparent_parts_are_white(tmp_path):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    image = read_rgb(tmp_path / "alpha.png")
    assert image[0, 0].tolist() == [10, 20, 30]
    assert (image[1, 1] == 255).all()


def profile(first: bytes, second: bytes, name: str) -> bytes:
    """The sRGB profile under another name, two of its primaries exchanged."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(first, b"keep").replace(second, first).replace(b"keep", second)
    return swapped.replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_other_color_profiles_become_srgb(tmp_path, mode):
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[..., 1] = np.arange(400).reshape(20, 20) // 8  # more colors than labels have
    pixels[..., 2] = np.arange(400).reshape(20, 20) % 8
    pixels[0, 0] = 255, 0, 0
    Image.fromarray(pixels).convert(mode).save(tmp_path / "photo.png", icc_profile=profile(b"rXYZ", b"gXYZ", "swap"))
    image = read_rgb(tmp_path / "photo.png")
    assert np.abs(image[0, 0] - [0.0, 255, 0]).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_the_colors_of_labels_are_kept_as_stored(tmp_path, mode):
    """Editors add their own profile to every file; label colors stand for classes, whatever it says."""
    labels = Image.fromarray(np.full((8, 8, 3), (170, 0, 0), np.uint8)).convert(mode)
    labels.save(tmp_path / "with.png", icc_profile=profile(b"rXYZ", b"gXYZ", "swap"))
    labels.save(tmp_path / "without.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "with.png"), read_rgb(tmp_path / "without.png"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK", "I;16"])
@pytest.mark.parametrize(
    "icc", [b"no profile", profile(b"rXYZ", b"rXYZ", "sRGB")[:300], None], ids=["no profile", "cut off", "none"]
)
def test_profiles_that_cannot_be_used_change_nothing(mode, icc):
    """Damaged, cut short, or of a color space that the image does not have."""
    opened = Image.new(mode, (2, 2))
    before = to_rgb(opened)
    opened.info["icc_profile"] = icc or ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(to_rgb(opened), before)


def test_srgb_stays_as_it_is(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(image).save(tmp_path / "photo.png", icc_profile=srgb)
    np.testing.assert_array_equal(read_rgb(tmp_path / "photo.png"), image)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x89PNG\r\n\x1a\n" + b"x" * 50])
def test_what_is_no_image_is_named(tmp_path, content):
    path = tmp_path / "7.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"7\.png"):
        read_rgb(path)


def test_a_long_history_in_a_png_file_costs_no_image(tmp_path):
    """Editors write megabytes of text into it, beside which Pillow's own limit is small."""
    text = PngImagePlugin.PngInfo()
    text.add_text("history", "x" * 5_000_000, zip=True)
    Image.new("RGB", (4, 4), "red").save(tmp_path / "edited.png", pnginfo=text)
    assert (read_rgb(tmp_path / "edited.png") == (255, 0, 0)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path, value):
    Image.fromarray(np.array([[0, value]], np.float32)).save(tmp_path / "measured.tif")
    with pytest.raises(DataError, match=r"measured.tif: cannot be read as an image \(it holds values that are no num"):
        read_rgb(tmp_path / "measured.tif")


def test_resizing_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize_image(stripes, 16, 16)[:, 2:-2]
    assert np.abs(small.astype(int) - 127).max() < 8  # without antialiasing: all black or all white


def test_a_tile_holds_its_images():
    a, b, c = (np.full((4, 5, 3), value, np.uint8) for value in (1, 2, 3))
    sheet = tile_images([[a, b], [c]], gap=2)
    assert sheet.shape == (10, 12, 3)
    assert (sheet[:4, 7:] == 2).all() and (sheet[6:, :5] == 3).all()
    assert (sheet[6:, 7:] == 255).all() and (sheet[4:6] == 255).all()


def test_a_large_image_is_read_and_the_limit_can_be_set(tmp_path, monkeypatch, recwarn):
    path = tmp_path / "large.png"
    Image.new("1", (20_000, 10_000), 1).save(path)  # more than Pillow's own limit
    with Image.open(path) as opened:
        assert opened.size == (20_000, 10_000)
    monkeypatch.setenv("P2PLIB_MAX_PIXELS", "1e6")
    with pytest.raises(
        DataError, match=r"large\.png: 20000x10000 is more than 1 million pixels; set P2PLIB_MAX_PIXELS"
    ):
        read_rgb(path)
    monkeypatch.setenv("P2PLIB_MAX_PIXELS", "many")
    with pytest.raises(ConfigError, match="P2PLIB_MAX_PIXELS must be a number"):
        read_rgb(path)
    monkeypatch.delenv("P2PLIB_MAX_PIXELS")
    assert read_rgb(path).shape == (10_000, 20_000, 3)
    assert not recwarn
