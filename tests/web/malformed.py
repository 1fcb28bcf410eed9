"""Uploads that are wrong in every way, and some odd ones that are right: one for each seed."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.random import Generator
from PIL import Image, PngImagePlugin
from webserver import form, png

from p2plib.data import toy

FORMATS = ("PNG", "JPEG", "WEBP")


@cache
def city() -> np.ndarray:
    return toy.city(0, 48)[0]


def good(rng: Generator) -> bytes:
    height, width = rng.integers(1, 49, 2)
    return png(city()[:height, :width], str(rng.choice(FORMATS)))


def truncated(rng: Generator) -> bytes:
    data = good(rng)
    return data[: rng.integers(0, len(data))]


def flipped(rng: Generator) -> bytes:
    data = bytearray(good(rng))
    for _ in range(rng.integers(1, 30)):
        data[rng.integers(0, len(data))] ^= 1 << rng.integers(0, 8)
    return bytes(data)


def overwritten(rng: Generator) -> bytes:
    """A run of random bytes in the header, or anywhere."""
    data = bytearray(good(rng))
    start = int(rng.integers(0, min(len(data), 100) if rng.random() < 0.5 else len(data)))
    noise = rng.bytes(int(rng.integers(1, 40)))
    data[start : start + len(noise)] = noise
    return bytes(data)


def of_another_type(rng: Generator) -> bytes:
    kinds: list[Callable[[], bytes]] = [
        lambda: b"<!doctype html><html><script>alert(1)</script></html>",
        lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        lambda: png(city(), "GIF"),
        lambda: png(city(), "BMP"),
        lambda: png(city(), "TIFF"),
        lambda: png(city(), "ICO"),
        lambda: png(city(), "PPM"),
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run",
        lambda: gzip.compress(png(city())),
        lambda: bytes(int(rng.integers(0, 5000))),
        lambda: rng.bytes(int(rng.integers(1, 5000))),
        lambda: b"\x89PNG\r\n\x1a\n" + rng.bytes(200),
        lambda: b"\xff\xd8\xff" + rng.bytes(200),
        lambda: b"RIFF" + struct.pack("<I", 200) + b"WEBPVP8 " + rng.bytes(190),
        lambda: b"",
    ]
    return kinds[rng.integers(len(kinds))]()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(rng: Generator) -> bytes:
    """A small file that says it is huge, or truly is."""
    width, height = (int(2 ** rng.uniform(10, 31)) for _ in range(2))
    kind = rng.integers(4)
    if kind == 0:
        data = zlib.compress(bytes(int(2 ** rng.uniform(10, 23))))
        header = struct.pack(">IIBBBBB", width, height, 8, rng.choice([0, 2, 3, 4, 6]), 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    if kind == 1:  # the size stands in the frame header of a JPEG
        data = bytearray(png(city(), "JPEG"))
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
        return bytes(data)
    if kind == 2:
        data = bytearray(png(city(), "WEBP"))
        data[26:30] = struct.pack("<HH", width & 0x3FFF, height & 0x3FFF)
        return bytes(data)
    side = int(rng.integers(900, 1400))  # near the limit, a black image of a few hundred bytes
    return png(Image.new("L", (side, side)))


def with_a_huge_header(rng: Generator) -> bytes:
    kind = rng.integers(5)
    size = int(2 ** rng.uniform(10, 17.9))
    if kind == 0:
        return png(city(), "JPEG", exif=b"Exif\0\0" + rng.bytes(min(size, 60_000)))
    if kind == 1:
        return png(city(), "JPEG", comment=bytes(min(size, 60_000)))
    if kind == 2:
        return png(city(), "PNG", icc_profile=rng.bytes(size))
    text = PngImagePlugin.PngInfo()
    if kind == 3:
        text.add_text("bomb", "x" * int(2 ** rng.uniform(10, 26)), zip=True)  # 64 MB in 64 kB
    else:
        for i in range(int(rng.integers(1, 500))):
            text.add_text(f"key{i}", "value" * 20)
    return png(city(), "PNG", pnginfo=text)


def of_an_odd_mode(rng: Generator) -> bytes:
    image = Image.fromarray(city())
    gray = city()[..., 0].astype(np.uint16) * 257
    kinds: list[Callable[[], bytes]] = [
        *(lambda mode=mode: png(image.convert(mode)) for mode in ("1", "L", "LA", "P", "PA", "RGBA", "I;16")),
        *(lambda mode=mode: png(image.convert(mode), "JPEG") for mode in ("L", "CMYK", "YCbCr")),
        lambda: png(Image.fromarray(gray)),
        lambda: png(image.convert("P"), transparency=int(rng.integers(256))),
        lambda: png(image.convert("L"), transparency=0),
        lambda: png(image, "JPEG", progressive=True),
        lambda: png(image, "WEBP", lossless=True),
        lambda: png(image, "PNG", save_all=True, append_images=[image] * 3),
        lambda: png(image, "WEBP", save_all=True, append_images=[image] * 3),
        lambda: png(image.resize((int(rng.integers(1, 400)), 1))),
        lambda: png(image.resize((1, int(rng.integers(1, 400))))),
        lambda: png(image, "JPEG", exif=Image.Exif()),
    ]
    try:
        return kinds[rng.integers(len(kinds))]()
    except (OSError, ValueError):  # Pillow does not write it
        return png(image)


FILES = (truncated, flipped, overwritten, of_another_type, bomb, with_a_huge_header, of_an_odd_mode)


def malformed_form(rng: Generator, file: bytes) -> dict:
    """The body of a form, cut off or with bytes exchanged."""
    head = b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    body = bytearray(head + file + b"\r\n--xyz--\r\n")
    for _ in range(rng.integers(1, 6)):
        body[rng.integers(0, min(len(body), 120))] = rng.integers(256)
    cut = rng.integers(1, len(body)) if rng.random() < 0.5 else len(body)
    return {"data": bytes(body[:cut]), "content_type": "multipart/form-data; boundary=xyz"}


def malformed_json(rng: Generator, file: bytes) -> dict:
    body = bytearray(json.dumps({"image": base64.b64encode(file).decode(), "fit": 1}).encode())
    for _ in range(rng.integers(1, 6)):
        body[rng.integers(0, min(len(body), 60))] = rng.integers(256)
    return {"data": bytes(body), "content_type": "application/json"}


def request(seed: int) -> tuple[str, dict]:
    """What request number `seed` is called, and the arguments with which the test client sends it."""
    rng = np.random.default_rng(seed)
    make = FILES[seed % len(FILES)]
    file, way = make(rng), rng.random()
    if way < 0.7:
        return make.__name__, form(file)
    if way < 0.8:
        return make.__name__, {"json": {"image": base64.b64encode(file).decode()}}
    broken = malformed_form if way < 0.9 else malformed_json
    return broken.__name__, broken(rng, file)
