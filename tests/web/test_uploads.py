"""Untrusted bytes become an image, the same that the library reads from a file, or one sentence."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from webserver import png

from p2plib.data import toy
from p2plib.data.image import read_rgb
from p2plib.web import Limits, uploads
from p2plib.web.limits import RequestError

AERIAL, MAP = toy.city(3, 40)
LIMITS = Limits(pixels=10_000)


def refused(data: bytes, limits: Limits = LIMITS) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        uploads.decode(data, limits)
    return caught.value.status, str(caught.value)


def declaring(width: int, height: int) -> bytes:
    """A PNG file of 60 bytes that claims to be of any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


MODES = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "JPEG": ["1", "L", "RGB", "CMYK", "YCbCr"],
    "WEBP": ["L", "P", "RGB", "RGBA"],
}


@pytest.mark.parametrize(("format", "mode"), [(format, mode) for format, modes in MODES.items() for mode in modes])
def test_a_image_is_what_the_library_reads_from_a_file(tmp_path, format, mode):
    opened = (
        Image.fromarray(AERIAL).convert(mode) if mode != "I;16" else Image.fromarray(AERIAL[..., 0] * np.uint16(257))
    )
    data = png(opened, format)
    (tmp_path / "image").write_bytes(data)
    image = uploads.decode(data, LIMITS)
    np.testing.assert_array_equal(image, read_rgb(tmp_path / "image"))
    assert image.shape == AERIAL.shape
    assert np.unique(image).size >= 2


def test_transparent_parts_are_white():
    assert (uploads.decode(png(Image.new("RGBA", (5, 4), (200, 0, 0, 0)))) == 255).all()


def test_photos_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    assert uploads.decode(png(AERIAL[:30], "JPEG", exif=exif)).shape == (40, 30, 3)


def test_the_content_decides_not_the_name():
    assert refused(png(AERIAL, "GIF"))[0] == refused(png(AERIAL, "TIFF"))[0] == 415
    assert refused(b"<html><body>404</body></html>") == (415, "This is not a PNG, JPEG or WebP image.")
    assert refused(b"")[0] == 400


@pytest.mark.parametrize("size", [(101, 100), (10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_the_header_alone_refuses_large_images(size):
    status, sentence = refused(declaring(*size))
    assert status == 413 and "at most 0.01 million are allowed (`web --max-megapixels` sets the limit)" in sentence


def test_a_phone_photo_of_24_megapixels_is_within_the_limits():
    photo = io.BytesIO()
    Image.new("RGB", (5712, 4284)).save(photo, "JPEG")
    padded = photo.getvalue() + bytes(12_000_000 - photo.tell())  # real ones have this size
    assert uploads.decode(padded, Limits()).shape == (4284, 5712, 3)


def test_large_files_are_not_looked_at():
    assert refused(bytes(101), Limits(upload_bytes=100))[0] == 413


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_truncated_files_are_damaged(format):
    data = png(AERIAL, format)
    assert refused(data[: len(data) // 2]) == (422, "The image is damaged: it cannot be decoded.")


def test_base64_and_data_urls():
    assert uploads.from_base64("aGVsbG8=") == uploads.from_base64("data:image/png;base64,aGVsbG8=") == b"hello"
    assert uploads.from_base64("aGVs\nbG8=\n") == b"hello"
    for wrong in ("aGVsbG8", "not base64!", "data:image/png,hello", "data:,", "\ud800", "é"):
        with pytest.raises(RequestError):
            uploads.from_base64(wrong)


def test_png_is_lossless():
    assert (np.array(Image.open(io.BytesIO(uploads.to_png(MAP)))) == MAP).all()
