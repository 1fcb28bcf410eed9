"""The ResNet generator (Johnson et al. 2016; used for pix2pix by Zhu et al. 2017)."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from p2plib.data.image import Shape, sides
from p2plib.models.colorizer import colored, lightness
from p2plib.models.layers import conv, normalize, upsample
from p2plib.registry import GENERATORS


def resnet(
    image_size: int | Shape = 256,
    base_filters: int = 64,
    norm: str = "instance",
    upsampling: str = "transpose",
    dropout: float = 0.5,
    colorizes: bool = False,
    source_channels: int = 3,
    target_channels: int = 3,
    blocks: int = 9,
) -> keras.Model:
    """Build c7s1-64, d128, d256, `blocks` residual blocks of 256, u128, u64, c7s1-3.

    Args:
        image_size: height and width in pixels: one number or both, multiples of 4.
        base_filters: filters in the first layer.
        norm: "instance", "batch" or "none".
        upsampling: "transpose" or "resize".
        dropout: rate inside each residual block.
        colorizes: predict colors from lightness; see `colorizer`.
        source_channels: Cs.
        target_channels: Ct.
        blocks: number of residual blocks; the paper uses 6 up to 128 pixels and 9 from 256 on.

    Returns:
        A model (N, H, W, Cs) -> (N, H, W, Ct), float32 in [-1, 1].
    """
    # Shapes for 256x256 images and 64 filters.
    use_bias, inputs = norm == "none", layers.Input((*sides(image_size), source_channels), name="source")
    seen = lightness(inputs) if colorizes else inputs
    x = conv(_reflect(seen, 3), "first", base_filters, 7, padding="valid", use_bias=use_bias)  # (N, 256, 256, 64)
    x = _activate(x, "first", norm)
    for i, factor in enumerate((2, 4), 1):  # (N, 128, 128, 128), (N, 64, 64, 256)
        x = _activate(conv(x, f"down{i}", base_filters * factor, 3, 2, use_bias=use_bias), f"down{i}", norm)
    for i in range(1, blocks + 1):
        x = _residual(x, f"block{i}", base_filters * 4, norm, dropout)  # (N, 64, 64, 256)
    for i, factor in ((2, 2), (1, 1)):  # (N, 128, 128, 128), (N, 256, 256, 64)
        x = _activate(upsample(x, f"up{i}", base_filters * factor, upsampling, use_bias=use_bias), f"up{i}", norm)
    x = _last(x, 2 if colorizes else target_channels)
    return keras.Model(inputs, colored(seen, x) if colorizes else x, name="generator")


@GENERATORS.register("resnet6")
def resnet6(**options: Any) -> keras.Model:
    """`resnet` with 6 residual blocks."""
    return resnet(**options, blocks=6)


@GENERATORS.register("resnet9")
def resnet9(**options: Any) -> keras.Model:
    """`resnet` with 9 residual blocks."""
    return resnet(**options, blocks=9)


def _last(x: Any, channels: int) -> Any:
    return conv(_reflect(x, 3), "last", channels, 7, padding="valid", activation="tanh", dtype="float32")


def _activate(x: Any, name: str, norm: str) -> Any:
    return layers.ReLU(name=f"{name}_activation")(normalize(x, name, norm))


def _residual(x: Any, name: str, filters: int, norm: str, dropout: float) -> Any:
    use_bias = norm == "none"
    y = conv(_reflect(x, 1), f"{name}a", filters, 3, padding="valid", use_bias=use_bias)
    y = layers.Dropout(dropout, name=f"{name}_dropout")(_activate(y, f"{name}a", norm))
    y = conv(_reflect(y, 1), f"{name}b", filters, 3, padding="valid", use_bias=use_bias)
    return layers.Add(name=f"{name}_sum")([x, normalize(y, f"{name}b", norm)])


def _reflect(x: Any, width: int) -> Any:
    return ops.pad(x, [[0, 0], [width, width], [width, width], [0, 0]], mode="reflect")
