"""`ImageKind`: what the images of one side of a data set are, and how stored values become the networks' and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from p2plib.data.image import Color, to_float, to_uint8


@dataclass(frozen=True)
class ImageKind:
    """What the images of one side of a data set are. By default, they are 8-bit RGB.

    Stored values are those of the files. The networks see float32 in [-1, 1]: `low` becomes -1, `high` becomes 1, and
    what lies beyond is clipped. The mapping is that of the data set, the same for every image.
    """

    name: str
    """For example "satellite"."""
    classes: Mapping[str, Color] = field(default_factory=dict)
    """The color of each class, if the catalog has it."""
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

    @property
    def plain(self) -> bool:
        """Whether these are ordinary images, 8-bit RGB."""
        return self.channels == 3 and self.dtype == "uint8" and (self.low, self.high, self.log) == (0, 255, False)

    @property
    def span(self) -> float:
        """The difference of `high` and `low`, in stored values."""
        return self.high - self.low

    def to_float(self, values: np.ndarray) -> np.ndarray:
        """Stored values of any shape to float32 in [-1, 1], the networks' range."""
        if self.plain:
            return to_float(values)
        part = np.clip((values.astype(np.float32) - np.float32(self.low)) / np.float32(self.span), 0, 1)
        if self.log:
            part = np.log1p(part * np.float32(self.span)) / np.log1p(np.float32(self.span))
        return part * 2 - 1

    def to_values(self, networks: np.ndarray) -> np.ndarray:
        """The inverse of `to_float`: stored values, rounded where they are integers."""
        if self.plain:
            return to_uint8(networks)
        part = np.clip((np.asarray(networks, np.float64) + 1) / 2, 0, 1)
        if self.log:
            part = np.expm1(part * np.log1p(self.span)) / self.span
        values = part * self.span + self.low
        if self.dtype != "float32":
            limits = np.iinfo(self.dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        return values.astype(self.dtype)

    def levels(self, values: np.ndarray) -> np.ndarray:
        """Stored values on the scale of 8-bit images: float32 in [0, 255], not rounded; linear from `low` to `high`."""
        return np.clip((values.astype(np.float32) - np.float32(self.low)) * np.float32(255 / self.span), 0, 255)

    def preview(self, values: np.ndarray) -> np.ndarray:
        """Stored values (..., C) as people see them: uint8 (..., 3).

        One channel is gray, of two the second is green and blue, and of more than three the first three are shown.
        """
        if self.plain:
            return values
        low, high = self.shown or (self.low, self.high)
        levels = np.clip((values[..., bands(self.channels)].astype(np.float32) - low) * (255 / (high - low)), 0, 255)
        return np.rint(levels).astype(np.uint8)

    def describe(self) -> str:
        """One line for people."""
        what = f"{self.channels} channel{'s' * (self.channels > 1)} of {self.dtype}"
        curve = ", logarithmic" if self.log else ""
        return f"{self.name}: {what}, {self.low:g} to {self.high:g}{f' {self.unit}' if self.unit else ''}{curve}"

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON-ready values."""
        return vars(self) | {"classes": dict(self.classes), "shown": list(self.shown) if self.shown else None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ImageKind:
        """The inverse of `to_json`."""
        classes = {name: tuple(color) for name, color in values["classes"].items()}
        shown = tuple(values["shown"]) if values["shown"] else None
        return cls(**dict(values) | {"classes": classes, "shown": shown})


Kinds = tuple[ImageKind, ImageKind]
"""Those of source and target."""
PLAIN: Kinds = (ImageKind("source"), ImageKind("target"))


def bands(channels: int) -> list[int]:
    """Which of an image's channels are shown as red, green and blue."""
    return {1: [0, 0, 0], 2: [0, 1, 1]}.get(channels, [0, 1, 2])
