"""Each term of the objective, by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from gradients import gradients  # noqa: E402

from p2plib.registry import GAN_LOSSES, TERMS  # noqa: E402
from p2plib.training.terms import Step, cross_entropy, discriminator, gan, l1  # noqa: E402


def test_l1():
    source, target, generated = (np.full((2, 4, 4, 3), value, "float32") for value in (0.0, 0.5, -0.25))
    assert float(l1(Step(source, target, generated))) == 0.75


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_each_player_is_given_the_logits_that_train_it(name):
    """D learns from what leads no gradient back to G, and G from what leads none to D."""
    image = np.zeros((1, 4, 4, 3), "float32")
    real, fake, judged = np.random.default_rng(0).normal(size=(3, 1, 2, 2, 1)).astype("float32")
    loss = GAN_LOSSES[name]
    step = Step(image, image, image, loss, real=real, fake=fake, judged=judged)
    assert float(gan(step)) == float(loss.generator(judged))
    assert float(discriminator(step)) == float(loss.discriminator(real, fake))


def images(seed: int = 0, count: int = 2) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).uniform(-1, 1, (count, 2, 16, 16, 3)).astype("float32"))


@pytest.fixture(scope="module")
def whole_step() -> Callable[..., Step]:
    """A step that has all that a term may read, for given target and generated images."""
    keras.utils.set_random_seed(0)
    picture = keras.Input((16, 16, 3))
    one = keras.layers.Conv2D(4, 3, 2, activation="tanh")(picture)
    features = keras.Model(picture, [one, keras.layers.Conv2D(5, 3, activation="tanh")(one)])
    features.trainable = False

    def step(target, generated) -> Step:
        source = np.zeros((2, 16, 16, 3), "float32")
        real, judged = features(target), features(generated)
        logits = {"real": real[-1], "fake": judged[-1], "judged": judged[-1]}
        activations = {"real_activations": real, "judged_activations": judged}
        seen = {"target_features": real, "generated_features": judged}
        return Step(source, target, generated, GAN_LOSSES["vanilla"], **logits, **activations, **seen)

    return step


DISTANCES = [name for name in TERMS if name not in ("gan", "discriminator", "r1", "cross_entropy")]


@pytest.mark.parametrize("name", DISTANCES)
def test_a_distance_is_zero_for_equal_images_only(name, whole_step):
    one, two = images()
    assert float(TERMS[name](whole_step(one, one))) == pytest.approx(0, abs=1e-6)
    assert float(TERMS[name](whole_step(one, two))) > 0.01


@pytest.mark.parametrize("name", [name for name in DISTANCES if name != "focal_frequency"])
def test_the_gradient_is_the_slope(name, whole_step):
    """Uphill, by a step that is large against float32's rounding and small against kinks and curvature."""
    target, start = images()
    generated = keras.Variable(start)
    [gradient] = gradients(lambda: TERMS[name](whole_step(target, generated.value)), [generated])
    direction = 1e-3 * np.sign(gradient)
    high, low = (float(TERMS[name](whole_step(target, start + at * direction))) for at in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx((high - low) / 2, rel=0.02)


def test_cross_entropy_is_that_of_the_probabilities():
    true = np.eye(3, dtype="float32")[[[[0, 1], [2, 2]]]]
    probabilities = np.array([[[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], [[0, 0, 1], [0.5, 0.5, 0]]]], "float32")
    value = float(cross_entropy(Step(None, 2 * true - 1, 2 * probabilities - 1)))
    assert value == pytest.approx(-np.log([0.5, 0.8, 1, 1e-7]).mean(), rel=1e-5), "a certain mistake stays finite"


def test_focal_frequency_against_numpy(whole_step):
    one, two = images()
    difference = (two - one).transpose(0, 3, 1, 2)
    power = np.abs(np.fft.fft2(difference, norm="ortho")) ** 2
    weight = np.sqrt(power) / np.sqrt(power).max((-2, -1), keepdims=True)
    assert float(TERMS["focal_frequency"](whole_step(one, two))) == pytest.approx((weight * power).mean(), rel=1e-4)


@pytest.mark.parametrize(("which", "least"), [(0, 0), (1, 1e-4)], ids=["equal", "different"])
def test_focal_frequency_has_gradients_also_where_images_are_equal(whole_step, which, least):
    both = images()
    generated = keras.Variable(both[which])
    [gradient] = gradients(lambda: TERMS["focal_frequency"](whole_step(both[0], generated.value)), [generated])
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() >= least


def test_perceptual_ignores_the_length_of_features_and_perceptual_l1_does_not():
    one, three = ([np.full((1, 2, 2, 4), value, "float32")] for value in (1, 3))
    step = Step(None, None, None, target_features=one, generated_features=three)
    assert float(TERMS["perceptual"](step)) == pytest.approx(0, abs=1e-6)
    assert float(TERMS["perceptual_l1"](step)) == pytest.approx(2, rel=1e-5)
