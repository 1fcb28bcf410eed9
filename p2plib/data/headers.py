"""What the header of an image file says: size, channels, type, and whether Pillow can read its values exactly.

Pillow squeezes deep colors to 8 bits, drops bands or shifts bits for some files, silently; those are for rasterio.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, TiffImagePlugin

from p2plib.data.image import exif_orientation, open_image
from p2plib.data.stored import Stored, stored_dtype
from p2plib.errors import DataError, UnsupportedError

_GRAY, _RGB, _PALETTE, _CMYK, _YCBCR = 1, 2, 3, 5, 6  # TIFF's photometric interpretations; 0 is gray with 0 as white
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # TIFF's sample formats; the others are complex numbers
_REDUCED_OR_MASK = 0b101  # flags of TIFF's NewSubfileType: the page is an overview, or a mask
_GEO = {33550, 34264}  # GeoTIFF's ModelPixelScale and ModelTransformation
_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}  # TIFF's that every Pillow unpacks
_BIG_ENDIAN = -1  # beside the tags of a page: its byte order
_DRIVERS = {"PNG": "PNG", "PPM": "PNM", "JPEG2000": "JP2OpenJPEG"}  # Pillow's formats
_PILLOW_DTYPES = {"I;16": "uint16", "I;16B": "uint16", "I;16L": "uint16", "F": "float32", "I": "float32"}


class Header(NamedTuple):
    """What is known of a file before its pixels are decoded.

    Attributes:
        stored: the upright size, channels and type.
        driver: what GDAL calls the format, so that it takes the file for nothing else; "" if p2plib never asks it to.
        exact: whether Pillow reads its values as they are; otherwise rasterio must.
        orientation: EXIF's number, 1 to 8.
        pages: which pages of a TIFF are its channels, if it has several; from 1.
        nodata: the value that stands for no data, if the file names one.
        placed: it is a GeoTIFF, which says where on Earth it lies.
    """

    stored: Stored
    driver: str
    exact: bool = True
    orientation: int = 1
    pages: tuple[int, ...] = ()
    nodata: float | None = None
    placed: bool = False

    @property
    def what(self) -> str:
        """The content for a message, such as "4 bands of 16 bits"; a plural in any case."""
        bits = {"uint8": "8 bits", "uint16": "16 bits", "int16": "16 signed bits", "float32": "32 bits"}
        pages = "pages" if self.pages else "bands" if self.stored.channels > 1 else "values"
        count = f"{self.stored.channels} " if self.stored.channels > 1 else ""
        return f"{count}{pages} of {bits[self.stored.dtype]}"


def read_header(path: Path) -> Header:
    """Read the header of an image file that Pillow or rasterio can decode.

    Raises:
        DataError: a TIFF of numbers that p2plib does not know.
        OSError, SyntaxError, ValueError, struct.error: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(1024)
    if head[:2] in (b"II", b"MM"):
        return _tiff(path)
    for driver, deep in (("PNG", _deep_png), ("PNM", _deep_pnm), ("JP2OpenJPEG", _deep_jpeg2000)):
        if found := deep(head):
            return Header(found, driver, exact=False)
    with open_image(path) as opened:
        orientation = exif_orientation(opened) or 1
        width, height = opened.size if orientation < 5 else opened.size[::-1]
        channels = len(Image.new(plain_mode(opened.mode), (1, 1)).getbands())
        stored = Stored(height, width, channels, _PILLOW_DTYPES.get(opened.mode, "uint8"))
        return Header(stored, _DRIVERS.get(opened.format or "", ""), orientation=orientation)


def may_have_place(path: Path) -> bool:
    """Whether a file is of a format that can say where on Earth it lies: TIFF or JPEG 2000.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); replace or remove it.") from error
    return head[:2] in (b"II", b"MM") or head[4:8] == b"jP  "


def plain_mode(mode: str) -> str:
    """The mode to convert an image to, so that its values are gray or red, green, blue, and perhaps opacity.

    Palettes, CMYK and YCbCr become RGB; images of 1 bit become gray, 0 and 255.
    """
    if mode in _PILLOW_DTYPES or mode in ("L", "LA", "RGB", "RGBA"):
        return mode
    return {"1": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}.get(mode, "RGB")


def _deep_png(head: bytes) -> Stored | None:
    """What a PNG file of 16 bits holds, unless it is gray, which Pillow reads."""
    if not head.startswith(b"\x89PNG\r\n\x1a\n") or len(head) < 26:
        return None
    width, height, bits, color = struct.unpack(">IIBB", head[16:26])
    channels = {2: 3, 4: 2, 6: 4}.get(color)
    return Stored(height, width, channels, "uint16") if bits == 16 and channels else None


def _deep_pnm(head: bytes) -> Stored | None:
    """What a PGM or PPM file of more than 8 bits holds; Pillow would scale it."""
    found = re.match(rb"P([2356])((?:\s|#[^\n]*\n)+(\d+))((?:\s|#[^\n]*\n)+(\d+))(?:\s|#[^\n]*\n)+(\d+)\s", head)
    if not found or int(found[6]) <= 255:
        return None
    return Stored(int(found[5]), int(found[3]), 1 if found[1] in b"25" else 3, "uint16")


def _deep_jpeg2000(head: bytes) -> Stored | None:
    """What a JPEG 2000 file of 9 to 16 bits holds; Pillow would shift the bits of gray and squeeze colors."""
    place = head.find(b"ihdr")
    if head[4:8] != b"jP  " or place < 0:
        return None
    height, width, channels, bits = struct.unpack(">IIHB", head[place + 4 : place + 15])
    if bits & 0x7F < 8:  # one less than the number of bits; the highest bit says whether they are signed
        return None
    return Stored(height, width, channels, "int16" if bits & 0x80 else "uint16")


def _tiff(path: Path) -> Header:
    pages = [(number, page) for number, page in enumerate(_tiff_pages(path), 1)]
    whole = [(number, page) for number, page in pages if not page.get(254, 0) & _REDUCED_OR_MASK] or pages[:1]
    first = whole[0][1]
    shape = _tiff_shape(first, path)
    together = len(whole) > 1 and shape.channels == 1 and all(_tiff_shape(page, path) == shape for _, page in whole)
    if together:
        shape = shape._replace(channels=len(whole))
    orientation = first.get(274, 1) if first.get(274, 1) in range(1, 9) else 1
    if orientation >= 5:
        shape = shape._replace(height=shape.width, width=shape.height)
    exact = not together and _pillow_is_exact(first)
    numbers = tuple(number for number, _ in whole) if together else ()
    return Header(shape, "GTiff", exact, orientation, numbers, _nodata(first), bool(first.keys() & _GEO))


def _tiff_pages(path: Path) -> list[Any]:
    """The tags of each page, by number. Pillow's own reader of them, since its images refuse modes it has no name for.

    A chain of pages that leads back to itself ends there.
    """
    pages: list[Any] = []
    seen: set[int] = set()
    with path.open("rb") as file:
        head = file.read(8)
        if len(head) == 8 and 43 in (head[2], head[3]):  # BigTIFF
            head += file.read(8)
        big = {_BIG_ENDIAN: head[:2] == b"MM"}
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        while tags.next and tags.next not in seen:
            seen.add(tags.next)
            file.seek(tags.next)
            tags.load(file)
            pages.append(dict(tags) | big)
    if not pages or not {256, 257} <= pages[0].keys():
        raise OSError("it holds no image data")
    return pages


def holds_all_its_blocks(path: Path) -> bool:
    """Whether a TIFF is as long as its tables of strips or tiles say, and leaves none of them out."""
    size = path.stat().st_size
    for page in _tiff_pages(path):
        starts, lengths = (page.get(tiles) or page.get(strips, ()) for tiles, strips in ((324, 273), (325, 279)))
        if not lengths or any(
            not 0 < start < start + length <= size for start, length in zip(starts, lengths, strict=True)
        ):
            return False
    return True


def _tiff_shape(page: dict[int, Any], path: Path) -> Stored:
    bits, kind = max(page.get(258, (1,))), _KINDS.get(max(page.get(339, (1,))))
    size = 8 if bits <= 8 else 16 if bits <= 16 else 32 if bits <= 32 else 64
    dtype = stored_dtype(f"{kind}{size // 8}") if kind and (kind, size) != ("f", 8) else None
    if dtype is None:
        raise UnsupportedError(
            f"{path}: holds complex or unknown numbers, which are not supported; save it as float32."
        )
    kinds = {_PALETTE: 3, _CMYK: 3} if _pillow_is_exact(page) else {}
    channels = kinds.get(page.get(262, _GRAY), page.get(277, 1))
    return Stored(page[257], page[256], channels, dtype)


def _pillow_is_exact(page: dict[int, Any]) -> bool:
    """Whether Pillow reads a TIFF page as it is: 8-bit gray, palette, RGB, RGBA; gray of uint16 or float32."""
    bits, samples, color = page.get(258, (1,)), page.get(277, 1), page.get(262, _GRAY)
    kind = _KINDS.get(max(page.get(339, (1,))))
    packed = page.get(259, 1)
    if packed not in _COMPRESSIONS or (packed == 1 and page.get(274, 1) >= 5):  # Pillow garbles turned, unpacked ones
        return False
    if samples == 1:
        gray = color in (0, _GRAY)
        shallow = bits[0] in (1, 2, 4, 8) and kind == "u" and (gray or color == _PALETTE)
        swapped = page[_BIG_ENDIAN] and packed != 1  # Pillow would leave floats swapped
        return shallow or (gray and not swapped and (bits[0], kind) in ((16, "u"), (32, "f")))
    if set(bits) != {8} or kind != "u":
        return False
    extra = tuple(page.get(338, ()))  # 2: opacity beside the colors; others are bands, or opacity in the colors
    return (samples, color, extra) in ((3, _RGB, ()), (3, _YCBCR, ()), (4, _RGB, (2,)), (4, _CMYK, ()))


def _nodata(page: dict[int, Any]) -> float | None:
    try:
        return float(str(page[42113]).strip("\0 "))
    except (KeyError, ValueError):
        return None
