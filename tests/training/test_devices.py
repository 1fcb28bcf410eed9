"""Training on several devices, which are made of this machine's processor, each time in a process of its own.

Not marked for JAX: the tests choose their backends themselves.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tolerance import rounding

import p2plib
from p2plib.config import TrainConfig

pytestmark = pytest.mark.on_kaggle
RATE, BETA_2 = 2e-4, 0.999
EPSILON = 1e-7 / (1 - BETA_2) ** 0.5
"""Adam's; see `adam`."""
SUMMANDS = 8 * 32 * 32
"""Pixels of a batch: so many numbers are added to a gradient."""
LOSS_ROUNDING = rounding(3 * SUMMANDS)
"""Of a loss, relative to it: the mean of numbers of one sign, of one for each value of the images at most. 3.7e-5."""
SESSION = """
import dataclasses, json, os, shutil, sys
count, config = int(sys.argv[1]), json.loads(sys.argv[2])
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    cpus = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], cpus)
else:
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + f" --xla_force_host_platform_device_count={count}"
import p2plib

config = p2plib.TrainConfig(**config)
run = p2plib.train(config)
shutil.copy(run / "checkpoints" / "state.npz", run / "first.npz")
if count > 1:
    from keras.callbacks import LambdaCallback

    def show_copies(callback):
        value = callback.model.trainable_variables[0].value
        print("copies of a weight:", len(value.values if hasattr(value, "values") else value.devices()))

    callback = LambdaCallback(on_train_end=lambda logs: show_copies(callback))
    p2plib.train(dataclasses.replace(config, epochs=2), resume=run, callbacks=[callback])
    p2plib.train(dataclasses.replace(config, batch_size=1, run_dir=f"{run}-default"))  # the recipe's
    try:
        p2plib.train(dataclasses.replace(config, batch_size=count + 1, run_dir=f"{run}-refused"))
    except p2plib.P2PError as error:
        print("refused:", error)
"""
"""Trains for an epoch; on several devices goes on for another, then tries batch sizes that do not divide."""


def session(backend: str, devices: int, config: TrainConfig) -> str:
    environment = os.environ | {"KERAS_BACKEND": backend}
    command = [sys.executable, "-c", SESSION, str(devices), json.dumps(config.to_dict())]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module", params=[("tensorflow", 2), ("jax", 8)], ids=["MirroredStrategy", "DataParallel"])
def runs(request, tiny_config, tmp_path_factory) -> SimpleNamespace:
    """The same training on one device, for one epoch, and on several, for two."""
    backend, devices = request.param
    pytest.importorskip(backend)
    folder = tmp_path_factory.mktemp("devices")
    config = dataclasses.replace(
        tiny_config, batch_size=8, epochs=1, decay_epochs=0, dropout=0.0, precision="float32", keep=0
    )
    one, several = (dataclasses.replace(config, run_dir=str(folder / name)) for name in ("one", "several"))
    session(backend, 1, one)
    out = session(backend, devices, several)
    return SimpleNamespace(backend=backend, devices=devices, one=folder / "one", several=folder / "several", out=out)


def first_row(run: Path) -> dict[str, float]:
    row = next(csv.DictReader((run / "log.csv").read_text().splitlines()))
    return {name: float(value) for name, value in row.items() if name not in ("seconds", "pictures_per_second")}


def first_step(run: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The weights of both networks after Adam's first step, and the gradients of that step: its mean of them, doubled.

    Adam moves the mean from 0 toward the first gradient by 1 - beta_1, which is 1/2.
    """
    with np.load(run / "first.npz") as state:
        weights = [state[name] for name in sorted(state.files) if name.startswith("model/")]
        moments = [state[name] for name in sorted(state.files) if name.startswith("optimizer/")][2:]
    means = moments[::2]  # a mean and a variance for each weight, after the number of steps and the learning rate
    assert [mean.shape for mean in means] == [weight.shape for weight in weights]
    return weights, [2 * mean for mean in means]


def test_all_devices_train(runs):
    assert f"runtime: {runs.backend} on {runs.devices} x CPU, float32" in runs.out
    assert f"copies of a weight: {runs.devices}\n" in runs.out
    assert json.loads((runs.several / "environment.json").read_text())["plan"]["devices"] == runs.devices
    assert json.loads((runs.one / "environment.json").read_text())["plan"]["devices"] == 1


def test_several_devices_train_as_one(runs):
    """Losses, and the images after the step.

    These have 9,216 values of 8 bits, and rounding may bring some of them to the next one. That moves SSIM the most, by
    up to 3e-4 of itself where the image is flat: 3e-3 are ten values.
    """
    one, several = first_row(runs.one), first_row(runs.several)
    for name, value in one.items():
        assert several[name] == pytest.approx(value, rel=3e-3 if name.startswith("val_") else LOSS_ROUNDING), name


def test_several_devices_take_the_step_of_one(runs):
    """The gradients agree to rounding, and the weights are as far apart as Adam makes of the gradients' difference.

    A gradient is a sum over up to SUMMANDS pixels, of numbers that are taken to be as large as the layer's largest
    gradient. Adam's first step from g is RATE g / (|g| + EPSILON): nearly RATE for all but the smallest gradients,
    whose rounding it multiplies by up to RATE / EPSILON = 63. No one tolerance would fit all weights.
    """
    (one, gradients), (several, others) = map(first_step, (runs.one, runs.several))
    for weight, other, gradient, other_gradient in zip(one, several, gradients, others, strict=True):
        np.testing.assert_allclose(other_gradient, gradient, rtol=0, atol=rounding(SUMMANDS, np.abs(gradient).max()))
        rounded = rounding(10, np.abs(weight).max() + RATE)  # of the step, and of adding it to the weight
        apart = adam(other_gradient) - adam(gradient)
        np.testing.assert_allclose(weight - other, apart, rtol=rounding(1) / (1 - BETA_2), atol=rounded)


def adam(gradient: np.ndarray) -> np.ndarray:
    """The first step of Keras' Adam: it corrects mean and deviation of the gradient for their start at 0.

    It adds its epsilon of 1e-7 to a deviation that is not yet corrected, so that it counts for 1e-7 / sqrt(1 - beta_2).
    """
    return RATE * gradient / (np.abs(gradient) + EPSILON)


def test_a_run_on_several_devices_goes_on_and_loads(runs):
    assert "epoch 2/2" in runs.out
    model = p2plib.load(runs.several / "checkpoints" / "last.keras")
    assert model.info.step == 2
    assert p2plib.translate(model, [np.zeros((40, 50, 3), np.uint8)])[0].shape == (40, 50, 3)


def test_the_batch_of_the_recipe_is_raised_to_the_devices(runs):
    assert f"batch_size is {runs.devices}, not 1, to divide by {runs.devices} devices" in runs.out
    saved = json.loads(runs.several.with_name("several-default").joinpath("config.json").read_text())
    assert saved["batch_size"] == runs.devices


def test_a_batch_that_does_not_divide_is_refused(runs):
    assert f"refused: batch_size {runs.devices + 1} is not divisible by {runs.devices} devices" in runs.out
    assert not runs.several.with_name("several-refused").exists()
