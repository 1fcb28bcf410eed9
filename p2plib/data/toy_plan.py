"""The plan of a procedural city, which `toy` paints.

`make_plan` draws a few random numbers for a city. From these, `survey_plan` computes the signed distances from any
point to streets, water, parks and buildings.

Lengths are in units of the image's side, with the origin in its center. Distances are negative inside a shape.
(x, y) point right and down; (u, v) run along the street grid, which is rotated and slightly bent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

SIDEWALK = 0.010
"""Width of the strip between a street and the buildings next to it."""

_HOUSES, _LARGE, _PARK = range(3)  # kinds of blocks
_BLOCKS = 9  # in each direction: at 0.19 or more each, they reach past the corners
_LOTS = 3  # at most, along each side of a block
_STREET, _AVENUE = 0.0145, 0.028  # half-widths
_FAR = 9.0


@dataclass(frozen=True)
class Plan:
    """What the seed decides about one city. Whatever a city does not have lies _FAR away."""

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


def make_plan(rng: Generator) -> Plan:
    """Plan a city. Random numbers are drawn in a fixed order, so the same generator gives the same city."""
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
    plan = Plan(angle, warp, lines, through, diagonal, river, lake, bank, blocks, lots)
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
    """A river, a lake, or both, as Plan has them; four cities in five get some water."""
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
        low, high = (np.maximum(wall, 0) + SIDEWALK for wall in walls[2 * axis : 2 * axis + 2])
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


def _clear(plan: Plan) -> None:
    """Take away the buildings that water or the diagonal avenue would cut to pieces, in place."""
    u, v, half_u, half_v = plan.lots[:4]
    (au, pu), (av, pv) = plan.warp
    x, y = _rotate(-plan.angle, u - au * np.sin(7 * v + pu), v - av * np.sin(7 * u + pv))
    room = np.minimum(_water(plan, x, y) - plan.bank, _diagonal(plan, x, y))
    half_u[room < 0.5 * np.minimum(half_u, half_v)] = -1


def survey_plan(plan: Plan, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Find what is at each point.

    Args:
        plan: the city.
        x: the points' distance from the middle to the right, float32.
        y: the same downward, of the same shape.

    Returns:
        Arrays of that shape: distances to "street" (avenues included), "avenue", "water", "park", "building", "marking"
        (of a lane) and "car"; the car's "number" (0 to 255); "ground" and "roof" as indices of the colors in `toy`; and
        the "height" of the building.
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
    building = np.maximum(building, np.maximum(SIDEWALK - avenue, plan.bank + 0.006 - water))
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


def _water(plan: Plan, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    angle, offset, bend, phase, half = plan.river
    along, across = _rotate(angle, x, y)
    middle = offset + bend * np.sin(6 * along + phase) + 0.012 * np.sin(17 * along + 2 * phase)
    slope = 6 * bend * np.cos(6 * along + phase)
    river = np.abs(across - middle) / np.sqrt(1 + slope * slope) - half - 0.009 * np.sin(11 * along + 3 * phase)

    first, second = (np.sqrt((x - cx) ** 2 + (y - cy) ** 2) - radius for cx, cy, radius in plan.lake)
    blend = np.maximum(0.08 - np.abs(first - second), 0)
    lake = np.minimum(first, second) - 3 * blend * blend  # one shape, without a crease where the discs meet
    return np.minimum(river, lake + 0.006 * np.sin(31 * x + 5 * y) * np.sin(27 * y - 7 * x))


def _diagonal(plan: Plan, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    angle, offset, bend = plan.diagonal
    along, across = _rotate(angle, x, y)
    return np.abs(across - offset - bend * np.sin(4 * along)) - _AVENUE


def _through(plan: Plan, x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
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
