"""The random numbers of batches: fixed for ever, since runs of version 0.1 go on with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2plib.data.draws import _philox, below, bits, shuffled, uniform

SEEDS = st.tuples(st.integers(0, 2**62), st.integers(0, 2**62))


def test_they_never_change():
    """As `tf.random.stateless_uniform` and `stateless_shuffle` of TensorFlow 2.21 gave them."""
    assert uniform((7, 123456789012), [2]).tolist() == [0.48527979850769043, 0.09881317615509033]
    assert below((7, 123456789012), [31, 31]) == [10, 7]
    assert shuffled((0, 3), 8).tolist() == [3, 6, 2, 5, 4, 1, 7, 0]


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 100))
def test_they_are_those_of_tensorflow(seed, count):
    tf = pytest.importorskip("tensorflow")
    wanted = tf.random.stateless_uniform([count, 2], seed, -1, 1).numpy()
    np.testing.assert_array_equal(uniform(seed, [count, 2], -1, 1), wanted)
    wanted = tf.random.stateless_uniform([2], seed, 0, count, tf.int32).numpy()
    np.testing.assert_array_equal(below(seed, [count, count]), wanted)
    wanted = tf.random.experimental.stateless_shuffle(tf.range(count, dtype=tf.int64), seed).numpy()
    np.testing.assert_array_equal(shuffled(seed, count), wanted)


def test_philox_agrees_with_its_authors():
    """The known answers of Random123 for Philox4x32-10."""
    for counter, key, wanted in (
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ):
        assert list(_philox(*counter, *key)) == wanted
        assert [int(word[0]) for word in _philox(*np.array(counter, np.uint64)[:, None], *key)] == wanted


@given(SEEDS, st.integers(0, 50))
def test_a_shuffle_holds_each_number_once(seed, count):
    assert sorted(shuffled(seed, count).tolist()) == list(range(count))


def test_they_are_spread_evenly():
    values = uniform((1, 2), [10_000])
    assert abs(values.mean() - 0.5) < 0.01 and 0 <= values.min() < values.max() < 1
    assert len(np.unique(bits((1, 2), 10_000))) > 9_990
