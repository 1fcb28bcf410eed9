"""Volumes become slices that pair up."""

import numpy as np
import pytest

pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")

from test_medical import dicom  # noqa: E402

from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data.check import check  # noqa: E402
from p2plib.data.dataset import open_dataset  # noqa: E402
from p2plib.data.slices import slices  # noqa: E402
from p2plib.data.values import read_values  # noqa: E402
from p2plib.errors import DataError  # noqa: E402


def volume(seed: int) -> np.ndarray:
    """Int16 (3 slices, 32, 32)."""
    return np.random.default_rng(seed).integers(-1000, 2000, (3, 32, 32)).astype(np.int16)


def test_volumes_of_two_sides_become_pairs(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    for side, patients in (("A", volume(1)), ("B", volume(2))):
        for split in ("train", "val"):
            (data / split / side / "p2").mkdir(parents=True)
            image = nibabel.Nifti1Image(patients.transpose(2, 1, 0), np.diag([1, 1, 2, 1]))
            nibabel.save(image, data / split / side / "p1.nii.gz")
            for i, values in enumerate(patients):  # scanners count the other way here, and name their files at will
                place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 5.5 * i]}
                name, number = f"{ord(side) * (7 - i)}.dcm", 9 - i
                dicom(data / split / side / "p2" / name, values, InstanceNumber=number, Modality="CT", **place)
    (data / "notes.txt").write_text("x")
    done = slices(data, out)
    assert done.counts == {f"{split}/{side}": 6 for split in ("train", "val") for side in "AB"}
    assert str(done).endswith("; not images, left out: 1 .txt")
    np.testing.assert_array_equal(read_values(out / "train/A/p2-002.npy")[..., 0], volume(1)[2])
    np.testing.assert_array_equal(read_values(out / "train/B/p1-001.npy")[..., 0], volume(2)[1][::-1, ::-1])
    report = check(out)
    assert report.counts == {"train": 6, "val": 6} and not report.broken
    assert open_dataset(TrainConfig(data=str(out), image_size=32)).target.dtype == "int16"
    assert check(data, "colorize").broken[0].detail.startswith("is a volume; cut all volumes into slices first")


def test_a_folder_of_one_side_holds_one_series(tmp_path):
    (tmp_path / "in/B").mkdir(parents=True)
    for i in range(2):
        dicom(tmp_path / "in/B" / f"IM{i}", volume(0)[i], InstanceNumber=5 - i)  # without a suffix
    slices(tmp_path / "in", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.npy")) == ["slice-000.npy", "slice-001.npy"]
    np.testing.assert_array_equal(read_values((tmp_path / "out") / "B/slice-000.npy")[..., 0], volume(0)[1])
    dicom(tmp_path / "in/B" / "IM2", volume(0)[2], SeriesInstanceUID="1.2")
    with pytest.raises(DataError, match="B: holds 2 DICOM series; put each into a folder of its own"):
        slices(tmp_path / "in", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_frames_are_slices_and_are_never_dropped(tmp_path):
    for side in "AB":
        (tmp_path / "data" / side).mkdir(parents=True)
        for name in ("p1", "p2"):
            dicom(tmp_path / "data" / side / f"{name}.dcm", volume(3))
    report = check(tmp_path / "data")
    assert "A holds 3 slices; cut all volumes into slices first" in report.broken[0].detail
    slices(tmp_path / "data", tmp_path / "out")
    assert len(open_dataset(TrainConfig(data=str(tmp_path / "out"), image_size=32))["train"]) == 6 - 1


def test_what_cannot_be_cut_leaves_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="no NIfTI or DICOM files found"):
        slices(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in/p1.nii").write_bytes(b"no volume")
    with pytest.raises(DataError, match=r"p1\.nii: cannot be read"):
        slices(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
