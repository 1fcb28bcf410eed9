"""Moving averages of weights."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from p2plib.training.optimizer import AveragingAdam  # noqa: E402


def trained(optimizer, steps: int) -> tuple[keras.Variable, list[float]]:
    """One weight after a constant gradient, and its values after each step."""
    weight = keras.Variable(2.0)
    optimizer.build([weight])
    values = []
    for _ in range(steps):
        optimizer.apply([keras.ops.convert_to_tensor(1.0)])
        values.append(float(weight))
    return weight, values


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_weights_are_those_of_adam(decay):
    _, plain = trained(keras.optimizers.Adam(0.1), 5)
    _, averaged = trained(AveragingAdam(0.1, averaging=decay), 5)
    assert averaged == plain


@pytest.mark.parametrize("decay", [0.2, 0.99])
def test_the_average_follows_the_definition(decay):
    optimizer = AveragingAdam(0.1, averaging=decay)
    weight, values = trained(optimizer, 20)
    expected = 2.0
    for step, value in enumerate(values):
        now = min(decay, step / (10 + step))
        expected = now * expected + (1 - now) * value
    np.testing.assert_allclose(float(optimizer.average(weight)), expected, rtol=1e-6)


def test_an_average_begins_as_its_weight():
    optimizer = AveragingAdam(0.1, averaging=0.9)
    weight, _ = trained(optimizer, 0)
    assert float(optimizer.average(weight)) == 2.0


def test_without_averaging_there_is_nothing_more_to_keep():
    optimizer, plain = AveragingAdam(0.1), keras.optimizers.Adam(0.1)
    weight, _ = trained(optimizer, 1)
    trained(plain, 1)
    assert optimizer.average(weight) is weight
    assert len(optimizer.variables) == len(plain.variables)


def test_the_end_of_fit_leaves_the_weights_alone():
    """Keras' own averages would replace them."""
    model = keras.Sequential([keras.layers.Dense(1)])
    optimizer = AveragingAdam(0.1, averaging=0.99)
    model.compile(optimizer, loss="mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=3, verbose=0)
    kernel = model.trainable_variables[0]
    before = np.asarray(kernel)
    optimizer.finalize_variable_values(model.trainable_variables)
    np.testing.assert_array_equal(kernel, before)
    assert not np.array_equal(np.asarray(optimizer.average(kernel)), before)
