"""Adam that also keeps a moving average of each weight."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class AveragingAdam(keras.optimizers.Adam):
    """Adam whose `averages` follow the weights: average = d * average + (1 - d) * weight after every step.

    The decay d begins small, min(decay, t / (10 + t)) at step t, so that early averages forget the initial weights.
    Keras' own `use_ema` replaces the weights by their averages at the end of each `fit`, and then a run that stops and
    resumes would not be the run that never stopped.

    Args:
        averaging: the largest decay, in [0, 1); 0 keeps no averages.
        options: of `keras.optimizers.Adam`.
    """

    def __init__(self, *args: Any, averaging: float = 0.0, **options: Any) -> None:
        super().__init__(*args, **options)
        self.averaging = averaging

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the moments and the averages; an average begins as its weight."""
        if self.built:
            return
        super().build(variables)
        self.averages = self.add_optimizer_variables(variables, "average") if self.averaging else []
        for average, variable in zip(self.averages, variables, strict=False):
            average.assign(ops.copy(variable))  # JAX gives each buffer away once

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Update a weight, then its average."""
        super().update_step(gradient, variable, learning_rate)
        if self.averaging:
            average = self.averages[self._get_variable_index(variable)]
            step = ops.cast(self.iterations, average.dtype)
            decay = ops.minimum(self.averaging, step / (10 + step))
            self.assign_add(average, (1 - decay) * (ops.convert_to_tensor(variable) - average))

    def average(self, variable: keras.Variable) -> keras.Variable:
        """The average of a weight; the weight itself if no averages are kept."""
        return self.averages[self._get_variable_index(variable)] if self.averages else variable

    def get_config(self) -> dict[str, Any]:
        """The settings."""
        return super().get_config() | {"averaging": self.averaging}
