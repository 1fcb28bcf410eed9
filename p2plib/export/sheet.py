"""Sheets of images for model cards and reports, and the keys below them: what grays measure, what colors stand for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from p2plib.data.image import Color, tile_images
from p2plib.data.kind import ImageKind
from p2plib.data.pairs import spread
from p2plib.evaluation.evaluate import Evaluation
from p2plib.files import readable

SAMPLES = 3
_SIDE = 128  # pixels; smaller images are enlarged by an integer factor
_LINE, _GAP, _BOX = 24, 8, 14  # pixels
_LETTERS = 12  # pixels
_INK = (34, 36, 42)


def sample(evaluation: Evaluation, kinds: Sequence[ImageKind] = ()) -> np.ndarray:
    """A few rows of source | generated | expected, evenly spaced over the images; uint8 (H, W, 3).

    Args:
        evaluation: has the images.
        kinds: what sources and targets are, whose keys go below the rows; none for 8-bit RGB.
    """
    shown = spread(range(len(evaluation.sources)), SAMPLES)
    scale = max(1, _SIDE // evaluation.sources.shape[1])
    columns = (evaluation.sources, evaluation.generated, evaluation.targets)
    rows = tile_images([[column[i].repeat(scale, 0).repeat(scale, 1) for column in columns] for i in shown])
    return np.vstack([rows, *keys(kinds, rows.shape[1])])


def keys(kinds: Sequence[ImageKind], width: int) -> list[np.ndarray]:
    """The keys of those kinds that have one, uint8 (H, width, 3) each.

    Measured values of one channel have a bar from the value that is shown black to the one shown white, with the unit;
    class masks have the color and the name of each class.
    """
    return [_legend(kind, width) if kind.are_classes else _bar(kind, width) for kind in kinds if _has_key(kind)]


def _has_key(kind: ImageKind) -> bool:
    return kind.are_classes or kind.channels == 1


def _bar(kind: ImageKind, width: int) -> np.ndarray:
    strip = Image.new("RGB", (width, _LINE), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(_LETTERS)
    low, high = kind.shown or (kind.low, kind.high)
    left, right = readable(f"{kind.name}: {low:g}"), readable(f"{high:g} {kind.unit}".strip())
    start, end = (round(font.getlength(text)) + _GAP for text in (left, right))
    draw.text((0, _LINE // 2), left, _INK, font, "lm")
    draw.text((width, _LINE // 2), right, _INK, font, "rm")
    if (length := width - start - end) > 0:
        ramp = np.linspace(0, 255, length).round().astype(np.uint8)
        strip.paste(Image.fromarray(np.tile(ramp, (_BOX, 1))), (start, (_LINE - _BOX) // 2))
    return np.array(strip)


def _legend(kind: ImageKind, width: int) -> np.ndarray:
    font = ImageFont.load_default(_LETTERS)
    places: list[tuple[int, int, str, Color]] = []
    x, y = 0, 0
    for name, color in kind.classes.items():
        long = _BOX + _GAP // 2 + round(font.getlength(readable(name))) + 2 * _GAP
        if x and x + long > width:
            x, y = 0, y + _LINE
        places.append((x, y, readable(name), color))
        x += long
    strip = Image.new("RGB", (width, y + _LINE), "white")
    draw = ImageDraw.Draw(strip)
    for x, y, name, color in places:
        top = y + (_LINE - _BOX) // 2
        draw.rectangle((x, top, x + _BOX - 1, top + _BOX - 1), color, (133, 135, 141))
        draw.text((x + _BOX + _GAP // 2, y + _LINE // 2), name, _INK, font, "lm")
    return np.array(strip)
