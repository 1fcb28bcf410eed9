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

import p2plib
from p2plib.config import TrainConfig

pytestmark = pytest.mark.on_kaggle
SESSION = """
import dataclasses, json, os, sys
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
if count > 1:
    from keras.callbacks import LambdaCallback

    def show_copies(callback):
        value = callback.model.trainable_variables[0].value
        print("copies of a weight:", len(value.values if hasattr(value, "values") else value.devices()))

    callback = LambdaCallback(on_train_end=lambda logs: show_copies(callback))
    p2plib.train(dataclasses.replace(config, epochs=2), resume=run, callbacks=[callback])
    try:
        p2plib.train(dataclasses.replace(config, batch_size=count + 1, run_dir=f"{run}-refused"))
    except p2plib.P2PError as error:
        print("refused:", error)
"""
"""Trains for an epoch; on several devices goes on for another, then tries a batch size that does not divide."""


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


def weights(path: Path) -> list[np.ndarray]:
    return p2plib.load(path).generator.get_weights()


def test_all_devices_train(runs):
    assert f"runtime: {runs.backend} on {runs.devices} x CPU, float32" in runs.out
    assert f"copies of a weight: {runs.devices}\n" in runs.out
    assert json.loads((runs.several / "environment.json").read_text())["plan"]["devices"] == runs.devices
    assert json.loads((runs.one / "environment.json").read_text())["plan"]["devices"] == 1


def test_several_devices_train_as_one(runs):
    """Losses, and pictures after the step; 1e-5 is what adding in another order may change in float32."""
    assert first_row(runs.several) == pytest.approx(first_row(runs.one), rel=1e-5)


def test_several_devices_take_the_step_of_one(runs):
    """Adam divides by the gradient's size plus 1e-7, so a weight moves by at most the learning rate, 2e-4."""
    name = "checkpoints/generator_0000001.keras"
    for one, several in zip(weights(runs.one / name), weights(runs.several / name), strict=True):
        np.testing.assert_allclose(several, one, rtol=0, atol=2e-6)


def test_a_run_on_several_devices_goes_on_and_loads(runs):
    assert "epoch 2/2" in runs.out
    model = p2plib.load(runs.several / "checkpoints" / "last.keras")
    assert model.info.step == 2
    assert p2plib.translate(model, [np.zeros((40, 50, 3), np.uint8)])[0].shape == (40, 50, 3)


def test_a_batch_that_does_not_divide_is_refused(runs):
    assert f"refused: batch_size {runs.devices + 1} does not divide by {runs.devices} devices" in runs.out
    assert not runs.several.with_name("several-refused").exists()
