"""Reads the images of pairs as what their side of the data set is, or refuses them by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from p2plib.data.formats import VALUES_ONLY
from p2plib.data.image import read_class_numbers, read_oriented
from p2plib.data.kind import PLAIN, ImageKind
from p2plib.data.medical import CUT_FIRST, DICOM_SUFFIXES
from p2plib.data.problems import PairError, Problem
from p2plib.data.values import count_slices, read_values
from p2plib.errors import DataError


def read_or_refuse(
    path: Path, name: str, side: str = "", upright: bool = True, kind: ImageKind | None = None
) -> tuple[np.ndarray, int | None]:
    """Read a file of a pair, and its EXIF orientation, as `image.read_oriented` or `read_as` does.

    Args:
        path: the file.
        name: the pair's name.
        side: which side the file is, for the message, if there is more than one file.
        upright: see `image.read_oriented`.
        kind: what it is; None: 8-bit RGB. Other images have no EXIF orientation.

    Raises:
        PairError: it cannot be read, or is something else.
    """
    with refused(path, name, side):
        if (kind is None or kind.plain or kind.form == "colors") and path.suffix.lower() not in VALUES_ONLY:
            return read_oriented(path, upright)
        return read_as(path, kind or PLAIN[0]), None


def read_as(path: Path, kind: ImageKind, missing: float | None = None) -> np.ndarray:
    """Read an image of a kind, ordinary or not: stored values (H, W, C).

    Gray images become color where three channels are expected, and lose channels that are all equal where one is.

    Args:
        path: the file.
        kind: what it is to be.
        missing: what pixels without data become; None: they are an error.

    Raises:
        DataError: it cannot be read, its channels or its type differ, or it holds unknown classes.
    """
    if kind.form == "ids":
        return _read_numbers(path, kind)
    if (kind.plain or kind.form == "colors") and path.suffix.lower() not in VALUES_ONLY:
        return read_oriented(path)[0]
    if path.suffix.lower() in DICOM_SUFFIXES and (count := count_slices(path)) > 1:
        raise DataError(f"{path}: holds {count} slices; {CUT_FIRST}")
    values = read_values(path, missing=missing)
    if values.shape[-1] == 1 and kind.channels == 3:
        values = np.repeat(values, 3, axis=-1)
    elif kind.channels == 1 and values.shape[-1] == 3 and (values == values[..., :1]).all():
        values = values[..., :1]
    elif kind.channels < values.shape[-1] == 4 and kind.dtype == "uint8":
        values = values[..., : kind.channels]
    if values.shape[-1] != kind.channels or values.dtype != kind.dtype:
        found = f"{values.shape[-1]} channel{'s' * (values.shape[-1] > 1)} of {values.dtype}"
        raise DataError(f"{path}: holds {found}, not {kind.channels} of {kind.dtype} as the others; convert it.")
    return values


def _read_numbers(path: Path, kind: ImageKind) -> np.ndarray:
    numbers = read_class_numbers(path)[..., None]
    try:
        kind.indices(numbers)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return numbers


@contextmanager
def refused(path: Path, name: str, side: str = "") -> Iterator[None]:
    """Raise a PairError in place of a DataError about a file of the pair `name`, in this block."""
    try:
        yield
    except DataError as error:
        detail = str(error).removeprefix(f"{path}: ").rstrip(".")
        raise PairError(Problem(name, "unreadable", f"{side} {detail}".lstrip())) from error
