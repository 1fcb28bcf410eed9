"""Figures that explain the objective."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from p2plib.registry import GAN_LOSSES
from p2plib.show.figures.common import BLUE, GRAY, GREEN, VERMILION, Figure
from p2plib.show.figures.results import PANELS, draw_panel
from p2plib.show.lessons import Kept, Lesson


def answers(values: np.ndarray, single: Mapping[str, float]) -> Figure:
    """All answers that could be right, as a histogram, and the single one that each objective ends at.

    Args:
        values: what could be right, float (N,).
        single: one number for each objective, by name.
    """
    words = ", ".join(f"{name} ends at {value:.1f}" for name, value in single.items())
    figure = Figure((6.5, 2.6), f"Histogram of possible answers; {words}", layout="constrained")
    axes = figure.subplots()
    counts, edges = np.histogram(values, bins=60)
    axes.stairs(counts, edges, fill=True, color=GRAY, alpha=0.5)
    for i, ((name, value), color) in enumerate(zip(single.items(), (BLUE, GREEN, VERMILION), strict=False)):
        axes.axvline(value, color=color, lw=2.5)
        height = counts.max() * (1.12 + 0.14 * i)
        offset, side = ((-5, 0), "right") if i % 2 else ((5, 0), "left")  # so that close ones do not overlap
        at = {"textcoords": "offset points", "ha": side, "va": "center"}
        axes.annotate(f"{name}: {value:.1f}", (value, height), offset, color=color, **at)  # type: ignore[arg-type]
    axes.set_ylim(0, counts.max() * 1.55)
    axes.set_yticks([])
    axes.set_xlabel("value of the pixel")
    axes.spines[["top", "left", "right"]].set_visible(False)
    return figure


def symptoms(run: Kept, lesson: Lesson) -> Figure:
    """L1 and GAN losses of a kept training, and two of its images beside the expected ones."""
    words = f"{run.title}: curves of L1 and of the GAN losses, and images"
    figure = Figure((7.4, 2.2), words, layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(2.7, 2.7, 1, 1))
    for plot, panel in zip(axes[:2], PANELS[:2], strict=True):
        draw_panel(plot, panel, run.rows)
        plot.legend(fontsize=7)
    axes[1].axhline(GAN_LOSSES["vanilla"].undecided, color=GRAY, ls="--", lw=1)
    for cell, (title, row) in zip(axes[2:], {"generated": run.image, "expected": lesson.targets}.items(), strict=True):
        side = len(row)
        gap = np.full((side // 16, side, 3), 255, np.uint8)
        cell.imshow(np.vstack([row[:, :side], gap, row[:, side : 2 * side]]), interpolation="none")
        cell.set_title(title, fontsize=10)
        cell.set_axis_off()
    return figure


def as_colors(changes: np.ndarray) -> np.ndarray:
    """Changes of images as images: gray where nothing changes, brighter where a value is to rise.

    Args:
        changes: float (N, S, S, 3), such as one term of `training.discriminator.wishes`.

    Returns:
        uint8 (N, S, S, 3). The scale of each image is its own: 99 % of its values are within the range.
    """
    largest = np.quantile(np.abs(changes), 0.99, axis=(1, 2, 3), keepdims=True)
    return np.clip(np.rint(127.5 + 127.5 * changes / np.maximum(largest, 1e-30)), 0, 255).astype(np.uint8)
