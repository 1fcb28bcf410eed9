"""Figures of the data: pairs, their colors, and the steps of preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from p2plib.show.figures.common import BLUE, DPI, GRAY, GREEN, VERMILION, Figure

WIDTH = 960  # pixels that notebooks show without shrinking
TITLE, CAPTION, GAP, SEAM = 30, 24, 12, 2  # pixels

CHANNELS = {"red": VERMILION, "green": GREEN, "blue": BLUE}


def pair_sheet(
    sources: np.ndarray,
    targets: np.ndarray,
    names: tuple[str, str],
    captions: Sequence[str] | None = None,
    columns: int = 3,
) -> Figure:
    """Pairs in rows and columns, with the two halves side by side.

    Args:
        sources: left halves, uint8 (N, H, W, 3).
        targets: right halves, like `sources`.
        names: titles of the two halves.
        captions: one line below each pair.
        columns: pairs per row.

    Raises:
        ValueError: the numbers of sources and targets differ.
    """
    pairs = list(zip(sources, targets, strict=True))
    columns = min(columns, len(pairs))
    side = (WIDTH + GAP) // columns - GAP - SEAM
    wide = side // 2
    high, line = wide * sources.shape[1] // sources.shape[2], CAPTION if captions else 0
    rows = -(-len(pairs) // columns)
    height = TITLE + rows * (high + line + GAP) - GAP
    figure = Figure((WIDTH / DPI, height / DPI), f"{len(pairs)} pairs: {names[0]} | {names[1]}")
    for i, pair in enumerate(pairs):
        row, column = divmod(i, columns)
        left, top = column * (2 * wide + SEAM + GAP), TITLE + row * (high + line + GAP)
        for half, (image, name) in enumerate(zip(pair, names, strict=True)):
            _show(figure, image, left + half * (wide + SEAM), top, wide, high, name if row == 0 else "")
        if captions:
            _write(figure, captions[i], left + wide, top + high + CAPTION / 2)
    return figure


def color_histograms(sources: np.ndarray, targets: np.ndarray, names: tuple[str, str]) -> Figure:
    """Histograms of red, green and blue, with one column of panels per side.

    Args:
        sources: uint8 (N, H, W, 3).
        targets: like `sources`.
        names: titles of the two sides.
    """
    alt = f"Histograms of red, green and blue: {names[0]} and {names[1]}"
    figure = Figure((WIDTH / DPI, 3.6), alt, layout="constrained")
    edges = np.arange(0, 257, 8)
    panels = figure.subplots(len(CHANNELS), 2, sharex=True, sharey="col")
    for column, (images, name) in enumerate(zip((sources, targets), names, strict=True)):
        for channel, (label, color) in enumerate(CHANNELS.items()):
            counts = np.bincount(images[..., channel].ravel() // 8, minlength=len(edges) - 1)
            axes = panels[channel, column]
            axes.stairs(100 * counts / counts.sum(), edges, color=color, fill=True)
            axes.set_ylabel(f"{label}, %", fontsize=9)
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        panels[0, column].set_title(name, fontsize=11, parse_math=False)
        panels[-1, column].set_xlabel("value", fontsize=9)
        panels[-1, column].set_xticks(range(0, 257, 64))
    return figure


def palette_bars(shares: Mapping[str, float], colors: Mapping[str, Sequence[int]]) -> Figure:
    """A bar chart of the shares of classes or colors, each bar in its own color.

    Args:
        shares: share of the pixels, in [0, 1], by name.
        colors: the color (RGB, 0 to 255) of each name in `shares`.
    """
    alt = "Shares of the pixels: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    figure = Figure((6, 0.6 + 0.3 * len(shares)), alt, layout="constrained")
    axes = figure.subplots()
    fills = [tuple(value / 255 for value in colors[name]) for name in shares]
    bars = axes.barh(range(len(shares)), list(shares.values()), color=fills, edgecolor="black", lw=0.8)
    axes.bar_label(bars, [f"{share:.1%}" for share in shares.values()], fontsize=9, padding=4)
    axes.set_yticks(range(len(shares)), list(shares), fontsize=9, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xticks([])
    axes.set_title("share of the pixels", fontsize=11)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def steps(
    stages: Mapping[str, np.ndarray],
    names: tuple[str, str],
    windows: Mapping[str, tuple[int, int, int]] | None = None,
) -> Figure:
    """A pair after each preprocessing step: sources above targets, all of equal width, with size, type and range.

    Args:
        stages: the pair after each step by title, (2, H, W, 3), uint8 or float in [-1, 1].
        names: names of the two halves.
        windows: squares (top, left, side) to outline in both halves by title of a step, in pixels of that step.
    """
    wide = (WIDTH - TITLE + GAP) // len(stages) - GAP
    high = max(wide * pair.shape[1] // pair.shape[2] for pair in stages.values())
    height = TITLE + 2 * (high + GAP) + 2 * CAPTION
    figure = Figure((WIDTH / DPI, height / DPI), f"{' and '.join(names)} after each step: {', '.join(stages)}")
    tops = [TITLE, TITLE + high + GAP]
    for top, name in zip(tops, names, strict=True):
        _write(figure, name, TITLE / 2, top + high / 2, fontsize=10, rotation="vertical")
    for column, (title, pair) in enumerate(stages.items()):
        left = TITLE + column * (wide + GAP)
        shown = pair if pair.dtype == np.uint8 else (pair + 1) / 2
        window = (windows or {}).get(title)
        for top, image in zip(tops, shown, strict=True):
            _show(figure, image, left, top, wide, wide * pair.shape[1] / pair.shape[2], window=window)
        _write(figure, title, left + wide / 2, TITLE / 2, fontsize=10)
        _write(figure, _contents(pair), left + wide / 2, height - CAPTION)
    return figure


def _contents(pair: np.ndarray) -> str:
    """Size, type and range of a pair, in two lines."""
    low, high = (f"{value:.2f}" if pair.dtype.kind == "f" else f"{value}" for value in (pair.min(), pair.max()))
    return f"{pair.shape[2]}x{pair.shape[1]} {pair.dtype}\n{low} to {high}"


def _show(
    figure: Figure,
    image: np.ndarray,
    left: float,
    top: float,
    wide: float,
    high: float,
    title: str = "",
    window: tuple[int, int, int] | None = None,
) -> None:
    """Draw an image at a position in pixels from the upper left."""
    width, height = figure.get_size_inches() * DPI
    axes = figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))
    axes.imshow(image, aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=GRAY, linewidth=0.5)  # white images need a visible edge
    axes.set_title(title, fontsize=10, pad=4, parse_math=False)
    if window:
        y, x, side = window
        for color, lw in (("white", 4), (VERMILION, 2)):
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), side, side, fill=False, ec=color, lw=lw))


def _write(figure: Figure, text: str, x: float, y: float, **options: Any) -> None:
    """Draw text centered at a position in pixels from the upper left."""
    width, height = figure.get_size_inches() * DPI
    options = {"fontsize": 8, "parse_math": False} | options
    figure.text(x / width, 1 - y / height, text, ha="center", va="center", **options)
