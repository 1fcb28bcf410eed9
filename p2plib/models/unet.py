"""The U-Net generator (Isola et al. 2017, sections 3.2.1 and 6.1.1; Ronneberger et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from p2plib.data.image import Shape, sides
from p2plib.models.colorizer import colored, lightness
from p2plib.models.layers import conv, halvings, normalize, upsample
from p2plib.registry import GENERATORS


@GENERATORS.register("unet")
def unet(
    image_size: int | Shape = 256,
    base_filters: int = 64,
    norm: str = "instance",
    upsampling: str = "transpose",
    dropout: float = 0.5,
    colorizes: bool = False,
    source_channels: int = 3,
    target_channels: int = 3,
) -> keras.Model:
    """Build a U-Net that halves the image down to 1x1 and doubles it back, with a skip connection at every size.

    At 256 pixels and 64 filters this is the paper's C64-C128-C256-C512-C512-C512-C512-C512 encoder and
    CD512-CD512-CD512-C512-C256-C128-C64 decoder, with 54.4 million weights.

    Args:
        image_size: height and width in pixels: one number or both, multiples of 32. Where they are no powers of two, or
            differ, the halving ends before 1x1, at the last size that is whole.
        base_filters: filters in the first layer; deeper layers have 2, 4 and at most 8 times as many.
        norm: "instance", "batch" or "none". The 1x1 bottleneck is never normalized, as that would set it to zero.
        upsampling: "transpose" (transposed convolution) or "resize" (resize-convolution).
        dropout: rate in the three innermost decoder blocks, the paper's only source of noise.
        colorizes: predict colors from lightness; see `colorizer`.
        source_channels: channels of the sources, Cs.
        target_channels: channels of the generated images, Ct.

    Returns:
        A model (N, H, W, Cs) -> (N, H, W, Ct), float32 in [-1, 1].
    """
    height, width = sides(image_size)
    filters = [base_filters * min(2**level, 8) for level in range(halvings((height, width)))]
    inputs = layers.Input((height, width, source_channels), name="source")
    seen = lightness(inputs) if colorizes else inputs
    to_one_pixel = height == width == 2 ** len(filters)
    x = decode(encode(seen, filters, norm, to_one_pixel), filters, norm, upsampling, dropout)
    channels = 2 if colorizes else target_channels
    x = upsample(x, "up1", channels, upsampling, activation="tanh", dtype="float32")  # (N, 256, 256, channels)
    return keras.Model(inputs, colored(seen, x) if colorizes else x, name="generator")


def encode(x: Any, filters: Sequence[int], norm: str, to_one_pixel: bool = True) -> list[Any]:
    """Halve an image at every level.

    Args:
        x: (N, S, S, C).
        filters: those of each level, from the outermost to the innermost.
        norm: as for `unet`.
        to_one_pixel: the innermost level is 1x1, and so it is not normalized.

    Returns:
        The output of every level, from the outermost to the innermost.
    """
    depth, outputs = len(filters), []
    for level in range(depth):
        name, outermost, bottleneck = f"down{level + 1}", level == 0, to_one_pixel and level == depth - 1
        if not outermost:
            x = layers.LeakyReLU(0.2, name=f"{name}_activation")(x)
        bias = norm == "none" or outermost or bottleneck
        # For 256 pixels and 64 filters: (N, 128, 128, 64), (N, 64, 64, 128), ... (N, 1, 1, 512)
        x = conv(x, name, filters[level], 4, 2, use_bias=bias)
        if not (outermost or bottleneck):
            x = normalize(x, name, norm)
        outputs.append(x)
    return outputs


def decode(
    outputs: Sequence[Any], filters: Sequence[int], norm: str, upsampling: str, dropout: float, dropouts: int = 3
) -> Any:
    """Decode from the innermost level up to half size, with skip connections from encoder levels of the same size.

    Args:
        outputs: from `encode`; the last one may have been changed.
        filters: as for `encode`.
        norm: as for `unet`.
        upsampling: as for `unet`.
        dropout: rate in the innermost decoder blocks.
        dropouts: how many of them have dropout.

    Returns:
        (N, S/2, S/2, C).
    """
    *skips, x = outputs
    depth = len(filters)
    for level in reversed(range(depth - 1)):
        name = f"up{level + 2}"
        x = layers.ReLU(name=f"{name}_activation")(x)
        x = upsample(x, name, filters[level], upsampling, use_bias=norm == "none")
        x = normalize(x, name, norm)
        if level >= depth - 1 - dropouts:
            x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
        x = layers.Concatenate(name=f"{name}_skip")([x, skips.pop()])  # (N, 2, 2, 1024), ... (N, 128, 128, 128)
    return layers.ReLU(name="up1_activation")(x)
