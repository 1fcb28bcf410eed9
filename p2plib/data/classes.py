"""Finds the classes of masks: their numbers or colors in the files, and their names.

Names and colors are those of the catalog, or of a table `classes.csv` in the data set's folder. Its first line names
its columns: `id` (0 to 255) or `color` (#rrggbb), or both, and `name`. Without it, they are found in the images.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from p2plib.data import statistics
from p2plib.data.image import Color, class_colors, open_image, read_class_numbers, read_rgb
from p2plib.data.kind import ImageKind
from p2plib.data.pairs import Pair, spread
from p2plib.errors import DataError

TABLE = "classes.csv"
MOST_LABEL_IDS = 64
"""A grayscale image all of whose values are below this seems to hold class numbers."""
MOST_FOUND = 40
"""More different values than this are none of classes, unless somebody says so; Cityscapes has 34."""
MOST_CLASSES = 64
"""How many classes a side may have."""
SEEN = 40
"""How many images, evenly spaced, are searched for classes that are not said."""

Numbers = dict[int, Color | None]
"""The numbers in an image, each with its color in the file's palette; None in gray files."""


class Row(NamedTuple):
    """A class in the table."""

    name: str
    id: int | None
    color: Color | None


def seem_numbers(files: Sequence[Path]) -> bool:
    """Whether image files hold class numbers, as far as can be told: gray or palette PNGs of few low values.

    Palettes are also those of drawings and screenshots, so such images must look like labels, too.
    """
    some = spread(files, SEEN)
    if not some or any(path.suffix.lower() != ".png" for path in some):
        return False
    found: list[Numbers | None] = []
    for path in some:
        found.append(_numbers(path))
        if found[-1] is None or max(found[-1], default=0) >= MOST_LABEL_IDS:
            return False
    numbers = _merged(found)
    if not numbers or not 1 < len(numbers) <= MOST_FOUND:
        return False
    return None in numbers.values() or statistics.label_palette([read_rgb(path) for path in some]) is not None


def with_classes(kind: ImageKind, pairs: Sequence[Pair], side: str, folder: Path | None) -> ImageKind:
    """What a side of masks is.

    Args:
        kind: its name, and its classes if the catalog has them.
        pairs: those of all splits.
        side: "A" or "B".
        folder: where the table of classes may lie; None: nowhere.

    Raises:
        DataError: no classes are found, there are too many, or the table is wrong.
    """
    table = read_table(folder / TABLE) if folder and (folder / TABLE).is_file() else []
    files = [pair.files.get(side) for pair in pairs]
    numbers = _all_numbers([path for path in files if path]) if files and all(files) else None
    found = _by_number(kind, numbers, table) if numbers else _by_color(kind, pairs, side, table)
    if not 1 < len(found.classes) <= MOST_CLASSES:
        raise DataError(f"{kind.name}: has {len(found.classes)} classes; there must be from 2 to {MOST_CLASSES}.")
    if len(set(found.classes.values())) < len(found.classes):
        raise DataError(f"{folder and folder / TABLE}: two classes have the same color; give each its own.")
    return found


def _by_number(kind: ImageKind, numbers: Numbers, table: Sequence[Row]) -> ImageKind:
    rows = {row.id: row for row in table if row.id is not None} or {id: Row(str(id), id, None) for id in numbers}
    ids, usual = tuple(sorted(rows)), [(r, g, b) for r, g, b in class_colors().tolist()]
    palette = [numbers.get(id) or usual[id] for id in ids]
    if len(set(palette)) < len(palette):
        palette = [usual[id] for id in ids]
    classes = {rows[id].name: rows[id].color or color for id, color in zip(ids, palette, strict=True)}
    return replace(kind, classes=classes, channels=1, form="ids", ids=ids, low=float(ids[0]), high=float(ids[-1]))


def _by_color(kind: ImageKind, pairs: Sequence[Pair], side: str, table: Sequence[Row]) -> ImageKind:
    classes = {row.name: row.color for row in table if row.color} or dict(kind.classes)
    if not classes:
        images = [pair.read()["AB".index(side)] for pair in spread(pairs, SEEN)]
        classes = statistics.label_palette(images) or {}
    if not classes:
        raise DataError(
            f"{kind.name}: no classes are found in these images; name them in {TABLE} in the data set's folder, or do "
            "not ask for classes."
        )
    return replace(kind, classes=classes, form="colors")


def _all_numbers(files: Sequence[Path]) -> Numbers | None:
    """The numbers in all of these files; None if they are none of classes."""
    if _merged(map(_numbers, spread(files, SEEN))) is None:  # before all are read
        return None
    with ThreadPoolExecutor() as pool:
        numbers = _merged(pool.map(_numbers, files))
    return numbers if numbers and len(numbers) <= MOST_CLASSES else None


def _merged(found: Iterable[Numbers | None]) -> Numbers | None:
    """All numbers; None if a file has none, or where a number stands for several colors, so that colors must tell."""
    merged: Numbers = {}
    for numbers in found:
        if numbers is None or any(merged.setdefault(id, color) != color for id, color in numbers.items()):
            return None
    return merged


def _numbers(path: Path) -> Numbers | None:
    """The numbers in a gray or palette image; None if it is of colors, or stored with a loss; none if it is broken."""
    if not path.is_file():  # opening a named pipe might block for ever
        return {}
    try:
        with open_image(path) as opened:
            if opened.mode not in ("1", "L", "P") or opened.format in ("JPEG", "WEBP"):
                return None
            palette = opened.getpalette() if opened.mode == "P" else None
        ids = np.unique(read_class_numbers(path)).tolist()
    except (DataError, OSError, SyntaxError, ValueError, TypeError):
        return {}  # it is reported elsewhere
    if palette is None:
        return dict.fromkeys(ids)
    return {id: (palette[3 * id], palette[3 * id + 1], palette[3 * id + 2]) for id in ids if 3 * id + 2 < len(palette)}


def read_table(path: Path) -> list[Row]:
    """Read a table of classes; see the top of this file.

    Raises:
        DataError: it cannot be read, or a line says no class; the message names the line.
    """
    try:
        lines = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), skipinitialspace=True))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}).") from error
    rows = []
    for number, line in enumerate(lines, 2):
        values = {(key or "").strip().lower(): (value or "").strip() for key, value in line.items() if key is not None}
        try:
            rows.append(_row(values))
        except ValueError as error:
            raise DataError(
                f"{path}: line {number} {error}; the columns are id (0 to 255) or color (#rrggbb), and name."
            ) from error
    for column in ("name", "id", "color"):
        given = [value for row in rows if (value := getattr(row, column)) is not None]
        if len(set(given)) < len(given):
            raise DataError(f"{path}: two classes have the same {column}; give each its own.")
    return rows


def _row(values: dict[str, str]) -> Row:
    id, color = values.get("id"), values.get("color")
    if not id and not color:
        raise ValueError("has neither id nor color")
    if id and not (id.isdecimal() and int(id) < 256):
        raise ValueError(f"has the id {id!r}")
    digits = (color or "").removeprefix("#")
    if color and (len(digits) != 6 or set(digits.lower()) - set("0123456789abcdef")):
        raise ValueError(f"has the color {color!r}")
    red, green, blue = (int(digits[at : at + 2], 16) for at in (0, 2, 4)) if color else (0, 0, 0)
    name = values.get("name") or id or f"#{digits.lower()}"
    return Row(name, int(id) if id else None, (red, green, blue) if color else None)
