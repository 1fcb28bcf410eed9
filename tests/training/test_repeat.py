"""What repeats, with the settings that ship and without a special variable in the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tolerance import rounding

pytestmark = pytest.mark.once

TRAINING = """
import json, sys
import keras, p2plib

class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        kill.append(batch)
        if len(kill) == 7:
            self.model.stop_training = True

kill, settings = [], json.loads(sys.argv[1])
if sys.argv[2] == "whole":
    p2plib.train(p2plib.TrainConfig(**settings))
else:
    p2plib.train(p2plib.TrainConfig(**settings), callbacks=[Kill()])
    p2plib.train(resume=settings["run_dir"])
"""


def train(config, folder: Path, how: str = "whole", **more) -> dict[str, np.ndarray]:
    """The weights after training in a process of its own, by name."""
    settings = config.to_dict() | {"image_size": 64, "base_filters": 8, "run_dir": str(folder)} | more
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "XLA_", "JAX_", "ONEDNN_", "OMP_"))}
    command = [sys.executable, "-c", TRAINING, json.dumps(settings), how]
    result = subprocess.run(command, capture_output=True, text=True, env=clean | {"KERAS_BACKEND": "tensorflow"})
    assert result.returncode == 0, result.stderr
    with np.load(folder / "checkpoints" / "state.npz") as state:
        return {name: state[name] for name in state.files if name.startswith("model/")}


@pytest.fixture(scope="module")
def one(tiny_config, tmp_path_factory) -> dict[str, np.ndarray]:
    """Four epochs of five steps, as shipped."""
    return train(tiny_config, tmp_path_factory.mktemp("one") / "run")


@pytest.mark.parametrize("how", ["whole", "broken off and resumed"])
def test_the_same_seed_repeats_a_run_up_to_rounding(tiny_config, tmp_path, one, how):
    """On CPUs, the bits were the same in all runs that were compared; the backend does not promise it."""
    other = train(tiny_config, tmp_path / "run", how)
    steps, rate = 20, tiny_config.learning_rate
    for name, weight in one.items():
        if weight.dtype.kind == "f":  # each step of Adam may turn rounding into a part of its rate
            np.testing.assert_allclose(
                other[name], weight, rtol=0, atol=steps * rate * 0.05 + rounding(steps), err_msg=name
            )


def test_deterministic_repeats_a_run_to_the_bit(tiny_config, tmp_path):
    one, two, resumed = (
        train(tiny_config, tmp_path / str(i), how, deterministic=True)
        for i, how in enumerate(["whole", "whole", "broken off and resumed"])
    )
    for name, weight in one.items():
        np.testing.assert_array_equal(two[name], weight, name)
        np.testing.assert_array_equal(resumed[name], weight, name)
