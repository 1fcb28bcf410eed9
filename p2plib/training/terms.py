"""The terms of the training objective. Each is a function of one step that returns a scalar, a mean over the batch.

A weight in the configuration (`l1_weight`, `gan_weight`, `terms`) adds a term to the objective. Its name appears in the
log, the learning curves and the progress line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras import ops

from p2plib.registry import TERMS


@dataclass(frozen=True)
class Step:
    """Inputs of a term. Images are (N, S, S, 3) in [-1, 1]; logits are D's, float32 (N, P, P, 1)."""

    source: Any
    target: Any
    generated: Any
    gan_loss: Any = None
    """A `gan_losses.GANLoss`."""
    real: Any = None
    """Logits for (source, target), to train D."""
    fake: Any = None
    """Logits for (source, generated), to train D; no gradient flows to G."""
    judged: Any = None
    """Logits for (source, generated), to train G; D's weights are constant."""


@TERMS.register("l1")
def l1(step: Step) -> Any:
    """Mean absolute difference on [-1, 1], in float32 (Isola et al. 2017, equation 3)."""
    return ops.mean(ops.abs(ops.cast(step.target, "float32") - ops.cast(step.generated, "float32")))


@TERMS.register("gan")
def gan(step: Step) -> Any:
    """G's adversarial loss (Isola et al. 2017, equation 1, non-saturating)."""
    return step.gan_loss.generator(step.judged)


@TERMS.register("discriminator")
def discriminator(step: Step) -> Any:
    """D's loss for telling real pairs from generated ones."""
    return step.gan_loss.discriminator(step.real, step.fake)
