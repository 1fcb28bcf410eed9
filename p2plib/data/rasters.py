"""Large rasters, such as GeoTIFFs, read and written window by window; georeference and no-data value stay.

By rasterio, the extra `p2plib[bands]`. Memory holds a few windows, whatever the size of the file.
"""

from __future__ import annotations

import os
import struct
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from p2plib.data.headers import Header, holds_all_its_blocks, may_have_place, read_header
from p2plib.data.stored import Stored, holds, need, to_stored
from p2plib.errors import DataError, WriteError
from p2plib.files import part_name, replacing

CACHE = 256 << 20
"""Bytes of decoded blocks that GDAL keeps; its own default is a share of the machine's memory."""
BLOCK = 512
"""Height and width of the blocks of a raster that is written, in pixels. Windows that end at multiples are quickest."""
_TILED = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "interleave": "pixel", "bigtiff": "yes"}
_FIRST = {"driver": "GTiff", "compress": "zstd", "zstd_level": 1, **_TILED}
"""How windows are kept until the raster is complete: quickly packed, since they are read once."""
_COG = {"driver": "COG", "compress": "deflate", "predictor": "yes", "blocksize": BLOCK, "bigtiff": "if_safer"}


class Raster:
    """A raster open for reading; see `open_raster`.

    Attributes:
        path: its file.
        height: rows.
        width: columns.
        channels: bands, or pages of a TIFF whose pages are its channels.
        dtype: the type of what `read` returns, one of `stored.DTYPES`.
        nodata: the value that stands for no data, if the file names one; NaN is possible.
    """

    def __init__(self, path: Path, header: Header, pages: Sequence[Any]) -> None:
        self.height, self.width, self.channels, self.dtype = header.stored
        self.nodata = header.nodata
        self.path, self._pages = path, pages

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """A window as stored, (height, width, channels), values without data among them: see `stored.is_missing`.

        Raises:
            DataError: the window is not within the raster, or the file is damaged there.
        """
        if not (0 <= top <= top + height <= self.height and 0 <= left <= left + width <= self.width):
            raise DataError(
                f"{self.path}: rows {top} to {top + height} and columns {left} to {left + width} are not all within "
                f"{self.height}x{self.width}."
            )
        window = ((top, top + height), (left, left + width))
        with _speaking_of(self.path):
            read = [page.read(window=window) for page in self._pages]
            bands = read[0] if len(read) == 1 else np.concatenate(read)
        return to_stored(np.moveaxis(bands, 0, -1), self.path)


@contextmanager
def open_raster(path: str | Path) -> Iterator[Raster]:
    """Open a TIFF, GeoTIFF, PNG, PNM or JPEG 2000 file to read windows of it.

    Raises:
        DataError: rasterio is not installed; the file is missing, damaged, none of these, or turned by TIFF's
            orientation, which a window cannot follow.

    Example:
        >>> with open_raster("scene.tif") as raster:
        ...     corner = raster.read(0, 0, 256, 256)
    """
    path = Path(path)
    header = raster_header(path)
    if not header.driver:
        raise DataError(f"{path}: cannot be read by windows; save it as TIFF.")
    if header.orientation != 1:
        raise DataError(f"{path}: is stored turned or mirrored (TIFF's orientation {header.orientation}); rewrite it.")
    with opened(path, header, sidecars=True) as raster:
        yield raster


def raster_header(path: Path) -> Header:
    """`read_header`, with what goes wrong as a DataError."""
    try:
        return read_header(path)
    except (OSError, SyntaxError, ValueError, TypeError, struct.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{path}: cannot be read as a raster ({reason}); replace or remove it.") from error


@contextmanager
def opened(path: Path, header: Header, sidecars: bool = False) -> Iterator[Raster]:
    """Open a raster whose header is known, as stored, whatever its orientation.

    Args:
        path: the file.
        header: what `read_header` says of it.
        sidecars: look for files beside it that hold a georeference. That takes long in folders of many files.
    """
    rasterio = import_rasterio(path, header.what)
    options = {} if sidecars else {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    height, width, channels, _ = header.stored
    if header.orientation >= 5:
        height, width = width, height
    with rasterio.Env(GDAL_CACHEMAX=CACHE, GDAL_PAM_ENABLED="NO", **options), ExitStack() as stack:
        with _speaking_of(path):
            names: list[str | Path] = [f"GTIFF_DIR:{page}:{path.absolute()}" for page in header.pages] or [
                path.absolute()
            ]
            pages = [stack.enter_context(rasterio.open(name, driver=header.driver)) for name in names]
        if (pages[0].height, pages[0].width, sum(page.count for page in pages)) != (height, width, channels):
            raise DataError(f"{path}: its header and its bands disagree; save it again as TIFF.")
        yield Raster(path, header._replace(stored=Stored(height, width, channels, header.stored.dtype)), pages)


class NewRaster:
    """A raster open for writing; see `create_raster`."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def write(self, array: np.ndarray, top: int, left: int) -> None:
        """Write a window (h, w, channels) of the raster's own type.

        Raises:
            ValueError: it is of another type or number of channels, or reaches beyond the raster.
        """
        dataset, (height, width, channels) = self._dataset, array.shape
        within = 0 <= top <= top + height <= dataset.height and 0 <= left <= left + width <= dataset.width
        if not within or channels != dataset.count or array.dtype != dataset.dtypes[0]:
            raise ValueError(f"{array.dtype} {array.shape} at ({top}, {left}) does not fit {dataset.profile}")
        dataset.write(np.moveaxis(array, -1, 0), window=((top, top + height), (left, left + width)))


@contextmanager
def create_raster(
    path: str | Path,
    height: int,
    width: int,
    channels: int,
    dtype: str,
    like: str | Path | None = None,
    labels: bool = False,
    description: str = "",
) -> Iterator[NewRaster]:
    """Create a Cloud Optimized GeoTIFF to write windows to; it takes its place when the block succeeds.

    The windows go to a temporary file first, so the disk must hold the raster twice. If the block raises, nothing is
    left, and what was at `path` stays.

    Args:
        path: the result, .tif or .tiff.
        height: rows.
        width: columns.
        channels: its number of bands.
        dtype: one of `stored.DTYPES`.
        like: a GeoTIFF of the same place, whose georeference the result keeps, scaled if it has another size, and whose
            no-data value, if the type can hold it.
        labels: values are numbers of classes, which overviews must not average.
        description: a text that the file holds beside.

    Raises:
        DataError: rasterio is not installed, or `like` cannot be read.
        WriteError: the system does not let it be written; it must end in .tif or .tiff.
    """
    _check_suffix(path := Path(path))
    rasterio = import_rasterio(path, "rasters")
    shape = {"height": height, "width": width, "count": channels, "dtype": dtype}
    place = georeference(Path(like), height, width, dtype) if like else {}
    with replacing(path) as final, _work_folder(path) as folder, _env(rasterio), _os_errors():
        with rasterio.open(folder / "windows.tif", "w", **_FIRST, **shape, **place) as dataset:
            dataset.update_tags(**_described(description))
            yield NewRaster(dataset)
        _finish(rasterio, folder, labels)
        os.replace(folder / "result.tif", final)


def _described(text: str) -> dict[str, str]:
    return {"TIFFTAG_IMAGEDESCRIPTION": text} if text else {}


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise WriteError(f"{path}: a raster must end in .tif or .tiff.")


def write_raster(path: Path, array: np.ndarray, driver: str, like: Path | None = None, description: str = "") -> None:
    """Write an array (H, W, C) at once: "GTiff", compressed, or "PNG"; not atomically, for `values.write_values`."""
    rasterio = import_rasterio(path, "bands" if array.shape[-1] > 1 else "such values")
    height, width, channels = array.shape
    shape = {"height": height, "width": width, "count": channels, "dtype": array.dtype.name}
    place = georeference(like, height, width, array.dtype.name) if like else {}
    options: dict[str, Any] = {}
    if driver == "GTiff":
        predictor = 3 if array.dtype.kind == "f" else 2
        rgb = channels == 3 and array.dtype == np.uint8
        options = {"compress": "deflate", "predictor": predictor, "photometric": "rgb" if rgb else "minisblack"}
    with rasterio.Env(GDAL_PAM_ENABLED="NO"), _os_errors():
        with rasterio.open(path, "w", driver=driver, **shape, **options, **place) as dataset:
            dataset.write(np.moveaxis(array, -1, 0))
            if driver == "GTiff":
                dataset.update_tags(**_described(description))
        if driver == "GTiff":
            _check_whole(path)


def georeference(like: Path, height: int, width: int, dtype: str) -> dict[str, Any]:
    """Where on Earth a result of this size lies, as `like` says, and its no-data value: options for rasterio.

    Nothing for a file that has neither, of whatever type. A no-data value that the type cannot hold is left out.
    """
    found: dict[str, Any] = {}
    if not may_have_place(like):
        return found
    driver = raster_header(like).driver
    rasterio = import_rasterio(like, "georeferenced rasters")
    with _env(rasterio), _speaking_of(like), rasterio.open(like.absolute(), driver=driver) as dataset:
        across, down = dataset.width / width, dataset.height / height
        if dataset.crs:
            found["crs"] = dataset.crs
        if not dataset.transform.is_identity:
            found["transform"] = dataset.transform * dataset.transform.scale(across, down)
        elif dataset.gcps[0]:
            point = rasterio.control.GroundControlPoint
            found["gcps"] = [
                point(row=p.row / down, col=p.col / across, x=p.x, y=p.y, z=p.z, id=p.id) for p in dataset.gcps[0]
            ]
            found["crs"] = dataset.gcps[1]
        if dataset.nodata is not None and holds(dtype, dataset.nodata):
            found["nodata"] = dataset.nodata
    return found


def has_place(path: Path) -> bool:
    """Whether a file is a TIFF that says where on Earth it lies; rasterio is not needed."""
    try:
        return path.suffix.lower() in (".tif", ".tiff") and path.is_file() and read_header(path).placed
    except (OSError, SyntaxError, ValueError, TypeError, struct.error, DataError):
        return False


def import_rasterio(path: Path, what: str) -> Any:
    """The library, which not everyone has, and which takes a moment to load.

    Raises:
        DataError: it is not installed; the message says what of the file needs it.
    """
    try:
        import rasterio
        import rasterio.control
        import rasterio.shutil
    except ImportError as error:
        raise need(path, what, "rasterio", "bands") from error
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)  # most images are not
    return rasterio


def _env(rasterio: Any) -> Any:
    """GDAL's settings for writing: bounded memory, all processors, no files of its own beside."""
    return rasterio.Env(GDAL_CACHEMAX=CACHE, GDAL_PAM_ENABLED="NO", GDAL_NUM_THREADS="ALL_CPUS")


def _finish(rasterio: Any, folder: Path, labels: bool) -> None:
    """Rewrite the windows of a complete raster as a Cloud Optimized GeoTIFF, result.tif."""
    resampling = "nearest" if labels else "average"
    with rasterio.Env(GDAL_NUM_THREADS="1"):  # errors of other threads, such as a full disk, are not told
        rasterio.shutil.copy(folder / "windows.tif", folder / "result.tif", **_COG, overview_resampling=resampling)
    _check_whole(folder / "result.tif")


def _check_whole(path: Path) -> None:
    """Raise an OSError if parts of a TIFF are missing: GDAL is silent about some writes that fail."""
    try:
        whole = holds_all_its_blocks(path)
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):
        whole = False
    if not whole:
        raise OSError("parts of it are missing; is the disk full?")


@contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` that is removed at the end, named so that `files.remove_leftovers` knows it."""
    with tempfile.TemporaryDirectory(prefix=f".{part_name(path.stem)}.", suffix=".part", dir=path.parent) as name:
        yield Path(name)


@contextmanager
def _speaking_of(path: Path) -> Iterator[None]:
    """Raise a DataError about a file in place of GDAL's errors in this block; SystemError: an unknown one."""
    from rasterio._err import CPLE_BaseError  # GDAL's own errors have no public name
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, CPLE_BaseError, OSError, SystemError) as error:
        raise DataError(f"{path}: cannot be read as a raster ({error}); replace or remove it.") from error


@contextmanager
def _os_errors() -> Iterator[None]:
    """Raise GDAL's errors in this block as OSErrors, which `files.replacing` tells about."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, CPLE_BaseError, SystemError) as error:
        raise OSError(str(error)) from error
