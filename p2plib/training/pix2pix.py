"""The training objective of pix2pix, written once."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from p2plib.training.terms import GAN_LOSSES, l1

GAN_TRACKERS = ("gan", "discriminator")
"""What a model with a discriminator tells beside `l1`."""


class Pix2Pix(keras.Model):
    r"""A conditional GAN: generator G, discriminator D, and the one scalar that trains both.

    Isola et al. 2017, equation 4: :math:`\arg\min_G \max_D L_{cGAN}(G, D) + \lambda L_{L1}(G)`.

    Calling the model runs the generator. It is trained by stock `compile(optimizer)` and `fit(pairs)`: both networks
    use the same Adam settings, and Adam works weight by weight, so one optimizer over all weights equals two.

    Args:
        generator: source (N, S, S, 3) -> generated (N, S, S, 3), in [-1, 1].
        discriminator: [source, target] -> logits; None trains on L1 alone (the paper's control, its table 1).
        gan_loss: a name in `losses.GAN_LOSSES`.
        gan_weight: weight of the generator's GAN loss.
        l1_weight: weight of L1, the paper's lambda (100).
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model | None,
        gan_loss: str = "vanilla",
        gan_weight: float = 1.0,
        l1_weight: float = 100.0,
    ) -> None:
        super().__init__(name="pix2pix")
        self.generator = generator
        self.discriminator = discriminator
        self.gan_loss = GAN_LOSSES[gan_loss]
        self.gan_weight = gan_weight
        self.l1_weight = l1_weight
        names = ["l1"] if discriminator is None else ["l1", *GAN_TRACKERS]
        self.trackers = {name: keras.metrics.Mean(name) for name in names}
        """Epoch means of `l1` (on [-1, 1]), `gan` (the generator's GAN loss) and `discriminator` (its loss)."""

    def call(self, source: Any, training: bool = False) -> Any:
        """Generate the target from the source."""
        return self.generator(source, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the scalar whose gradient is D's on D's weights and G's on G's.

        Args:
            x: source images (N, S, S, 3).
            y: target images (N, S, S, 3).
            y_pred: generated images (N, S, S, 3).
            sample_weight: not used.
            training: whether D runs in training mode.
        """
        source, target, generated = x, y, y_pred
        losses = {"l1": l1(target, generated)}
        objective = self.l1_weight * losses["l1"]
        if self.discriminator is not None:
            real = self.discriminator([source, target], training=training)
            fake = self.discriminator([source, ops.stop_gradient(generated)], training=training)
            judged = frozen(self.discriminator, [source, generated], training)
            losses["discriminator"] = self.gan_loss.discriminator(real, fake)
            losses["gan"] = self.gan_loss.generator(judged)
            objective += losses["discriminator"] + self.gan_weight * losses["gan"]
        for name, value in losses.items():
            self.trackers[name].update_state(value)
        return self._aggregate_additional_loss(objective)  # MirroredStrategy sums gradients: a device's share of them


def frozen(model: keras.Model, inputs: Any, training: bool) -> Any:
    """Call `model` with constant weights: the gradient passes through to the inputs, and the weights get none."""
    weights = [ops.stop_gradient(variable.value) for variable in model.trainable_variables]
    state = [variable.value for variable in model.non_trainable_variables]
    outputs, _ = model.stateless_call(weights, state, inputs, training=training)
    return outputs
