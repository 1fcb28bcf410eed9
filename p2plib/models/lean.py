"""A U-Net that stops at 8x8: a third of the weights, nearly all of the detail."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from p2plib.data.image import Shape, sides
from p2plib.models.colorizer import colored, lightness
from p2plib.models.layers import conv, halvings, normalize, upsample
from p2plib.models.unet import decode, encode
from p2plib.registry import GENERATORS

SMALLEST = 8
"""Height and width of the innermost layers. Those at 4x4 and below hold 69 % of the weights of `unet`."""
BLOCKS = 3
"""Residual blocks at the smallest size."""


@GENERATORS.register("lean")
def lean(
    image_size: int | Shape = 256,
    base_filters: int = 64,
    norm: str = "instance",
    upsampling: str = "resize",
    dropout: float = 0.5,
    colorizes: bool = False,
    source_channels: int = 3,
    target_channels: int = 3,
) -> keras.Model:
    """Build a U-Net that halves the image down to 8x8, with three residual blocks there and skip connections.

    The residual blocks (He et al. 2016) take the place of the U-Net's layers at 4x4, 2x2 and 1x1.

    Args:
        image_size: height and width in pixels: one number or both, multiples of 32. The shorter side is halved while
            it is even and at least 16.
        base_filters: filters in the first layer; deeper layers have 2, 4 and at most 8 times as many.
        norm: "instance", "batch" or "none".
        upsampling: "transpose" (transposed convolution) or "resize" (resize-convolution).
        dropout: rate inside each residual block.
        colorizes: predict colors from lightness; see `colorizer`.
        source_channels: channels of the sources, Cs.
        target_channels: channels of the generated images, Ct.

    Returns:
        A model (N, H, W, Cs) -> (N, H, W, Ct), float32 in [-1, 1].
    """
    height, width = sides(image_size)
    filters = [base_filters * min(2**level, 8) for level in range(halvings((height, width), SMALLEST))]
    inputs = layers.Input((height, width, source_channels), name="source")
    seen = lightness(inputs) if colorizes else inputs
    *skips, x = encode(seen, filters, norm, to_one_pixel=False)  # (N, 128, 128, 64), ... (N, 8, 8, 512)
    for i in range(1, BLOCKS + 1):
        x = _residual(x, f"block{i}", filters[-1], norm, dropout)  # (N, 8, 8, 512)
    x = decode([*skips, x], filters, norm, upsampling, dropout, dropouts=0)  # (N, 16, 16, 1024), ... (N, 128, 128, 128)
    x = upsample(x, "up1", 2 if colorizes else target_channels, upsampling, activation="tanh", dtype="float32")
    return keras.Model(inputs, colored(seen, x) if colorizes else x, name="generator")


def _residual(x: Any, name: str, filters: int, norm: str, dropout: float) -> Any:
    y = x
    for part in ("a", "b"):
        y = layers.ReLU(name=f"{name}{part}_activation")(y)
        y = normalize(conv(y, f"{name}{part}", filters, 3, use_bias=norm == "none"), f"{name}{part}", norm)
        if part == "a":
            y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
    return layers.Add(name=f"{name}_sum")([x, y])
