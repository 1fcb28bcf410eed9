"""The index finds what comparing all with all finds, the first of the nearest included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2plib.data.duplicates import Hashes


def all_with_all(hashes: np.ndarray, asked: np.ndarray, most: int) -> list[int | None]:
    found = []
    for one in asked:
        distances = np.bitwise_count(hashes ^ one).sum(axis=1, dtype=int)
        near = len(hashes) and distances.min() <= most
        found.append(int(distances.argmin()) if near else None)
    return found


@given(
    seed=st.integers(0, 1000),
    known=st.integers(0, 40),
    size=st.sampled_from([32, 64]),
    likely=st.sampled_from([0.02, 0.1, 0.5]),
)
def test_it_finds_what_comparing_all_finds(seed, known, size, likely):
    """Hashes of which up to a few bits more than allowed are flipped; of images that are mostly empty, too."""
    rng = np.random.default_rng(seed)
    most, bits = 30 * size // 64, rng.random((known, 8 * size)) < likely
    bits = np.concatenate([bits, bits[::3]])  # of equal ones, the first is named
    copies = np.repeat(bits, 2, axis=0)
    for row in copies:
        row[rng.choice(8 * size, rng.integers(0, most + 4), replace=False)] ^= True
    others = rng.random((5, 8 * size)) < likely
    hashes, asked = (np.packbits(x, axis=1) for x in (bits, np.concatenate([copies, others])))
    assert list(Hashes(hashes, most).nearest(asked)) == all_with_all(hashes, asked, most)


@pytest.mark.parametrize(("flipped", "found"), [(30, 2), (31, None)])
def test_the_limit_holds_to_the_bit(flipped, found):
    bits = np.random.default_rng(0).random((5, 512)) < 0.5
    one = bits[2].copy()
    one[:: 512 // flipped][:flipped] ^= True
    assert list(Hashes(np.packbits(bits, axis=1), 30).nearest(np.packbits(one[None], axis=1))) == [found]


def test_many_are_asked_for_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr("p2plib.data.duplicates._ROWS", 7)
    hashes = np.random.default_rng(0).integers(0, 256, (50, 32), np.uint8)
    assert list(Hashes(hashes, 15).nearest(hashes[::-1])) == list(range(50))[::-1]
