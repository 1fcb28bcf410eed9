"""A procedural city, aerial photo | map: the built-in data set, which needs no download.

`toy_plan` decides where everything is. Both images are painted from the same distances, so they agree, and the same
index at another size shows the same city.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from p2plib.data.toy_plan import SIDEWALK, Plan, make_plan, survey_plan

PALETTE: dict[str, tuple[int, int, int]] = {
    "land": (237, 233, 223),
    "street": (255, 255, 255),
    "avenue": (250, 204, 92),
    "park": (190, 222, 168),
    "water": (150, 196, 232),
    "building": (208, 200, 188),
}
"""The color of each class on the map (RGB, uint8). Thin outlines of streets have colors of their own."""

_CASING = {"street": (206, 201, 190), "avenue": (214, 160, 60)}
_ROOFS = np.array(  # three pitched, then four flat
    [(168, 98, 76), (148, 88, 74), (148, 120, 98), (106, 110, 120), (134, 136, 140), (198, 194, 186), (104, 122, 142)],
    np.float32,
)
_CARS = np.array([(236, 236, 238), (46, 48, 54), (178, 44, 40), (60, 92, 160), (150, 152, 156)], np.float32)
_GROUNDS = np.array([(128, 140, 90), (144, 138, 104), (164, 158, 148)], np.float32)  # lawn, dry lawn, paved
_TREES = 24  # rows of trees


def city(index: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Draw one pair.

    Args:
        index: which city, 0 or more; the same index at another size is the same city.
        size: side of the images, in pixels.

    Returns:
        The aerial photo and the map, each uint8 (size, size, 3).
    """
    rng = np.random.default_rng([index, 1611_07004])
    plan = make_plan(rng)
    axis = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    survey = survey_plan(plan, *np.broadcast_arrays(axis[None, :], axis[:, None]))
    return _aerial(rng, plan, survey, axis), _map(survey, size)


def _cover(distance: np.ndarray, size: int) -> np.ndarray:
    """Share of each pixel that lies inside a shape, from the signed distance to its edge."""
    return np.clip(0.5 - distance * size, 0, 1)


def _paint(canvas: np.ndarray, cover: np.ndarray, color: Sequence | np.ndarray) -> None:
    """Lay a color, or three arrays (H, W), over the canvas (3, H, W), in place."""
    for channel, value in zip(canvas, color, strict=True):
        channel += cover * (value - channel)


def _image(canvas: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(canvas.round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def _map(survey: dict[str, np.ndarray], size: int) -> np.ndarray:
    canvas = np.empty((3, size, size), np.float32)
    canvas[:] = np.reshape(PALETTE["land"], (3, 1, 1))
    for name in ("park", "water", "building"):
        _paint(canvas, _cover(survey[name], size), PALETTE[name])
    for name in ("street", "avenue"):
        _paint(canvas, _cover(survey[name] - 0.0035, size), _CASING[name])
        _paint(canvas, _cover(survey[name], size), PALETTE[name])
    return _image(canvas)


def _aerial(rng: Generator, plan: Plan, survey: dict[str, np.ndarray], axis: np.ndarray) -> np.ndarray:
    size = len(axis)
    broad, middle, fine = (_noise(rng, cells, axis) for cells in (7, 40, 256))
    roofs, water, road = (_cover(d, size) for d in (survey["building"], survey["water"], survey["street"]))
    canvas = _GROUNDS.T.take(survey["ground"], axis=1)
    _paint(canvas, _cover(survey["park"], size), [c + a * broad for c, a in ((92, 26), (124, 20), (62, 16))])
    canvas += 7 * middle
    _paint(canvas, _cover(survey["street"] - SIDEWALK, size) * 0.8, (170, 166, 158))
    _paint(canvas, _cover(survey["water"] - 0.008, size), (158, 148, 118))  # the shore
    depth, waves = (-12 * survey["water"]).clip(0, 1), 4 * broad + 2 * middle
    _paint(canvas, water, [c + a * depth + waves for c, a in ((66, -22), (104, -26), (122, -10))])
    avenue = _cover(survey["avenue"], size)
    for streets, gray in ((road, 102), (avenue, 84)):
        _paint(canvas, streets, [gray + 4 * broad, gray + 4 * broad, gray + 4 + 4 * broad])
    _paint(canvas, _cover(survey["marking"], size) * avenue, (228, 224, 202))
    parked = (rng.random(256, np.float32) < 0.28).astype(np.float32)
    color = _CARS[rng.integers(0, len(_CARS), 256)].T
    _paint(canvas, _cover(survey["car"], size) * parked.take(survey["number"]), color.take(survey["number"], axis=1))
    _paint(canvas, roofs, _ROOFS.T.take(survey["roof"], axis=1))
    depth, radius, tone = _trees(rng, plan, axis)
    leaves = _cover(0.003 * middle - depth, size) * (radius > 0)
    _paint(canvas, leaves, [c + a * tone for c, a in ((48, 38), (82, 36), (38, 14))])
    canvas += (5 + 4 * leaves - 1.5 * water * (1 - road)) * fine
    crown = np.sqrt((depth * radius).clip(0)) + radius * 0.4
    _light(canvas, np.maximum(roofs * survey["height"], leaves * crown))
    return _image(canvas)


def _noise(rng: Generator, cells: int, axis: np.ndarray) -> np.ndarray:
    """Value noise in [-1, 1]: `cells` x `cells` random numbers, interpolated linearly; (size, size)."""
    values = rng.random((cells, cells), np.float32) * 2 - 1
    place = np.clip((axis + 0.5) * cells - 0.5, 0, cells - 1)
    low = np.minimum(place.astype(np.intp), cells - 2)
    share = place - low.astype(np.float32)
    values = values[low] + share[:, None] * (values[low + 1] - values[low])
    left = values.take(low, axis=1)
    return left + share * (values.take(low + 1, axis=1) - left)


def _trees(rng: Generator, plan: Plan, axis: np.ndarray) -> tuple[np.ndarray, ...]:
    """How deep each pixel lies inside its tree, the tree's radius (0: none), and its tone (0..1).

    A tree keeps to its cell, so a pixel has to look at one tree only; every other row of cells is shifted by half.
    """
    n = _TREES
    shape = (n, n + 1)
    radius = rng.uniform(0.009, 0.0185, shape).astype(np.float32)
    shift = (rng.random((2, *shape), np.float32) - 0.5) * (1 / n - 2 * radius)
    odd = np.arange(n) % 2 / 2
    x = ((np.arange(n + 1) + 0.5 - odd[:, None]) / n - 0.5).astype(np.float32) + shift[0]
    y = ((np.arange(n)[:, None] + 0.5) / n - 0.5).astype(np.float32) + shift[1]
    there = survey_plan(plan, x, y)
    room = np.minimum(np.minimum(there["street"], there["water"]), there["building"])
    likely = np.where(there["park"] < 0, 0.75, np.where(there["ground"] < 2, 0.5, 0.15))
    grows = (rng.random(shape) < likely) & (room > 0.6 * radius)
    trees = np.stack([x, y, radius * grows, rng.random(shape, np.float32)])
    row = ((axis + 0.5) * n).astype(np.intp)[:, None]
    column = ((axis + 0.5) * n + odd[row]).astype(np.intp)
    x, y, radius, tone = trees.reshape(4, -1).take(row * (n + 1) + column, axis=1)
    return radius - np.sqrt((axis - x) ** 2 + (axis[:, None] - y) ** 2), radius, tone


def _light(canvas: np.ndarray, height: np.ndarray) -> None:
    """Shade slopes and cast shadows, in place; the sun stands in the upper left, 45 degrees high.

    A point is dark if some height on the way to the sun, less the way, tops its own. Doubling steps look at all points
    of the way: 1, 2, 4, ... pixels.
    """
    size = canvas.shape[-1]
    height = height * size
    top, step = height.copy(), 1
    while step < 0.06 * size:
        top[step:, step:] = np.maximum(top[step:, step:], top[:-step, :-step] - step)
        step *= 2
    shadow = np.clip(top - height, 0, 1)
    slope = np.zeros_like(height)
    slope[1:, 1:] = height[1:, 1:] - height[:-1, :-1]
    light = 1 + 0.16 * slope.clip(-1.3, 1)
    for channel, dark in zip(canvas, (0.52, 0.48, 0.38), strict=True):  # the sky lights shadows, a little blue
        channel *= light * (1 - dark * shadow)
