"""Image files as stored values, of the file's own type and channels; what people see is made of them elsewhere.

8-bit RGB and gray photos go through `image.read_rgb`, which manages colors; here nothing is converted.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from p2plib.data import medical, rasters
from p2plib.data.headers import Header, plain_mode, read_header
from p2plib.data.held import as_path
from p2plib.data.image import MAX_PIXELS_VARIABLE, Shape, header, max_pixels, open_image, why_unreadable
from p2plib.data.stored import DTYPES, MOST_CHANNELS, Stored, is_missing, stored_dtype, to_stored
from p2plib.errors import DataError, UnsupportedError, WriteError
from p2plib.files import replacing

DESCRIPTION = "p2plib"
"""Name of the PNG text chunk that holds a description."""
_TIFF_DESCRIPTION = 270  # the number of TIFF's own tag for it
_ARRAYS = (".npy", ".npz")
_TIFFS = (".tif", ".tiff")
_PHOTOS = (".bmp", ".jpg", ".jpeg", ".webp")
"""What `write_values` writes of 8 bits besides PNG; JPEG and WebP at quality 95."""


def probe(path: str | Path) -> Stored:
    """What one image, or slice, of a file holds, from its header: no pixels are decoded.

    Raises:
        DataError: as `read_values`, unless it is about the pixels.
    """
    return _survey(as_path(path))[0]


def size_of(path: Path, upright: bool = False) -> Shape | None:
    """Height and width of any image as stored, or upright, from its header; None if it cannot be read."""
    if found := header(path, upright):
        return found
    try:
        stored = probe(path)
    except DataError:
        return None
    return stored.height, stored.width


def count_slices(path: str | Path) -> int:
    """How many images `read_values` can read of a file, by number: of NIfTI and multi-frame DICOM their slices, else 1.

    Raises:
        DataError: as `probe`.
    """
    return _survey(as_path(path))[1]


def read_values(path: str | Path, slice: int = 0, missing: float | None = None) -> np.ndarray:
    """Read the values of an image file as they are stored.

    PNG, TIFF (pages of one band are channels), BMP, JPEG, WebP and whatever else Pillow reads; NPY and NPZ of shape
    (H, W) or (H, W, C); DICOM, with its rescaling applied; slices of NIfTI, as `medical.read_nifti` describes. The
    orientation that EXIF or TIFF name is applied; color profiles are not. Palettes and CMYK become RGB.

    Args:
        path: the file.
        slice: which image of a file that has several, from 0 to below `count_slices`.
        missing: what pixels without data become, in all their channels: those with NaN, infinity, or the no-data value
            that the file names. None refuses a file that has such pixels.

    Returns:
        (H, W, C), C-contiguous, of a type of `stored.DTYPES`: see `stored.stored_dtype`.

    Raises:
        DataError: the file is missing or damaged; needs an extra that is not installed; has pixels without data and
            `missing` is None; has numbers that would be rounded, or of no known type; has no such slice; or has more
            than `max_pixels`.
    """
    path = as_path(path)
    stored, slices, header = _survey(path)
    if not 0 <= slice < slices:
        raise DataError(f"{path}: has {slices} slices, numbered from 0; there is no slice {slice}.")
    if stored.height * stored.width > (limit := max_pixels()):
        raise DataError(
            f"{path}: {stored.width}x{stored.height} is more than {limit / 1e6:g} million pixels; set "
            f"{MAX_PIXELS_VARIABLE} to a larger number to read it, or read it by windows."
        )
    if header is None:
        values = _read_array(path) if path.suffix.lower() in _ARRAYS else _read_slice(path, slice)
    else:
        values = _read_pillow(path, header) if header.exact else _read_raster(path, header)
    return _complete(to_stored(values, path), path, header.nodata if header else None, missing)


def _survey(path: Path) -> tuple[Stored, int, Header | None]:
    """What each slice holds, how many there are, and the header of what Pillow or rasterio reads."""
    if medical.is_nifti(path):
        return *medical.probe_nifti(path), None
    if path.suffix.lower() in _ARRAYS:
        return _probe_array(path), 1, None
    if medical.is_dicom(path):
        return *medical.probe_dicom(path), None
    try:
        if path.exists() and not path.is_file():  # opening a named pipe might block for ever
            raise OSError("it is no file")
        header = read_header(path)
    except (OSError, SyntaxError, ValueError, TypeError, struct.error) as error:
        raise DataError(
            f"{path}: cannot be read as an image ({why_unreadable(path, error)}); replace or remove it."
        ) from error
    return _limited(header.stored, path), 1, header


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read as an image ({why_unreadable(path, error)}); replace or remove it.")


def _limited(stored: Stored, path: Path) -> Stored:
    if stored.channels > MOST_CHANNELS:
        raise UnsupportedError(
            f"{path}: has {stored.channels} channels; at most {MOST_CHANNELS} are supported, so save fewer of them."
        )
    return stored


def _complete(values: np.ndarray, path: Path, nodata: float | None, missing: float | None) -> np.ndarray:
    """Values with `missing` where there are none; without it, such pixels are an error."""
    lacking = is_missing(values, nodata)
    count = int(lacking.sum())
    if count and missing is None:
        kinds = ["NaN or infinite"] if values.dtype.kind == "f" else []
        kinds += [f"{nodata:g}, its no-data value"] if nodata is not None and not np.isnan(nodata) else []
        raise DataError(f"{path}: {count:,} of its pixels are {' or '.join(kinds)}; fill them, or cut them away.")
    if count:
        values[lacking] = missing
    return values


def _read_pillow(path: Path, header: Header) -> np.ndarray:
    try:
        with open_image(path) as opened:
            values = np.array(opened.convert(plain_mode(opened.mode)))
    except (OSError, SyntaxError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be read as an image ({why_unreadable(path, error)}); replace or remove it."
        ) from error
    values = values if values.ndim == 3 else values[..., None]
    return values if header.driver == "GTiff" else _upright(values, header.orientation)  # Pillow turns TIFF itself


def _read_raster(path: Path, header: Header) -> np.ndarray:
    with rasters.opened(path, header) as raster:
        return _upright(raster.read(0, 0, raster.height, raster.width), header.orientation)


def _read_slice(path: Path, slice: int) -> np.ndarray:
    return medical.read_nifti(path, slice) if medical.is_nifti(path) else medical.read_dicom(path, slice)


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Values (H, W, C) with EXIF's orientation applied."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    return values[::down, ::across]


def _probe_array(path: Path) -> Stored:
    """From the header of an NPY file, or of the one in an NPZ archive."""
    try:
        with _npy(path) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as an array ({error}); replace or remove it.") from error
    if len(shape) not in (2, 3) or 0 in shape:
        raise UnsupportedError(f"{path}: holds an array of shape {shape}; an image is (H, W) or (H, W, C).")
    found = stored_dtype(dtype)
    if found is None:
        raise UnsupportedError(f"{path}: holds values of the type {dtype}, not numbers; save it as float32.")
    return _limited(Stored(shape[0], shape[1], shape[2] if len(shape) == 3 else 1, found), path)


def _read_array(path: Path) -> np.ndarray:
    try:
        with _npy(path) as file:
            values = np.lib.format.read_array(file, allow_pickle=False)  # a pickle can run a program
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: cannot be read as an array ({error}); replace or remove it.") from error
    return values if values.ndim == 3 else values[..., None]


@contextmanager
def _npy(path: Path) -> Iterator[Any]:
    """An open NPY file: the file itself, or the only one in an NPZ archive."""
    with path.open("rb") as file:
        if path.suffix.lower() == ".npy":
            yield file
            return
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise ValueError(f"it holds {len(names)} arrays, not one")
            with archive.open(names[0]) as member:
                yield member


def write_values(path: str | Path, array: np.ndarray, like: str | Path | None = None, description: str = "") -> None:
    """Write values atomically, so that `read_values` gives the same; the suffix of `path` names the format.

    PNG holds 1 to 4 channels of uint8 or uint16; BMP, JPEG and WebP 1 or 3 of uint8, the last two with a loss; TIFF
    and NPY hold everything.

    Args:
        path: the result.
        array: (H, W, C), of a type of `stored.DTYPES`.
        like: a GeoTIFF of the same place. A TIFF keeps its georeference, scaled if the size differs, and its no-data
            value if the type can hold it.
        description: a text that a TIFF or PNG file holds beside (of PNG files, those of 8 bits or one channel).

    Raises:
        DataError: rasterio is needed and not installed, or `like` cannot be read.
        WriteError: the format cannot hold the values; the message names one that can. Or the system does not let it be
            written.
        ValueError: the array is of another type or shape.
    """
    path = Path(path)
    if array.ndim != 3 or array.dtype.name not in DTYPES:
        raise ValueError(f"values are (H, W, C) of {', '.join(DTYPES)}, not {array.shape} of {array.dtype}")
    suffix, channels = path.suffix.lower(), array.shape[-1]
    deep = array.dtype != np.uint8
    if not _can_hold(suffix, array):
        better = ".png" if array.dtype in (np.uint8, np.uint16) and channels <= 4 else ".tif"
        raise WriteError(
            f"{path}: a {suffix or 'nameless'} file cannot hold {channels} channel{'s' * (channels > 1)} of "
            f"{array.dtype}; choose {better}."
        )
    with replacing(path) as temporary:
        if suffix == ".npy":
            np.save(temporary, array, allow_pickle=False)
        elif suffix in _TIFFS and (like or not _pillow_writes(array)):
            rasters.write_raster(temporary, array, "GTiff", Path(like) if like else None, description)
        elif suffix == ".png" and deep and channels > 1:
            rasters.write_raster(temporary, array, "PNG")
        else:
            _write_pillow(temporary, array, description)


def _can_hold(suffix: str, array: np.ndarray) -> bool:
    channels = array.shape[-1]
    if suffix in (".npy", *_TIFFS):
        return True
    if suffix == ".png":
        return array.dtype in (np.uint8, np.uint16) and channels <= 4
    return suffix in _PHOTOS and array.dtype == np.uint8 and channels in (1, 3)


def _pillow_writes(array: np.ndarray) -> bool:
    """Whether Pillow writes such a TIFF: it needs nothing else to be installed."""
    channels = array.shape[-1]
    return channels in {"uint8": (1, 3, 4), "uint16": (1,), "float32": (1,)}.get(array.dtype.name, ())


def read_description(path: Path) -> str | None:
    """The text that `write_values` was given for a file; None if there is none, or no such file."""
    try:
        with Image.open(path) as opened:
            found = opened.info.get(DESCRIPTION) or getattr(opened, "tag_v2", {}).get(_TIFF_DESCRIPTION)
            return str(found) if found else None
    except (OSError, SyntaxError, ValueError, TypeError):
        return None


def _write_pillow(path: Path, array: np.ndarray, description: str) -> None:
    image = Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[-1] == 1 else array))
    options: dict[str, Any] = {"quality": 95}
    if path.suffix.lower() in _TIFFS:
        options = {"compression": "tiff_adobe_deflate", "description": description}
    elif path.suffix.lower() == ".png" and description:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text(DESCRIPTION, description)
    image.save(path, **options)
