"""The GAN losses and L1. Logits are float32 of any shape, positive for "real"; every loss is a scalar, a mean.

Discriminator losses carry the factor 1/2 of Isola et al. 2017, section 3.3: "we divide the objective by 2 while
optimizing D, which slows down the rate at which D learns relative to G".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops


class GANLoss(NamedTuple):
    """What each player minimizes, and how a logit is read."""

    discriminator: Callable[[Any, Any], Any]
    """(logits of real pairs, logits of generated pairs) -> scalar"""
    generator: Callable[[Any], Any]
    """logits of generated pairs -> scalar"""
    realness: Callable[[Any], Any]
    """logits -> how real the discriminator finds each patch, in [0, 1]; 1/2 is undecided"""


GAN_LOSSES = {
    # Goodfellow et al. 2014, with the non-saturating generator loss -log D(G(x)); softplus(-z) = -log sigmoid(z).
    "vanilla": GANLoss(
        lambda real, fake: (ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))) / 2,
        lambda fake: ops.mean(ops.softplus(-fake)),
        ops.sigmoid,  # a probability
    ),
    # Mao et al. 2017, equation 9.
    "lsgan": GANLoss(
        lambda real, fake: (ops.mean(ops.square(real - 1)) + ops.mean(ops.square(fake))) / 2,
        lambda fake: ops.mean(ops.square(fake - 1)),
        lambda logits: ops.clip(logits, 0, 1),
    ),
    # Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17.
    "hinge": GANLoss(
        lambda real, fake: (ops.mean(ops.relu(1 - real)) + ops.mean(ops.relu(1 + fake))) / 2,
        lambda fake: -ops.mean(fake),
        lambda logits: ops.clip((logits + 1) / 2, 0, 1),
    ),
}


def l1(target: Any, generated: Any) -> Any:
    """Mean absolute difference of two tensors, computed in float32."""
    return ops.mean(ops.abs(ops.cast(target, "float32") - ops.cast(generated, "float32")))
