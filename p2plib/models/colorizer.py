"""What turns a generator into a colorizer: it sees lightness, chooses a and b of CIE Lab, and gives RGB like any other.

A photo's lightness is known, so there is nothing to learn about it (Zhang et al. 2016, "Colorful Image Colorization").
The two layers here have no weights. Color is computed in float32, whatever the networks use: the powers need it.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from p2plib.data import color

CHROMA = 110.0
"""Largest a or b that the network can say; those of sRGB lie between -108 and 99."""


def lightness(source: Any) -> Any:
    """What a colorizer sees of images (N, S, S, 3) in [-1, 1], in color or gray: L, (N, S, S, 1), in [-1, 1]."""
    return Lightness(name="lightness", dtype="float32")(source)


def colored(light: Any, chroma: Any) -> Any:
    """Images (N, S, S, 3) in [-1, 1] of what `lightness` gave and the network's (N, S, S, 2) in [-1, 1]."""
    return Colored(name="colored", dtype="float32")([light, chroma])


@keras.saving.register_keras_serializable("p2plib")
class Lightness(layers.Layer):
    """See `lightness`."""

    def call(self, source: Any) -> Any:
        """RGB to L, 0 to 100 scaled to [-1, 1]."""
        return ops.expand_dims(color.lightness((source + 1) / 2, ops), -1) / 50 - 1

    def compute_output_shape(self, input_shape: Any) -> Any:
        """One channel in place of three."""
        return (*input_shape[:-1], 1)


@keras.saving.register_keras_serializable("p2plib")
class Colored(layers.Layer):
    """See `colored`. Colors that RGB cannot show are clipped, and their gradient leads back as if they were not.

    Otherwise a pixel that left the gamut would have no gradient to return by.
    """

    def call(self, inputs: Any) -> Any:
        """L and chroma to RGB."""
        light, chroma = inputs
        lab = ops.concatenate([(light + 1) * 50, chroma * CHROMA], axis=-1)
        rgb = color.lab_to_rgb(lab, ops) * 2 - 1
        return ops.stop_gradient(ops.clip(rgb, -1, 1)) + (rgb - ops.stop_gradient(rgb))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Three channels."""
        return (*input_shape[0][:-1], 3)


LAYERS = {"p2plib>Lightness": Lightness, "p2plib>Colored": Colored, "p2plib>Coloured": Colored}
"""Our own layers by their names in `.keras` files; "Coloured" is that of version 0.1."""
