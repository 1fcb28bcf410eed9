"""Source images in, generated images out: the engine behind notebooks, command line and validation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from p2plib import runtime
from p2plib.data.image import Shape, resize_image
from p2plib.data.kind import PLAIN, ImageKind, Kinds
from p2plib.errors import ConfigError, DataError
from p2plib.inference.tiling import Function, batched, tiled, tiled_rows

if TYPE_CHECKING:
    from p2plib.inference.checkpoint import Checkpoint


class Generator(Protocol):
    """A `keras.Model`, or the engine of an exported model."""

    def predict_on_batch(self, x: np.ndarray) -> Any:
        """Map float32 sources (N, H, W, C) in [-1, 1] to generated images of that size and range."""


def translate(
    checkpoint: Checkpoint,
    images: Sequence[np.ndarray],
    noise: int | None = None,
    batch_size: int = 8,
    fit: bool = False,
    progress: bool = False,
) -> list[np.ndarray]:
    """Translate images of any size.

    An image no larger than the generator, or than the largest image it was trained on, is resized to the generator and
    back, as in training and evaluation. A larger one is brought to the scale at which the generator saw its training
    images, translated in overlapping tiles (see `tiling`), and brought back. This suits part of a larger map; use
    `fit=True` if an image shows the same scene as a whole training image, but at higher resolution. With `load` "crop"
    the scale is the images' own. Of a colorizer, the colors are enlarged and combined with the image's own lightness.

    Args:
        checkpoint: from `p2plib.load`.
        images: stored values (H, W, C); uint8 (H, W, 3) unless the model was trained on others.
        noise: None turns dropout off. A number seeds the paper's test-time dropout, the same for every image and tile.
        batch_size: images or tiles per call of the network; it does not change the result.
        fit: resize images of any size to the generator and back.
        progress: show a progress bar on stderr for tiles.

    Returns:
        Stored values, each of the size of its source; uint8 (H, W, 3) unless the model was trained on others.

    Raises:
        ConfigError: noise was requested, but the model is an exported one.
        DataError: an image has other channels, another type or other classes than those it was trained on.
    """
    shape, task, (source, target) = checkpoint.shape, checkpoint.task, _kinds_for(checkpoint, images)
    places = [tiled_at(checkpoint, image.shape[0], image.shape[1], fit) for image in images]
    with _running(checkpoint.generator, noise, source) as network:
        batch_size = batch_size if noise is None else 1
        small = (image for image, at in zip(images, places, strict=True) if not at)
        fitted = batched(network, (resize_image(image, *shape, source.are_classes) for image in small), batch_size)
        tiles = partial(_in_tiles, network, shape, checkpoint.kinds, batch_size, progress)
        both = zip(images, places, strict=True)
        return [tiles(image, at) if at else task.finish(next(fitted), image, target) for image, at in both]


def tiled_at(checkpoint: Checkpoint, height: int, width: int, fit: bool = False) -> tuple[int, int] | None:
    """The size (height, width) at which an image is translated in tiles; None if it is translated as a whole.

    See `translate`, which decides by this.
    """
    (tall, wide), scale = checkpoint.shape, checkpoint.info.scale
    if fit or checkpoint.task.keeps_lightness or (height <= tall and width <= wide):
        return None
    if scale is None:
        return height, width
    if height <= scale.largest[0] and width <= scale.largest[1]:
        return None
    at = max(1, round(height * tall / scale.median[0])), max(1, round(width * wide / scale.median[1]))
    return at if at[0] > tall or at[1] > wide else None


def needs_ordinary(checkpoint: Checkpoint, what: str) -> None:
    """Raise a ConfigError if a model's images are not 8-bit RGB, for what works with these only."""
    for kind in checkpoint.kinds:
        if not kind.plain:
            raise ConfigError(f"{what} needs 8-bit RGB, and this model has {kind.describe()}; use `translate` instead.")


def translate_rows(
    checkpoint: Checkpoint,
    read: Callable[[int, int], np.ndarray],
    shape: Shape,
    noise: int | None = None,
    batch_size: int = 8,
    progress: bool = False,
) -> Iterator[np.ndarray]:
    """Translate an image that memory does not hold, in tiles at its own scale.

    Args:
        checkpoint: from `p2plib.load`.
        read: `read(top, bottom)` returns rows of the image, stored values (bottom - top, W, C).
        shape: height and width of the image.
        noise: see `translate`.
        batch_size: see `translate`.
        progress: see `translate`.

    Yields:
        The next rows of the result from the top, stored values (h, W, C).
    """
    source, target = checkpoint.kinds
    with _running(checkpoint.generator, noise, source) as network:
        size = batch_size if noise is None else 1
        yield from tiled_rows(network, read, shape, checkpoint.shape, None, size, progress, target)


def _kinds_for(checkpoint: Checkpoint, images: Sequence[np.ndarray]) -> Kinds:
    """The kinds of a checkpoint, if the images are such sources."""
    source = checkpoint.kinds[0]
    expected = f"{source.dtype} (H, W, {source.channels})"
    for image in images:
        if image.ndim != 3 or image.shape[-1] != source.channels or image.dtype != source.dtype:
            raise DataError(
                f"The model takes images of {expected}, not {image.dtype} {image.shape}; convert them first."
            )
    return checkpoint.kinds


def _in_tiles(
    network: Function, shape: Shape, kinds: Kinds, batch_size: int, progress: bool, image: np.ndarray, at: Shape
) -> np.ndarray:
    (source, target), (height, width) = kinds, image.shape[:2]
    resized = resize_image(image, *at, source.are_classes)
    generated = tiled(network, resized, shape, None, batch_size, progress, target)
    return resize_image(generated, height, width, target.are_classes)


def generate(
    generator: Generator, sources: np.ndarray, noise: int | None = None, batch_size: int = 8, kinds: Kinds = PLAIN
) -> np.ndarray:
    """Run the generator on images of its own size: stored values (N, H, W, C), uint8 RGB unless `kinds` differ."""
    with _running(generator, noise, kinds[0]) as network:
        generated = batched(network, sources, batch_size if noise is None else 1)
        return np.stack([kinds[1].to_values(image) for image in generated])


@contextmanager
def _running(generator: Generator, noise: int | None, source: ImageKind) -> Iterator[Function]:
    """Within this block, the generator as a function of stored images; with noise, it takes one at a time."""
    keras = sys.modules.get("keras")  # an exported model may run without it
    if noise is not None and not (keras and isinstance(generator, keras.Model)):
        raise ConfigError("Noise needs the Keras checkpoint: an exported model has no dropout.")

    def network(sources: np.ndarray) -> np.ndarray:
        if noise is None:
            return generator.predict_on_batch(source.to_float(sources))
        return _with_noise(generator, source.to_float(sources), noise)

    with runtime.one_device():
        yield network


def _with_noise(generator: Any, source: np.ndarray, noise: int) -> np.ndarray:
    """Translate one image (1, H, W, C) in [-1, 1] with dropout on; one at a time: the mask depends on the batch."""
    from keras import ops

    from p2plib.models.layers import set_seeds

    set_seeds(generator, noise)
    return ops.convert_to_numpy(generator(source, training=True))
