"""Spectral normalization of the discriminator."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from gradients import gradients  # noqa: E402
from keras import ops  # noqa: E402

import p2plib  # noqa: E402
from p2plib.data.image import to_float  # noqa: E402
from p2plib.inference.checkpoint import read_discriminator  # noqa: E402
from p2plib.models import build_discriminator  # noqa: E402
from p2plib.models.layers import SpectralConv2D  # noqa: E402
from p2plib.training.discriminator import load_discriminator  # noqa: E402


def layer(seed: int = 0) -> SpectralConv2D:
    keras.utils.set_random_seed(seed)
    made = SpectralConv2D(5, 3, padding="same", name="spectral")
    made.build((None, 8, 8, 4))
    return made


def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")


def test_u_follows_the_power_iteration_in_training_only():
    made = layer()
    matrix, u = np.asarray(made.kernel).reshape(-1, 5), np.asarray(made.u).copy()
    for training in (True, False, True):
        made(images(), training=training)
        if training:
            v = matrix @ u / np.linalg.norm(matrix @ u)
            u = v @ matrix / np.linalg.norm(v @ matrix)
        np.testing.assert_allclose(np.asarray(made.u), u, rtol=1e-5, atol=1e-6)


def test_the_kernel_is_divided_by_its_largest_singular_value_in_training_and_in_use():
    made, plain = layer(), keras.layers.Conv2D(5, 3, padding="same")
    for _ in range(100):
        made(images(), training=True)
    kernel = np.asarray(made.kernel)
    plain.build((None, 8, 8, 4))
    plain.kernel.assign(kernel / np.linalg.svd(kernel.reshape(-1, 5))[1][0])
    for training in (True, False):
        np.testing.assert_allclose(
            np.asarray(made(images(), training=training)), np.asarray(plain(images())), atol=1e-5
        )


def test_the_gradient_is_the_slope():
    """Also through the singular value: a longer kernel gives the same images."""
    made = layer()
    for _ in range(100):
        made(images(), training=True)
    weight = np.random.default_rng(1).normal(size=(2, 8, 8, 5)).astype("float32")

    def scalar():
        return ops.sum(made(images(), training=True) * weight)

    [gradient] = gradients(scalar, [made.kernel])
    start = np.asarray(made.kernel)
    assert abs((gradient * start).sum()) < 1e-4 * np.linalg.norm(gradient)
    direction, values = 1e-3 * np.sign(gradient) * np.abs(start).mean(), []
    for at in (1, -1):
        made.kernel.assign(start + at * direction)
        values.append(float(ops.sum(made(images()) * weight)))
    assert (values[0] - values[1]) / 2 == pytest.approx(float((gradient * direction).sum()), rel=0.02)


@pytest.mark.parametrize("name", ["patchgan", "multiscale"])
def test_no_other_normalization_is_left(name, tiny_config):
    model = build_discriminator(dataclasses.replace(tiny_config, discriminator=name, discriminator_norm="spectral"))
    kinds = {type(found).__name__ for found in model.layers if "conv" in found.name or "norm" in found.name}
    assert kinds == {"SpectralConv2D"}
    plain = build_discriminator(dataclasses.replace(tiny_config, discriminator=name))
    assert "SpectralConv2D" not in {type(found).__name__ for found in plain.layers}


def test_a_run_goes_on_exactly_and_its_files_hold_u(tiny_config, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    config = dataclasses.replace(tiny_config, epochs=2, decay_epochs=0, discriminator_norm="spectral")
    straight, broken = (dataclasses.replace(config, run_dir=str(tmp_path / name)) for name in ("straight", "broken"))
    p2plib.train(straight)
    p2plib.train(broken, callbacks=[Stop()])
    p2plib.train(resume=tmp_path / "broken")
    one, two = (load_discriminator(tmp_path / name).model for name in ("straight", "broken"))
    for left, right in zip(one.weights, two.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right), err_msg=left.path)
    saved = read_discriminator(tmp_path / "straight" / "checkpoints" / "last.keras")
    assert set(saved) == {weight.path for weight in one.weights}
    for weight in one.non_trainable_weights:
        assert weight.path.endswith("/u")
        assert np.linalg.norm(np.asarray(weight)) == pytest.approx(1, rel=1e-5), "training moved it"
        np.testing.assert_allclose(saved[weight.path], np.asarray(weight), atol=1e-3)
    pair = [to_float(image[None]) for image in p2plib.data.toy.city(0, 32)]
    np.testing.assert_allclose(np.asarray(one(pair)), np.asarray(one(pair, training=True)), atol=0.05)
