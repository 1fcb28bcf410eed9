"""Finds hashes that differ in few bits, without comparing all with all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_ROWS = 4096  # hashes whose bits are laid out at a time


class Hashes:
    """Hashes among which the nearest is found.

    If two hashes differ in at most k bits, and the bits are dealt out to k + 1 bands, they agree in one band at least.
    So only those that share a band are compared, which are few where images differ (multi-index hashing; Norouzi,
    Punjani and Fleet 2012).

    Args:
        hashes: uint8 (N, B), each of 8 B bits, where B is a multiple of 8.
        most: how many bits may differ.
    """

    def __init__(self, hashes: np.ndarray, most: int) -> None:
        self.hashes, self.most = _words(hashes), most
        keys = self._keys(hashes).ravel()
        order = np.argsort(keys)
        self.keys, self.owners = keys[order], (order // (most + 1)).astype(np.uint32)

    def nearest(self, asked: np.ndarray) -> Iterator[int | None]:
        """For each hash of uint8 (M, B), the first of those that differ least; None if all differ in too many bits."""
        for start in range(0, len(asked), _ROWS):
            some = asked[start : start + _ROWS]
            keys = self._keys(some)
            begins, ends = (np.searchsorted(self.keys, keys, side) for side in ("left", "right"))
            for one, of, to in zip(_words(some), begins, ends, strict=True):
                yield self._nearest(one, of, to)

    def _nearest(self, one: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> int | None:
        """Compare one hash with those at these ranges of `owners`; with all, if these are not fewer."""
        if (ends - begins).sum() < len(self.hashes):
            shared = np.flatnonzero(begins < ends)
            places = np.concatenate([self.owners[:0], *(self.owners[begins[i] : ends[i]] for i in shared)])
        else:  # the bands tell little, as where most of all images is empty
            places = np.arange(len(self.hashes))
        if not len(places):
            return None
        distances = np.bitwise_count(self.hashes[places] ^ one).sum(axis=1)
        least = distances.min()
        return int(places[distances == least].min()) if least <= self.most else None

    def _keys(self, hashes: np.ndarray) -> np.ndarray:
        """A number for each band and what it holds: uint32 (N, bands)."""
        bands = self.most + 1
        keys = np.zeros((len(hashes), bands), np.uint32)
        for start in range(0, len(hashes), _ROWS):
            bits = np.unpackbits(hashes[start : start + _ROWS], axis=1)
            for band in range(bands):
                part = bits[:, band::bands]  # far apart: neighbors are alike
                keys[start : start + _ROWS, band] = (
                    part @ (1 << np.arange(part.shape[1], dtype=np.uint32)) * bands + band
                )
        return keys


def _words(hashes: np.ndarray) -> np.ndarray:
    """The same bits in fewer numbers, which are compared sooner: uint64 (N, B / 8)."""
    return np.ascontiguousarray(hashes).view(np.uint64)
