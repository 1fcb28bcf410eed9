"""The default recipe, and how a training ends."""

from __future__ import annotations

import dataclasses
import json
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.config import TrainConfig  # noqa: E402
from p2plib.errors import ConfigError  # noqa: E402
from p2plib.inference.checkpoint import read_info  # noqa: E402
from p2plib.models import features  # noqa: E402
from p2plib.training import callbacks, loop, objective  # noqa: E402
from p2plib.training.discriminator import load_discriminator  # noqa: E402
from p2plib.training.loop import train  # noqa: E402
from p2plib.training.run import read_log  # noqa: E402
from p2plib.training.state import read_progress  # noqa: E402


class At(keras.callbacks.Callback):
    """Stops after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None) -> None:
        self.left -= 1
        self.model.stop_training = self.left == 0


def state(run) -> dict[str, np.ndarray]:
    with np.load(run / "checkpoints" / "state.npz") as file:
        return {name: file[name] for name in file.files if name != "progress"}


@pytest.fixture(scope="module")
def modern(modern_config, tmp_path_factory):
    return train(dataclasses.replace(modern_config, run_dir=str(tmp_path_factory.mktemp("modern"))))


@pytest.mark.parametrize("steps", [7, 10])
def test_resume_is_exact(modern_config, modern, tmp_path, steps):
    run = tmp_path / "run"
    train(dataclasses.replace(modern_config, run_dir=str(run)), callbacks=[At(steps)])
    train(resume=run)
    one, two = state(run), state(modern)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], name)


def test_every_term_is_in_the_log_and_the_feature_network_in_no_file(modern):
    row = read_log(modern / "log.csv")[-1]
    terms = {"l1", "gan", "discriminator", "perceptual", "feature_matching"}
    assert terms <= row.keys()
    assert all(np.isfinite(row[name]) for name in terms)
    assert row["l1"] < read_log(modern / "log.csv")[0]["l1"]
    generator = p2plib.load(modern).generator
    discriminator = load_discriminator(modern).model
    saved = [name for name in state(modern) if name.startswith("model/")]
    assert len(saved) == len(generator.variables) + len(discriminator.variables)


def test_checkpoints_hold_the_moving_average(modern):
    """The averages come last among the optimizer's variables, those of the generator first among them."""
    saved = [np.asarray(weight) for weight in p2plib.load(modern / "checkpoints" / "last.keras").generator.weights]
    found = state(modern)
    optimizer = [found[name] for name in sorted(found) if name.startswith("optimizer/")]
    trained = [found[name] for name in sorted(found) if name.startswith("model/")]
    players = (len(optimizer) - 2) // 3
    for mine, average in zip(saved, optimizer[-players:], strict=False):
        np.testing.assert_array_equal(mine, average)
    assert any(not np.array_equal(mine, weight) for mine, weight in zip(saved, trained, strict=False))


def test_best_is_chosen_by_the_perceptual_distance(modern):
    rows = read_log(modern / "log.csv")
    best = min(rows, key=lambda row: row["val_perceptual"])
    assert read_progress(modern / "checkpoints" / "state.npz")["judge"] == "perceptual"
    assert read_info(modern / "checkpoints" / "best.keras").step == best["step"]


def test_best_is_chosen_by_ssim_where_no_judge_is_installed(tiny_config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(features, "available", lambda name: False)
    run = train(dataclasses.replace(tiny_config, epochs=1, decay_epochs=0, run_dir=str(tmp_path)))
    assert "val_perceptual" not in read_log(run / "log.csv")[0]
    assert "best.keras is chosen by SSIM" in capsys.readouterr().out


def test_without_a_feature_network_the_recipe_matches_features_of_the_discriminator(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(features, "available", lambda name: False)
    config = objective.available(TrainConfig(data="toy"), loop.say)
    assert config.terms == {"feature_matching": 10.0}
    assert "pip install 'p2plib[features]'" in capsys.readouterr().out
    assert objective.available(TrainConfig(gan_weight=0), loop.say).terms == {}
    with pytest.raises(ConfigError, match="features"):
        objective.available(TrainConfig(terms={"perceptual": 1.0}), loop.say)
    with pytest.raises(ConfigError, match="features"):
        objective.available(TrainConfig(), loop.say, resumed=True)


@pytest.fixture
def ticking(monkeypatch):
    """A clock that says that each step took a second."""
    seconds = count()
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


def test_training_ends_when_its_time_is_used_up(tiny_config, tmp_path, ticking, capsys):
    """The first step of a session does not count."""
    config = dataclasses.replace(tiny_config, decay_epochs=None, train_time="12s", run_dir=str(tmp_path / "run"))
    run = train(config)
    assert "ended: 12s of training are done" in capsys.readouterr().out
    rows = read_log(run / "log.csv")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 5), (2, 10), (3, 13)]
    rates = [row["learning_rate"] / 2e-4 for row in rows]
    assert rates == pytest.approx([1, 1, 2 * (1 - 9 / 12)], rel=1e-5)
    last = read_info(run / "checkpoints" / "last.keras")
    assert last.step == 13
    assert last.metrics["ssim"] == rows[-1]["val_ssim"]
    assert (run / "samples" / "0000013.png").exists()
    before = state(run)
    train(resume=run)
    assert "ended: 12s of training are done" in capsys.readouterr().out
    for name, value in state(run).items():
        np.testing.assert_array_equal(value, before[name], name)


def test_a_finished_run_goes_on_with_more_time(tiny_config, tmp_path, ticking):
    config = dataclasses.replace(tiny_config, decay_epochs=None, train_time="12s", run_dir=str(tmp_path / "run"))
    run = train(config)
    train(dataclasses.replace(config, train_time="20s"), resume=run)
    assert [row["step"] for row in read_log(run / "log.csv")] == [5, 10, 13, 15, 20, 22]


def test_patience_ends_a_run_that_no_longer_improves(tiny_config, tmp_path, capsys):
    config = dataclasses.replace(tiny_config, learning_rate=1e-12, patience=2, run_dir=str(tmp_path / "run"))
    run = train(config)
    assert "no better validation result for 2 epochs" in capsys.readouterr().out
    assert len(read_log(run / "log.csv")) == 3
    assert json.loads((run / "config.json").read_text())["patience"] == 2


def test_patience_waits_for_the_gan(tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, learning_rate=1e-12, patience=1, warmup_epochs=3)
    run = train(dataclasses.replace(config, epochs=6, run_dir=str(tmp_path / "run")))
    assert [np.isnan(row["gan"]) for row in read_log(run / "log.csv")] == [True, True, True, False, False]
