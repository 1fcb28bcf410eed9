from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from tolerance import rounding  # noqa: E402

from p2plib.registry import GAN_LOSSES  # noqa: E402


def log_sigmoid(z):
    return -np.logaddexp(0, -z)


# Straight from the papers, in float64: (discriminator, generator).
REFERENCE = {
    "vanilla": (
        lambda real, fake: -(log_sigmoid(real).mean() + log_sigmoid(-fake).mean()) / 2,
        lambda fake: -log_sigmoid(fake).mean(),
    ),
    "lsgan": (
        lambda real, fake: (((real - 1) ** 2).mean() + (fake**2).mean()) / 2,
        lambda fake: ((fake - 1) ** 2).mean(),
    ),
    "hinge": (
        lambda real, fake: (np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()) / 2,
        lambda fake: -fake.mean(),
    ),
}


@pytest.mark.parametrize("name", GAN_LOSSES)
@pytest.mark.parametrize("scale", [0.1, 1, 30])
def test_against_the_papers(name, scale):
    real, fake = np.random.default_rng(0).normal(0, scale, (2, 3, 6, 6, 1)).astype("float32")
    loss, (discriminator, generator) = GAN_LOSSES[name], REFERENCE[name]
    expected = discriminator(real.astype(float), fake.astype(float)), generator(fake.astype(float))
    computed = float(loss.discriminator(real, fake)), float(loss.generator(fake))
    # a few operations on each logit, and their sum; where that is small, as hinge's, numbers like the logits canceled
    magnitude = np.maximum(np.abs(expected), np.abs(fake).mean())
    assert (np.abs(np.subtract(computed, expected)) <= rounding(4 + fake.size) * magnitude).all()


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_each_player_likes_to_win(name):
    loss, good, bad = GAN_LOSSES[name], np.full((1, 4, 4, 1), 0.9, "float32"), np.full((1, 4, 4, 1), -0.9, "float32")
    assert loss.discriminator(good, bad) < loss.discriminator(bad, good)
    assert loss.generator(good) < loss.generator(bad)


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_realness_goes_from_0_to_1_and_is_a_half_where_the_discriminator_is_undecided(name):
    undecided, sure = {"vanilla": (0, 20), "lsgan": (0.5, 2), "hinge": (0, 2)}[name]
    logits = np.array([undecided - sure, undecided - 0.1, undecided, undecided + 0.1, undecided + sure], "float32")
    realness = np.asarray(GAN_LOSSES[name].realness(logits))
    np.testing.assert_allclose(realness[[0, 2, 4]], [0, 0.5, 1], atol=1e-6)
    assert (np.diff(realness) > 0).all()


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_undecided_is_what_both_losses_are_at_one_half(name):
    loss, logit = GAN_LOSSES[name], {"vanilla": 0.0, "lsgan": 0.5, "hinge": 0.0}[name]
    judged = np.full((1, 4, 4, 1), logit, "float32")
    values = [float(loss.discriminator(judged, judged)), float(loss.generator(judged))]
    if loss.undecided is None:
        assert abs(values[0] - values[1]) > 0.5
    else:
        assert values == pytest.approx([loss.undecided] * 2)


def test_extreme_logits_stay_finite():
    huge = np.full((1, 2, 2, 1), 1e4, "float32")
    assert np.isfinite(float(GAN_LOSSES["vanilla"].discriminator(-huge, huge)))


def test_config_offers_exactly_these():
    from typing import get_args, get_type_hints

    from p2plib.config import TrainConfig

    assert set(get_args(get_type_hints(TrainConfig)["gan_loss"])) == set(GAN_LOSSES)
