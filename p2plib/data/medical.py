"""DICOM files and NIfTI volumes as slices of stored values: Hounsfield units for CT, the scanner's numbers for others.

By pydicom and nibabel, the extra `p2plib[medical]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from p2plib.data.stored import Stored, need, stored_dtype
from p2plib.errors import DataError

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
NIFTI_SUFFIXES = (".nii", ".nii.gz")
CUT_FIRST = "cut all volumes into slices first: python -m p2plib data slices FOLDER OUT"
"""What to do where a volume stands in for an image."""
_VOLUMES = 2
"""How many NIfTI volumes stay unpacked: pairs take turns between a source and a target."""


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its suffix, or, since scanners often write none, by what it begins with."""
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    if not path.is_file():  # opening a named pipe might block for ever
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def is_nifti(path: Path) -> bool:
    """Whether a file is a NIfTI volume, by its suffix."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def probe_dicom(path: Path) -> tuple[Stored, int]:
    """What each slice of a DICOM file holds, and the number of slices, without decoding pixels."""
    _import(path, "DICOM files", "pydicom")
    with _speaking_of(path):
        data = _dicom(path, stop_before_pixels=True)
        channels, frames = int(data.SamplesPerPixel), int(data.get("NumberOfFrames", 1) or 1)
        dtypes = {_dicom_dtype(data, *_rescaling(data, frame)) for frame in range(frames)}
        dtype = dtypes.pop() if len(dtypes) == 1 else "float32"
        return Stored(int(data.Rows), int(data.Columns), channels, dtype), frames


def read_dicom(path: Path, slice: int) -> np.ndarray:
    """One slice (H, W, C): Hounsfield units and the like, by the file's rescale slope and intercept; colors as RGB.

    Gray that is stored inverted (MONOCHROME1) stays as stored.

    Raises:
        DataError: it cannot be read, is compressed by a method that needs another package, or needs a lookup table; or
            a CT value leaves the range of int16.
    """
    stored, _ = probe_dicom(path)
    with _speaking_of(path):
        from pydicom.pixels import pixel_array

        data = _dicom(path, stop_before_pixels=False)
        frames = int(data.get("NumberOfFrames", 1) or 1)
        values = pixel_array(data, index=slice if frames > 1 else None)
        slope, intercept = _rescaling(data, slice)
    values = values.reshape(stored[:3])
    if (slope, intercept) != (1, 0):
        values = values * np.float64(slope) + intercept
    if stored.dtype != "float32":
        limits = np.iinfo(stored.dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise DataError(
                f"{path}: holds values from {values.min():g} to {values.max():g}, beyond those of {stored.dtype}; "
                "save it as TIFF or NPY of float32."
            )
    return values.astype(stored.dtype)


def place_of_dicom(path: Path) -> tuple[str, float]:
    """The series of a DICOM file, and its slice's place in it: in mm along the body where it says so, else its number.

    Raises:
        DataError: it cannot be read.
    """
    with _speaking_of(path):
        data = _dicom(path, stop_before_pixels=True)
        place = float(data.get("InstanceNumber") or 0)
        across, position = data.get("ImageOrientationPatient"), data.get("ImagePositionPatient")
        if across and position:
            normal = np.cross(np.array(across[:3], float), np.array(across[3:], float))
            place = float(normal @ np.array(position, float))
        return str(data.get("SeriesInstanceUID", "")), place


def _dicom(path: Path, stop_before_pixels: bool) -> Any:
    import pydicom

    data = pydicom.dcmread(path, stop_before_pixels=stop_before_pixels)
    if "Rows" not in data:
        raise ValueError("it holds no image")
    if "ModalityLUTSequence" in data or data.PhotometricInterpretation == "PALETTE COLOR":
        raise ValueError("it needs a lookup table, which is not supported; save it as PNG or TIFF")
    return data


def _rescaling(data: Any, frame: int) -> tuple[float, float]:
    """Slope and intercept of a frame. Enhanced files have them in groups: of all frames, or of each."""
    places = [data]
    for group, number in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        for item in list(data.get(group) or [])[number : number + 1]:
            places += list(item.get("PixelValueTransformationSequence") or [])
    found = [place for place in places if place.get("RescaleSlope") is not None]
    return (float(found[-1].RescaleSlope), float(found[-1].get("RescaleIntercept") or 0)) if found else (1.0, 0.0)


def _dicom_dtype(data: Any, slope: float, intercept: float) -> str:
    """The type that holds every value that the header allows.

    CT is int16 in any case: scanners write its 12 bits as 16, and Hounsfield units are far from the limits.
    """
    if not (slope.is_integer() and intercept.is_integer()) or "BitsStored" not in data:
        return "float32"
    bits, signed = int(data.BitsStored), bool(data.PixelRepresentation)
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    low, high = sorted((lowest * slope + intercept, highest * slope + intercept))
    if data.get("Modality") == "CT" and int(data.SamplesPerPixel) == 1:
        return "int16"
    for dtype in ("uint8", "uint16", "int16"):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return dtype
    return "float32"


class Volume(NamedTuple):
    """A NIfTI file: values as stored, (x, y, z, t) in some order of the first three, and how to read them."""

    values: Any
    slope: float
    intercept: float
    axes: tuple[int, int, int]
    """Which stored axis runs from left to right, from back to front, and from feet to head."""
    reverse: tuple[bool, bool, bool]
    """Whether it runs the other way."""


def probe_nifti(path: Path) -> tuple[Stored, int]:
    """What each slice of a NIfTI file holds, and the number of slices, without decoding pixels."""
    nibabel = _import(path, "NIfTI files", "nibabel")
    with _speaking_of(path):
        image = nibabel.load(path)
        slope, intercept, axes, _ = _geometry(image)
        dtype = stored_dtype(image.get_data_dtype()) if (slope, intercept) == (1, 0) else "float32"
        shape = _four(image.shape)
    if dtype is None:
        raise DataError(f"{path}: holds colors or complex numbers, which are not supported; save its slices as PNG.")
    across, down, depth = (shape[axis] for axis in axes)
    return Stored(down, across, shape[3], dtype), depth


def read_nifti(path: Path, slice: int) -> np.ndarray:
    """One axial slice (H, W, C), as radiologists see it: the front is up, and the patient's left is on the right.

    Slices are counted from the feet. A fourth dimension, such as time or the kind of contrast, is the channels.

    Raises:
        DataError: it cannot be read.
    """
    _import(path, "NIfTI files", "nibabel")
    with _speaking_of(path):
        stat = path.stat()
        volume = _volume(path, stat.st_mtime_ns, stat.st_size)
        values = np.moveaxis(volume.values, volume.axes, (1, 0, 2))  # (y, x, z, t)
        back_to_front, left_to_right = volume.reverse[1], volume.reverse[0]
        values = values[:, :, values.shape[2] - 1 - slice if volume.reverse[2] else slice]
        values = values[:: 1 if back_to_front else -1, :: 1 if left_to_right else -1]
        values = np.array(values)
    if (volume.slope, volume.intercept) != (1, 0):
        values = values.astype(np.float64) * volume.slope + volume.intercept
        return values.astype(np.float32)
    return values


@lru_cache(maxsize=_VOLUMES)
def _volume(path: Path, changed: int, size: int) -> Volume:
    """Open a volume: mapped into memory, or unpacked if it is compressed, which takes long for each slice anew."""
    import nibabel

    image: Any = nibabel.load(path)  # type: ignore[attr-defined,unused-ignore]
    values = image.dataobj.get_unscaled()
    return Volume(values.reshape(_four(values.shape), order="F"), *_geometry(image))


def _geometry(image: Any) -> tuple[float, float, tuple[int, int, int], tuple[bool, bool, bool]]:
    """The last four fields of a Volume, from its header."""
    import nibabel

    orientation = nibabel.orientations.io_orientation(image.affine)  # of each stored axis: which one it is, which way
    if np.isnan(orientation).any():
        raise ValueError("its axes are not in space")
    axes = tuple(int(np.flatnonzero(orientation[:, 0] == axis)[0]) for axis in range(3))
    reverse = tuple(bool(orientation[axis, 1] < 0) for axis in axes)
    slope, intercept = (float(number) for number in (image.dataobj.slope, image.dataobj.inter))
    return slope, intercept, axes, reverse  # type: ignore[return-value]


def _four(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The shape of a volume with a third and a fourth dimension, which may be missing; more than these are refused."""
    long = (*shape, 1, 1)[: max(4, len(shape))]
    if len(shape) < 2 or any(length != 1 for length in long[4:]):
        raise ValueError(f"it has the shape {shape}; save its parts as volumes of their own")
    return long[:4]  # type: ignore[return-value]


def _import(path: Path, what: str, library: str) -> Any:
    """Load pydicom or nibabel, which not everyone has, and which takes a moment."""
    try:
        return import_module(library)
    except ImportError as error:
        raise need(path, what, library, "medical") from error


@contextmanager
def _speaking_of(path: Path) -> Iterator[None]:
    """Raise a DataError about a file in place of what the libraries raise in this block, which has no common name."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = str(error).rstrip(".").replace("\n", " ") or type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason}); replace or remove it.") from error
