"""How far apart rounding can bring one number that was computed along two routes: the tolerances follow from it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike


def rounding(operations: int, magnitude: float = 1.0, dtype: DTypeLike = np.float32) -> float:
    """A bound on the difference of two results of the same `operations`, for example of one sum in two orders.

    An operation rounds by at most half an epsilon of its result, which is no larger than `magnitude`. Two routes that
    round in opposite directions all the way are `operations` epsilons apart. Many roundings do not agree so: each has a
    standard deviation of epsilon / sqrt(12), so that the difference has sqrt(operations / 6) epsilons. The bound is
    five of these (5 / sqrt(6) = 2.04), or the worst case where that is less.
    """
    epsilon = float(np.finfo(dtype).eps)
    return magnitude * epsilon * min(operations, 2 * math.sqrt(operations))


LAB = 500 * rounding(12)
"""Of a and b of CIE Lab in float32: 500 times the difference of two roots, each of a dozen operations."""
RGB = 9 * rounding(40)
"""Of sRGB in float32, to Lab and back in 40 operations: 9 is the steepest slope from the roots to sRGB.

Near black, 12.92 of the gamma, 5.3 of the matrix, and 1 / 7.787 of the inverse root.
"""
