"""Files of models that are not 8-bit RGB: untrusted TIFF, NPY and deep PNG in; results in the target's own type out.

They are read and written by the functions of `translate`, which take paths: an upload lies in a temporary folder while
it is translated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image

from p2plib.data.image import read_rgb
from p2plib.data.kind import ImageKind
from p2plib.data.reading import read_as
from p2plib.data.values import probe
from p2plib.errors import DataError
from p2plib.inference.folders import result_suffix, write_result
from p2plib.web import uploads
from p2plib.web.limits import Limits, RequestError

_STARTS = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"II+\0": ".tif",  # BigTIFF
    b"MM\0+": ".tif",
    b"\x93NUMPY": ".npy",
    b"\xff\xd8\xff": ".jpg",
}
MIMETYPES = {".png": "image/png", ".tif": "image/tiff"}
"""Of the files that `encode` makes."""


class File(NamedTuple):
    """A file to be sent: its content and the ending of its name."""

    content: bytes
    suffix: str


@contextmanager
def kept(data: bytes, limits: Limits) -> Iterator[Path]:
    """An untrusted file, in a temporary folder while this block runs; its header is read, and its pixels are not.

    Raises:
        RequestError: too large (413), of an unknown format (415), or damaged (422).
    """
    uploads.check_bytes(data, limits)
    suffix = next((suffix for start, suffix in _STARTS.items() if data.startswith(start)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        suffix = ".webp"
    if suffix is None:
        raise RequestError("This is not a TIFF, PNG, NPY, JPEG or WebP file.", 415)
    with TemporaryDirectory() as folder:
        path = Path(folder, f"upload{suffix}")
        path.write_bytes(data)
        with _one_sentence(path):
            stored = probe(path)
        uploads.check_size(stored.width, stored.height, limits, stored.channels)
        yield path


def read(path: Path, kind: ImageKind) -> np.ndarray:
    """The stored values of a file, read as `translate` reads it; or class numbers of a drawing in the classes' colors.

    Raises:
        RequestError: it is damaged, or its channels, type or classes are not those of the kind (422).
    """
    with _one_sentence(path), uploads.decoding:
        if kind.form == "ids" and path.suffix != ".npy":
            with Image.open(path) as opened:
                drawn = opened.mode in ("RGB", "RGBA")
            if drawn:
                return kind.from_indices(replace(kind, form="colors").indices(read_rgb(path)))
        return read_as(path, kind, missing=kind.low)


def encode(values: np.ndarray, kind: ImageKind, source: Path | None = None) -> File:
    """A file of stored values, written as `translate` writes it.

    Args:
        values: (H, W, C).
        kind: what they are.
        source: the file they were made of, whose georeference is kept.

    Raises:
        DataError: it cannot be written, for example because rasterio is not installed.
    """
    suffix = result_suffix(source, kind)
    with TemporaryDirectory() as folder:
        path = Path(folder, f"result{suffix}")
        write_result(path, values, kind, source)
        return File(path.read_bytes(), suffix)


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    """Turn whatever decoders raise in this block into a RequestError that does not tell where the file lies."""
    try:
        yield
    except DataError as error:
        raise RequestError(str(error).replace(str(path), path.name), 422) from None
    except Exception:  # on damaged files, decoders raise anything
        raise RequestError("The file is damaged: it cannot be decoded.", 422) from None
