"""DICOM and NIfTI: units, slices and the way up."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from p2plib.data.stored import Stored
from p2plib.data.values import count_slices, probe, read_values
from p2plib.errors import DataError

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")


def dicom(path: Path, values: np.ndarray, **tags) -> Path:
    """Write a DICOM file of gray values (H, W) or (frames, H, W), or of colors (H, W, 3)."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = pydicom.dataset.Dataset()
    data.file_meta = meta
    colors = values.ndim == 3 and values.shape[-1] == 3
    data.Rows, data.Columns = values.shape[:2] if colors else values.shape[-2:]
    data.SamplesPerPixel = 3 if colors else 1
    data.PhotometricInterpretation = "RGB" if colors else "MONOCHROME2"
    if colors:
        data.PlanarConfiguration = 0
    elif values.ndim == 3:
        data.NumberOfFrames = len(values)
    data.BitsAllocated = data.BitsStored = 8 * values.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.Modality = "MR"
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = values.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def gray(dtype: str = "uint16", high: int = 4096) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, (6, 9)).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "tags", "kept"),
    [
        ("uint16", {}, "uint16"),
        ("int16", {}, "int16"),
        ("uint8", {}, "uint8"),
        ("uint16", {"RescaleSlope": "1", "RescaleIntercept": "-1024", "Modality": "CT"}, "int16"),
        ("int16", {"RescaleSlope": "1", "RescaleIntercept": "-1024", "Modality": "CT"}, "int16"),
        ("uint16", {"RescaleSlope": "1", "RescaleIntercept": "-1024", "BitsStored": 12, "HighBit": 11}, "int16"),
        ("uint16", {"RescaleSlope": "1", "RescaleIntercept": "-1024"}, "float32"),
        ("uint16", {"RescaleSlope": "0.5", "RescaleIntercept": "3"}, "float32"),
    ],
    ids=str,
)
def test_dicom_gives_its_units(tmp_path, dtype, tags, kept):
    stored = gray(dtype, 256 if dtype == "uint8" else 4096)
    path = dicom(tmp_path / "x.dcm", stored, **tags)
    wanted = stored * float(tags.get("RescaleSlope", 1)) + float(tags.get("RescaleIntercept", 0))
    read = read_values(path)
    np.testing.assert_array_equal(read[..., 0], wanted)
    assert read.dtype == kept and probe(path) == Stored(6, 9, 1, kept) and count_slices(path) == 1


def test_dicom_is_known_without_a_suffix(tmp_path):
    dicom(tmp_path / "IM0001", gray())
    assert probe(tmp_path / "IM0001") == Stored(6, 9, 1, "uint16")


def test_frames_are_slices_and_colors_channels(tmp_path):
    frames = np.stack([gray(), gray() + 1])
    path = dicom(tmp_path / "x.dcm", frames)
    assert count_slices(path) == 2 and probe(path) == Stored(6, 9, 1, "uint16")
    np.testing.assert_array_equal(read_values(path, slice=1)[..., 0], frames[1])
    with pytest.raises(DataError, match=r"x\.dcm: has 2 slices, numbered from 0; there is no slice 2\.$"):
        read_values(path, slice=2)
    colors = np.arange(54, dtype=np.uint8).reshape(3, 6, 3)
    np.testing.assert_array_equal(read_values(dicom(tmp_path / "y.dcm", colors)), colors)


def test_enhanced_dicom_rescales_each_frame(tmp_path):
    def group(intercept: int) -> pydicom.dataset.Dataset:
        inner, outer = pydicom.dataset.Dataset(), pydicom.dataset.Dataset()
        inner.RescaleSlope, inner.RescaleIntercept = "1", str(intercept)
        outer.PixelValueTransformationSequence = [inner]
        return outer

    groups = {"PerFrameFunctionalGroupsSequence": [group(-1000), group(-1024)], "Modality": "CT"}
    path = dicom(tmp_path / "x.dcm", np.stack([gray(), gray()]), **groups)
    np.testing.assert_array_equal(read_values(path, slice=1)[..., 0], gray().astype(int) - 1024)


def report(path: Path) -> Path:
    """A DICOM file of text."""
    dicom(path, gray())
    data = pydicom.dcmread(path)
    del data.Rows, data.PixelData
    data.save_as(path)
    return path


def test_what_dicom_cannot_give_is_said(tmp_path):
    beyond = dicom(tmp_path / "x.dcm", gray() + np.uint16(60000), Modality="CT")
    with pytest.raises(DataError, match=r"x\.dcm: holds values from .* beyond those of int16; save it as TIFF or NPY"):
        read_values(beyond)
    lut = dicom(tmp_path / "y.dcm", gray("uint8", 256), PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(DataError, match=r"y\.dcm: cannot be read \(it needs a lookup table, .*\)"):
        probe(lut)
    with pytest.raises(DataError, match=r"z\.dcm: cannot be read \(it holds no image\)"):
        probe(report(tmp_path / "z.dcm"))


def nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None, **scaling: float) -> Path:
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    if scaling:
        image.header.set_slope_inter(**scaling)
    nibabel.save(image, path)
    return path


VOLUME = np.random.default_rng(1).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)  # right, front, head


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_is_a_stack_of_slices(tmp_path, suffix):
    path = nifti(tmp_path / f"x{suffix}", VOLUME)
    assert count_slices(path) == 7 and probe(path) == Stored(6, 5, 1, "int16")
    for i in range(7):
        read = read_values(path, slice=i)
        np.testing.assert_array_equal(read[..., 0], VOLUME[::-1, ::-1, i].T)
        assert read.dtype == np.int16 and read.flags.c_contiguous


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_however_it_is_stored_the_front_is_up_and_left_is_right(tmp_path, axes, signs):
    stored, affine = VOLUME.transpose(axes), np.zeros((4, 4))
    affine[3, 3] = 1
    for place, axis in enumerate(axes):
        affine[axis, place] = 2.0 * signs[axis]
    stored = stored[tuple(slice(None, None, signs[axis]) for axis in axes)]
    path = nifti(tmp_path / "x.nii", np.ascontiguousarray(stored), affine)
    assert probe(path) == Stored(6, 5, 1, "int16")
    np.testing.assert_array_equal(read_values(path, slice=3)[..., 0], VOLUME[::-1, ::-1, 3].T)


def test_scaled_nifti_and_other_types_are_floats(tmp_path):
    path = nifti(tmp_path / "x.nii", VOLUME, slope=0.5, inter=10)
    read = read_values(path, slice=2)
    assert read.dtype == probe(path).dtype == "float32"
    stored = np.asarray(nibabel.load(path).dataobj)[::-1, ::-1, 2].T
    np.testing.assert_allclose(read[..., 0], stored)
    path = nifti(tmp_path / "y.nii", VOLUME.astype(np.float64))
    assert read_values(path).dtype == probe(path).dtype == "float32"


def test_a_fourth_dimension_is_the_channels_and_a_flat_file_is_one_slice(tmp_path):
    path = nifti(tmp_path / "x.nii", np.stack([VOLUME, VOLUME + 1], axis=-1))
    assert probe(path) == Stored(6, 5, 2, "int16")
    assert (np.diff(read_values(path, slice=4)) == 1).all()
    flat = nifti(tmp_path / "y.nii", VOLUME[:, :, 0])
    assert count_slices(flat) == 1
    np.testing.assert_array_equal(read_values(flat)[..., 0], VOLUME[::-1, ::-1, 0].T)
    with pytest.raises(DataError, match=r"z\.nii: cannot be read \(it has the shape \(2, 2, 2, 2, 2\)"):
        probe(nifti(tmp_path / "z.nii", np.zeros((2, 2, 2, 2, 2), np.int16)))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_volume_that_changed_is_read_anew(tmp_path, suffix):
    path = nifti(tmp_path / f"x{suffix}", VOLUME)
    read_values(path)
    nifti(path, np.pad(VOLUME, ((0, 1), (0, 0), (0, 0))) + np.int16(1))
    assert read_values(path).shape == (6, 6, 1)


@pytest.mark.parametrize(("name", "library"), [("x.dcm", "pydicom"), ("x.nii.gz", "nibabel")])
def test_a_missing_library_is_asked_for_by_name(tmp_path, monkeypatch, name, library):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, library, None)
    for function in (probe, read_values, count_slices):
        with pytest.raises(DataError, match=rf"{name}: .* files need {library}; install p2plib\[medical\]\.$"):
            function(tmp_path / name)
