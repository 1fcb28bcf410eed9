"""Large rasters: windows in, windows out, at the same place on Earth, and nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2plib.data.rasters import create_raster, georeference, open_raster
from p2plib.data.stored import DTYPES
from p2plib.data.values import read_values, write_values
from p2plib.errors import DataError, WriteError

rasterio = pytest.importorskip("rasterio")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

CRS = "EPSG:32633"
PLACE = rasterio.transform.from_origin(500_000, 5_400_000, 10, 10)


def values(height: int, width: int, channels: int, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng([height, width]).integers(1, 200, (height, width, channels)).astype(dtype)


def scene(path: Path, array: np.ndarray, **options) -> Path:
    height, width, channels = array.shape
    shape = {"height": height, "width": width, "count": channels, "dtype": array.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=CRS, transform=PLACE, **shape, **options) as file:
        file.write(np.moveaxis(array, -1, 0))
    return path


@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.sampled_from([1, 3, 4, 6]),
    st.sampled_from(DTYPES),
    st.integers(1, 400),
)
@settings(deadline=None, max_examples=20)
def test_windows_that_are_written_are_read(tmp_path_factory, height, width, channels, dtype, step):
    path, array = tmp_path_factory.mktemp("rasters") / "x.tif", values(height, width, channels, dtype)
    with create_raster(path, height, width, channels, dtype) as new:
        for top in range(0, height, step):
            for left in range(0, width, 256):
                new.write(array[top : top + step, left : left + 256], top, left)
    with open_raster(path) as raster:
        assert (raster.height, raster.width, raster.channels, raster.dtype) == (height, width, channels, dtype)
        assert raster.nodata is None
        top, left = height // 3, width // 2
        part = raster.read(top, left, height - top, width - left)
        np.testing.assert_array_equal(part, array[top:, left:])
        assert part.dtype == dtype and part.flags.c_contiguous
    np.testing.assert_array_equal(read_values(path), array)
    assert [file.name for file in path.parent.iterdir()] == ["x.tif"]


def test_the_result_is_a_cog_at_the_same_place(tmp_path):
    like = scene(tmp_path / "like.tif", values(1200, 1000, 4), nodata=0)
    with create_raster(tmp_path / "x.tif", 1200, 1000, 1, "float32", like) as new:
        new.write(values(1200, 1000, 1, "float32"), 0, 0)
    with rasterio.open(tmp_path / "x.tif") as result:
        assert result.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (result.crs, result.transform, result.nodata) == (rasterio.CRS.from_string(CRS), PLACE, 0)
        assert result.overviews(1) == [2, 4] or result.overviews(1) == [2]


@pytest.mark.parametrize("write", [True, False], ids=["write_values", "create_raster"])
def test_another_size_is_the_same_place_on_earth(tmp_path, write):
    like = scene(tmp_path / "like.tif", values(40, 60, 4))
    if write:
        write_values(tmp_path / "x.tif", values(80, 30, 2, "int16"), like=like)
    else:
        with create_raster(tmp_path / "x.tif", 80, 30, 2, "int16", like) as new:
            new.write(values(80, 30, 2, "int16"), 0, 0)
    with rasterio.open(like) as before, rasterio.open(tmp_path / "x.tif") as after:
        np.testing.assert_allclose(tuple(after.bounds), tuple(before.bounds))
        assert after.res == (20, 5) and after.crs == before.crs
    np.testing.assert_array_equal(read_values(tmp_path / "x.tif"), values(80, 30, 2, "int16"))


@pytest.mark.parametrize(
    ("nodata", "dtype", "kept"),
    [
        (-9999, "uint8", None),
        (-9999, "int16", -9999),
        (0, "uint8", 0),
        (float("nan"), "int16", None),
        (0.5, "uint16", None),
    ],
)
def test_a_no_data_value_stays_if_the_type_can_hold_it(tmp_path, nodata, dtype, kept):
    like = scene(tmp_path / "like.tif", values(8, 8, 1, "float32"), nodata=nodata)
    assert georeference(like, 8, 8, dtype).get("nodata") == kept
    write_values(tmp_path / "x.tif", values(8, 8, 1, dtype), like=like)
    with open_raster(tmp_path / "x.tif") as raster:
        assert raster.nodata == kept


def test_ground_control_points_stay(tmp_path):
    point = rasterio.control.GroundControlPoint
    points = [point(0, 0, 10, 50), point(0, 8, 11, 50), point(8, 0, 10, 49)]
    shape = {"height": 8, "width": 8, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "like.tif", "w", driver="GTiff", gcps=points, crs="EPSG:4326", **shape) as file:
        file.write(values(8, 8, 1, "uint8")[..., 0], 1)
    write_values(tmp_path / "x.tif", values(16, 16, 1, "uint8"), like=tmp_path / "like.tif")
    with rasterio.open(tmp_path / "x.tif") as result:
        found, crs = result.gcps
    assert [(p.row, p.col, p.x, p.y) for p in found] == [(0, 0, 10, 50), (0, 16, 11, 50), (16, 0, 10, 49)]
    assert crs == rasterio.CRS.from_epsg(4326)


def test_a_picture_without_a_place_gives_none(tmp_path):
    write_values(tmp_path / "like.png", values(8, 8, 3, "uint8"))
    write_values(tmp_path / "like.npy", values(8, 8, 3, "uint8"))
    for name in ("like.png", "like.npy"):
        assert georeference(tmp_path / name, 8, 8, "uint8") == {}
    with pytest.raises(DataError, match=r"none\.tif: cannot be read"):
        georeference(tmp_path / "none.tif", 8, 8, "uint8")


def test_windows_of_pages_and_of_missing_values(tmp_path):
    from PIL import Image

    array = values(20, 30, 3, "float32")
    array[4, 5] = np.nan
    first, *others = [Image.fromarray(array[..., i]) for i in range(3)]
    first.save(tmp_path / "x.tif", save_all=True, append_images=others)
    with open_raster(tmp_path / "x.tif") as raster:
        np.testing.assert_array_equal(raster.read(2, 3, 10, 9), array[2:12, 3:12])


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / "x.tif").write_bytes(b"before")
    with pytest.raises(KeyError), create_raster(tmp_path / "x.tif", 600, 600, 1, "uint8") as new:
        new.write(values(600, 600, 1, "uint8"), 0, 0)
        raise KeyError
    assert [file.name for file in tmp_path.iterdir()] == ["x.tif"]
    assert (tmp_path / "x.tif").read_bytes() == b"before"


def test_windows_that_do_not_fit_are_refused(tmp_path):
    scene(tmp_path / "x.tif", values(8, 8, 2))
    with open_raster(tmp_path / "x.tif") as raster, pytest.raises(DataError, match=r"x\.tif: rows 4 to 9 .* 8x8\.$"):
        raster.read(4, 0, 5, 8)
    with create_raster(tmp_path / "y.tif", 8, 8, 2, "uint16") as new:
        for array, top in ((values(8, 8, 1), 0), (values(8, 8, 2, "uint8"), 0), (values(8, 8, 2), 1)):
            with pytest.raises(ValueError, match="does not fit"):
                new.write(array, top, 0)
        new.write(values(8, 8, 2), 0, 0)


def test_messages_name_the_file(tmp_path, monkeypatch):
    with (
        pytest.raises(DataError, match=r"none\.tif: cannot be read as a raster \(No such file"),
        open_raster(tmp_path / "none.tif"),
    ):
        pass
    write_values(tmp_path / "x.jpg", values(8, 8, 3, "uint8"))
    with (
        pytest.raises(DataError, match=r"x\.jpg: cannot be read by windows; save it as TIFF\.$"),
        open_raster(tmp_path / "x.jpg"),
    ):
        pass
    with (
        pytest.raises(WriteError, match=r"x\.png: a raster must end in \.tif or \.tiff\.$"),
        create_raster(tmp_path / "x.png", 8, 8, 1, "uint8"),
    ):
        pass
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with (
        pytest.raises(DataError, match=r"y\.tif: rasters need rasterio; install p2plib\[bands\]\.$"),
        create_raster(tmp_path / "y.tif", 8, 8, 1, "uint8"),
    ):
        pass


def test_a_damaged_window_is_named(tmp_path):
    path = scene(tmp_path / "x.tif", values(600, 600, 3), compress="deflate")
    path.write_bytes(path.read_bytes()[:20_000] + bytes(1_200_000))
    with pytest.raises(DataError, match=r"x\.tif: cannot be read as a raster"), open_raster(path) as raster:
        raster.read(300, 0, 100, 600)


FULL = """
import resource, sys, signal
import numpy as np
from p2plib.data.rasters import create_raster
from p2plib.errors import WriteError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
noise = np.random.default_rng(0).integers(0, 65536, (1024, 1024, 2), np.uint16)
try:
    with create_raster(sys.argv[1], 1024, 1024, 2, "uint16") as new:
        for top in range(0, 1024, 512):
            new.write(noise[top:top + 512], top, 0)
except WriteError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("limit", [1_000_000, 4_190_000, 4_250_000, 5_228_000])
def test_a_full_disk_is_one_sentence(tmp_path, limit):
    """The limits stop the windows, the overviews, and the rewriting."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "x.tif", str(limit)], capture_output=True, text=True, check=True
    )
    assert "x.tif: cannot be written" in done.stdout, done
    assert list(tmp_path.iterdir()) == []
