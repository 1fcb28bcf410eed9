"""The terms of the training objective. Each is a function of one step that returns a scalar, a mean over the batch.

A weight in the configuration (`l1_weight`, `gan_weight`, `terms`) adds a term to the objective. Its name appears in the
log, the learning curves and the progress line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import keras
from keras import ops

from p2plib.registry import TERMS

Term = TypeVar("Term", bound=Callable[..., Any])


def needs(*, features: str | None = None, activations: bool = False, slope: bool = False) -> Callable[[Term], Term]:
    """Decorator that says what a term reads besides images and logits.

    Args:
        features: the frozen network in `registry.FEATURES` whose activations the step holds.
        activations: the term compares D's activations, so there must be a discriminator.
        slope: the term reads the gradient of D's logits, so there must be a discriminator.
    """

    def mark(term: Term) -> Term:
        vars(term).update(features=features, activations=activations, slope=slope)
        return term

    return mark


@dataclass(frozen=True)
class Step:
    """Inputs of a term. Images are (N, S, S, 3) in [-1, 1]; logits are D's, float32 (N, P, P, 1).

    Where D judges several scales, logits are a list of such arrays, the finest first; see `over_scales`.
    """

    source: Any
    target: Any
    generated: Any
    gan_loss: Any = None
    """A `gan_losses.GANLoss`."""
    target_features: Sequence[Any] = ()
    """Activations of a frozen network for the target, from fine to coarse; see `models.features`."""
    generated_features: Sequence[Any] = ()
    """The same for the generated images."""
    real: Any = None
    """Logits for (source, target), to train D."""
    fake: Any = None
    """Logits for (source, generated), to train D; no gradient flows to G."""
    judged: Any = None
    """Logits for (source, generated), to train G; D's weights are constant."""
    real_activations: Sequence[Any] = ()
    """D's activations for (source, target), from the first layer to the last, for terms that compare them."""
    judged_activations: Sequence[Any] = ()
    """The same for (source, generated), to train G."""
    slope: Any = None
    """Gradient of the sum of `real` with respect to the target: (N, S, S, 3)."""


@TERMS.register("l1")
def l1(step: Step) -> Any:
    """Mean absolute difference on [-1, 1], in float32 (Isola et al. 2017, equation 3)."""
    return _l1(step.target, step.generated)


@TERMS.register("cross_entropy")
def cross_entropy(step: Step) -> Any:
    """Cross-entropy of the classes' probabilities, in nats: -sum_c t_c log p_c, a mean over pixels.

    For targets that are classes: channels t_c and p_c, scaled to [-1, 1], are 1 for the true class and else 0, and the
    probabilities that G gives.
    """
    true, probability = ((_float32(images) + 1) / 2 for images in (step.target, step.generated))
    return -ops.mean(ops.sum(true * ops.log(ops.maximum(probability, 1e-7)), axis=-1))


@TERMS.register("gan")
def gan(step: Step) -> Any:
    """G's adversarial loss (Isola et al. 2017, equation 1, non-saturating)."""
    return over_scales(step.gan_loss.generator, step.judged)


@TERMS.register("discriminator")
def discriminator(step: Step) -> Any:
    """D's loss for telling real pairs from generated ones."""
    return over_scales(step.gan_loss.discriminator, step.real, step.fake)


@TERMS.register("r1")
@needs(slope=True)
def r1(step: Step) -> Any:
    """D's gradient penalty on real pairs (Mescheder et al. 2018, equation 9, with gamma as the weight).

    The squared gradient is a mean over D's logits: that of each patch where patches do not overlap. It presumes that D
    judges each pair by itself, so no batch normalization.
    """
    logits = keras.tree.flatten(step.real)
    count = sum(math.prod(scale.shape[1:]) for scale in logits)
    return ops.mean(ops.sum(ops.square(_float32(step.slope)), axis=(1, 2, 3))) / (2 * count)


@TERMS.register("perceptual")
@needs(features="lite0")
def perceptual(step: Step) -> Any:
    """Squared distance of a frozen network's features, of length 1 at each position, summed over depths.

    Zhang et al. 2018 (LPIPS), equation 1 with equal weights, on EfficientNet-Lite0. It sees edges and textures; the
    normalization ignores contrast, so colors need L1 beside it.
    """
    pairs = zip(step.target_features, step.generated_features, strict=True)
    return sum(ops.mean(ops.sum(ops.square(_unit(real) - _unit(made)), axis=-1)) for real, made in pairs)


@TERMS.register("perceptual_l1")
@needs(features="lite0")
def perceptual_l1(step: Step) -> Any:
    """Mean absolute difference of a frozen network's features, relative to their mean, summed over depths.

    Johnson et al. 2016, section 3.2, with L1. It keeps contrast, so flat colors and thin lines of maps stay right.
    """
    pairs = zip(step.target_features, step.generated_features, strict=True)
    return sum(_l1(real, made) / (ops.mean(ops.abs(_float32(real))) + 1e-6) for real, made in pairs)


@TERMS.register("feature_matching")
@needs(activations=True)
def feature_matching(step: Step) -> Any:
    """Mean absolute difference of D's activations for real and generated pairs (Wang et al. 2018, equation 4).

    The mean is over all layers and, with `multiscale`, over those of all scales.
    """
    pairs = list(zip(step.real_activations, step.judged_activations, strict=True))
    return sum(_l1(ops.stop_gradient(real), made) for real, made in pairs) / len(pairs)


@TERMS.register("focal_frequency")
def focal_frequency(step: Step) -> Any:
    """Squared difference of the spectra, weighted by itself (Jiang et al. 2021, equations 8 and 9, with alpha 1)."""
    difference = ops.transpose(_float32(step.generated) - _float32(step.target), (0, 3, 1, 2))
    real, imaginary = ops.fft2((difference, ops.zeros_like(difference)))
    power = (ops.square(real) + ops.square(imaginary)) / (difference.shape[-2] * difference.shape[-1])  # orthonormal
    # Equal spectra have no largest difference: their loss is 0, and so is its gradient.
    weight = ops.sqrt(power + 1e-12) / ops.sqrt(ops.max(power, axis=(-2, -1), keepdims=True) + 1e-12)
    return ops.mean(ops.stop_gradient(weight) * power)


def over_scales(loss: Callable[..., Any], *logits: Any) -> Any:
    """Mean of a loss over the scales of D (Wang et al. 2018, equation 3, with 1/2 for the sum over two)."""
    scales = list(zip(*(each if isinstance(each, list) else [each] for each in logits), strict=True))
    return sum(loss(*scale) for scale in scales) / len(scales)


def _l1(real: Any, made: Any) -> Any:
    return ops.mean(ops.abs(_float32(real) - _float32(made)))


def _unit(features: Any) -> Any:
    features = _float32(features)
    return features * ops.rsqrt(ops.sum(ops.square(features), axis=-1, keepdims=True) + 1e-6)


def _float32(x: Any) -> Any:
    return ops.cast(x, "float32")
