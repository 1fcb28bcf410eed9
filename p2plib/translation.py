"""Source pictures in, generated pictures out: the one engine behind notebooks, command line and validation."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from p2plib import runtime
from p2plib.data import color, images
from p2plib.errors import ConfigError
from p2plib.tiling import Function, batched, tiled

if TYPE_CHECKING:
    from p2plib.checkpoint import Checkpoint


class Generator(Protocol):
    """A `keras.Model`, or the runner of an exported model."""

    def predict_on_batch(self, x: np.ndarray) -> Any:
        """float32 (N, S, S, 3) in [-1, 1] to an array like it."""


def translate(
    checkpoint: Checkpoint,
    pictures: Sequence[np.ndarray],
    noise: int | None = None,
    batch_size: int = 8,
    fit: bool = False,
    progress: bool = False,
) -> list[np.ndarray]:
    """Translate pictures of any size.

    The generator works at its own size, `checkpoint.size`. Pictures that are larger in height or width are translated
    in overlapping tiles (see `tiling`); others are resized there and back. The generator learned the scale at which it
    saw its training pairs, each resized to its size as a whole. Tiles keep a picture's own scale: right for a piece of
    a larger map, say. Where a picture shows what a whole training picture shows, only finer, `fit=True` is right.

    A colorizer needs no tiles. It sees every picture whole, resized to its size, and its colours, enlarged, are joined
    with the picture's own lightness: no detail is lost at any size, and `fit` makes no difference.

    Args:
        checkpoint: what `p2plib.load` returns.
        pictures: uint8 arrays (H, W, 3).
        noise: None switches dropout off: the same picture every time. A number seeds the paper's test-time dropout;
            a picture then gets the same noise alone or among others, and so does every tile.
        batch_size: pictures or tiles in a call of the network; it does not change the result.
        fit: resize larger pictures, too, there and back.
        progress: show a bar on stderr while a picture is translated in tiles.

    Returns:
        uint8 arrays, each of the size of its source.

    Raises:
        ConfigError: there is noise, but the model is an exported one.
    """
    size = checkpoint.size
    whole = [fit or checkpoint.colorizes or max(picture.shape[:2]) <= size for picture in pictures]
    with _running(checkpoint.generator, noise) as network:
        batch_size = batch_size if noise is None else 1
        resized = (images.resize(picture, size, size) for picture, small in zip(pictures, whole, strict=True) if small)
        fitted = batched(network, resized, batch_size)
        return [
            _fitted(next(fitted), picture, checkpoint.colorizes)
            if small
            else tiled(network, picture, size, batch_size=batch_size, progress=progress)
            for picture, small in zip(pictures, whole, strict=True)
        ]


def _fitted(generated: np.ndarray, picture: np.ndarray, colorizes: bool) -> np.ndarray:
    """The network's float picture at the size of its source; of a colorizer, its colours alone."""
    if colorizes:
        return color.recolor(picture, color.rgb_to_lab((generated + 1) / 2)[..., 1:])
    return images.resize(images.to_uint8(generated), *picture.shape[:2])


def generate(generator: Generator, sources: np.ndarray, noise: int | None = None, batch_size: int = 8) -> np.ndarray:
    """Run the generator on uint8 pictures (N, S, S, 3) of its own size; returns the same shape, uint8."""
    with _running(generator, noise) as network:
        generated = batched(network, sources, batch_size if noise is None else 1)
        return np.stack([images.to_uint8(picture) for picture in generated])


@contextmanager
def _running(generator: Generator, noise: int | None) -> Iterator[Function]:
    """The generator as a function of uint8 pictures, for the time of this block; with noise, of one at a time."""
    keras = sys.modules.get("keras")  # an exported model runs without it
    if noise is not None and not (keras and isinstance(generator, keras.Model)):
        raise ConfigError("Noise needs the Keras checkpoint: an exported model has its dropout switched off.")

    def network(sources: np.ndarray) -> np.ndarray:
        if noise is None:
            return generator.predict_on_batch(images.to_float(sources))
        return _with_noise(generator, sources, noise)

    with runtime.one_device():
        yield network


def _with_noise(generator: Any, source: np.ndarray, noise: int) -> np.ndarray:
    """One picture (1, S, S, 3) with dropout on. Alone, since the mask depends on the batch it is drawn for."""
    from keras import ops

    from p2plib.models.layers import set_dropout_seeds

    set_dropout_seeds(generator, noise)
    return ops.convert_to_numpy(generator(images.to_float(source), training=True))
