"""Gradients on either backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np


def gradients(scalar: Callable[[], object], variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """The gradients of `scalar()` with respect to `variables`; zeros where there is no path."""
    if keras.backend.backend() == "jax":
        import jax

        def function(values):
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return scalar()

        return [np.asarray(g) for g in jax.grad(function)([v.value for v in variables])]
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = scalar()
    found = tape.gradient(value, [v.value for v in variables], unconnected_gradients="zero")
    return [np.asarray(g) for g in found]
