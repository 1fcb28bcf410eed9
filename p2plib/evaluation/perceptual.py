"""How alike two images look to a network trained on ImageNet (Zhang et al. 2018, without their fitted weights).

The network is EfficientNet-Lite2, which no training here uses. Compare only numbers of the same version of this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from p2plib import runtime
from p2plib.evaluation.distances import Extractor
from p2plib.models import features
from p2plib.registry import METRICS

if TYPE_CHECKING:
    import keras

SIZE = 224
"""Side that images are resized to."""
BATCH = 16


@METRICS.register("perceptual")
def perceptual(target: np.ndarray, generated: np.ndarray, source: np.ndarray | None = None) -> np.ndarray:
    """Perceptual distance: 0 for equal images, up to 4. Returns (N,).

    The squared distance of the activations of two images at one place, each scaled to length 1 over its channels,
    averaged over all places of a block, then over five blocks from fine to coarse. Images of any size are resized.

    Raises:
        ConfigError: the network's weights are not installed.
    """
    pairs = zip(_activations(target), _activations(generated), strict=True)
    return np.concatenate([np.mean(list(map(_distance, a, b)), axis=0) for a, b in pairs])


def lite2() -> Extractor:
    """EfficientNet-Lite2 for KID and FID: 352 features, the means of its last block, of the image at 224 x 224.

    Raises:
        ConfigError: the network's weights are not installed.
    """
    _network()

    def pooled(images: np.ndarray) -> np.ndarray:
        return np.concatenate([blocks[-1].mean((1, 2)) for blocks in _activations(images)])

    return Extractor(f"EfficientNet-Lite2, imagenet weights, {SIZE}x{SIZE}, average pooling of the last block", pooled)


def _activations(images: np.ndarray) -> Iterator[list[np.ndarray]]:
    """The network's blocks, float32 arrays (N, H, W, C), for one batch of uint8 images after another."""
    model = _network()
    for start in range(0, len(images), BATCH):
        resized = np.stack([_resize(image) for image in images[start : start + BATCH]])
        with runtime.one_device():
            yield [np.asarray(block) for block in model.predict_on_batch(resized)]


@cache
def _network() -> keras.Model:
    plan = runtime.start()
    with runtime.one_device(), runtime.dtype_policy("float32"):
        model = features.network("lite2", SIZE)
    model.compile(jit_compile=plan.xla)
    return model


def _resize(image: np.ndarray) -> np.ndarray:
    """Resize a uint8 image, antialiased, to float32 (SIZE, SIZE, 3) in [-1, 1], without rounding to 8 bits."""
    how = ((SIZE, SIZE), Image.Resampling.BILINEAR)
    channels = [Image.fromarray(image[..., i].astype(np.float32)).resize(*how) for i in range(3)]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1) / np.float32(127.5) - 1


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The distance at one block: two arrays (N, H, W, C) -> (N,)."""
    a, b = (x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-8) for x in (a, b))
    return ((a - b) ** 2).sum(-1).mean((1, 2), dtype=np.float64)
