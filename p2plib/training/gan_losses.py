"""GAN losses. Logits are float32 of any shape, positive for "real"; each loss is a scalar mean.

Discriminator losses include the factor 1/2 of Isola et al. 2017, section 3.3: "we divide the objective by 2 while
optimizing D, which slows down the rate at which D learns relative to G".
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Protocol

from keras import ops

from p2plib.registry import GAN_LOSSES


class GANLoss(Protocol):
    """The losses of D and G, and the meaning of a logit. Register subclasses in `registry.GAN_LOSSES`.

    Attributes:
        undecided: the value of both losses when D is undecided about every pair; None if the two differ.
    """

    undecided: ClassVar[float | None] = None

    @staticmethod
    def discriminator(real: Any, fake: Any) -> Any:
        """D's loss, from its logits for real and generated pairs."""

    @staticmethod
    def generator(fake: Any) -> Any:
        """G's loss, from D's logits for generated pairs."""

    @staticmethod
    def realness(logits: Any) -> Any:
        """How real each patch looks to D, in [0, 1]; 1/2 means undecided."""


@GAN_LOSSES.register("vanilla")
class Vanilla(GANLoss):
    """Goodfellow et al. 2014, with the non-saturating generator loss -log D(G(x)); softplus(-z) = -log sigmoid(z)."""

    undecided = math.log(2)

    @staticmethod
    def discriminator(real: Any, fake: Any) -> Any:
        """See `GANLoss.discriminator`."""
        return (ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))) / 2

    @staticmethod
    def generator(fake: Any) -> Any:
        """See `GANLoss.generator`."""
        return ops.mean(ops.softplus(-fake))

    @staticmethod
    def realness(logits: Any) -> Any:
        """The probability that a patch is real."""
        return ops.sigmoid(logits)


@GAN_LOSSES.register("lsgan")
class LeastSquares(GANLoss):
    """Mao et al. 2017, equation 9."""

    undecided = 0.25

    @staticmethod
    def discriminator(real: Any, fake: Any) -> Any:
        """See `GANLoss.discriminator`."""
        return (ops.mean(ops.square(real - 1)) + ops.mean(ops.square(fake))) / 2

    @staticmethod
    def generator(fake: Any) -> Any:
        """See `GANLoss.generator`."""
        return ops.mean(ops.square(fake - 1))

    @staticmethod
    def realness(logits: Any) -> Any:
        """See `GANLoss.realness`."""
        return ops.clip(logits, 0, 1)


@GAN_LOSSES.register("hinge")
class Hinge(GANLoss):
    """Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17."""

    @staticmethod
    def discriminator(real: Any, fake: Any) -> Any:
        """See `GANLoss.discriminator`."""
        return (ops.mean(ops.relu(1 - real)) + ops.mean(ops.relu(1 + fake))) / 2

    @staticmethod
    def generator(fake: Any) -> Any:
        """See `GANLoss.generator`."""
        return -ops.mean(fake)

    @staticmethod
    def realness(logits: Any) -> Any:
        """See `GANLoss.realness`."""
        return ops.clip((logits + 1) / 2, 0, 1)
