"""The training objective of pix2pix, written once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from p2plib.registry import GAN_LOSSES, TERMS
from p2plib.training.terms import Step


class Pix2Pix(keras.Model):
    r"""A conditional GAN: generator G, discriminator D, and the one scalar that trains both.

    Isola et al. 2017, equation 4: :math:`\arg\min_G \max_D L_{cGAN}(G, D) + \lambda L_{L1}(G)`.

    Calling the model runs the generator. It is trained by stock `compile(optimizer)` and `fit(pairs)`: both networks
    use the same Adam settings, and Adam works weight by weight, so one optimizer over all weights equals two.

    Args:
        generator: source (N, S, S, 3) -> generated (N, S, S, 3), in [-1, 1].
        discriminator: [source, target] -> logits; None trains without a GAN (the paper's control, its table 1).
        gan_loss: a name in `registry.GAN_LOSSES`.
        terms: the objective: names in `registry.TERMS` and their weights. Default: L1 with the paper's lambda of 100,
            and the GAN loss with 1. D's own loss has the weight 1.

    Example:
        >>> model = Pix2Pix(unet(128), patchgan(128), terms={"l1": 100, "gan": 1})
        >>> model.compile(keras.optimizers.Adam(2e-4, beta_1=0.5))
        >>> model.fit(sources, targets, batch_size=4, epochs=10)
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model | None,
        gan_loss: str = "vanilla",
        terms: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(name="pix2pix")
        self.generator = generator
        self.discriminator = discriminator
        self.gan_loss = GAN_LOSSES[gan_loss]
        weights = dict(terms or {"l1": 100.0, "gan": 1.0}) | {"discriminator": 1.0}
        if discriminator is None:
            weights = {name: weight for name, weight in weights.items() if name not in ("gan", "discriminator")}
        self.terms = {name: (TERMS[name], weight) for name, weight in weights.items()}
        """Name of a term: its function and its weight."""
        self.trackers = {name: keras.metrics.Mean(name) for name in self.terms}
        """Name of a term: its mean over the epoch so far, without its weight."""

    def call(self, source: Any, training: bool = False) -> Any:
        """Generate the target from the source."""
        return self.generator(source, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the scalar whose gradient is D's on D's weights and G's on G's: the weighted sum of the terms.

        Args:
            x: source images (N, S, S, 3).
            y: target images (N, S, S, 3).
            y_pred: generated images (N, S, S, 3).
            sample_weight: not used.
            training: whether D runs in training mode.
        """
        step = Step(x, y, y_pred, self.gan_loss, *self._judge(x, y, y_pred, training))
        objective = 0.0
        for name, (term, weight) in self.terms.items():
            value = term(step)
            self.trackers[name].update_state(value)
            objective += weight * value
        return objective / _replicas()

    def _judge(self, source: Any, target: Any, generated: Any, training: bool) -> tuple[Any, ...]:
        """D's logits: of real pairs and of generated ones, to train D; of generated ones, to train G (D constant).

        D's weights are read once, and all three use that reading. D's update depends on its gradient, and so on that
        reading: whatever the backend reorders, G learns from the D of this step, not from one that is half updated.
        """
        if self.discriminator is None:
            return ()
        judge = self.discriminator.stateless_call
        weights = [ops.copy(variable.value) for variable in self.discriminator.trainable_variables]
        state = [variable.value for variable in self.discriminator.non_trainable_variables]
        real, state = judge(weights, state, [source, target], training=training)
        fake, state = judge(weights, state, [source, ops.stop_gradient(generated)], training=training)
        judged, _ = judge(list(map(ops.stop_gradient, weights)), state, [source, generated], training=training)
        for variable, value in zip(self.discriminator.non_trainable_variables, state, strict=True):
            variable.assign(value)
        return real, fake, judged


def _replicas() -> int:
    """How many devices TensorFlow's distribution sums gradients over: each gives its share. JAX takes means itself."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf  # only where it is the backend

    return tf.distribute.get_strategy().num_replicas_in_sync
