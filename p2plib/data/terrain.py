"""A procedural landscape, satellite image | height map: a built-in data set beyond 8-bit RGB, without a download.

The image has four bands of reflectance (red, green, blue, near infrared); the heights are meters. What grows where, the
light on the slopes and the haze all follow the height, so a network can infer it. The same index at another size shows
the same landscape.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from p2plib.data.noise import blend, make_lattice, noise, pixel_centers, smooth_step, splines

BANDS = ("red", "green", "blue", "near infrared")
SIDE = 8000.0
"""Width and height of the land that an image shows, in meters."""
BRIGHTEST = 4095
"""The highest reflectance in an image; 10,000 would be all the light."""

_OCTAVES = (2, 5, 9, 19, 37, 75, 149)  # bumps per side: each about twice as many as the one before, and half as high
_COVERS = np.array(  # reflectance in the four bands
    [
        (1060, 1110, 640, 2950),  # meadow, dry in the lowlands
        (720, 980, 510, 3500),  # meadow, moist below the mountains
        (400, 640, 310, 3150),  # leafy forest
        (250, 400, 270, 1850),  # firs, higher up
        (1150, 1160, 720, 2550),  # alpine grass
        (1560, 1440, 1280, 1780),  # rock
        (3700, 3820, 3950, 3300),  # snow
        (1750, 1600, 1250, 2150),  # gravel
    ],
    np.float32,
)
_DRY, _MOIST, _LEAFY, _FIRS, _ALPINE, _ROCK, _SNOW, _GRAVEL = _COVERS
_CROPS = np.array(  # fields: ripe, green, young, bare
    [(1700, 1500, 850, 2700), (560, 900, 420, 3700), (900, 1150, 600, 3000), (1500, 1220, 900, 1900)], np.float32
)
_SHALLOW = np.array((420, 640, 620, 130), np.float32)
_DEEP = np.array((120, 230, 330, 50), np.float32)
_HAZE = np.array((110, 190, 360, 45), np.float32)  # at sea level
_HAZE_HEIGHT = 1500.0  # meters in which it thins to 37 %
_DAMPING = 0.6  # how much weaker bumps are where bumps before them are steep
_TREE_LINE, _SNOW_LINE = 1550.0, 2150.0
_SUN = 0.78  # height over distance of the sun, which stands in the upper left: 38 degrees


class _Plan(NamedTuple):
    """What the seed decides about one landscape. Random numbers are drawn in a fixed order."""

    bumps: list[np.ndarray]  # the lattice of each octave
    woods: np.ndarray  # lattices of what grows where
    patches: np.ndarray
    grain: np.ndarray
    base: float  # meters
    relief: float  # meters, between low and high land, about
    river: np.ndarray  # angle, offset, bend, phase, half-width, width of the valley
    wet: float  # share of the land under water before the river
    crops: np.ndarray  # (64, 4): of each field
    turn: float  # direction of the fields


def terrain(index: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Draw one pair.

    Args:
        index: which landscape, 0 or more; the same index at another size is the same landscape.
        size: side of the images, in pixels.

    Returns:
        The satellite image, uint16 (size, size, 4) in [0, `BRIGHTEST`]: reflectance times 10,000 of `BANDS`. And the
        height above the sea, float32 (size, size, 1), in meters from 0 to about 4,600; water is flat.
    """
    plan = _make_plan(np.random.default_rng([index, 41_0226]))
    coarse = _land(plan, pixel_centers(48))  # of the same points at any size, for the same water
    level = max(float(np.quantile(coarse, plan.wet)) - 1, 0.0)
    axis = pixel_centers(size)
    bed = _carve(plan, _land(plan, axis), level, _river(plan, axis))
    height = np.maximum(bed, level)
    image = _reflectance(plan, axis, bed, level)
    _light(image, height)
    air, speckle = np.exp(-height / _HAZE_HEIGHT), 9 * noise(plan.grain[1], axis)
    for band, haze in zip(image, _HAZE, strict=True):
        band += haze * air + speckle
    stored = image.round().clip(0, BRIGHTEST).astype(np.uint16)
    return np.ascontiguousarray(stored.transpose(1, 2, 0)), height[..., None]


def _make_plan(rng: Generator) -> _Plan:
    bumps = [make_lattice(rng, cells) for cells in _OCTAVES]
    relief = float(np.exp(rng.uniform(np.log(450), np.log(3400))))
    return _Plan(
        bumps=bumps,
        woods=make_lattice(rng, 11),
        patches=make_lattice(rng, 45),
        grain=np.stack([make_lattice(rng, 200), make_lattice(rng, 200)]),
        base=float(rng.uniform(40, 950 - 0.2 * relief)),
        relief=relief,
        river=rng.uniform((0, 0.3, 0.03, 0, 0.004, 0.05), (np.pi, 0.7, 0.1, 6.28, 0.012, 0.16)).astype(np.float32),
        wet=float(rng.choice([0.0, 0.04, 0.12, 0.2])),
        crops=_CROPS[rng.integers(0, len(_CROPS), 64)] * rng.uniform(0.85, 1.15, (64, 1)).astype(np.float32),
        turn=float(rng.uniform(0, np.pi / 2)),
    )


def _land(plan: _Plan, axis: np.ndarray) -> np.ndarray:
    """Height in meters before the water: bumps of all sizes, small ones weaker on slopes, as erosion leaves them."""
    total = np.zeros((len(axis), len(axis)), np.float32)
    down, across, amplitude = total.copy(), total.copy(), 1.0
    for lattice in plan.bumps:
        first, weights, slopes = splines(len(lattice) - 3, axis)
        columns = blend(lattice.T, first, weights).T
        down += blend(columns, first, slopes)
        across += blend(blend(lattice.T, first, slopes).T, first, weights)
        total += amplitude * blend(columns, first, weights) / (1 + _DAMPING * (down * down + across * across))
        amplitude *= 0.5
    share = 0.5 + 0.5 * total  # mostly in [0, 1]
    return plan.base + plan.relief * np.where(share > 0, np.abs(share) ** 1.3, 0.1 * share)


def _river(plan: _Plan, axis: np.ndarray) -> np.ndarray:
    """Distance to the river's banks, negative in the water; in sides of the image."""
    angle, offset, bend, phase, half, _ = plan.river
    x, y = axis[None, :] - 0.5, axis[:, None] - 0.5
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    middle = offset - 0.5 + bend * np.sin(7 * along + phase) + 0.3 * bend * np.sin(19 * along + 2 * phase)
    slope = bend * (7 * np.cos(7 * along + phase) + 5.7 * np.cos(19 * along + 2 * phase))
    distance = np.abs(across - middle) / np.sqrt(1 + slope * slope)
    return distance - half * (1 + 0.5 * np.sin(13 * along + 3 * phase))


def _carve(plan: _Plan, land: np.ndarray, level: float, river: np.ndarray) -> np.ndarray:
    """The land with the river's valley in it: its bed lies below the water's level."""
    wide = plan.river[-1]
    valley = 1 - np.exp(-((river.clip(0) / wide) ** 2))
    bed = level - 6 * (-river / 0.004).clip(0, 1)
    return np.where(land > level, bed + (land - level) * valley + np.where(river > 0, 1.5 * (1 - valley), 0), land)


def _reflectance(plan: _Plan, axis: np.ndarray, bed: np.ndarray, level: float) -> np.ndarray:
    """What covers the ground, (4, size, size), in light from above."""
    size = len(axis)
    woods, patches, grain = (noise(lattice, axis) for lattice in (plan.woods, plan.patches, plan.grain[0]))
    down, across = np.gradient(bed, SIDE / size)
    steep = np.sqrt(down * down + across * across)
    rough = bed + 110 * woods + 60 * patches + 25 * grain
    texture = 1 + 0.10 * woods + 0.08 * patches + 0.05 * grain
    image = _mix(_DRY, _MOIST, smooth_step(rough - 600, 500)) * texture
    flat = (
        smooth_step(0.16 - steep + 0.03 * patches, 0.02)
        * smooth_step(900 - rough, 60)
        * smooth_step(woods + 0.15, 0.05)
    )
    _cover(image, flat, _fields(plan, axis))
    _cover(image, smooth_step(rough - _TREE_LINE + 150, 300), _ALPINE, 1 + 0.12 * patches + 0.06 * grain)
    trees = smooth_step(0.9 * patches - 1.3 * woods + 1.6 * steep.clip(0, 0.5) - 0.25, 0.06)
    trees *= smooth_step(_TREE_LINE - rough, 60) * smooth_step(0.95 - steep, 0.1)
    forest = _mix(_LEAFY, _FIRS, smooth_step(rough - 850, 450))
    _cover(image, trees, forest, 1 + 0.20 * grain + 0.10 * patches - 0.12 * woods)
    stone = smooth_step(steep + 0.10 * patches + 0.08 * grain - 0.78, 0.10)
    stone = np.maximum(stone, smooth_step(rough - _SNOW_LINE + 250, 160))
    _cover(image, stone, _ROCK, 1 + 0.16 * patches + 0.12 * grain)
    snow = smooth_step(rough - _SNOW_LINE, 90) * smooth_step(1.5 - steep + 0.15 * patches, 0.2)
    _cover(image, snow, _SNOW, 1 + 0.02 * grain)
    _cover(image, smooth_step(level + 2.5 + 2 * patches - bed, 1.0), _GRAVEL, 1 + 0.08 * grain)
    water = _mix(_DEEP, _SHALLOW, np.exp(-(level - bed).clip(0) / 9))
    _cover(image, smooth_step(level - bed, 0.4), water)
    return image


def _mix(color: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    """From a color (4,) toward another one, (4, H, W)."""
    return color[:, None, None] + (other - color)[:, None, None] * share


def _cover(image: np.ndarray, share: np.ndarray, color: np.ndarray, texture: np.ndarray | float = 1.0) -> None:
    """Lay a color, (4,) or (4, H, W), over an image (4, H, W), in place."""
    for band, value in zip(image, color, strict=True):
        band += share * (value * texture - band)


def _fields(plan: _Plan, axis: np.ndarray) -> np.ndarray:
    """Fields of crops between hedges, (4, size, size), in strips that are cut at different places."""
    x, y = axis[None, :], axis[:, None]
    cos, sin = float(np.cos(plan.turn)), float(np.sin(plan.turn))  # Python floats: the points stay float32
    u = 26 * (cos * x + sin * y + 0.01 * np.sin(9 * y))
    row = np.floor(u)
    v = 11 * (cos * y - sin * x) + 0.37 * row
    column = np.floor(v)
    number = (row * 29 + column * 17).astype(np.intp) % len(plan.crops)
    edge = np.minimum(0.5 - np.abs(u - row - 0.5), 2.4 * (0.5 - np.abs(v - column - 0.5)))
    fields = plan.crops.T.take(number, axis=1)
    _cover(fields, 0.7 * smooth_step(0.05 - edge, 0.04), _LEAFY)
    return fields


def _light(image: np.ndarray, height: np.ndarray) -> None:
    """Light slopes by their angle to the sun, and cast shadows, in place; flat ground stays as it is.

    A point is in shadow if a height on the way to the sun, less the way's rise, tops its own. Doubling steps look at
    all points of the way: 1, 2, 4, ... pixels.
    """
    pixel = SIDE / len(height)
    rise = pixel * _SUN * 2**0.5
    top, step = height.copy(), 1
    while step * rise < _HIGHEST:
        if step < len(height):
            top[step:, step:] = np.maximum(top[step:, step:], top[:-step, :-step] - step * rise)
        step *= 2
    shadow = ((top - height) / (0.5 * rise)).clip(0, 1)
    down, across = np.gradient(height, pixel)
    facing = (1 + (across + down) / (_SUN * 2**0.5)) / np.sqrt(1 + across * across + down * down)
    direct = facing.clip(0, 1.6) * (1 - shadow)
    for band, sky in zip(image, (0.16, 0.20, 0.28, 0.12), strict=True):  # shadows are blue
        band *= sky + (1 - sky) * direct


_HIGHEST = 3000.0  # meters between valleys and peaks, at most, of those that cast shadows
