"""Stored values become the networks' and come back; what people see is made of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2plib.data.image import to_float, to_uint8
from p2plib.data.kind import PLAIN, ImageKind, bands

DTYPES = {"uint8": (0, 255), "uint16": (0, 65535), "int16": (-32768, 32767), "float32": (-1e6, 1e6)}


@st.composite
def kinds(draw):
    dtype = draw(st.sampled_from(sorted(DTYPES)))
    lowest, highest = DTYPES[dtype]
    number = st.integers(int(lowest), int(highest))
    low, high = sorted(draw(st.lists(number, min_size=2, max_size=2, unique=True)))
    return ImageKind("side", channels=draw(st.integers(1, 16)), dtype=dtype, low=low, high=high)


@given(kinds(), st.integers(0, 2**32 - 1))
def test_values_within_the_range_come_back(kind, seed):
    rng = np.random.default_rng(seed)
    values = rng.uniform(kind.low, kind.high, (5, 7, kind.channels))
    values = (values if kind.dtype == "float32" else np.rint(values)).astype(kind.dtype)
    seen = kind.to_float(values)
    assert seen.dtype == np.float32 and seen.min() >= -1 and seen.max() <= 1
    back = kind.to_values(seen)
    assert back.dtype == values.dtype and back.shape == values.shape
    # float32 in [-1, 1] has 2^-24 relative precision: exact for 16 bits, close for measured values
    off = np.abs(back.astype(np.float64) - values)
    assert off.max() <= (4e-7 * kind.span + 1e-6 * max(abs(kind.low), abs(kind.high)) if kind.dtype == "float32" else 0)


@given(kinds(), st.integers(0, 2**32 - 1))
def test_values_beyond_the_range_are_clipped_to_it(kind, seed):
    lowest, highest = DTYPES[kind.dtype]
    values = np.random.default_rng(seed).uniform(lowest, highest, (4, 4, kind.channels)).astype(kind.dtype)
    back = kind.to_values(kind.to_float(values)).astype(np.float64)
    tolerance = 1e-6 * max(abs(kind.low), abs(kind.high), kind.span)
    assert back.min() >= kind.low - tolerance and back.max() <= kind.high + tolerance


@pytest.mark.parametrize("high", [10, 4095, 65535])
def test_a_logarithmic_scale_is_finer_for_small_values_and_comes_back(high):
    kind = ImageKind("depth", channels=1, dtype="uint16", high=high, log=True)
    values = np.arange(high + 1, dtype=np.uint16)[None, :, None]
    seen = kind.to_float(values)
    assert np.diff(seen[0, :, 0])[0] > np.diff(seen[0, :, 0])[-1] > 0
    assert np.abs(kind.to_values(seen).astype(int) - values).max() <= 1 + high // 65535


def test_ordinary_images_go_the_ordinary_way():
    values = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    np.testing.assert_array_equal(PLAIN[0].to_float(values), to_float(values))
    noise = np.random.default_rng(1).uniform(-1.2, 1.2, (6, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(PLAIN[1].to_values(noise), to_uint8(noise))
    assert PLAIN[0].plain and PLAIN[0].preview(values) is values


def test_people_see_a_window_of_the_values_in_three_channels():
    kind = ImageKind("height", channels=1, dtype="float32", low=0, high=1000, shown=(100, 200))
    seen = kind.preview(np.float32([[[0], [100], [150], [200], [900]]]))
    assert seen.shape == (1, 5, 3) and seen.dtype == np.uint8
    assert seen[0, :, 0].tolist() == seen[0, :, 2].tolist() == [0, 0, 128, 255, 255]
    four = ImageKind("bands", channels=4, dtype="uint16", high=255)
    assert four.preview(np.uint16([[[1, 2, 3, 4]]])).tolist() == [[[1, 2, 3]]]
    assert bands(2) == [0, 1, 1]
    turned = replace(four, bands=(4, 2, 1))
    assert turned.preview(np.uint16([[[1, 2, 3, 4]]])).tolist() == [[[4, 2, 1]]]
    assert ImageKind.from_json(json.loads(json.dumps(turned.to_json()))) == turned
    old = four.to_json()
    del old["bands"]
    assert ImageKind.from_json(old) == four, "from before there were bands"


def test_a_kind_is_said_in_one_line_and_kept_in_a_file():
    kind = ImageKind("height", {"a": (1, 2, 3)}, 1, "float32", -5.0, 850.5, True, "m", (0.0, 800.0))
    assert kind.describe() == "height: 1 channel of float32, -5 to 850.5 m, logarithmic"
    assert ImageKind.from_json(kind.to_json()) == kind
