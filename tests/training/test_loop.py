from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import signal
from importlib.util import find_spec

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from tolerance import rounding  # noqa: E402

import p2plib  # noqa: E402
from p2plib.data.image import read_rgb, resize_image, tile_images  # noqa: E402
from p2plib.errors import CheckpointError, ConfigError, TrainingError  # noqa: E402
from p2plib.evaluation.metrics import VALIDATION  # noqa: E402
from p2plib.inference.checkpoint import read_info  # noqa: E402
from p2plib.models import build_discriminator, build_generator  # noqa: E402
from p2plib.training.callbacks import learning_rate  # noqa: E402
from p2plib.training.discriminator import load_discriminator  # noqa: E402
from p2plib.training.loop import train  # noqa: E402
from p2plib.training.run import Progress  # noqa: E402
from p2plib.training.state import read_progress  # noqa: E402

CLOCK = {"seconds", "pictures_per_second"}


class At(keras.callbacks.Callback):
    """Does something once, after the given step of the run."""

    def __init__(self, step, action):
        super().__init__()
        self.step, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        self.step -= 1
        if self.step == 0:
            self.action(self)


def stop(callback) -> None:
    callback.model.stop_training = True


def state(run) -> dict[str, np.ndarray]:
    with np.load(run / "checkpoints" / "state.npz") as file:
        return {name: file[name] for name in file.files if name != "progress"}


def log(run) -> list[dict[str, str]]:
    rows = csv.DictReader((run / "log.csv").read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in CLOCK} for row in rows]


def progress(run) -> dict:
    return read_progress(run / "checkpoints" / "state.npz")


def assert_same_run(one, two) -> None:
    assert log(one) == log(two)
    first, second = state(one), state(two)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], name)
    for name in ("best", "last"):
        assert read_info(one / f"checkpoints/{name}.keras").step == (read_info(two / f"checkpoints/{name}.keras").step)


@pytest.fixture(scope="module")
def straight(tiny_config, tmp_path_factory):
    """Four epochs of five steps without a break."""
    return train(dataclasses.replace(tiny_config, run_dir=str(tmp_path_factory.mktemp("straight"))))


@pytest.mark.parametrize("breaks", [[10], [7], [12, 1, 1]], ids=str)
def test_resume_is_exact_at_any_step(tiny_config, straight, tmp_path, breaks):
    run = tmp_path / "run"
    train(dataclasses.replace(tiny_config, run_dir=str(run)), callbacks=[At(breaks[0], stop)])
    for steps in breaks[1:]:
        train(resume=run, callbacks=[At(steps, stop)])
    assert progress(run)["epoch"] * 5 + progress(run)["step"] == sum(breaks)
    train(resume=run)
    assert_same_run(run, straight)


@pytest.mark.parametrize(
    "values",
    [{"precision": "mixed_float16", "gan_weight": 0.0}, {"norm": "batch", "xla": "on"}, {"load": "crop"}],
    ids=str,
)
def test_resume_is_exact_for_other_settings(tiny_config, tmp_path, values, request):
    if "precision" in values:
        request.getfixturevalue("half_precision")
    config = dataclasses.replace(tiny_config, epochs=2, decay_epochs=0, **values)
    for name, breaks in (("straight", []), ("broken", [3])):
        run = tmp_path / name
        for steps in breaks:
            train(dataclasses.replace(config, run_dir=str(run)), callbacks=[At(steps, stop)])
        train(resume=run) if breaks else train(dataclasses.replace(config, run_dir=str(run)))
    assert_same_run(tmp_path / "broken", tmp_path / "straight")


def generator_weights(run, name: str) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in p2plib.load(run / "checkpoints" / f"{name}.keras").generator.weights]


@pytest.fixture(scope="module")
def warm_config(tiny_config):
    """One epoch of five steps on L1 alone, then one of the GAN."""
    return dataclasses.replace(tiny_config, epochs=2, decay_epochs=0, warmup_epochs=1, checkpoint_every=1)


@pytest.fixture(scope="module")
def warmed(warm_config, tmp_path_factory):
    return train(dataclasses.replace(warm_config, run_dir=str(tmp_path_factory.mktemp("warmed"))))


@pytest.mark.once
def test_resume_is_exact_within_at_the_end_of_and_after_the_warm_up(warm_config, warmed, tmp_path):
    run = tmp_path / "run"
    train(dataclasses.replace(warm_config, run_dir=str(run)), callbacks=[At(4, stop)])
    train(resume=run, callbacks=[At(1, stop)])
    with pytest.raises(CheckpointError, match="warm-up"):
        load_discriminator(run)
    before = generator_weights(run, "last")
    train(resume=run, callbacks=[At(1, stop)])
    assert_first_steps_of_adam(before, generator_weights(run, "last"))
    keras.utils.set_random_seed(warm_config.seed)  # as training does, first for the generator
    build_generator(warm_config)
    assert_first_steps_of_adam(
        [np.asarray(weight) for weight in build_discriminator(warm_config).weights],
        [np.asarray(weight) for weight in load_discriminator(run).model.weights],
    )
    train(resume=run)
    assert_same_run(run, warmed)


def assert_first_steps_of_adam(before, after) -> None:
    """They are as long as the learning rate, wherever the gradient is not next to nothing."""
    steps = np.concatenate([np.abs(one - two).ravel() for one, two in zip(before, after, strict=True)])
    assert np.median(steps) == pytest.approx(2e-4, rel=0.02)
    assert steps.max() < 2.1e-4


@pytest.mark.once
def test_the_warm_up_is_a_run_on_l1_alone(warm_config, warmed, tmp_path):
    alone = train(dataclasses.replace(warm_config, gan_weight=0.0, epochs=1, warmup_epochs=0, run_dir=str(tmp_path)))
    weights = generator_weights(alone, "last"), generator_weights(warmed, "generator_0000005")
    for one, two in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, two)
    for name in ("gan", "discriminator"):
        assert np.isnan([float(row[name]) for row in log(warmed)]).tolist() == [True, False]
    assert read_info(warmed / "checkpoints" / "best.keras").epoch == 2


def test_a_run_folder_holds_everything_to_repeat_it(straight, tiny_config):
    names = {path.relative_to(straight).as_posix() for path in straight.rglob("*") if path.is_file()}
    assert names == {
        "config.json",
        "environment.json",
        "data.json",
        "log.csv",
        "samples/0000005.png",
        "samples/0000010.png",
        "samples/0000020.png",
        "checkpoints/best.keras",
        "checkpoints/last.keras",
        "checkpoints/generator_0000010.keras",
        "checkpoints/generator_0000020.keras",
        "checkpoints/state.npz",
    }
    assert json.loads((straight / "config.json").read_text())["direction"] == "AtoB"
    environment = json.loads((straight / "environment.json").read_text())
    assert environment["versions"]["keras"] == keras.__version__
    assert environment["plan"]["backend"] == keras.backend.backend()
    assert [int(row["epoch"]) for row in log(straight)] == [1, 2, 3, 4]
    rates = [float(row["learning_rate"]) for row in log(straight)]
    np.testing.assert_allclose(rates, [2e-4, 2e-4, 2e-4 * 2 / 3, 2e-4 / 3], rtol=rounding(1))  # they are float32


def test_samples_show_source_generated_expected(straight, tiny_pairs):
    sheet = read_rgb(straight / "samples" / "0000020.png")
    assert sheet.shape == (3 * 36 - 4, 3 * 36 - 4, 3)
    pair = read_rgb(tiny_pairs / "val" / "10.png")
    np.testing.assert_array_equal(sheet[:32, :32], resize_image(pair[:, :40], 32, 32))
    np.testing.assert_array_equal(sheet[:32, -32:], resize_image(pair[:, 40:], 32, 32))


def test_best_is_the_best_and_says_so(straight):
    best = min(log(straight), key=lambda row: float(row["val_perceptual"]))
    info = read_info(straight / "checkpoints" / "best.keras")
    assert info.step == int(best["step"])
    assert info.metrics["ssim"] == float(best["val_ssim"])


def test_the_log_tells_what_evaluate_tells(straight):
    result = p2plib.evaluate(p2plib.load(straight / "checkpoints" / "last.keras"))
    last = log(straight)[-1]
    assert {name: result.mean[name] for name in VALIDATION} == {name: float(last[f"val_{name}"]) for name in VALIDATION}


def test_a_run_is_shown_after_every_epoch(tiny_config, tmp_path, capsys):
    shown = []
    config = dataclasses.replace(tiny_config, epochs=2, decay_epochs=0, run_dir=str(tmp_path / "run"))
    run = train(config, show=lambda snapshot: shown.append((snapshot, len(snapshot.rows), snapshot.samples())))
    assert [count for _, count, _ in shown] == [1, 2]
    snapshot, _, (sources, generated, targets) = shown[-1]
    assert (snapshot.names, snapshot.config.epochs) == (("A", "B"), 2)
    assert sources.shape == generated.shape == targets.shape == (3, 32, 32, 3)
    newest = max((run / "samples").iterdir())
    sheet = tile_images([list(row) for row in zip(sources, generated, targets, strict=True)])
    np.testing.assert_array_equal(read_rgb(newest), sheet)
    assert "epoch 1/2" not in capsys.readouterr().out


def test_runs_go_where_the_environment_says(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setenv("P2PLIB_RUNS", str(tmp_path / "elsewhere"))
    run = train(dataclasses.replace(tiny_config, epochs=1, decay_epochs=0))
    assert run.parent == tmp_path / "elsewhere"


def test_only_the_newest_named_checkpoints_are_kept(tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, checkpoint_every=1, keep=2, run_dir=str(tmp_path / "run"))
    names = sorted(path.name for path in (train(config) / "checkpoints").glob("generator_*"))
    assert names == ["generator_0000015.keras", "generator_0000020.keras"]


@pytest.mark.parametrize("decay", [100, None])
def test_a_constant_rate_and_a_decay(decay):
    config = p2plib.TrainConfig(epochs=200, decay_epochs=decay, learning_rate=1.0)
    assert [learning_rate(config, Progress(epoch=epoch)) for epoch in (0, 99)] == [1.0, 1.0]
    assert learning_rate(config, Progress(epoch=100)) == pytest.approx(100 / 101)
    assert learning_rate(config, Progress(epoch=199)) == pytest.approx(1 / 101)
    assert learning_rate(p2plib.TrainConfig(epochs=3, decay_epochs=0), Progress(epoch=2)) == 4e-4


def test_with_a_training_time_the_rate_reaches_zero_when_it_is_used_up():
    config = p2plib.TrainConfig(train_time="100s", learning_rate=1.0)
    rates = [learning_rate(config, Progress(epoch=1000, trained=seconds)) for seconds in (0, 50, 75, 100, 101)]
    assert rates == pytest.approx([1, 1, 0.5, 0, 0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_ends_politely(tiny_config, tmp_path, capsys, number):
    run, before = tmp_path / "run", signal.getsignal(number)
    kill = At(8, lambda _: os.kill(os.getpid(), number))
    train(dataclasses.replace(tiny_config, run_dir=str(run)), callbacks=[kill])
    assert signal.getsignal(number) is before
    assert f"--resume {run}" in capsys.readouterr().out
    assert 8 <= progress(run)["epoch"] * 5 + progress(run)["step"] <= 9
    train(resume=run)
    assert progress(run)["epoch"] == 4


def test_a_time_budget_ends_politely(tiny_config, tmp_path, capsys):
    config = dataclasses.replace(tiny_config, epochs=100000, time_budget="1s", run_dir=str(tmp_path / "run"))
    run = train(config)
    assert "time budget is used up" in capsys.readouterr().out
    assert progress(run)["epoch"] < 100000
    steps = progress(run)["epoch"] * 5 + progress(run)["step"]
    train(dataclasses.replace(config, time_budget="2s"), resume=run)
    assert progress(run)["epoch"] * 5 + progress(run)["step"] > steps


def test_nan_stops_and_keeps_the_last_good_state(tiny_config, tmp_path):
    run = tmp_path / "run"
    config = dataclasses.replace(tiny_config, epochs=50, run_dir=str(run))

    def poison(callback):
        weight = callback.model.generator.trainable_variables[0]
        weight.assign(np.full(weight.shape, np.nan))

    with pytest.raises(TrainingError, match=r"NaN.*epoch 2.*--resume"):
        train(config, callbacks=[At(7, poison)])
    assert all(np.isfinite(array).all() for array in state(run).values())
    assert np.isfinite(p2plib.evaluate(p2plib.load(run)).mean["l1"])
    assert progress(run)["epoch"] <= 1


def test_a_resumed_run_may_be_longer_but_not_another(tiny_config, tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    config = dataclasses.replace(tiny_config, epochs=3, decay_epochs=0)
    with pytest.raises(ConfigError, match="base_filters, seed"):
        train(dataclasses.replace(config, base_filters=8, seed=1), resume=run)
    train(config, resume=run)
    assert progress(run)["epoch"] == 3
    assert p2plib.TrainConfig.read(run / "config.json").epochs == 3


def test_changed_data_is_noticed(tiny_config, tiny_pairs, tmp_path):
    shutil.copytree(tiny_pairs, tmp_path / "pairs")
    config = dataclasses.replace(tiny_config, data=str(tmp_path / "pairs"), run_dir=str(tmp_path / "run"))
    run = train(config, callbacks=[At(1, stop)])
    for i in range(2):
        (tmp_path / "pairs" / "train" / f"{i}.png").unlink()
    with pytest.raises(ConfigError, match=r"2 missing \(train/0.png, train/1.png\)"):
        train(resume=run)


def test_a_used_folder_is_not_overwritten(tiny_config, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match="not empty"):
        train(dataclasses.replace(tiny_config, run_dir=str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_there_must_be_something_to_resume(tmp_path, tiny_run):
    with pytest.raises(ConfigError, match=r"config\.json"):
        train(resume=tmp_path / "nowhere")
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    damaged = run / "checkpoints" / "state.npz"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"state\.npz"):
        train(resume=run)


def test_bad_data_leaves_no_run_folder(tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, batch_size=11, run_dir=str(tmp_path / "run"))
    with pytest.raises(p2plib.P2PError, match="do not fill a batch"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_tensorboard_logs_are_written_or_the_package_is_named(tiny_config, tmp_path):
    run = tmp_path / "run"
    config = dataclasses.replace(tiny_config, epochs=1, decay_epochs=0, tensorboard=True, run_dir=str(run))
    if find_spec("tensorboard"):
        train(config)
        assert list((run / "tensorboard").rglob("events.*"))
    else:
        with pytest.raises(ConfigError, match=r"p2plib\[tensorboard\]"):
            train(config)
        assert not run.exists()


def test_pairs_too_small_for_a_crop_are_counted(tiny_config, tmp_path, capsys):
    config = dataclasses.replace(tiny_config, load="crop", image_size=64, epochs=1, decay_epochs=0)
    train(dataclasses.replace(config, run_dir=str(tmp_path / "run")))
    assert "10 of the training pairs are smaller than 64 pixels: enlarged" in capsys.readouterr().out


def test_broken_pairs_that_are_left_out_are_counted_and_named(tiny_config, tiny_pairs, tmp_path, capsys):
    shutil.copytree(tiny_pairs, tmp_path / "pairs")
    for name in ("train/3.png", "val/11.png"):
        (tmp_path / "pairs" / name).write_bytes(b"<html>")
    config = dataclasses.replace(tiny_config, data=str(tmp_path / "pairs"), epochs=1, decay_epochs=0)
    with pytest.raises(p2plib.P2PError, match=r"train/3\.png"):
        train(dataclasses.replace(config, run_dir=str(tmp_path / "refused")))
    train(dataclasses.replace(config, skip_broken=True, run_dir=str(tmp_path / "run")))
    out = capsys.readouterr().out
    assert "2 pair(s) are left out (2 unreadable):" in out
    assert "train/3.png" in out and "val/11.png" in out
    assert "9 training pairs (in memory), 2 validation pairs" in out
