"""Random numbers that follow from seeds alone, whatever was drawn before: those of `tf.random.stateless_uniform`.

They are made by NumPy, so that training on JAX needs no TensorFlow, both backends see the same batches, and runs of
version 0.1 go on with theirs. The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3", section 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_MULTIPLY = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)
_ADD = np.array([0x9E3779B9, 0xBB67AE85], np.uint64)
_SCRAMBLE = np.array([0x3EC8F720, 0x02461E29], np.uint64)  # TensorFlow's key for mixing seeds
_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)


def uniform(seed: Sequence[int], shape: Sequence[int] = (), low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Uniform float32 of a shape in [low, high), from two whole numbers that are the seed."""
    mantissas = (bits(seed, math.prod(shape)) & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)
    found = mantissas.view(np.float32) - np.float32(1)
    return (found * np.float32(high - low) + np.float32(low)).reshape(shape)


def below(seed: Sequence[int], limits: Sequence[int]) -> list[int]:
    """For each of the limits, a whole number from 0 to below it; numbers of equal limits differ."""
    return [int(number) % limit for number, limit in zip(bits(seed, len(limits)), limits, strict=True)]


def shuffled(seed: Sequence[int], count: int) -> np.ndarray:
    """The numbers from 0 to below `count` in random order, int64, by swapping each with one that follows."""
    order = list(range(count))
    swaps = bits(seed, max(count - 1, 0)).astype(np.int64) % np.arange(count, 1, -1)
    for i, ahead in enumerate(swaps.tolist()):
        order[i], order[i + ahead] = order[i + ahead], order[i]
    return np.array(order, np.int64)


def bits(seed: Sequence[int], count: int) -> np.ndarray:
    """`count` random uint32."""
    first, second = (int(number) & 0xFFFFFFFFFFFFFFFF for number in seed)
    words = np.array([[first & 0xFFFFFFFF, first >> 32, second & 0xFFFFFFFF, second >> 32]], np.uint64)
    mixed = _philox(words, _SCRAMBLE)[0].astype(np.uint64)
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    counter = np.stack([blocks & _LOW, blocks >> _WORD, *np.broadcast_to(mixed[2:, None], (2, len(blocks)))], 1)
    return _philox(counter, mixed[:2]).ravel()[:count]


def _philox(counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Ten rounds: counters (N, 4) and a key (2,) of 32-bit words, as uint64; returns uint32 (N, 4)."""
    words, key = counter, key.copy()
    for _ in range(10):
        products = words[:, ::2] * _MULTIPLY  # of words 0 and 2
        high, low = products >> _WORD, products & _LOW
        words = np.stack(
            [high[:, 1] ^ words[:, 1] ^ key[0], low[:, 1], high[:, 0] ^ words[:, 3] ^ key[1], low[:, 0]], 1
        )
        key = (key + _ADD) & _LOW
    return words.astype(np.uint32)
