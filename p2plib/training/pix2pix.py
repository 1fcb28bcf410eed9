"""The training objective of pix2pix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from p2plib.data.kind import bands
from p2plib.registry import GAN_LOSSES, TERMS
from p2plib.training.diff_augment import RandomShift
from p2plib.training.terms import Step


class Pix2Pix(keras.Model):
    r"""A conditional GAN: generator G, discriminator D, and one scalar loss that trains both.

    Isola et al. 2017, equation 4: :math:`\arg\min_G \max_D L_{cGAN}(G, D) + \lambda L_{L1}(G)`.

    Calling the model runs the generator. Train it with stock `compile(optimizer)` and `fit(pairs)`. Both networks use
    the same Adam settings, and Adam updates each weight separately, so one optimizer is equivalent to two.

    Args:
        generator: source (N, H, W, Cs) -> generated (N, H, W, Ct), in [-1, 1].
        discriminator: [source, target] -> logits, or a list of them for several scales, the finest first; None trains
            without a GAN (the L1 baseline in the paper's table 1).
        gan_loss: a name in `registry.GAN_LOSSES`.
        terms: weights by name in `registry.TERMS`. Default: L1 with the paper's lambda of 100, and the GAN loss with 1.
            D's own loss has weight 1.
        features: frozen network for terms that compare features; see `models.features`.
        augment: changes all that D sees alike, such as `diff_augment.DiffAugment`.

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
        features: keras.Model | None = None,
        augment: keras.layers.Layer | None = None,
    ) -> None:
        super().__init__(name="pix2pix")
        self.generator = generator
        self.discriminator = discriminator
        self.features, self.augment = features, augment
        self.shift = RandomShift() if features else None
        self.gan_loss = GAN_LOSSES[gan_loss]
        weights = dict(terms or {"l1": 100.0, "gan": 1.0}) | {"discriminator": 1.0}
        self.terms = {name: (TERMS[name], weight) for name, weight in weights.items()}
        """Function and weight of each term."""
        if discriminator is None:
            self.terms = {name: term for name, term in self.terms.items() if not _reads_discriminator(name, term[0])}
        compared = any(getattr(term, "activations", False) for term, _ in self.terms.values())
        self.judge, self.activations = discriminator, 0
        if discriminator and compared:
            self.judge = with_activations(discriminator)
            self.activations = len(self.judge.outputs) - len(discriminator.outputs)
        self.trackers = {name: keras.metrics.Mean(name) for name in self.terms}
        """Unweighted mean of each term over the epoch so far."""

    def call(self, source: Any, training: bool = False) -> Any:
        """Generate the target from the source."""
        return self.generator(source, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the weighted sum of the terms; its gradient trains D's weights on D's loss and G's on G's losses.

        Args:
            x: source images (N, H, W, Cs).
            y: target images (N, H, W, Ct).
            y_pred: generated images (N, H, W, Ct).
            sample_weight: not used.
            training: whether D runs in training mode.
        """
        step = Step(x, y, y_pred, self.gan_loss, **self.look(y, y_pred), **self.discriminate(x, y, y_pred, training))
        objective = 0.0
        for name, (term, weight) in self.terms.items():
            value = term(step)
            self.trackers[name].update_state(value)
            objective += weight * value
        return objective / _replicas()

    def look(self, target: Any, generated: Any) -> dict[str, Any]:
        """The frozen network's activations for target and generated images, shifted alike.

        The network halves images several times. At fixed positions, it would see some pixels better than others, and G
        would draw that grid. It knows color images only, so of others it sees three channels; see `data.kind.bands`.
        """
        if self.features is None or self.shift is None:
            return {}
        shown = [target, generated]
        if (channels := target.shape[-1]) != 3:
            shown = [ops.take(images, bands(channels), axis=-1) for images in shown]
        seen = [keras.tree.flatten(self.features(images)) for images in self.shift(shown)]
        return {"target_features": seen[0], "generated_features": seen[1]}

    def discriminate(self, source: Any, target: Any, generated: Any, training: bool) -> dict[str, Any]:
        """D's logits for real and generated pairs, to train D, and for generated pairs with D constant, to train G.

        All three use one copy of D's weights. D's update depends on that copy, so the backend cannot reorder the update
        before it: G never learns from a partly updated D.
        """
        if self.judge is None:
            return {}
        call = self.judge.stateless_call
        weights = [ops.copy(variable.value) for variable in self.judge.trainable_variables]
        state = [variable.value for variable in self.judge.non_trainable_variables]
        if self.augment:
            source, target, generated = self.augment([source, target, generated])
        real, state = call(weights, state, [source, target], training=training)
        fake, state = call(weights, state, [source, ops.stop_gradient(generated)], training=training)
        judged, _ = call(list(map(ops.stop_gradient, weights)), state, [source, generated], training=training)
        for variable, value in zip(self.judge.non_trainable_variables, state, strict=True):
            variable.assign(value)
        (reals, real), (_, fake), (judgeds, judged) = map(self._parted, (real, fake, judged))
        logits = {"real": real, "fake": fake, "judged": judged}
        if any(getattr(term, "slope", False) for term, _ in self.terms.values()):

            def certainty(image: Any) -> Any:
                outputs, _ = call(weights, state, [source, image], training=training)
                return sum(ops.sum(scale) for scale in keras.tree.flatten(self._parted(outputs)[1]))

            logits["slope"] = slope(certainty, target)
        return logits | {"real_activations": reals, "judged_activations": judgeds}

    def _parted(self, outputs: Any) -> tuple[list[Any], Any]:
        """Activations, and the logits after them: a list if D has several scales."""
        outputs = keras.tree.flatten(outputs)
        activations, logits = outputs[: self.activations], outputs[self.activations :]
        return activations, logits if len(logits) > 1 else logits[0]


def with_activations(discriminator: keras.Model) -> keras.Model:
    """The same discriminator, with the outputs of its layers named *_activation before its logits."""
    activations = [layer.output for layer in discriminator.layers if layer.name.endswith("_activation")]
    return keras.Model(discriminator.inputs, [*activations, *discriminator.outputs], name="judge")


def slope(function: Callable[[Any], Any], at: Any) -> Any:
    """Gradient of a scalar function of one tensor; it can be differentiated again."""
    if keras.backend.backend() == "jax":
        import jax  # only if it is the backend

        return jax.grad(function)(at)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(at)
        value = function(at)
    return tape.gradient(value, at)


def _reads_discriminator(name: str, term: Callable[..., Any]) -> bool:
    return name in ("gan", "discriminator") or any(getattr(term, need, False) for need in ("activations", "slope"))


def _replicas() -> int:
    """Number of devices that TensorFlow sums gradients over; JAX averages them."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf  # only if it is the backend

    return tf.distribute.get_strategy().num_replicas_in_sync
