"""The procedural CT slices: Hounsfield units, anatomy that repeats, and what contrast agent does to it."""

from __future__ import annotations

import numpy as np
import pytest

from p2plib.data.scan import HIGHEST, LOWEST, scan

FIRST = [-760.6, -753.5]  # means at size 64: without and with contrast agent


@pytest.fixture(scope="module")
def slices() -> list[tuple[np.ndarray, np.ndarray]]:
    return [scan(index, 128) for index in range(24)]


@pytest.mark.parametrize("size", [32, 64, 100, 256])
def test_hounsfield_units_of_16_signed_bits(size):
    for image in scan(3, size):
        assert (image.shape, image.dtype) == ((size, size, 1), np.int16)
        assert image.flags.c_contiguous
        assert LOWEST <= image.min() < -980 and 350 < image.max() <= HIGHEST


def test_an_index_names_one_slice(slices):
    for again, once in zip(scan(7, 128), slices[7], strict=True):
        np.testing.assert_array_equal(again, once)
    assert len({plain.tobytes() for plain, _ in slices}) == len(slices)


def test_the_slices_stay_what_they_are_across_versions_and_platforms():
    """Results trained on them are comparable only as long as this holds."""
    np.testing.assert_allclose([image.mean() for image in scan(0, 64)], FIRST, atol=1)


@pytest.mark.parametrize("index", range(4))
def test_the_same_slice_at_two_sizes(index):
    for large, small, other in zip(scan(index, 256), scan(index, 128), scan(index + 1, 128), strict=True):
        shrunk = large.reshape(128, 2, 128, 2).astype(float).mean(axis=(1, 3))
        difference = np.abs(shrunk - small[..., 0]).mean()
        assert difference < 0.25 * np.abs(other.astype(float) - small).mean()


def test_the_body_has_air_fat_soft_tissue_and_bone(slices):
    for plain, _ in slices:
        for low, high, least in ((-1024, -940, 0.25), (-130, -70, 0.02), (20, 80, 0.04), (250, 900, 0.008)):
            assert ((plain >= low) & (plain < high)).mean() > least, (low, high)


def test_half_of_them_show_lungs(slices):
    lungs = [((plain > -930) & (plain < -750)).mean() > 0.08 for plain, _ in slices]
    assert 6 <= sum(lungs) <= 18


def test_contrast_agent_raises_blood_and_organs_and_nothing_else(slices):
    for plain, enhanced in slices:
        change = enhanced.astype(int) - plain
        soft = (plain > 25) & (plain < 65)
        assert np.percentile(change[soft], 97) > 80, "vessels"
        assert (change[soft] > 35).mean() > 0.1
        for low, high in ((-1024, -940), (-125, -80), (500, 900)):  # air, fat, bone
            assert abs(np.median(change[(plain >= low) & (plain < high)])) < 25
        assert np.percentile(change, 1) > -60


def test_without_contrast_agent_blood_looks_like_muscle(slices):
    """Where it will rise by 100 or more, it cannot be told by its value alone: that is the task."""
    for plain, enhanced in slices:
        bright = (enhanced.astype(int) - plain > 90) & (plain > 0)
        assert bright.mean() > 0.003
        assert 25 < np.median(plain[bright]) < 60


def test_the_spine_is_behind_and_in_the_middle(slices):
    for plain, _ in slices:
        rows, columns = np.nonzero(plain[..., 0][:, 48:80] > 400)
        assert rows.mean() > 64 and abs(columns.mean() + 48 - 63.5) < 8
