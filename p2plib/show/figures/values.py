"""Figures of images that are more than 8-bit RGB: what their values are, with the unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from p2plib.show.figures.common import Figure

if TYPE_CHECKING:
    from p2plib.data.kind import ImageKind


def value_maps(images: Mapping[str, np.ndarray], kind: ImageKind, difference: bool = False) -> Figure:
    """Images of one channel beside each other, with one color bar in their unit.

    Args:
        images: stored values (H, W, 1) by caption, all of one kind.
        kind: what they are; the colors reach from the lowest to the highest value that people see.
        difference: the values are differences of such images: blue is below zero, red above.
    """
    low, high = kind.shown or (kind.low, kind.high)
    if difference:
        high = max(float(np.abs(image).max()) for image in images.values())
        low = -high
    figure = Figure((2.6 * len(images) + 1, 2.9), f"{kind.name}: {', '.join(images)}", layout="constrained")
    axes = figure.subplots(1, len(images), squeeze=False)[0]
    for axis, (caption, image) in zip(axes, images.items(), strict=True):
        colors = "RdBu_r" if difference else "viridis"
        shown = axis.imshow(image[..., 0], cmap=colors, vmin=low, vmax=high, interpolation="none")
        axis.set_title(caption, fontsize=10)
        axis.set_axis_off()
    figure.colorbar(shown, ax=list(axes), label=kind.unit or "stored value", shrink=0.9)
    return figure
