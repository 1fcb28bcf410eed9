"""`ImageKind`: what the images of one side of a data set are, and how stored values become the networks' and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from p2plib.data import statistics
from p2plib.data.image import Color, to_float, to_uint8
from p2plib.errors import DataError

NAMED = 12
"""How many classes `describe` names at most."""


@dataclass(frozen=True)
class ImageKind:
    """What the images of one side of a data set are. By default, they are 8-bit RGB.

    Stored values are those of the files. The networks see float32 in [-1, 1]: `low` becomes -1, `high` becomes 1, and
    what lies beyond is clipped. The mapping is that of the data set, the same for every image.

    Of class masks, `form` says how files hold the class of each pixel. The networks see one channel for each class:
    1 where a pixel is of the class, else -1; back, the class of the largest channel counts.
    """

    name: str
    """For example "satellite"."""
    classes: Mapping[str, Color] = field(default_factory=dict)
    """The color of each class, if the catalog has it; of class masks always, in the order of the networks' channels."""
    channels: int = 3
    """Channels of stored images (H, W, channels), from 1 to `stored.MOST_CHANNELS`."""
    dtype: str = "uint8"
    """Type of stored values, one of `stored.DTYPES`."""
    low: float = 0.0
    high: float = 255.0
    log: bool = False
    """Whether the mapping is logarithmic, for values of which most are small."""
    unit: str = ""
    """Unit of stored values, for example "m"."""
    shown: tuple[float, float] | None = None
    """The values that people see as black and as white; None: `low` and `high`."""
    bands: tuple[int, ...] | None = None
    """The channels that people see as red, green and blue, counted from 1; None: see `bands`."""
    form: Literal["values", "ids", "colors"] = "values"
    """What a pixel is. values: an image. ids: the number of a class, stored uint8 (H, W, 1). colors: the class of the
    nearest color, stored uint8 (H, W, 3)."""
    ids: tuple[int, ...] = ()
    """The number of each class in the files, with form "ids"."""
    parts: tuple[ImageKind, ...] = ()
    """What is stacked as channels, in this order, each with a range of its own; empty: nothing is. See `stack`."""

    @property
    def plain(self) -> bool:
        """Whether these are ordinary images, 8-bit RGB."""
        ordinary = self.channels == 3 and self.dtype == "uint8" and not (self.are_classes or self.parts)
        return ordinary and (self.low, self.high, self.log) == (0, 255, False)

    @property
    def are_classes(self) -> bool:
        """Whether these are class masks."""
        return self.form != "values"

    @property
    def network_channels(self) -> int:
        """Channels that the networks see: one for each class, or those of stored images."""
        return len(self.classes) if self.are_classes else self.channels

    @property
    def span(self) -> float:
        """The difference of `high` and `low`, in stored values."""
        return self.high - self.low

    def to_float(self, values: np.ndarray) -> np.ndarray:
        """Stored values of any shape to float32 in [-1, 1], the networks' range."""
        if self.plain:
            return to_float(values)
        if self.parts:
            return np.concatenate([part.to_float(own) for part, own in self._apart(values)], axis=-1)
        if self.are_classes:
            return np.where(
                self.indices(values)[..., None] == np.arange(len(self.classes)), np.float32(1), np.float32(-1)
            )
        part = np.clip((values.astype(np.float32) - np.float32(self.low)) / np.float32(self.span), 0, 1)
        if self.log:
            part = np.log1p(part * np.float32(self.span)) / np.log1p(np.float32(self.span))
        return part * 2 - 1

    def beyond(self, values: np.ndarray) -> int:
        """How many of stored values (..., C) lie beyond the range, so that `to_float` clips them."""
        if self.plain or self.are_classes:
            return 0
        if self.parts:
            return sum(part.beyond(own) for part, own in self._apart(values))
        return int(((values < self.low) | (values > self.high)).sum())

    def to_values(self, networks: np.ndarray) -> np.ndarray:
        """The inverse of `to_float`: stored values, rounded where they are integers."""
        if self.plain:
            return to_uint8(networks)
        if self.parts:
            apart = np.split(np.asarray(networks), self._ends, axis=-1)
            stored = [part.to_values(own) for part, own in zip(self.parts, apart, strict=True)]
            return np.concatenate(stored, axis=-1).astype(self.dtype)
        if self.are_classes:
            return self.from_indices(np.asarray(networks).argmax(-1))
        part = np.clip((np.asarray(networks, np.float64) + 1) / 2, 0, 1)
        if self.log:
            part = np.expm1(part * np.log1p(self.span)) / self.span
        values = part * self.span + self.low
        if self.dtype != "float32":
            limits = np.iinfo(self.dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        return values.astype(self.dtype)

    @property
    def _ends(self) -> list[int]:
        """The channels at which one part ends and the next begins."""
        return np.cumsum([part.channels for part in self.parts])[:-1].tolist()

    def _apart(self, values: np.ndarray) -> list[tuple[ImageKind, np.ndarray]]:
        """Each part with its own values, in its own type."""
        found = zip(self.parts, np.split(values, self._ends, axis=-1), strict=True)
        return [(part, own.astype(part.dtype)) for part, own in found]

    def indices(self, values: np.ndarray) -> np.ndarray:
        """The class of each pixel of stored masks (..., C), by its place in `classes`: int64 (...).

        Raises:
            DataError: there are numbers that are none of a class.
        """
        if self.form == "colors":
            return statistics.nearest(values, self.classes)
        places = np.full(256, -1)
        places[list(self.ids)] = np.arange(len(self.ids))
        found = places[values[..., 0]]
        if found.min(initial=0) < 0:
            unknown = ", ".join(map(str, np.unique(values[..., 0][found < 0])))
            known = ", ".join(map(str, self.ids))
            raise DataError(
                f"holds class {unknown}, and the known ones are {known}; correct it, or train with this class."
            )
        return found

    def from_indices(self, indices: np.ndarray) -> np.ndarray:
        """The inverse of `indices`: stored masks."""
        if self.form == "colors":
            return self._colors[indices]
        return np.array(self.ids, np.uint8)[indices][..., None]

    @property
    def _colors(self) -> np.ndarray:
        return np.array(list(self.classes.values()), np.uint8)

    def levels(self, values: np.ndarray) -> np.ndarray:
        """Stored values on the scale of 8-bit images: float32 in [0, 255], not rounded; linear from `low` to `high`.

        Class masks are in the colors of their classes.
        """
        if self.are_classes:
            return self.preview(values).astype(np.float32)
        if self.parts:
            part, own = self._apart(values)[0]
            return part.levels(own)
        return np.clip((values.astype(np.float32) - np.float32(self.low)) * np.float32(255 / self.span), 0, 255)

    def preview(self, values: np.ndarray) -> np.ndarray:
        """Stored values (..., C) as people see them: uint8 (..., 3).

        One channel is gray, of two the second is green and blue, and of more than three the first three are shown,
        unless `bands` says which. Class masks are in the colors of their classes; of a stack, the first part is shown.
        """
        if self.plain:
            return values
        if self.parts:
            part, own = self._apart(values)[0]
            return part.preview(own)
        if self.are_classes:
            return self._colors[self.indices(values)]
        low, high = self.shown or (self.low, self.high)
        seen = values[..., [band - 1 for band in self.bands] if self.bands else bands(self.channels)]
        levels = np.clip((seen.astype(np.float32) - low) * (255 / (high - low)), 0, 255)
        return np.rint(levels).astype(np.uint8)

    def describe(self) -> str:
        """One line for people."""
        if self.are_classes:
            named = [name if name == number else f"{number} {name}" for number, name in self._numbered()]
            more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
            by = "number" if self.form == "ids" else "color"
            return f"{self.name}: {len(named)} classes by {by} ({', '.join(named[:NAMED])}{more})"
        if self.parts:
            return f"{self.name}: {self.channels} channels, stacked: " + "; ".join(map(ImageKind.describe, self.parts))
        what = f"{self.channels} channel{'s' * (self.channels > 1)} of {self.dtype}"
        curve = ", logarithmic" if self.log else ""
        return f"{self.name}: {what}, {self.low:g} to {self.high:g}{f' {self.unit}' if self.unit else ''}{curve}"

    def _numbered(self) -> list[tuple[str, str]]:
        numbers = map(str, self.ids) if self.form == "ids" else self.classes
        return list(zip(numbers, self.classes, strict=True))

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON-ready values."""
        return vars(self) | {
            "classes": dict(self.classes),
            "shown": list(self.shown) if self.shown else None,
            "ids": list(self.ids),
            "parts": [part.to_json() for part in self.parts],
            "bands": list(self.bands) if self.bands else None,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ImageKind:
        """The inverse of `to_json`."""
        classes = {name: tuple(color) for name, color in values["classes"].items()}
        shown = tuple(values["shown"]) if values["shown"] else None
        bands = tuple(values["bands"]) if values.get("bands") else None
        parts = tuple(cls.from_json(part) for part in values.get("parts", ()))
        more = {"ids": tuple(values.get("ids", ())), "bands": bands, "parts": parts}
        return cls(**dict(values) | {"classes": classes, "shown": shown} | more)


Kinds = tuple[ImageKind, ImageKind]
"""Those of source and target."""
PLAIN: Kinds = (ImageKind("source"), ImageKind("target"))


def bands(channels: int) -> list[int]:
    """Which of an image's channels are shown as red, green and blue."""
    return {1: [0, 0, 0], 2: [0, 1, 1]}.get(channels, [0, 1, 2])
