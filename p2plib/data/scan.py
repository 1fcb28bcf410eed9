"""Procedural CT-like slices without and with contrast agent: a built-in data set in Hounsfield units.

Half of the slices show the chest, half the upper abdomen, seen from the feet: the front is up, and the patient's left
is on the right. They look like CT and are nobody's; nothing medical can be learned from them. The same index at another
size shows the same slice.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from p2plib.data.noise import make_lattice, noise, pixel_centers, smooth_step

LOWEST, HIGHEST = -1024, 3071
"""The range of Hounsfield units in a scan; air is -1000, water 0."""

_Pair = tuple[float, float]
"""Hounsfield units without and with contrast agent."""

_AIR: _Pair = (-1000, -1000)
_LUNG: _Pair = (-860, -845)
_FAT: _Pair = (-102, -98)
_SKIN: _Pair = (10, 30)
_MUSCLE: _Pair = (54, 64)
_WATER: _Pair = (8, 9)
_MARROW: _Pair = (170, 185)
_BONE: _Pair = (720, 725)
_VEIN: _Pair = (41, 152)
_ARTERY: _Pair = (42, 172)
_PORTAL: _Pair = (42, 176)
_HEART: _Pair = (46, 108)
_LIVER: _Pair = (57, 112)
_SPLEEN: _Pair = (48, 124)
_CORTEX: _Pair = (33, 192)
_MEDULLA: _Pair = (29, 150)
_PANCREAS: _Pair = (40, 98)
_WALL: _Pair = (38, 88)
_BLUR = 0.0035  # half-width of an edge, in sides of the image: the scanner's, about 1.5 mm


class _Slice:
    """Two slices that are painted together, and where each pixel lies in the body.

    Attributes:
        canvas: Hounsfield units, float32 (2, size, size).
        u, v: from the body's center to its sides and to its front and back, -1 to 1, bent a little.
        scale: what one unit of u and v is in sides of the image.
        blobs: noise of organs' size, and finer ones.
    """

    def __init__(self, rng: Generator, size: int) -> None:
        axis = pixel_centers(size)
        lattices = [make_lattice(rng, cells) for cells in (4, 4, 13, 13, 9, 26, 60)]
        bend = [noise(lattice, axis) for lattice in lattices]
        wide, tall = rng.uniform(0.36, 0.45), rng.uniform(0.25, 0.32)
        middle = rng.uniform((0.485, 0.47), (0.515, 0.50))
        self.axis, self.canvas = axis, np.full((2, size, size), -1000, np.float32)
        self.u = (axis[None, :] - float(middle[0])) / float(wide) + 0.045 * bend[0] + 0.012 * bend[2]
        self.v = (axis[:, None] - float(middle[1])) / float(tall) + 0.045 * bend[1] + 0.012 * bend[3]
        self.scale = float(min(wide, tall))
        self.bottom = float(middle[1] + tall)
        self.blobs = bend[4:]

    def disc(self, x: float, y: float, width: float, height: float, turn: float = 0.0) -> np.ndarray:
        """Distance to an ellipse, in units of the body's half-height; negative inside."""
        u, v = self.u - x, self.v - y
        if turn:
            cos, sin = float(np.cos(turn)), float(np.sin(turn))
            u, v = cos * u + sin * v, cos * v - sin * u
        return (np.sqrt((u / width) ** 2 + (v / height) ** 2) - 1) * min(width, height)

    def paint(self, distance: np.ndarray, pair: _Pair, texture: np.ndarray | float = 0.0) -> None:
        """Fill the inside of a shape in both slices, in place."""
        share = smooth_step(-distance * self.scale, _BLUR)
        for canvas, value in zip(self.canvas, pair, strict=True):
            canvas += share * (value + texture - canvas)


def scan(index: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Draw one pair.

    Args:
        index: which slice, 0 or more; the same index at another size is the same slice.
        size: side of the images, in pixels.

    Returns:
        The slice without and with contrast agent in the blood, each int16 (size, size, 1), in Hounsfield units from
        `LOWEST` to `HIGHEST`.
    """
    rng = np.random.default_rng([index, 19_7110])
    drawn = _Slice(rng, size)
    _table(drawn)
    cavity = _trunk(rng, drawn)
    (_chest if rng.random() < 0.5 else _abdomen)(rng, drawn, cavity)
    _spine(rng, drawn)
    grain = [[noise(make_lattice(rng, cells), drawn.axis) for cells in (90, 190)] for _ in range(2)]
    strength = float(rng.uniform(7, 12))
    for canvas, (coarse, fine), part in zip(drawn.canvas, grain, (1.0, 0.8), strict=True):
        canvas += part * strength * (0.6 * coarse + fine)
    stored = drawn.canvas.round().clip(LOWEST, HIGHEST).astype(np.int16)
    return stored[0, ..., None], stored[1, ..., None]


def _table(drawn: _Slice) -> None:
    """The couch below the body: a shell of carbon fiber around foam."""
    x, y = drawn.axis[None, :] - 0.5, drawn.axis[:, None]
    top = y - (drawn.bottom + 0.012 - 0.35 * x * x)
    inside = np.maximum(np.maximum(-top, top - 0.05), np.abs(x) - 0.42) / drawn.scale
    drawn.paint(inside, (-250, -250))
    drawn.paint(inside + 0.02, (-960, -960))


def _trunk(rng: Generator, drawn: _Slice) -> np.ndarray:
    """Skin, fat, muscles and ribs; returns the distance to the cavity."""
    fat = float(rng.uniform(0.05, 0.17))
    body = drawn.disc(0, 0, 1, 1) + 0.02 * drawn.blobs[0] * 0.3
    drawn.paint(body, _SKIN)
    drawn.paint(body + 0.012, _FAT, 6 * drawn.blobs[2])
    drawn.paint(body + fat, _MUSCLE, 4 * drawn.blobs[2])
    seams = np.abs(body + fat + 0.055 + 0.012 * drawn.blobs[1]) - 0.006  # fat between layers of muscles
    drawn.paint(np.maximum(seams, -drawn.v - 0.6), (-60, -55))
    cavity = body + fat + 0.13
    count = int(rng.integers(10, 14))
    half, shift = rng.uniform((0.03, -0.01), (0.17, 0.012), (count, 2)).astype(np.float32).T  # as a slice cuts them
    place = np.arctan2(drawn.v, drawn.u) / (2 * np.pi) * count + float(rng.random())
    number = np.floor(place)
    along = np.abs(place - number - 0.5) * (6.28 / count) - half.take(number.astype(np.intp) % count)
    across = cavity - 0.045 - shift.take(number.astype(np.intp) % count)
    rib = np.sqrt(along.clip(0) ** 2 + across * across) - 0.033
    rib = np.maximum(rib, 0.25 - np.abs(drawn.u))  # not in front, nor behind
    drawn.paint(rib, _BONE, 60 * drawn.blobs[1])
    drawn.paint(rib + 0.015, _MARROW, 30 * drawn.blobs[2])
    return cavity


def _spine(rng: Generator, drawn: _Slice) -> None:
    """A vertebra: spongy body in a hard shell, the canal behind it, and its processes."""
    size = float(rng.uniform(0.9, 1.1))
    for side in (-1, 1):
        drawn.paint(drawn.disc(0.17 * side, 0.74, 0.15, 0.14), _MUSCLE, 5 * drawn.blobs[1])
        drawn.paint(drawn.disc(0.15 * side, 0.655, 0.11, 0.028, 0.35 * side), _BONE)
    drawn.paint(drawn.disc(0, 0.80, 0.022, 0.11), _BONE)
    drawn.paint(drawn.disc(0, 0.64, 0.105 * size, 0.105 * size), (560, 565))
    vertebra = np.maximum(drawn.disc(0, 0.47, 0.165 * size, 0.155 * size), 0.45 - drawn.v - 0.13)
    drawn.paint(vertebra, _BONE)
    drawn.paint(vertebra + 0.022, _MARROW, 45 * drawn.blobs[2] + 20 * drawn.blobs[1])
    drawn.paint(drawn.disc(0, 0.635, 0.062 * size, 0.062 * size), (18, 24))
    drawn.paint(drawn.disc(0, 0.635, 0.038 * size, 0.034 * size), (38, 42))


def _chest(rng: Generator, drawn: _Slice, cavity: np.ndarray) -> None:
    """Lungs with their vessels, and between them the heart or, above it, the great vessels."""
    heart = rng.random() < 0.55
    drawn.paint(cavity, _FAT, 5 * drawn.blobs[1])
    middle = drawn.disc(0.02, 0.05, 0.19 + 0.04 * heart, 0.62)
    if heart:
        x, y = rng.uniform((0.10, -0.22), (0.17, -0.12))
        middle = np.minimum(middle, drawn.disc(x, y, 0.40, 0.37, 0.5))
    spine = drawn.disc(0, 0.5, 0.22, 0.22)
    lung = np.maximum(cavity + 0.015, -np.minimum(middle, spine))
    drawn.paint(lung, _LUNG, 45 * drawn.v + 18 * drawn.blobs[1])
    for cells, widest in ((15, 0.010), (24, 0.006), (37, 0.004)):
        drawn.paint(np.maximum(_branches(rng, drawn, cells, widest), lung + 0.02), (30, 150))
    drawn.paint(drawn.disc(0, -0.79 + 0.02, 0.13, 0.045), _BONE)
    drawn.paint(drawn.disc(0, -0.79 + 0.02, 0.11, 0.026), _MARROW)
    if heart:
        _heart(rng, drawn, float(x), float(y))
    else:
        _great_vessels(rng, drawn)
    radius = float(rng.uniform(0.075, 0.105))
    drawn.paint(drawn.disc(0.17, 0.33, radius + 0.012, radius + 0.012), _WALL)
    drawn.paint(drawn.disc(0.17, 0.33, radius, radius), _ARTERY)
    drawn.paint(drawn.disc(0.04, 0.26, 0.045, 0.035), _WALL)
    drawn.paint(drawn.disc(-0.03, 0.30, 0.022, 0.022), _VEIN)


def _branches(rng: Generator, drawn: _Slice, cells: int, widest: float) -> np.ndarray:
    """Distance to the vessels of the lungs, cut across or along: one in each cell of a grid, thinner farther outside.

    They point to where they enter the lungs, beside the heart.
    """
    table = rng.random((5, cells * cells), np.float32)
    turn = float(rng.uniform(0.3, 1.2))  # so that the grid does not show
    cos, sin = float(np.cos(turn)), float(np.sin(turn))
    p = cells * (cos * drawn.axis[None, :] + sin * drawn.axis[:, None])
    q = cells * (cos * drawn.axis[:, None] - sin * drawn.axis[None, :])
    row, column = np.floor(q), np.floor(p)
    number = (row.astype(np.intp) % cells) * cells + column.astype(np.intp) % cells
    x, y, length, width, there = table.take(number, axis=1)
    across, behind = np.abs(drawn.u) - 0.22, drawn.v - 0.05
    hilum = np.sqrt(across**2 + behind**2) + 1e-3
    toward_x, toward_y = np.sign(drawn.u) * across / hilum, behind / hilum
    toward_p, toward_q = cos * toward_x + sin * toward_y, cos * toward_y - sin * toward_x
    dp, dq = p - column - 0.22 - 0.56 * x, q - row - 0.22 - 0.56 * y
    along = (np.abs(dp * toward_p + dq * toward_q) - 0.2 * length**3).clip(0)
    radius = widest * (0.3 + 0.7 * width**3) * (1.25 - hilum).clip(0, 1)
    distance = (np.sqrt(along**2 + (dp * toward_q - dq * toward_p) ** 2) / cells - radius) / drawn.scale
    return np.where(there < 0.6, distance, 1.0)


def _heart(rng: Generator, drawn: _Slice, x: float, y: float) -> None:
    """Four chambers of blood in their muscle."""
    drawn.paint(drawn.disc(x, y, 0.36, 0.33, 0.5), _HEART, 4 * drawn.blobs[1])
    beat = float(rng.uniform(0.85, 1.1))
    chambers = ((0.13, -0.02, 0.16, 0.10, 0.7), (-0.02, -0.18, 0.17, 0.09, 0.6), (-0.22, 0.0, 0.11, 0.14, 0.2))
    for dx, dy, width, height, turn in (*chambers, (-0.03, 0.21, 0.17, 0.09, 0.0)):
        shape = drawn.disc(x + dx, y + dy, width * beat, height * beat, turn)
        drawn.paint(shape + 0.012 * drawn.blobs[2], (41, 165))


def _great_vessels(rng: Generator, drawn: _Slice) -> None:
    """Aorta, pulmonary artery and upper vena cava around the windpipe's two branches."""
    wide = float(rng.uniform(0.9, 1.15))
    drawn.paint(drawn.disc(-0.06, -0.24, 0.125 * wide, 0.125 * wide), _ARTERY)
    drawn.paint(drawn.disc(0.12, -0.25, 0.115 * wide, 0.13 * wide, 0.4), _VEIN)
    drawn.paint(drawn.disc(0.02, -0.06, 0.25 * wide, 0.065 * wide, -0.25), _VEIN)
    drawn.paint(drawn.disc(-0.19, -0.13, 0.06, 0.075), _VEIN)
    for side in (-1, 1):
        tube = drawn.disc(0.01 + 0.10 * side, 0.11, 0.065, 0.05, 0.3 * side)
        drawn.paint(tube - 0.015, _WALL)
        drawn.paint(tube, _AIR)


def _abdomen(rng: Generator, drawn: _Slice, cavity: np.ndarray) -> None:
    """Liver, spleen, kidneys, stomach, pancreas and bowel in fat, and the great vessels before the spine."""
    drawn.paint(cavity, _FAT, 5 * drawn.blobs[1])
    within = cavity + 0.03
    for side in (-1, 1):
        drawn.paint(drawn.disc(0.25 * side, 0.48, 0.095, 0.12), _MUSCLE, 4 * drawn.blobs[1])
    _bowel(rng, drawn, within)
    _stomach(rng, drawn, within)
    x, y = rng.uniform((0.50, 0.12), (0.58, 0.26))
    spleen = np.maximum(drawn.disc(x, y, 0.17, 0.32, -0.35), within)
    drawn.paint(spleen, _SPLEEN, 4 * drawn.blobs[1])
    pancreas = drawn.disc(0.16, 0.06, 0.30, 0.055, -0.3) + 0.025 * drawn.blobs[1]
    drawn.paint(pancreas, _PANCREAS, 7 * drawn.blobs[2])
    drawn.paint(drawn.disc(0.24, 0.10, 0.24, 0.022, -0.3), _PORTAL)
    _liver(rng, drawn, within)
    for side in (-1, 1):
        if rng.random() < 0.9:
            _kidney(rng, drawn, side)
    radius = float(rng.uniform(0.065, 0.085))
    drawn.paint(drawn.disc(0.06, 0.245, radius, radius), _ARTERY)
    drawn.paint(drawn.disc(-0.13, 0.235, radius * 1.2, radius * 0.85), _VEIN)


def _liver(rng: Generator, drawn: _Slice, within: np.ndarray) -> None:
    """The right lobe and part of the left one, with vessels; the gallbladder, and cysts in some."""
    reach = float(rng.uniform(0.85, 1.05))
    lobe = drawn.disc(-0.42, -0.02, 0.40 * reach, 0.55 * reach, 0.15)
    left = drawn.disc(-0.08, -0.42, 0.42 * reach, 0.20, 0.12)
    gap = (0.10 - np.abs(lobe - left)).clip(0)
    shape = np.maximum(np.minimum(lobe, left) - 2.5 * gap * gap, within)
    fat = float(rng.uniform(-14, 4))  # a fatty liver is darker, in both
    drawn.paint(shape, _LIVER, fat + 3 * drawn.blobs[2])
    drawn.paint(np.maximum(_line(drawn, drawn.blobs[0] + 0.15 * drawn.blobs[1]) - 0.022, shape + 0.05), _PORTAL)
    thin = _line(drawn, drawn.blobs[1]) - 0.011 + 0.006 * drawn.blobs[2]
    drawn.paint(np.maximum(thin, shape + 0.07), (44, 150))
    drawn.paint(drawn.disc(-0.13, 0.05, 0.10, 0.045, -0.5), _PORTAL)
    if rng.random() < 0.6:
        gallbladder = drawn.disc(-0.24, -0.20, 0.075, 0.11, 0.4)
        drawn.paint(gallbladder - 0.012, _WALL)
        drawn.paint(gallbladder, _WATER)
    for x, y, radius in rng.uniform((-0.65, -0.25, 0.02), (-0.35, 0.2, 0.06), (int(rng.integers(0, 3)), 3)):
        drawn.paint(np.maximum(drawn.disc(x, y, radius, radius), shape + 0.02), _WATER)


def _line(drawn: _Slice, field: np.ndarray) -> np.ndarray:
    """Distance to where a field is 0, about; far where the field is flat."""
    down, across = np.gradient(field, 1 / len(field))
    slope = np.sqrt(down * down + across * across)
    return np.abs(field) / (slope + 1) / drawn.scale + 0.02 * (8 - slope).clip(0) / 8


def _kidney(rng: Generator, drawn: _Slice, side: int) -> None:
    """Bark, pyramids and the fat of the hilum, open toward the spine, in a capsule of fat."""
    x, y = float(rng.uniform(0.42, 0.48)) * side, float(rng.uniform(0.36, 0.44))
    width, height = float(rng.uniform(0.12, 0.15)), float(rng.uniform(0.18, 0.22))
    shape = drawn.disc(x, y, width, height, 0.35 * side)
    drawn.paint(shape - 0.04, _FAT)
    drawn.paint(shape, _CORTEX, 4 * drawn.blobs[2])
    drawn.paint(np.maximum(shape + 0.045, -0.25 - drawn.blobs[2] * 0.4), _MEDULLA)
    hilum = drawn.disc(x - 0.07 * side, y - 0.02, 0.075, 0.06)
    drawn.paint(hilum, _FAT)
    drawn.paint(drawn.disc(x - 0.08 * side, y - 0.02, 0.05, 0.022), _WATER)
    vein = drawn.disc(x - 0.20 * side, y - 0.09, 0.14, 0.026, 0.45 * side)
    drawn.paint(vein, _VEIN)


def _stomach(rng: Generator, drawn: _Slice, within: np.ndarray) -> None:
    """A wall around what was drunk, with air above it, since the patient lies on the back."""
    x, y = rng.uniform((0.30, -0.38), (0.42, -0.26))
    wall = np.maximum(drawn.disc(x, y, float(rng.uniform(0.22, 0.32)), float(rng.uniform(0.2, 0.27)), 0.4), within)
    drawn.paint(wall, _WALL)
    inside = wall + 0.03 + 0.012 * drawn.blobs[2]
    drawn.paint(inside, (14, 15), 10 * drawn.blobs[1])
    drawn.paint(np.maximum(inside, drawn.v - float(y) + float(rng.uniform(-0.02, 0.12))), _AIR)


def _bowel(rng: Generator, drawn: _Slice, within: np.ndarray) -> None:
    """Loops in front, some of them with gas."""
    for x, y, radius, gas in rng.uniform((-0.5, -0.6, 0.07, 0), (0.7, 0.15, 0.12, 1), (14, 4)):
        loop = np.maximum(drawn.disc(x, y, 1.3 * radius, radius, 6 * gas) + 0.02 * drawn.blobs[1], within)
        drawn.paint(loop, _WALL)
        inside = loop + 0.022
        drawn.paint(inside, (22, 26), 14 * drawn.blobs[2])
        if gas < 0.3:
            drawn.paint(np.maximum(inside, drawn.v - y + 0.1 * radius), _AIR)
