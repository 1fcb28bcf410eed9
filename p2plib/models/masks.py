"""A generator of class masks: its last layer gives the probability of each class."""

from __future__ import annotations

import keras
from keras import layers

LOGITS = 6.0
"""Largest logit: of two classes, a probability comes within 1e-5 of 0 and 1, and float32 still tells it from them."""


def probabilities(generator: keras.Model) -> keras.Model:
    """The same generator, whose channels become probabilities, a softmax over the classes, scaled to [-1, 1].

    Args:
        generator: a model with outputs (N, H, W, C) in [-1, 1], one channel for each class.
    """
    x = layers.Rescaling(LOGITS, name="logits", dtype="float32")(generator.output)
    x = layers.Softmax(name="probabilities", dtype="float32")(x)
    x = layers.Rescaling(2.0, -1.0, name="range", dtype="float32")(x)  # (N, 256, 256, C)
    return keras.Model(generator.input, x, name=generator.name)
