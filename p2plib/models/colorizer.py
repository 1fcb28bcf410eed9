"""What a generator knows of color in advance.

A colorizer sees lightness, predicts a and b of CIE Lab, and returns RGB: a photo's lightness is known and need not be
learned (Zhang et al. 2016, "Colorful Image Colorization"). Where all targets are gray, so are the images. The layers
have no weights and always compute in float32, which the power functions of color conversion need.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from p2plib.data import color

CHROMA = 110.0
"""Largest a or b that the network can output; sRGB needs -108 to 99."""


def lightness(source: Any) -> Any:
    """The input of a colorizer: L, (N, S, S, 1) in [-1, 1], of color or gray images (N, S, S, 3) in [-1, 1]."""
    return Lightness(name="lightness", dtype="float32")(source)


def colored(light: Any, chroma: Any) -> Any:
    """Images (N, S, S, 3) in [-1, 1] from `lightness` and the network's output (N, S, S, 2) in [-1, 1]."""
    return Colored(name="colored", dtype="float32")([light, chroma])


def gray(generator: keras.Model) -> keras.Model:
    """The same generator, whose red, green and blue are each their mean."""
    return keras.Model(generator.input, Gray(name="gray", dtype="float32")(generator.output), name=generator.name)


@keras.saving.register_keras_serializable("p2plib")
class Gray(layers.Layer):
    """See `gray`."""

    def call(self, images: Any) -> Any:
        """Average the channels, and repeat the average."""
        return ops.repeat(ops.mean(images, -1, keepdims=True), images.shape[-1], -1)


@keras.saving.register_keras_serializable("p2plib")
class Lightness(layers.Layer):
    """See `lightness`."""

    def call(self, source: Any) -> Any:
        """Convert RGB to L, with 0 to 100 scaled to [-1, 1]."""
        return ops.expand_dims(color.lightness((source + 1) / 2, ops), -1) / 50 - 1

    def compute_output_shape(self, input_shape: Any) -> Any:
        """One channel instead of three."""
        return (*input_shape[:-1], 1)


@keras.saving.register_keras_serializable("p2plib")
class Colored(layers.Layer):
    """See `colored`. Colors outside RGB are clipped, but the gradient ignores the clipping.

    Otherwise, pixels outside the gamut would get no gradient and stay there.
    """

    def call(self, inputs: Any) -> Any:
        """Convert L and chroma to RGB."""
        light, chroma = inputs
        lab = ops.concatenate([(light + 1) * 50, chroma * CHROMA], axis=-1)
        rgb = color.lab_to_rgb(lab, ops) * 2 - 1
        return ops.stop_gradient(ops.clip(rgb, -1, 1)) + (rgb - ops.stop_gradient(rgb))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Three channels."""
        return (*input_shape[0][:-1], 3)


LAYERS = {"p2plib>Lightness": Lightness, "p2plib>Colored": Colored, "p2plib>Coloured": Colored, "p2plib>Gray": Gray}
"""Custom layers by their names in `.keras` files; version 0.1 wrote "Coloured"."""
