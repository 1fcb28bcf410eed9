"""Figures of the networks, drawn from the built models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import FancyArrowPatch, Rectangle

from p2plib.show.figures.common import BLUE, GRAY, GREEN, VERMILION, Figure

if TYPE_CHECKING:
    from p2plib.models.patchgan import Patch
    from p2plib.models.stages import Stage

COLORS = (VERMILION, BLUE, GREEN, GRAY)


def u_net(stages: Sequence[Stage]) -> Figure:
    """An encoder-decoder with its skip connections: one bar per stage, its height the output width in octaves.

    Args:
        stages: from `models.stages.stages`, for a generator. The first half narrows, the second widens.
    """
    heights = [np.log2(stage.shape[0]) + 0.5 for stage in stages]
    place = {stage.name: i for i, stage in enumerate(stages)}
    words = [f"{stage.name} {stage.shape[0]} pixels wide" for stage in stages]
    words += [f"a skip from {stage.skip} to {stage.name}" for stage in stages if stage.skip]
    figure = Figure((0.62 * len(stages) + 0.6, 4.2), f"U-Net: {', '.join(words)}", layout="constrained")
    axes = figure.subplots()
    for i, stage in enumerate(stages):
        color = BLUE if stage.name.startswith("down") else VERMILION
        axes.add_patch(Rectangle((i - 0.34, 0), 0.68, heights[i], color=color, alpha=0.8))
        size, _, channels = stage.shape
        axes.text(i, -0.25, f"{stage.name}\n{size}x{size}\n{channels} ch.", ha="center", va="top", fontsize=8)
        if stage.skip:
            start = place[stage.skip]
            ends = (start, heights[start] + 0.1), (i, heights[i] + 0.1)
            arrow = FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=12, connectionstyle="arc3,rad=-0.25")
            axes.add_patch(arrow).set_color(GRAY)
    axes.set_xlim(-0.8, len(stages) - 0.2)
    axes.set_ylim(-2.2, max(heights) * 1.35)
    axes.set_axis_off()
    return figure


def receptive_fields(image: np.ndarray, patches: Mapping[str, Patch]) -> Figure:
    """Receptive fields of single discriminator logits, drawn on an image.

    Args:
        image: uint8 (S, S, 3).
        patches: squares from `models.patchgan.patch` by label. They may extend beyond the image, into the padding.
    """
    size = len(image)
    figure = Figure((5, 5), "What one logit sees: " + ", ".join(patches), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image, interpolation="none", extent=(0, size, size, 0))
    for i, ((label, (top, left, side)), color) in enumerate(zip(patches.items(), COLORS, strict=False)):
        for width, shade in ((5, "white"), (2.5, color)):  # a white rim, visible on any image
            axes.add_patch(Rectangle((left, top), side, side, fill=False, lw=width, edgecolor=shade))
        box = {"facecolor": "white", "edgecolor": color, "boxstyle": "round,pad=0.25"}
        if i % 2:  # alternate sides, so that labels of small squares do not overlap
            corner, away, align = (left, top + side), -14, "right"
        else:
            corner, away, align = (left + side, top), 14, "left"
        at = {"textcoords": "offset points", "ha": align, "va": "center"}
        axes.annotate(label, corner, (away, away), fontsize=9, bbox=box, parse_math=False, **at)  # type: ignore[arg-type]
    corners = [(top, left, top + side, left + side) for top, left, side in patches.values()]
    low, high = min(0, *(min(c) for c in corners)), max(size, *(max(c) for c in corners))
    axes.set_xlim(low - 0.04 * size, high + 0.16 * size)
    axes.set_ylim(high + 0.04 * size, low - 0.1 * size)
    axes.set_axis_off()
    return figure
