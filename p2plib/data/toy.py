"""A procedural city, aerial photo | map: the embedded data set, which needs no download.

A city is a handful of seeded numbers (`_plan`). From them follow, at any point, the signed distances to streets, water,
parks and buildings (`_survey`). Both images are painted from these distances, so they agree, and the same index at
another size shows the same city.

Lengths are in units of the image's side, with the origin in its middle. Distances are negative inside a shape.
(x, y) are right and down; (u, v) run along the street grid, which is turned and gently bent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

PALETTE: dict[str, tuple[int, int, int]] = {
    "land": (237, 233, 223),
    "street": (255, 255, 255),
    "avenue": (250, 204, 92),
    "park": (190, 222, 168),
    "water": (150, 196, 232),
    "building": (208, 200, 188),
}
"""The color of each class on the map (RGB, uint8). Thin casings along streets have colors of their own."""

_CASING = {"street": (206, 201, 190), "avenue": (214, 160, 60)}
_ROOFS = np.array(  # three pitched, then four flat
    [(168, 98, 76), (148, 88, 74), (148, 120, 98), (106, 110, 120), (134, 136, 140), (198, 194, 186), (104, 122, 142)],
    np.float32,
)
_CARS = np.array([(236, 236, 238), (46, 48, 54), (178, 44, 40), (60, 92, 160), (150, 152, 156)], np.float32)
_GROUNDS = np.array([(128, 140, 90), (144, 138, 104), (164, 158, 148)], np.float32)  # lawn, dry lawn, paved

_HOUSES, _LARGE, _PARK = range(3)  # kinds of blocks
_BLOCKS = 9  # in each direction: with 0.19 and more for each, they reach past the corners
_LOTS = 3  # at most, along each side of a block
_STREET, _AVENUE = 0.0145, 0.028  # half-widths
_SIDEWALK = 0.010
_TREES = 24  # rows of trees
_FAR = 9.0


@dataclass(frozen=True)
class _Plan:
    """What the seed decided about one city; what a city lacks lies _FAR away."""

    angle: float
    warp: np.ndarray  # (2, 2): amplitude and phase, for u and v
    lines: np.ndarray  # (2, _BLOCKS + 1): where the streets are, along u and v
    through: list[tuple[int, float, float]]  # streets that bridge water: axis, position, half-width
    diagonal: np.ndarray  # angle, offset, bend of an avenue across the grid
    river: np.ndarray  # angle, offset, bend, phase, half-width
    lake: np.ndarray  # (2, 3): two discs: x, y, radius
    bank: float  # width of the green beside water
    blocks: np.ndarray  # (rows, blocks): see _block_table
    lots: np.ndarray  # (rows, blocks * lots): see _lot_table


def city(index: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Draw one pair.

    Args:
        index: which city, 0 or more; the same index at another size is the same city.
        size: side of the images, in pixels.

    Returns:
        The aerial photo and the map, each uint8 (size, size, 3).
    """
    rng = np.random.default_rng([index, 1611_07004])
    plan = _plan(rng)
    axis = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    survey = _survey(plan, *np.broadcast_arrays(axis[None, :], axis[:, None]))
    return _aerial(rng, plan, survey, axis), _map(survey, size)


def _plan(rng: Generator) -> _Plan:
    lines = rng.uniform(0.19, 0.28, (2, _BLOCKS + 1)).cumsum(axis=1) - rng.uniform(1.02, 1.12, (2, 1))
    angle = rng.uniform(-np.pi / 4, np.pi / 4)
    warp = np.stack([rng.uniform(0.004, 0.022, 2), rng.uniform(0, 6.28, 2)], axis=1)
    bridging = [[int(np.abs(line - rng.uniform(-0.35, 0.35)).argmin()) for _ in range(2)] for line in lines]
    half = np.full(lines.shape, _STREET)
    wide = rng.random(3) < (0.85, 0.5, 0.25)
    for axis in np.flatnonzero(wide[:2]):
        half[axis, bridging[axis][0]] = _AVENUE
    turn = rng.uniform(0.5, 0.9) * (1 if rng.random() < 0.5 else -1)
    diagonal = np.array([angle + turn, rng.uniform(-0.2, 0.2), rng.uniform(-0.06, 0.06)], np.float32)
    if wide.any() and not wide[2]:
        diagonal[1] = _FAR
    through = [(a, float(lines[a, i]), float(half[a, i])) for a in (0, 1) for i in sorted(set(bridging[a]))]
    river, lake = _waters(rng)
    bank = rng.uniform(0.018, 0.04)

    kinds = _kinds(rng, lines)
    blocks, grid = _block_table(rng, lines, _walls(rng, kinds, half, bridging), kinds)
    lots = _lot_table(rng, grid, kinds)
    lines, warp = lines.astype(np.float32), warp.astype(np.float32)
    plan = _Plan(angle, warp, lines, through, diagonal, river, lake, bank, blocks, lots)
    _clear(plan)
    return plan


def _kinds(rng: Generator, lines: np.ndarray) -> np.ndarray:
    """What each block is (_HOUSES, _LARGE, _PARK), int (blocks, blocks)."""
    kinds = np.where(rng.random((_BLOCKS, _BLOCKS)) < rng.uniform(0.15, 0.5), _LARGE, _HOUSES)
    central = [np.flatnonzero(np.abs(line[:-1] + line[1:]) < 0.8) for line in lines]
    for _ in range(rng.integers(1, 4)):
        i, j = (int(rows[rng.integers(len(rows))]) for rows in central)
        long, tall = rng.random(2) < (0.4, 0.3)
        kinds[i : i + 1 + long, j : j + 1 + tall] = _PARK
    return kinds


def _walls(rng: Generator, kinds: np.ndarray, half: np.ndarray, bridging: list[list[int]]) -> list[np.ndarray]:
    """Half-widths of the streets below and above each block along u, then along v; -1 where there is no street."""
    walls: list[np.ndarray] = []
    for axis in (0, 1):
        rows = np.moveaxis(kinds, axis, 0)
        width = np.repeat(half[axis][:, None], _BLOCKS, axis=1)
        like = rows[1:] == rows[:-1]
        merged = like & ((rows[1:] == _PARK) | (rng.random(like.shape) < 0.12))
        merged[[line - 1 for line in bridging[axis]]] = False
        width[1:-1][merged] = -1
        walls += [np.moveaxis(width[:-1], 0, axis), np.moveaxis(width[1:], 0, axis)]
    return walls


def _waters(rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """A river, a lake, or both, as _Plan has them; four cities in five get some water."""
    wet = rng.random()
    river = rng.uniform((0, -0.25, 0.03, 0, 0.035), (np.pi, 0.25, 0.09, 6.28, 0.07)).astype(np.float32)
    x, y, radius, turn = rng.uniform((-0.4, -0.4, 0.09, 0), (0.4, 0.4, 0.15, 6.28))
    discs = [(x, y, radius), (x + radius * np.cos(turn), y + radius * np.sin(turn), 0.7 * radius)]
    lake = np.array(discs, np.float32)
    if wet >= 0.5:
        river[1] = _FAR
    if not 0.4 < wet < 0.8:
        lake[:, 0] = _FAR
    return river, lake


def _block_table(rng: Generator, lines: np.ndarray, walls: list, kinds: np.ndarray) -> tuple[np.ndarray, list]:
    """Rows: half-widths of the four streets; start of the lots and lots per unit, along u and v; park?; ground.

    Also returns the lots' start, pitch and count along u and v, each (blocks, blocks).
    """
    grid = []
    for axis, count in enumerate(rng.integers(1, 3, (2, *kinds.shape))):
        low, high = (np.maximum(wall, 0) + _SIDEWALK for wall in walls[2 * axis : 2 * axis + 2])
        line = np.expand_dims(lines[axis], 1 - axis)
        start, stop = np.delete(line, -1, axis) + low, np.delete(line, 0, axis) - high
        count = np.where(kinds == _HOUSES, np.where(stop - start > 0.19, 3, 2), count)
        grid.append((start, (stop - start) / count, count))
    ground = np.where(kinds == _HOUSES, rng.integers(0, 2, kinds.shape), 2)
    (u, du, _), (v, dv, _) = grid
    rows = [*walls, u, 1 / du, v, 1 / dv, kinds == _PARK, ground]
    return np.stack(rows).reshape(len(rows), -1).astype(np.float32), grid


def _lot_table(rng: Generator, grid: list, kinds: np.ndarray) -> np.ndarray:
    """Rows: center (u, v), half-sides (u, v; negative: no building), wing depth, height, slope (u, v), roof."""
    shape = (*kinds.shape, _LOTS, _LOTS)
    large = np.broadcast_to(kinds[..., None, None] == _LARGE, shape)
    number = np.broadcast_to(np.arange(_LOTS), shape)
    center, half = [], []
    for axis, (start, pitch, count) in enumerate([[a[..., None, None] for a in along] for along in grid]):
        place = number.swapaxes(2, 3) if axis == 0 else number
        low, high = rng.uniform(0.004, np.where(large, 0.012, 0.022), (2, *shape))
        center.append(start + (place + 0.5) * pitch + (low - high) / 2)
        half.append(np.where(place < count, (pitch - low - high) / 2, -1))
    built = (kinds[..., None, None] != _PARK) & (rng.random(shape) < np.where(large, 0.95, 0.88))
    half[0] = np.where(built, half[0], -1)
    court = large & (np.minimum(*half) > 0.055) & (rng.random(shape) < 0.8)
    pitched = (~large | court) & (rng.random(shape) < 0.9)
    hip, along_u = rng.random(shape) < 0.4, half[0] > half[1]
    rows = [
        *center,
        *half,
        np.where(court, rng.uniform(0.026, 0.034, shape), 1),
        np.where(large, rng.uniform(0.014, 0.030, shape), rng.uniform(0.007, 0.012, shape)),
        np.where(pitched & (hip | ~along_u), 0.6, 9),
        np.where(pitched & (hip | along_u), 0.6, 9),
        np.where(pitched, rng.integers(-1, 4, shape).clip(0), rng.integers(3, 7, shape)),
    ]
    return np.stack(rows).reshape(len(rows), -1).astype(np.float32)


def _clear(plan: _Plan) -> None:
    """Take away the buildings that water or the diagonal avenue would cut to pieces, in place."""
    u, v, half_u, half_v = plan.lots[:4]
    (au, pu), (av, pv) = plan.warp
    x, y = _rotate(-plan.angle, u - au * np.sin(7 * v + pu), v - av * np.sin(7 * u + pv))
    room = np.minimum(_water(plan, x, y) - plan.bank, _diagonal(plan, x, y))
    half_u[room < 0.5 * np.minimum(half_u, half_v)] = -1


def _survey(plan: _Plan, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """What there is at each point: arrays of the points' shape.

    Distances to street (avenue or not), avenue, water, park, building, marking (of a lane) and car; the car's number
    (0..255); ground and roof as indices of _GROUNDS and _ROOFS; height of the building.
    """
    u, v = _rotate(plan.angle, x, y)
    (au, pu), (av, pv) = plan.warp
    u, v = u + au * np.sin(7 * v + pu), v + av * np.sin(7 * u + pv)
    water = _water(plan, x, y)
    bridges, avenue, marking = _through(plan, x, y, u, v)

    i, j = _passed(plan.lines[0], u), _passed(plan.lines[1], v)
    block = i * _BLOCKS + j
    left, right, low, high, u0, du, v0, dv, is_park, ground = plan.blocks.take(block, axis=1)
    to_left, to_right = u - plan.lines[0].take(i), plan.lines[0].take(i + 1) - u
    to_low, to_high = v - plan.lines[1].take(j), plan.lines[1].take(j + 1) - v
    edge = np.minimum(np.minimum(to_left - left, to_right - right), np.minimum(to_low - low, to_high - high))
    street = np.minimum(np.maximum(edge, 0.014 - water), bridges)

    lot_u, lot_v = (((w - w0) * dw).clip(0, _LOTS - 1).astype(np.intp) for w, w0, dw in ((u, u0, du), (v, v0, dv)))
    building, height, roof = _building(plan.lots.take((block * _LOTS + lot_u) * _LOTS + lot_v, axis=1), u, v)
    building = np.maximum(building, np.maximum(_SIDEWALK - avenue, plan.bank + 0.006 - water))
    park = np.minimum(np.where(is_park > 0, 0.006 - edge, _FAR), water - plan.bank)
    car, number = _cars(block, u, v, np.minimum(to_left, to_right), np.minimum(to_low, to_high))
    car = np.maximum(car, np.maximum(street, -water) + 0.003)
    ground, roof = ground.astype(np.intp), roof.astype(np.intp)
    shapes = {"street": street, "avenue": avenue, "water": water, "park": park, "building": building}
    details = {"marking": marking, "car": car, "number": number, "ground": ground, "roof": roof, "height": height}
    return shapes | details


def _passed(line: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The number of the block, counted from 0, in which each w lies (much quicker than np.searchsorted)."""
    return sum(((w > edge).view(np.int8) for edge in line[1:-1]), start=np.zeros(w.shape, np.int8)).astype(np.intp)


def _rotate(angle: float, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = float(np.cos(angle)), float(np.sin(angle))  # Python floats: the points stay float32
    return cos * x + sin * y, cos * y - sin * x


def _water(plan: _Plan, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    angle, offset, bend, phase, half = plan.river
    along, across = _rotate(angle, x, y)
    middle = offset + bend * np.sin(6 * along + phase) + 0.012 * np.sin(17 * along + 2 * phase)
    slope = 6 * bend * np.cos(6 * along + phase)
    river = np.abs(across - middle) / np.sqrt(1 + slope * slope) - half - 0.009 * np.sin(11 * along + 3 * phase)

    first, second = (np.sqrt((x - cx) ** 2 + (y - cy) ** 2) - radius for cx, cy, radius in plan.lake)
    blend = np.maximum(0.08 - np.abs(first - second), 0)
    lake = np.minimum(first, second) - 3 * blend * blend  # one shape, without a crease where the discs meet
    return np.minimum(river, lake + 0.006 * np.sin(31 * x + 5 * y) * np.sin(27 * y - 7 * x))


def _diagonal(plan: _Plan, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    angle, offset, bend = plan.diagonal
    along, across = _rotate(angle, x, y)
    return np.abs(across - offset - bend * np.sin(4 * along)) - _AVENUE


def _through(plan: _Plan, x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    """Distances to all streets that bridge water, to the avenues among them, and to the avenues' lane marks."""
    avenue = _diagonal(plan, x, y)
    streets, marking = avenue, np.abs(avenue + _AVENUE)
    for axis, position, half in plan.through:
        across, along = np.abs((u, v)[axis] - position), (v, u)[axis]
        streets = np.minimum(streets, across - half)
        if half == _AVENUE:
            avenue = np.minimum(avenue, across - half)
            dash = (np.abs(along * 18 - np.floor(along * 18) - 0.5) - 0.28) / 18
            marking = np.minimum(marking, np.maximum(across, dash))
    return streets, avenue, marking - 0.002


def _building(lots: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance to the building on each point's lot, its height there, and its roof."""
    cu, cv, half_u, half_v, wing, height, slope_u, slope_v, roof = lots
    in_u, in_v = half_u - np.abs(u - cu), half_v - np.abs(v - cv)
    inside = np.minimum(in_u, in_v)
    rise = np.minimum(np.minimum(in_u * slope_u, in_v * slope_v), (wing - inside) * 0.6)
    pitched = np.minimum(slope_u, slope_v) < 1
    return np.maximum(-inside, inside - wing), height + pitched * rise.clip(0, 0.03), roof


def _cars(block: np.ndarray, u: np.ndarray, v: np.ndarray, to_u: np.ndarray, to_v: np.ndarray) -> tuple:
    """Distance to the places for cars, one on either side of every 0.05 of street, and their numbers (0..255)."""
    vertical = to_u < to_v
    along = np.where(vertical, v, u) * 20
    cell = np.floor(along)
    across = np.abs(np.minimum(to_u, to_v) - 0.0085) - 0.0036
    number = (block * 37 + vertical * 59 + cell.astype(np.intp) * 13) & 255
    return np.maximum(across, np.abs(along - cell - 0.5) / 20 - 0.0078), number


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


def _aerial(rng: Generator, plan: _Plan, survey: dict[str, np.ndarray], axis: np.ndarray) -> np.ndarray:
    size = len(axis)
    broad, middle, fine = (_noise(rng, cells, axis) for cells in (7, 40, 256))
    roofs, water, road = (_cover(d, size) for d in (survey["building"], survey["water"], survey["street"]))
    canvas = _GROUNDS.T.take(survey["ground"], axis=1)
    _paint(canvas, _cover(survey["park"], size), [c + a * broad for c, a in ((92, 26), (124, 20), (62, 16))])
    canvas += 7 * middle
    _paint(canvas, _cover(survey["street"] - _SIDEWALK, size) * 0.8, (170, 166, 158))
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


def _trees(rng: Generator, plan: _Plan, axis: np.ndarray) -> tuple[np.ndarray, ...]:
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
    there = _survey(plan, x, y)
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
