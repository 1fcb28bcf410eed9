"""Each term of the objective, by itself."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from p2plib.registry import GAN_LOSSES  # noqa: E402
from p2plib.training.terms import Step, discriminator, gan, l1  # noqa: E402


def test_l1():
    source, target, generated = (np.full((2, 4, 4, 3), value, "float32") for value in (0.0, 0.5, -0.25))
    assert float(l1(Step(source, target, generated))) == 0.75


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_each_player_is_given_the_logits_that_train_it(name):
    """D learns from what leads no gradient back to G, and G from what leads none to D."""
    image = np.zeros((1, 4, 4, 3), "float32")
    real, fake, judged = np.random.default_rng(0).normal(size=(3, 1, 2, 2, 1)).astype("float32")
    loss = GAN_LOSSES[name]
    step = Step(image, image, image, loss, real, fake, judged)
    assert float(gan(step)) == float(loss.generator(judged))
    assert float(discriminator(step)) == float(loss.discriminator(real, fake))
