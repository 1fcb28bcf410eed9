"""Shared by all figures: notebook display, resolution, colors, saving."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import matplotlib.figure

from p2plib.errors import ConfigError
from p2plib.files import replacing

DPI = 128  # a power of two, so that sizes in pixels convert to inches exactly

# Okabe and Ito 2008: distinguishable with any color vision
VERMILION, BLUE, GREEN, GRAY = "#D55E00", "#0072B2", "#009E73", "#777777"


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that notebooks show automatically, as a JPEG file with its exact pixels.

    Args:
        size: width and height in inches.
        alt: alternative text, for people who cannot see the figure.
        options: additional arguments of `matplotlib.figure.Figure`.
    """

    def __init__(self, size: tuple[float, float], alt: str, **options: Any) -> None:
        super().__init__(size, dpi=DPI, **options)
        self.alt = alt

    def _repr_jpeg_(self) -> tuple[bytes, dict[str, str]]:
        buffer = io.BytesIO()
        self.savefig(buffer, format="jpeg", pil_kwargs={"quality": 75})
        return buffer.getvalue(), {"alt": self.alt}

    def draw(self, renderer: Any) -> None:
        """Draw without a word on characters that the font lacks, as in names of files: they become boxes."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")
            super().draw(renderer)


def save(figure: matplotlib.figure.Figure, path: str | Path) -> None:
    """Write a figure atomically; the suffix of `path` determines the format.

    Raises:
        ConfigError: matplotlib does not support that suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix[1:] not in figure.canvas.get_supported_filetypes():
        raise ConfigError(
            f"{path}: a figure cannot be saved as {suffix or 'a file without a suffix'}; use .png or .jpg."
        )
    options: dict[str, Any] = {"pil_kwargs": {"quality": 90}} if suffix in (".jpg", ".jpeg") else {}
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi="figure", **options)
