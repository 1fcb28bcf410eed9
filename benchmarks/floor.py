"""What benchmarks share: the full-size model, and the floor, the time of its multiplications in one matrix product."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from p2plib import runtime
from p2plib.config import TrainConfig
from p2plib.inference import checkpoint


def save_random_model(path: Path):
    """Write the paper's generator (256x256, 64 filters) with random weights as a checkpoint; returns the network."""
    config = TrainConfig(recipe="paper", direction="AtoB")
    runtime.start(TrainConfig(precision="float32"))
    import keras

    from p2plib.models import build_generator

    keras.utils.set_random_seed(0)
    generator = build_generator(config)
    checkpoint.save_generator(path, generator, checkpoint.CheckpointInfo(config, ("satellite", "map"), 0, 0, {}))
    return generator


def forward(model) -> float:
    """Multiply-adds of one image through a Keras model."""
    total = 0.0
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            transposed = type(layer).__name__ == "Conv2DTranspose"
            grid = (layer.input if transposed else layer.output).shape[1:3]
            total += np.prod(kernel.shape) * np.prod(grid)
    return total


def matmul_rate(precision: str) -> float:
    """Multiply-adds a second in one matrix product, the best of ten."""
    import tensorflow as tf

    dtype = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}.get(precision, "float32")
    a = tf.cast(tf.random.normal((2048, 2048)), dtype)
    best = 1e9
    for _ in range(11):
        start = time.perf_counter()
        tf.reduce_sum(tf.matmul(a, a)).numpy()
        best = min(best, time.perf_counter() - start)
    return 2048**3 / best
