"""Files as stored values: what is written is read, headers tell the truth, and messages say what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from p2plib.data.image import read_rgb
from p2plib.data.stored import DTYPES, Stored, is_missing, stored_dtype
from p2plib.data.values import count_slices, probe, read_values, write_values
from p2plib.errors import DataError, WriteError

rasterio = pytest.importorskip("rasterio")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

FORMATS = {  # suffix: types, channels
    ".png": (("uint8", "uint16"), (1, 2, 3, 4)),
    ".bmp": (("uint8",), (1, 3)),
    ".tif": (DTYPES, (1, 2, 3, 4, 5, 16)),
    ".npy": (DTYPES, (1, 2, 3, 4, 5, 16)),
}


def some_values(dtype: str, channels: int, height: int = 5, width: int = 7) -> np.ndarray:
    rng = np.random.default_rng([channels, height, width])
    if dtype == "float32":
        return rng.normal(0, 1000, (height, width, channels)).astype(np.float32)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (height, width, channels), dtype, endpoint=True)


def tiff(path: Path, values: np.ndarray, **options) -> Path:
    """Write a TIFF as other programs might."""
    height, width, channels = values.shape
    shape = {"height": height, "width": width, "count": channels, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **options) as file:
        file.write(np.moveaxis(values, -1, 0))
    return path


def agrees(path: Path, values: np.ndarray) -> None:
    """A file is read as these values, and its header says so."""
    read = read_values(path)
    np.testing.assert_array_equal(read, values)
    assert read.dtype == values.dtype and read.dtype.isnative and read.flags.c_contiguous
    assert probe(path) == Stored(*values.shape, values.dtype.name)
    assert count_slices(path) == 1


@st.composite
def images(draw) -> tuple[str, np.ndarray]:
    suffix = draw(st.sampled_from(list(FORMATS)))
    dtypes, channels = FORMATS[suffix]
    shape = (draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.sampled_from(channels)))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    return suffix, draw(arrays.arrays(dtype, shape, elements=arrays.from_dtype(dtype, **finite)))


@given(images())
@settings(deadline=None, max_examples=150)
def test_what_is_written_is_read(tmp_path_factory, image):
    suffix, values = image
    path = tmp_path_factory.mktemp("values") / f"x{suffix}"
    write_values(path, values)
    agrees(path, values)
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing is left beside it"


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"BIGTIFF": "YES"},
        {"ENDIANNESS": "BIG"},
        {"ENDIANNESS": "BIG", "compress": "lzw"},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"compress": "deflate", "predictor": 2},
        {"compress": "zstd", "interleave": "band"},
        {"compress": "lzw", "interleave": "pixel", "photometric": "minisblack"},
        {"compress": "lerc"},
    ],
    ids=str,
)
def test_any_tiff(tmp_path, dtype, channels, options):
    agrees(
        tiff(tmp_path / "x.tif", some_values(dtype, channels, 33, 20), **options), some_values(dtype, channels, 33, 20)
    )


@pytest.mark.parametrize("photometric", ["rgb", "minisblack", "cmyk"])
@pytest.mark.parametrize("alpha", ["yes", "no", "premultiplied", "unspecified"])
def test_four_bytes_a_pixel_stay_what_they_are(tmp_path, photometric, alpha):
    if photometric == "cmyk":
        return
    agrees(
        tiff(tmp_path / "x.tif", some_values("uint8", 4), photometric=photometric, alpha=alpha), some_values("uint8", 4)
    )


def test_floats_with_a_predictor_and_a_whole_pyramid(tmp_path):
    values = some_values("float32", 1, 100, 90)
    path = tiff(tmp_path / "x.tif", values, compress="deflate", predictor=3)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    agrees(path, values)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pages_of_one_band_are_channels(tmp_path, dtype):
    values = some_values(dtype, 3)
    first, *others = [Image.fromarray(values[..., i]) for i in range(3)]
    first.save(tmp_path / "x.tif", save_all=True, append_images=others)
    agrees(tmp_path / "x.tif", values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_deep_tiffs_is_applied(tmp_path, orientation):
    """As Pillow does it for 8 bits."""
    exif = Image.Exif()
    exif[274] = orientation
    values = some_values("uint8", 1, 16, 24)
    for dtype in (np.uint8, np.int32):
        Image.fromarray(values[..., 0].astype(dtype)).save(tmp_path / f"{dtype.__name__}.tif", exif=exif)
    agrees(tmp_path / "int32.tif", read_values(tmp_path / "uint8.tif").astype(np.float32))


def test_of_other_pages_the_first_counts(tmp_path):
    first, other = (Image.fromarray(some_values("uint8", 3, height)) for height in (5, 6))
    first.save(tmp_path / "x.tif", save_all=True, append_images=[other])
    agrees(tmp_path / "x.tif", some_values("uint8", 3))


@pytest.mark.parametrize(
    ("file", "kept"), [("int8", "int16"), ("int32", "float32"), ("uint32", "float32"), ("float64", "float32")]
)
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_other_types_of_numbers(tmp_path, file, kept, suffix):
    values = np.arange(6).reshape(2, 3, 1).astype(file)
    if suffix == ".tif":
        tiff(tmp_path / "x.tif", values)
    else:
        np.save(tmp_path / "x.npy", values)
    agrees(tmp_path / f"x{suffix}", values.astype(kept))
    assert stored_dtype(file) == kept


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[2**24 + 1, 0]], np.int32), "beyond 16,777,216 that float32 would round; subtract an offset"),
        (np.array([[2**64 - 1, 0]], np.uint64), "would round"),
        (np.array([[1e9, 1e9 + 1]]), "too close together for float32; subtract an offset"),
        (np.array([[1e300, 1.0]]), "beyond 3.4e38"),
        (np.array([[1j]]), "complex128, not numbers; save it as float32"),
        (np.array([["a"]]), "not numbers"),
        (np.zeros(3), r"shape \(3,\); an image is \(H, W\) or \(H, W, C\)"),
        (np.zeros((2, 2, 17), np.uint8), "17 channels; at most 16"),
        (np.array([[None]]), "not numbers"),
    ],
    ids=str,
)
def test_numbers_that_would_be_wrong_are_refused(tmp_path, values, message):
    np.save(tmp_path / "x.npy", values, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_values(tmp_path / "x.npy")


def test_ordinary_float64_is_rounded(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(300, 40, (4, 4)))
    assert read_values(tmp_path / "x.npy").dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pixels_without_a_value(tmp_path, bad):
    values = np.array([[[1.0], [bad], [3.0]]], np.float32)
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(DataError, match=r"x\.npy: 1 of its pixels are NaN or infinite; fill them, or cut them away\.$"):
        read_values(tmp_path / "x.npy")
    assert read_values(tmp_path / "x.npy", missing=0).ravel().tolist() == [1, 0, 3]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_no_data_value_of_a_file(tmp_path, dtype, channels):
    values = np.ones((2, 3, channels), dtype)
    values[1, 2, 0] = 7
    path = tiff(tmp_path / "x.tif", values, nodata=7)
    with pytest.raises(DataError, match=r"1 of its pixels are (NaN or infinite or )?7, its no-data value; fill"):
        read_values(path)
    filled = read_values(path, missing=5)
    assert (filled[1, 2] == 5).all() and (filled == 1).sum() == values.size - channels
    assert is_missing(values, 7).sum() == 1 and not is_missing(values, 0.5).any() and not is_missing(values, None).any()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_the_orientation_is_applied(tmp_path, suffix, orientation):
    drawn = np.kron(np.array([[0, 80, 160], [200, 255, 40]], np.uint8), np.ones((8, 8), np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(drawn).save(tmp_path / f"x{suffix}", exif=exif)
    turned = drawn.T if orientation >= 5 else drawn
    upright = turned[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]
    values = read_values(tmp_path / f"x{suffix}")
    assert np.abs(values[..., 0].astype(int) - upright).max() <= (9 if suffix == ".jpg" else 0)
    agrees(tmp_path / f"x{suffix}", values)
    if (suffix, orientation >= 5) != (".tif", True):  # of which Pillow garbles those that are not compressed
        np.testing.assert_array_equal(read_rgb(tmp_path / f"x{suffix}")[..., :1], values)


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 2), ("P", 3), ("RGB", 3), ("RGBA", 4), ("CMYK", 3), ("I;16", 1)]
)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".gif", ".webp", ".jpg", ".jp2", ".tga", ".pgm"])
def test_headers_agree_with_what_pillow_writes(tmp_path, mode, channels, suffix):
    path = tmp_path / f"x{suffix}"
    image = Image.fromarray(some_values("uint8", 3, 16, 24)).convert("L" if mode == "I;16" else mode).convert(mode)
    try:
        image.save(path)
    except (OSError, ValueError, KeyError):
        return  # Pillow does not write this
    stored, values = probe(path), read_values(path)
    assert stored == Stored(*values.shape, values.dtype.name)
    assert stored.channels == channels or suffix in (".gif", ".webp", ".jpg", ".pgm", ".jp2")


@pytest.mark.parametrize("channels", [1, 3])
def test_deep_jpeg_2000_and_pnm(tmp_path, channels):
    values = some_values("uint16", channels, 32, 40) >> 4  # 12 bits
    shape = {"height": 32, "width": 40, "count": channels, "dtype": "uint16"}
    lossless = {"QUALITY": 100, "REVERSIBLE": "YES"}
    with rasterio.open(tmp_path / "x.jp2", "w", driver="JP2OpenJPEG", **shape, **lossless, NBITS=12) as file:
        file.write(np.moveaxis(values, -1, 0))
    agrees(tmp_path / "x.jp2", values)
    head = f"P{'5' if channels == 1 else '6'}\n# made by hand\n40 32\n4095\n".encode()
    (tmp_path / "x.pgm").write_bytes(head + values.astype(">u2").tobytes())
    agrees(tmp_path / "x.pgm", values)


def test_npz_holds_one_array(tmp_path):
    values = some_values("int16", 4)
    np.savez_compressed(tmp_path / "x.npz", values)
    agrees(tmp_path / "x.npz", values)
    np.savez(tmp_path / "y.npz", values, values)
    with pytest.raises(DataError, match=r"y\.npz: cannot be read as an array \(it holds 2 arrays, not one\)"):
        probe(tmp_path / "y.npz")


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels", "better"),
    [
        (".png", "float32", 1, "tif"),
        (".png", "int16", 3, "tif"),
        (".png", "uint8", 5, "tif"),
        (".jpg", "uint16", 1, "png"),
        (".jpg", "uint8", 4, "png"),
        (".xyz", "uint8", 1, "png"),
        ("", "float32", 1, "tif"),
    ],
)
def test_a_suffix_that_cannot_hold_values_is_refused(tmp_path, suffix, dtype, channels, better):
    with pytest.raises(
        WriteError, match=rf"x{suffix}: a .* file cannot hold {channels} .*{dtype}; choose \.{better}\.$"
    ):
        write_values(tmp_path / f"x{suffix}", some_values(dtype, channels))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("array", [np.zeros((2, 2, 1)), np.zeros((2, 2), np.uint8)])
def test_other_arrays_are_a_mistake(tmp_path, array):
    with pytest.raises(ValueError, match="values are"):
        write_values(tmp_path / "x.npy", array)


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels", "message"),
    [
        (".tif", "uint16", 4, r"x\.tif: 4 bands of 16 bits need rasterio; install p2plib\[bands\]\.$"),
        (".tif", "int16", 1, r"x\.tif: values of 16 signed bits need rasterio; install p2plib\[bands\]\.$"),
        (".png", "uint16", 3, r"x\.png: 3 bands of 16 bits need rasterio"),
    ],
)
def test_a_missing_library_is_asked_for_by_name(tmp_path, monkeypatch, suffix, dtype, channels, message):
    path = tmp_path / f"x{suffix}"
    write_values(path, some_values(dtype, channels))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(DataError, match=message):
        read_values(path)
    assert probe(path) == Stored(5, 7, channels, dtype), "the header needs no library"
    with pytest.raises(DataError, match=r"y.* need rasterio; install p2plib\[bands\]\.$"):
        write_values(tmp_path / f"y{suffix}", some_values(dtype, channels))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_what_pillow_reads_needs_nothing_else(tmp_path, monkeypatch, dtype):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    write_values(tmp_path / "x.tif", some_values(dtype, 1))
    agrees(tmp_path / "x.tif", some_values(dtype, 1))


@pytest.mark.parametrize("name", ["x.tif", "x.png", "x.npy", "x.npz", "x.dcm", "x.nii", "x.jpg"])
@pytest.mark.parametrize("content", [b"", b"II*\0", b"nothing of the kind" * 20, b"II*\0\x08\0\0\0\0\0\0\0\0\0"])
def test_what_is_no_image_is_named(tmp_path, name, content):
    path = tmp_path / name
    with pytest.raises(DataError, match=name):
        read_values(path)
    path.write_bytes(content)
    for function in (probe, read_values, count_slices):
        with pytest.raises(DataError, match=rf"{name}: .*\.$"):
            function(path)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy"])
@pytest.mark.parametrize("channels", [1, 4])
def test_a_truncated_file_is_named(tmp_path, suffix, channels):
    path = tmp_path / f"x{suffix}"
    write_values(path, some_values("uint16", channels, 100, 100))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=f"x{suffix}: cannot be read"):
        read_values(path)


def test_a_picture_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    write_values(tmp_path / "x.png", some_values("uint8", 1, 20, 20))
    monkeypatch.setenv("P2PLIB_MAX_PIXELS", "300")
    with pytest.raises(DataError, match=r"20x20 is more than 0\.0003 million pixels; set P2PLIB_MAX_PIXELS"):
        read_values(tmp_path / "x.png")
