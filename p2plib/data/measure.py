"""Finds out what the images of a data set are: channels, type, and the range of their values.

Ordinary images, 8-bit and gray, in color or with alpha, are 8-bit RGB here, whatever their files are; nothing but a few
headers is read for it. Of all others, training images are read to choose the range that the network sees: the same for
every image, so that equal values stay equal. For class masks, see `classes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib.data import classes
from p2plib.data.catalog import Direction
from p2plib.data.kind import ImageKind, Kinds
from p2plib.data.pairs import Listing, Pair, spread
from p2plib.data.stack import stacked
from p2plib.data.stored import Stored
from p2plib.data.values import probe, read_values
from p2plib.errors import ConfigError, DataError, UnsupportedError

if TYPE_CHECKING:
    from p2plib.config import TrainConfig

PROBED = 40
"""How many images of a side, evenly spaced, are asked for their type."""
READ = 1000
"""How many images of a side, evenly spaced, are read for their range."""
VALUES = 4096
"""How many values of each image, evenly spaced, count for percentiles."""
SHOWN = (0.5, 99.5)
"""Percentiles of the values that people see as black and as white."""


def measured(
    named: Kinds, listing: Listing, direction: Direction, config: TrainConfig, folder: Path | None = None
) -> Kinds:
    """What the sources and the targets of a data set are.

    Args:
        named: both, with their names, and with what a function makes.
        listing: the files.
        direction: which side is the source.
        config: settings on classes, channels, ranges, windows and scales.
        folder: that of the data set, if it has one.

    Raises:
        DataError: no image can be read, or all values are equal.
        ConfigError: a setting does not suit the images.
    """
    known, way = listing.kinds or (None, None)
    if known and way == direction and not _asked(config):
        source, target = known if way == "AtoB" else known[::-1]
        return _seen(source, "source", config.source_bands), _seen(target, "target", config.target_bands)
    pairs = listing.splits.get("train") or next(iter(listing.splits.values()))
    sides = ("A", "B") if direction == "AtoB" else ("B", "A")
    every = [pair for split in listing.splits.values() for pair in split]
    if listing.sources:
        if sides[0] == "B":
            raise DataError("Several folders cannot be the target; train with --direction AtoB, or keep one of them.")
        source = _stacked(pairs, listing.sources, config)
        named = named[0], replace(named[1], name=listing.target or named[1].name)
    elif _masks(pairs, sides[0], config, "source"):
        source = classes.with_classes(named[0], every, sides[0], folder)
    else:
        source = _measured(named[0], pairs, sides[0], config, "source")
    if _masks(pairs, sides[1], config, "target"):
        target = classes.with_classes(named[1], every, sides[1], folder)
    else:
        target = _measured(named[1], pairs, sides[1], config, "target")
    return _seen(source, "source", config.source_bands), _seen(target, "target", config.target_bands)


def _stacked(pairs: Sequence[Pair], names: Sequence[str], config: TrainConfig) -> ImageKind:
    """What the sources are if they are stacked: each folder is asked for itself."""
    given = [f"source_{name}" for name in ("channels", "range", "window") if getattr(config, f"source_{name}")]
    given += ["source"] * (config.source == "classes")
    if given:
        raise ConfigError(f"{given[0]} is one for all sources, and here each folder has its own; leave it out.")
    parts = []
    for i, name in enumerate(names, 1):
        side = f"A{i}"
        if _masks(pairs, side, config, "source"):
            raise DataError(f"{name} seems to hold class numbers, which cannot be stacked; save them as colors.")
        found = _most_common(_files(pairs, side, PROBED))
        gray = bool(found and found.channels == 1)
        parts.append(_measured(ImageKind(name, channels=1 if gray else 3), pairs, side, config, "source"))
    return stacked(parts)


def _seen(kind: ImageKind, which: str, bands: tuple[int, int, int] | None) -> ImageKind:
    """The same, of which people see these bands."""
    if bands and (kind.plain or kind.are_classes):
        raise ConfigError(f"{which}_bands is for images of bands, and this is {kind.describe()}; leave it out.")
    if bands and not all(1 <= band <= kind.channels for band in bands):
        said = " ".join(map(str, bands))
        raise ConfigError(f"{which}_bands is {said}; choose three of the bands 1 to {kind.channels} of {kind.name}.")
    return replace(kind, bands=bands)


def _masks(pairs: Sequence[Pair], side: str, config: TrainConfig, which: str) -> bool:
    """Whether a side is to be classes: if somebody says so, or sources seem to hold class numbers."""
    names = ("channels", "range", "window")
    if which == "target" or config.source != "auto" or any(getattr(config, f"source_{name}") for name in names):
        return getattr(config, which) == "classes"
    return classes.seem_numbers(_files(pairs, side, classes.SEEN))


DECIDED = ("source", "target", "source_channels", "target_channels", "source_range", "target_range")
"""Settings that the images decide where they are not given; a resumed run keeps them."""


def _asked(config: TrainConfig) -> bool:
    """Whether somebody set what images are, so that a pack does not decide it."""
    names = (*DECIDED, "source_window", "target_window", "source_scale", "target_scale")
    return any(getattr(config, name) != getattr(type(config), name) for name in names)


def decided(config: TrainConfig, kinds: Kinds) -> TrainConfig:
    """The settings of a run with the classes, channels and ranges that were found, so that it goes on with the same."""
    found: dict[str, Any] = {}
    for which, kind in zip(("source", "target"), kinds, strict=True):
        if kind.are_classes:
            found[which] = "classes"
        elif not kind.plain and not kind.parts:
            limits = {f"{which}_range": (kind.low, kind.high), f"{which}_window": None}
            found |= {f"{which}_channels": kind.channels} | limits
    return replace(config, **found)


def _measured(kind: ImageKind, pairs: Sequence[Pair], side: str, config: TrainConfig, which: str) -> ImageKind:
    channels, limits, window = (getattr(config, f"{which}_{name}") for name in ("channels", "range", "window"))
    log = getattr(config, f"{which}_scale") == "log"
    if files := _files(pairs, side, PROBED) or _files(pairs, "A|B", PROBED):
        stored = _most_common(files)
        ordinary = stored is None or (stored.dtype == "uint8" and stored.channels <= 4)
        if stored is None or (ordinary and channels in (None, 1, 3) and not (limits or window or log)):
            return kind  # 8-bit RGB: 1 means gray without tint there
        kind = replace(kind, channels=channels or (min(stored.channels, 3) if ordinary else stored.channels))
        kind = replace(kind, dtype=stored.dtype)
    elif not (limits or window or log):
        return kind  # a function makes them, and the catalog says what they are
    values = _values(pairs, side)
    low, high = limits or _range(kind.dtype, values, window)
    shown = None if kind.dtype == "uint8" else tuple(map(float, np.percentile(values, SHOWN)))
    shown = shown if shown and shown[0] < shown[1] else None
    return replace(kind, low=float(low), high=float(high), log=log, shown=shown)  # type: ignore[arg-type]


def _files(pairs: Sequence[Pair], side: str, count: int) -> list[Path]:
    """The files of one side of at most `count` pairs, evenly spaced."""
    return [path for pair in spread(pairs, count) if (path := pair.files.get(side))]


def _most_common(files: Sequence[Path]) -> Stored | None:
    """What most of these files hold, whatever their sizes; None if all are damaged, which is reported elsewhere.

    Raises:
        UnsupportedError: none can be used.
    """
    found: Counter[Stored] = Counter()
    refused: UnsupportedError | None = None
    for path in files:
        try:
            found[probe(path)._replace(height=0, width=0)] += 1
        except UnsupportedError as error:
            refused = error
        except DataError:
            continue
    if refused and not found:
        raise refused
    return found.most_common(1)[0][0] if found else None


def _values(pairs: Sequence[Pair], side: str) -> np.ndarray:
    """Values of many images: evenly spaced ones, and the smallest and the largest of each."""

    def sample(pair: Pair) -> np.ndarray:
        files = pair.files
        try:
            path = files.get(side) or files.get("A|B")
            image = read_values(path) if path else pair.read()["AB".index(side)]
        except DataError:
            return np.zeros(0)
        flat = image.ravel()
        return np.concatenate([flat[:: flat.size // VALUES + 1], [flat.min(), flat.max()]])

    with ThreadPoolExecutor() as pool:
        found = np.concatenate(list(pool.map(sample, spread(pairs, READ))))
    if not len(found):
        raise DataError("No image of the data set can be read, so the range of its values is not known.")
    return found


def _range(dtype: str, values: np.ndarray, window: tuple[float, float] | None) -> tuple[float, float]:
    """The range that the network sees: between percentiles, or all that occurs, for uint16 up to the next 2^n - 1."""
    if window:
        low, high = np.percentile(values, window)
    elif dtype == "uint8":
        low, high = 0, 255
    elif dtype == "uint16":
        low, high = 0, 2 ** max(8, int(values.max()).bit_length()) - 1
    else:
        low, high = values.min(), values.max()
    if low >= high:
        raise DataError(f"All values of the images are {low:g}, so there is nothing to learn; name other images.")
    return float(low), float(high)
