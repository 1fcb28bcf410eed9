"""The gradient penalty on the discriminator."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from gradients import gradients  # noqa: E402
from keras import layers, ops  # noqa: E402

import p2plib  # noqa: E402
from p2plib.models.unet import unet  # noqa: E402
from p2plib.training.pix2pix import Pix2Pix  # noqa: E402
from p2plib.training.run import read_log  # noqa: E402


def pair():
    source, target = np.random.default_rng(0).uniform(-1, 1, (2, 2, 32, 32, 3)).astype("float32")
    return ops.convert_to_tensor(source), ops.convert_to_tensor(target)


def penalty(model: Pix2Pix):
    source, target = pair()
    return lambda: model.compute_loss(source, target, ops.zeros_like(target))


def test_a_linear_discriminator_has_the_closed_form():
    """Patches do not overlap: the gradient of each logit is the kernel, and the penalty half its squared length."""
    source, target = layers.Input((32, 32, 3)), layers.Input((32, 32, 3))
    layer = layers.Conv2D(1, 4, 4, name="logits_conv")
    linear = keras.Model([source, target], layer(layers.Concatenate()([source, target])))
    model = Pix2Pix(unet(32, 1), linear, terms={"r1": 1.0})
    model.terms = {"r1": model.terms["r1"]}
    kernel = np.asarray(layer.kernel)
    assert float(penalty(model)()) == pytest.approx((kernel[:, :, 3:] ** 2).sum() / 2, rel=1e-4)
    found = gradients(penalty(model), [layer.kernel, layer.bias, *model.generator.trainable_variables])
    np.testing.assert_allclose(found[0][:, :, 3:], kernel[:, :, 3:], rtol=1e-4, atol=1e-6)
    assert not any(gradient.any() for gradient in [found[0][:, :, :3], *found[1:]])


def smooth() -> keras.Model:
    """Two maps of logits, and no kinks, at which the penalty would jump."""
    keras.utils.set_random_seed(0)
    source, target = layers.Input((32, 32, 3)), layers.Input((32, 32, 3))
    x = layers.Conv2D(4, 4, 2, "same", name="one")(layers.Concatenate()([source, target]))
    x = layers.GroupNormalization(-1, name="norm")(x)
    x = layers.Activation("tanh", name="one_activation")(x)
    return keras.Model([source, target], [layers.Conv2D(1, side, name=f"logits{side}")(x) for side in (3, 5)])


@pytest.mark.parametrize("more", [{}, {"feature_matching": 1.0}])
def test_the_gradient_is_the_slope(more):
    both = smooth()
    model = Pix2Pix(unet(32, 1), both, terms={"r1": 1.0} | more)
    model.terms = {"r1": model.terms["r1"]}
    kernels = [variable for variable in both.trainable_variables if variable.path.endswith("kernel")]
    found = gradients(penalty(model), kernels)
    start = [np.asarray(kernel).copy() for kernel in kernels]
    values = []
    for at in (1, -1):
        for kernel, value, gradient in zip(kernels, start, found, strict=True):
            kernel.assign(value + at * 1e-3 * np.sign(gradient))
        values.append(float(penalty(model)()))
    expected = sum(1e-3 * np.abs(gradient).sum() for gradient in found)
    assert (values[0] - values[1]) / 2 == pytest.approx(expected, rel=0.02)


def test_a_run_has_it_in_its_log_and_lowers_it(tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, epochs=3, decay_epochs=0, learning_rate=1e-3)
    ends = {}
    for weight in (1e-6, 100.0):
        run = p2plib.train(dataclasses.replace(config, terms={"r1": weight}, run_dir=str(tmp_path / str(weight))))
        ends[weight] = read_log(run / "log.csv")[-1]["r1"]
    assert 0 < ends[100.0] < ends[1e-6] / 2


def test_it_is_left_out_without_a_discriminator():
    assert set(Pix2Pix(unet(32, 1), None, terms={"l1": 1.0, "r1": 1.0}).terms) == {"l1"}
