"""A batch in parts gives the gradient of the whole; a lack of memory is said plainly."""

import dataclasses
import itertools

import numpy as np
import pytest

pytestmark = pytest.mark.keras

from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data.batches import Batches  # noqa: E402
from p2plib.data.dataset import open_dataset  # noqa: E402
from p2plib.errors import ConfigError, TrainingError  # noqa: E402
from p2plib.training.loop import train  # noqa: E402
from p2plib.training.state import read_progress, state_file  # noqa: E402


@pytest.fixture
def config(tiny_config, tmp_path) -> TrainConfig:
    small = {"batch_size": 4, "epochs": 3, "decay_epochs": 0, "dropout": 0.0, "ema": 0.9, "warmup_epochs": 0}
    return dataclasses.replace(tiny_config, **small, precision="float32", run_dir=str(tmp_path / "run"))


def quietly(config: TrainConfig, **more):
    return train(config, show=lambda snapshot: None, **more)


def state(run) -> dict[str, np.ndarray]:
    with np.load(run / "checkpoints" / "state.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name.startswith("model/")}


def test_the_parts_of_a_batch_are_its_pairs(config):
    whole = Batches(open_dataset(config), config)
    parts = Batches(open_dataset(config), dataclasses.replace(config, accumulate=2))
    assert (whole.steps_per_epoch, parts.steps_per_epoch, parts.size) == (2, 4, 2)
    halved = parts.start(1, 2)
    for x, y in itertools.islice(whole.start(1, 1), 5):
        halves = list(itertools.islice(halved, 2))
        np.testing.assert_array_equal(x, np.concatenate([half[0] for half in halves]))
        np.testing.assert_array_equal(y, np.concatenate([half[1] for half in halves]))


def test_training_in_parts_is_that_of_whole_batches(config, tmp_path):
    begun = state(quietly(dataclasses.replace(config, epochs=1, learning_rate=1e-12, run_dir=str(tmp_path / "begun"))))
    whole = state(quietly(config))
    parts = state(quietly(dataclasses.replace(config, accumulate=2, run_dir=str(tmp_path / "parts"))))
    moved = sum(np.abs(whole[name] - begun[name]).sum() for name in whole)
    apart = sum(np.abs(whole[name] - parts[name]).sum() for name in whole)
    assert 0 < apart < 0.02 * moved  # rounding, which Adam makes larger where gradients are tiny


def test_a_run_that_stops_within_a_batch_goes_on_exactly(config, tmp_path):
    import keras

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = self.model.stop_training or batch == 4

    settings = dataclasses.replace(config, accumulate=4)
    straight = quietly(settings)
    stopped = quietly(dataclasses.replace(settings, run_dir=str(tmp_path / "stopped")), callbacks=[Stop()])
    assert read_progress(state_file(stopped))["step"] == 5  # of 8, which are two batches
    quietly(None, resume=stopped)
    for name, value in state(straight).items():
        np.testing.assert_array_equal(state(stopped)[name], value)


@pytest.mark.parametrize("accumulate", [0, 3])
def test_parts_must_divide_a_batch(accumulate):
    with pytest.raises(ConfigError, match=r"accumulate is 0|batch_size 4 is not divisible by accumulate 3"):
        TrainConfig(batch_size=4, accumulate=accumulate)
    assert TrainConfig(accumulate=2).for_devices(4).batch_size == 8
    with pytest.raises(ConfigError, match="not divisible by 2 devices times 2 parts; use a multiple of 4"):
        TrainConfig(batch_size=6, accumulate=2).for_devices(2)


def test_a_lack_of_memory_says_what_needs_less(config):
    import keras

    class Hungry(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                keras.ops.zeros((1 << 45,), "float32")  # 128 TB

    with pytest.raises(TrainingError, match=r"ran out of memory\. Start a run that needs less: accumulate takes"):
        quietly(config, callbacks=[Hungry()])
