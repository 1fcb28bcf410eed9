"""Building blocks shared by the networks.

Every layer gets an explicit, unique name. Keras' automatic names depend on earlier models in the process, and
TensorFlow adds gradients in the order of names, so with them a second model would not train bit for bit like the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from p2plib.data.image import Shape


def halvings(shape: Shape, smallest: int = 1) -> int:
    """How often both sides can be halved evenly until the shorter one has `smallest` pixels."""
    height, width = shape
    count = 0
    while height % 2 == width % 2 == 0 and min(height, width) >= 2 * smallest:
        height, width, count = height // 2, width // 2, count + 1
    return count


def initializer() -> keras.initializers.Initializer:
    """Draw weights from N(0, 0.02) (Isola et al. 2017, section 6.2). Sharing one instance would repeat weights."""
    return keras.initializers.RandomNormal(stddev=0.02)


class SpectralConv2D(layers.Conv2D):
    """Convolution whose kernel is divided by its largest singular value (Miyato et al. 2018, equations 8 and 9).

    The vector `u` follows that value's direction by one power iteration in each training call (algorithm 1). In use,
    the kernel is divided, too; `keras.layers.SpectralNormalization` does not, and overwrites the kernel in training.
    """

    def build(self, input_shape: Any) -> None:
        """Create kernel, bias and `u`; all devices compute the same `u`."""
        super().build(input_shape)
        normal = keras.initializers.RandomNormal(stddev=1.0)
        options: dict[str, Any] = {"trainable": False, "autocast": False, "aggregation": "only_first_replica"}
        self.u = self.add_weight(name="u", shape=(self.filters,), initializer=normal, dtype="float32", **options)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Convolve."""
        matrix = ops.cast(ops.reshape(self.kernel, (-1, self.filters)), "float32")
        v = ops.stop_gradient(ops.normalize(ops.matmul(matrix, self.u)))
        u = ops.stop_gradient(ops.normalize(ops.matmul(v, matrix)))
        if training:
            self.u.assign(u)
        sigma = ops.matmul(ops.matmul(v, matrix), u)
        x = self.convolution_op(inputs, self.kernel / ops.cast(sigma, self.compute_dtype))
        return x + self.bias if self.use_bias else x


def conv(
    x: Any,
    name: str,
    filters: int,
    kernel: int,
    stride: int = 1,
    padding: str = "same",
    spectral: bool = False,
    **options: Any,
) -> Any:
    """2-D convolution with the shared initializer, named NAME_conv; `spectral` bounds its kernel."""
    options |= {"kernel_initializer": initializer(), "name": f"{name}_conv"}
    return (SpectralConv2D if spectral else layers.Conv2D)(filters, kernel, stride, padding, **options)(x)


def normalize(x: Any, name: str, norm: str) -> Any:
    """Instance, batch or no normalization, named NAME_norm.

    The paper uses batch statistics at batch size 1, in training and at inference; this is instance normalization. It
    makes results independent of the batch. `batch` uses running averages at inference.
    """
    if norm == "instance":
        return layers.GroupNormalization(groups=-1, epsilon=1e-5, name=f"{name}_norm")(x)
    if norm == "batch":
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return x


def upsample(x: Any, name: str, filters: int, upsampling: str, **options: Any) -> Any:
    """Double height and width with NAME_conv.

    `transpose` is the paper's transposed convolution; `resize` is nearest-neighbor resizing and a convolution, which
    avoids checkerboard artifacts (Odena et al. 2016, "Deconvolution and checkerboard artifacts").
    """
    if upsampling == "transpose":
        options |= {"kernel_initializer": initializer(), "name": f"{name}_conv"}
        return layers.Conv2DTranspose(filters, 4, 2, "same", **options)(x)
    return conv(layers.UpSampling2D(interpolation="nearest", name=f"{name}_resize")(x), name, filters, 3, **options)


def set_seeds(model: keras.Model, *entropy: int) -> None:
    """Derive the random state of every layer in `model` from `entropy` (non-negative integers).

    Keras does not save these states, and they advance with each call. Setting them makes the noise of a step or an
    image reproducible.
    """
    generators = [seeds for layer in _flat(model) for seeds in _generators(layer)]
    words = np.random.SeedSequence(entropy).generate_state(max(1, len(generators)), np.uint32)
    for generator, word in zip(generators, words, strict=False):
        generator.state.assign(np.array([word, 0], np.uint32))


def _generators(layer: keras.Layer) -> list[keras.random.SeedGenerator]:
    """The random generators of a layer."""
    return [value for value in vars(layer).values() if isinstance(value, keras.random.SeedGenerator)]


def _flat(model: keras.Model) -> Iterator[keras.Layer]:
    """All layers of a model and of its nested models."""
    for layer in model.layers:
        yield from _flat(layer) if isinstance(layer, keras.Model) else (layer,)
