"""The PatchGAN discriminator (Isola et al. 2017, sections 3.2.2 and 6.1.2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import layers

from p2plib.data.image import Shape, sides
from p2plib.models.layers import conv, normalize
from p2plib.registry import DISCRIMINATORS

STRIDED_LAYERS = {1: 0, 16: 1, 70: 3, 286: 5}
"""Number of stride-2 convolutions, by receptive field of one logit in pixels."""


@DISCRIMINATORS.register("patchgan")
def patchgan(
    image_size: int | Shape = 256,
    base_filters: int = 64,
    norm: str = "instance",
    receptive_field: int = 70,
    source_channels: int = 3,
    target_channels: int = 3,
) -> keras.Model:
    """Build a discriminator that classifies each patch of a pair separately.

    Args:
        image_size: height and width in pixels: one number or both.
        base_filters: filters in the first layer; deeper layers have 2, 4 and at most 8 times as many.
        norm: "instance", "batch", "none", or "spectral", which bounds the kernels instead; see `SpectralConv2D`.
        receptive_field: side of a patch in pixels: 1 ("PixelGAN"), 16, 70 (the paper's choice) or 286.
        source_channels: channels of the sources, Cs.
        target_channels: channels of the targets, Ct.

    Returns:
        A model [source, target] -> logits, from (N, H, W, Cs) and (N, H, W, Ct) in [-1, 1]. The logits are float32, as
        (N, 30, 30, 1) for 70-pixel patches of 256x256 images, and positive where the pair looks real.
    """
    source = layers.Input((*sides(image_size), source_channels), name="source")
    target = layers.Input((*sides(image_size), target_channels), name="target")
    pair = layers.Concatenate(name="pair")([source, target])
    return keras.Model([source, target], judge_patches(pair, base_filters, norm, receptive_field), name="discriminator")


def judge_patches(x: Any, base_filters: int, norm: str, receptive_field: int, prefix: str = "") -> Any:
    """The layers of `patchgan`, from a pair (N, H, W, Cs + Ct) to logits; `prefix` begins the name of each."""
    strided = STRIDED_LAYERS[receptive_field]
    kernel, padding = (4, 1) if strided else (1, 0)
    options: dict[str, Any] = {"spectral": norm == "spectral"}
    inner = options | {"use_bias": norm in ("none", "spectral")}

    # Shapes for 70-pixel patches of 256x256 images and 64 filters.
    x = conv(x, f"{prefix}patch1", base_filters, kernel, 2 if strided else 1, **options)  # (N, 128, 128, 64)
    x = layers.LeakyReLU(0.2, name=f"{prefix}patch1_activation")(x)
    for level in range(1, strided):
        name = f"{prefix}patch{level + 1}"
        filters = base_filters * min(2**level, 8)
        x = conv(x, name, filters, kernel, 2, **inner)  # (N, 64, 64, 128), (N, 32, 32, 256)
        x = layers.LeakyReLU(0.2, name=f"{name}_activation")(normalize(x, name, norm))
    # The paper's last two layers have stride 1 and one pixel of padding on each side.
    filters = base_filters * min(2 ** max(strided, 1), 8)
    x = layers.ZeroPadding2D(padding, name=f"{prefix}last_padding")(x)
    x = conv(x, f"{prefix}last", filters, kernel, padding="valid", **inner)  # (N, 31, 31, 512)
    x = layers.LeakyReLU(0.2, name=f"{prefix}last_activation")(normalize(x, f"{prefix}last", norm))
    x = layers.ZeroPadding2D(padding, name=f"{prefix}logits_padding")(x)
    return conv(x, f"{prefix}logits", 1, kernel, padding="valid", dtype="float32", **options)  # (N, 30, 30, 1)


def logits_size(image_size: int, receptive_field: int) -> int:
    """Height and width of the discriminator's output; below 1, the image is too small for the receptive field."""
    strided = STRIDED_LAYERS[receptive_field]
    return image_size // 2**strided - 2 if strided else image_size


class Patch(NamedTuple):
    """The receptive field of one logit: a square in pixels, which may extend into the zero padding."""

    top: int
    left: int
    side: int


def patch(discriminator: keras.Model, row: int, column: int) -> Patch:
    """The receptive field of the logit at (row, column), from kernels, strides and paddings of the layers.

    It ignores instance normalization, which adds statistics of the whole image. Of several scales, it is the finest.
    """
    side, stride, start = 1, 1, 0
    for layer in keras.Model(discriminator.inputs, discriminator.outputs[0]).layers:
        if isinstance(layer, layers.ZeroPadding2D):
            start -= layer.padding[0][0] * stride
        elif isinstance(layer, layers.Conv2D):
            kernel, step = layer.kernel_size[0], layer.strides[0]
            if layer.padding == "same":
                start -= (kernel - step) // 2 * stride
            side += (kernel - 1) * stride
            stride *= step
    return Patch(start + row * stride, start + column * stride, side)
