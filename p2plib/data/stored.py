"""What the values of an image file are, and which of them p2plib works with: four types, none of them a missing one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from p2plib.errors import DataError

DTYPES = ("uint8", "uint16", "int16", "float32")
"""The types in which values flow through p2plib."""
MOST_CHANNELS = 16
"""How many channels one side of a data set may have."""
_EXACT = 2.0**24
"""Whole numbers up to this one are exact in float32, and not all above."""
_STEPS = 2**16
"""A float64 file must keep at least this many steps of its range in float32."""


class Stored(NamedTuple):
    """What one image of a file holds.

    Attributes:
        height: rows, upright (the orientation that EXIF or TIFF name is applied).
        width: columns.
        channels: values in each pixel.
        dtype: the type in which `read_values` gives them, one of `DTYPES`.
    """

    height: int
    width: int
    channels: int
    dtype: str


def stored_dtype(dtype: np.dtype | str) -> str | None:
    """The type of `DTYPES` that values of a file's type become; None for complex numbers, text and the like.

    int8 becomes int16. Whole numbers of 32 and 64 bits, and floats of 16 and 64 bits, become float32.
    """
    dtype = np.dtype(dtype)
    if dtype.name in DTYPES:
        return dtype.name
    if dtype.kind == "b":
        return "uint8"
    if dtype.name == "int8":
        return "int16"
    return "float32" if dtype.kind in "iuf" else None


def to_stored(values: np.ndarray, path: Path) -> np.ndarray:
    """Values of any number type in the type that `stored_dtype` names, native byte order, C-contiguous.

    Raises:
        DataError: the type is none of numbers; whole numbers are not exact in float32; or float64 values lie so close
            together, far from 0, that float32 would keep fewer than 2^16 steps of their range.
    """
    name = stored_dtype(values.dtype)
    if name is None:
        raise DataError(f"{path}: holds values of the type {values.dtype}, not numbers; save it as float32.")
    found = np.ascontiguousarray(values, np.dtype(name)) if values.dtype.kind != "f" else _to_float32(values, path)
    if values.dtype.kind in "iu" and name == "float32" and not np.array_equal(found.astype(np.longdouble), values):
        raise DataError(
            f"{path}: holds {values.dtype} values beyond {_EXACT:,.0f} that float32 would round; "
            "subtract an offset, or save it as uint16, int16 or float32."
        )
    return found


def _to_float32(values: np.ndarray, path: Path) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(values, np.float32)
    if values.dtype.itemsize <= 4:
        return found
    finite = np.isfinite(values)
    if not np.isfinite(found[finite]).all():
        raise DataError(f"{path}: holds values beyond 3.4e38, which float32 cannot; scale them down.")
    real = values[finite]
    if real.size and np.abs(found[finite] - real).max() * _STEPS > real.max() - real.min() > 0:
        raise DataError(
            f"{path}: its values lie between {real.min():g} and {real.max():g}, too close together for float32; "
            "subtract an offset, and save it as float32."
        )
    return found


def is_missing(values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Where pixels lack a value: one of their channels is the no-data value, NaN or infinite.

    Args:
        values: (H, W, C).
        nodata: the file's no-data value, if it names one.

    Returns:
        bool (H, W).
    """
    lacking = np.zeros(values.shape[:2], bool)
    if values.dtype.kind == "f":
        lacking |= ~np.isfinite(values).all(axis=-1)
    if nodata is not None and not np.isnan(nodata):
        lacking |= (values == values.dtype.type(nodata)).any(axis=-1) if holds(values.dtype, nodata) else False
    return lacking


def holds(dtype: np.dtype | str, number: float) -> bool:
    """Whether values of a type can be this number; every type of floats can be any."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return True
    return bool(np.isfinite(number)) and number == int(number) and np.iinfo(dtype).min <= number <= np.iinfo(dtype).max


def need(path: Path, what: str, library: str, extra: str) -> DataError:
    """The error that asks for an extra of p2plib, such as "x.tif: 4 bands of 16 bits need rasterio; install ..."."""
    return DataError(f"{path}: {what} need {library}; install p2plib[{extra}].")
