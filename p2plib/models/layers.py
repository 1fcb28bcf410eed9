"""The building blocks that the networks share.

Every layer has a name of its own in its network: the names that Keras makes up count on from model to model, and
TensorFlow adds gradients in the order of names, so that a second model in a process would train to other last bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers


def initializer() -> keras.initializers.Initializer:
    """Weights are drawn from N(0, 0.02) (Isola et al. 2017, section 6.2); one initializer a layer, or layers repeat."""
    return keras.initializers.RandomNormal(stddev=0.02)


def conv(x: Any, name: str, filters: int, kernel: int, stride: int = 1, padding: str = "same", **options: Any) -> Any:
    """2-D convolution with the project's initial weights, called NAME_conv."""
    options |= {"kernel_initializer": initializer(), "name": f"{name}_conv"}
    return layers.Conv2D(filters, kernel, stride, padding, **options)(x)


def normalize(x: Any, name: str, norm: str) -> Any:
    """Instance, batch or no normalization, called NAME_norm.

    Instance normalization is what the paper does: at batch size 1, it uses the batch's statistics in training and in
    use. It makes the image independent of the batch. `batch` uses running averages in use.
    """
    if norm == "instance":
        return layers.GroupNormalization(groups=-1, epsilon=1e-5, name=f"{name}_norm")(x)
    if norm == "batch":
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return x


def upsample(x: Any, name: str, filters: int, upsampling: str, **options: Any) -> Any:
    """Double height and width with NAME_conv.

    `transpose` is the paper's transposed convolution; `resize` is nearest-neighbor resizing and a convolution, which
    cannot leave checkerboards (Odena et al. 2016, "Deconvolution and checkerboard artifacts").
    """
    if upsampling == "transpose":
        options |= {"kernel_initializer": initializer(), "name": f"{name}_conv"}
        return layers.Conv2DTranspose(filters, 4, 2, "same", **options)(x)
    return conv(layers.UpSampling2D(interpolation="nearest", name=f"{name}_resize")(x), name, filters, 3, **options)


def set_dropout_seeds(model: keras.Model, *entropy: int) -> None:
    """Derive the random state of every dropout layer in `model` from `entropy` (non-negative integers).

    Keras does not keep these states in its files, and they advance with each call; setting them makes the noise of a
    step, or of an image, repeatable.
    """
    dropouts = [layer for layer in _flat(model) if isinstance(layer, layers.Dropout) and layer.rate > 0]
    generators = [layer.seed_generator for layer in dropouts]
    words = np.random.SeedSequence(entropy).generate_state(max(1, len(generators)), np.uint32)
    for generator, word in zip(generators, words, strict=False):
        generator.state.assign(np.array([word, 0], np.uint32))


def _flat(model: keras.Model) -> Iterator[keras.Layer]:
    """All layers of a model and of the models in it."""
    for layer in model.layers:
        yield from _flat(layer) if isinstance(layer, keras.Model) else (layer,)
