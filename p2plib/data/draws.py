"""Random numbers that follow from seeds alone, whatever was drawn before: those of `tf.random.stateless_uniform`.

They are made by NumPy, so that training on JAX needs no TensorFlow, both backends see the same batches, and runs of
version 0.1 go on with theirs. The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3", section 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_MULTIPLY = (0xD2511F53, 0xCD9E8D57)
_ADD = (0x9E3779B9, 0xBB67AE85)
_SCRAMBLE = (0x3EC8F720, 0x02461E29)  # TensorFlow's key for mixing seeds
_LOW = 0xFFFFFFFF
SWAPPED = 1_000_000
_FEW = 16
"""So many blocks of four numbers are made faster one by one than by NumPy."""


def uniform(seed: Sequence[int], shape: Sequence[int] = (), low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Uniform float32 of a shape in [low, high), from two whole numbers that are the seed."""
    mantissas = (bits(seed, math.prod(shape)) & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)
    found = mantissas.view(np.float32) - np.float32(1)
    return (found * np.float32(high - low) + np.float32(low)).reshape(shape)


def below(seed: Sequence[int], limits: Sequence[int]) -> list[int]:
    """For each of the limits, a whole number from 0 to below it; numbers of equal limits differ."""
    return [int(number) % limit for number, limit in zip(bits(seed, len(limits)), limits, strict=True)]


def shuffled(seed: Sequence[int], count: int) -> np.ndarray:
    """The numbers from 0 to below `count` in random order, int64.

    Each is swapped with one that follows, as TensorFlow has it. Of more than `SWAPPED`, random numbers are sorted: that
    is quicker. They are 64 bits, of which NumPy guarantees that they stay the same, so no two of them are equal.
    """
    if count > SWAPPED:
        return np.argsort(np.random.Philox(key=np.array(seed, np.uint64)).random_raw(count))
    order = list(range(count))
    swaps = bits(seed, max(count - 1, 0)).astype(np.int64) % np.arange(count, 1, -1)
    for i, ahead in enumerate(swaps.tolist()):
        order[i], order[i + ahead] = order[i + ahead], order[i]
    return np.array(order, np.int64)


def bits(seed: Sequence[int], count: int) -> np.ndarray:
    """`count` random uint32."""
    first, second = (int(number) & 0xFFFFFFFFFFFFFFFF for number in seed)
    *key, third, fourth = _philox(first & _LOW, first >> 32, second & _LOW, second >> 32, *_SCRAMBLE)
    blocks: Any = range(-(-count // 4))
    if len(blocks) > _FEW:
        blocks = np.arange(len(blocks), dtype=np.uint64)
        found = _philox(blocks & np.uint64(_LOW), blocks >> np.uint64(32), np.uint64(third), np.uint64(fourth), *key)
        return np.stack(found, -1).astype(np.uint32).ravel()[:count]
    words = [word for block in blocks for word in _philox(block & _LOW, block >> 32, third, fourth, *key)]
    return np.array(words[:count], np.uint32)


def _philox(a: Any, b: Any, c: Any, d: Any, key: int, other: int) -> tuple[Any, Any, Any, Any]:
    """Ten rounds of 32-bit words, each a Python integer or a uint64 array: a counter and a key to four random words."""
    integer = type(a) if isinstance(a, int) else np.uint64
    low, high, multiply, times = (integer(number) for number in (_LOW, 32, *_MULTIPLY))
    for _ in range(10):
        one, two = a * multiply, c * times
        a, b, c, d = (two >> high) ^ b ^ integer(key), two & low, (one >> high) ^ d ^ integer(other), one & low
        key, other = (key + _ADD[0]) & _LOW, (other + _ADD[1]) & _LOW
    return a, b, c, d
