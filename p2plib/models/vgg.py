"""Keras' VGG16 (Simonyan and Zisserman 2014), the usual network for perceptual losses; see `models.features`."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from p2plib.data.image import Shape, sides
from p2plib.errors import ConfigError
from p2plib.registry import FEATURES

LAST = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")
"""The last convolution of each block."""
MEAN = (103.939, 116.779, 123.68)
"""Subtracted from blue, green and red, 0 to 255."""


@FEATURES.register("vgg16")
def vgg16(
    *, image_size: int | Shape, blocks: Sequence[int] | None = None, weights: str | None = "imagenet"
) -> keras.Model:
    """VGG16: five blocks, by default the activations of all before they are pooled. See `features.network`.

    Args:
        image_size: height and width in pixels: one number or both, 32 or more.
        blocks: see `features.network`.
        weights: "imagenet" (Keras downloads 59 MB once), a weights file, or None for random weights (for tests).

    Raises:
        ConfigError: there is no such block, or the weights cannot be downloaded or read.
    """
    blocks = range(len(LAST)) if blocks is None else blocks
    if not blocks or not 0 <= min(blocks) <= max(blocks) < len(LAST):
        raise ConfigError(f"blocks is {tuple(blocks)}; vgg16 has blocks 0 to {len(LAST) - 1}.")
    inputs = keras.Input((*sides(image_size), 3), name="vgg16_images")
    x = layers.Rescaling(127.5, 127.5 - np.array(MEAN[::-1]), name="vgg16_rescaling")(inputs)
    try:
        whole = keras.applications.VGG16(include_top=False, weights=weights, input_tensor=x)
    except Exception as error:  # Keras raises a bare Exception if a download fails
        raise ConfigError(
            f"The {weights} weights of VGG16 cannot be downloaded or read ({error}); go online, or use lite0."
        ) from error
    first = whole.get_layer("block1_conv1")
    kernel, bias = first.get_weights()
    first.set_weights([kernel[:, :, ::-1], bias])  # the weights are for blue, green and red
    return keras.Model(inputs, [whole.get_layer(LAST[i]).output for i in blocks], name="vgg16")
