"""EfficientNet-Lite (Tan and Le 2019, without squeeze-and-excitation) up to a given block; see `models.features`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from p2plib.data.image import Shape, sides
from p2plib.models.features import arrays
from p2plib.registry import FEATURES

STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Of the first block of each stage. The other blocks of a stage keep size and channels, and add their input."""


@FEATURES.register("lite0")
def lite0(*, image_size: int | Shape, blocks: Sequence[int] | None = None) -> keras.Model:
    """EfficientNet-Lite0: 16 blocks, by default the activations after blocks 0, 2 and 4. See `features.network`."""
    return _build("lite0", image_size, (0, 2, 4) if blocks is None else blocks)


@FEATURES.register("lite2")
def lite2(*, image_size: int | Shape, blocks: Sequence[int] | None = None) -> keras.Model:
    """EfficientNet-Lite2: 21 blocks, by default those after 0, 3, 6, 14 and 20. See `features.network`."""
    return _build("lite2", image_size, (0, 3, 6, 14, 20) if blocks is None else blocks)


def _build(name: str, image_size: int | Shape, blocks: Sequence[int]) -> keras.Model:
    """Build the layers that the weights tell of. Images in [-1, 1] are what these networks were trained on."""
    weights = arrays(name, blocks)
    inputs = keras.Input((*sides(image_size), 3), name=f"{name}_images")
    x, stage, outputs = _conv(inputs, f"{name}_stem", weights, "stem", 2), 0, []
    for i in range(max(blocks) + 1):
        channels_in, channels_out = x.shape[-1], weights[f"b{i}/project/w"].shape[-1]
        stride = STRIDES[stage] if channels_in != channels_out else 1
        y = _conv(x, f"{name}_b{i}_expand", weights, f"b{i}/expand") if f"b{i}/expand/w" in weights else x
        y = _conv(y, f"{name}_b{i}_depthwise", weights, f"b{i}/dw", stride)
        y = _conv(y, f"{name}_b{i}_project", weights, f"b{i}/project", activation=None)
        if channels_in != channels_out:
            x, stage = y, stage + 1
        else:
            x = layers.Add(name=f"{name}_b{i}_add")([x, y])
        outputs.append(x)
    return keras.Model(inputs, [outputs[i] for i in blocks], name=name)


def _conv(
    x: Any,
    name: str,
    weights: Mapping[str, np.ndarray],
    key: str,
    stride: int = 1,
    activation: str | None = "relu6",
) -> Any:
    """Convolution with given weights, named NAME_conv; depthwise if it is a block's `dw`.

    The padding is TensorFlow's, as in the networks' training: at even sizes, more to the right and below than to the
    left and above. The weights start as zeros, since drawing them would advance the random state of the program.
    """
    kernel, bias = weights[f"{key}/w"], weights[f"{key}/b"]
    options: dict[str, Any] = {"padding": "same", "activation": activation, "name": f"{name}_conv"}
    if key.endswith("/dw"):
        layer = layers.DepthwiseConv2D(kernel.shape[0], stride, depthwise_initializer="zeros", **options)
    else:
        layer = layers.Conv2D(kernel.shape[-1], kernel.shape[0], stride, kernel_initializer="zeros", **options)
    y = layer(x)
    layer.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return y
