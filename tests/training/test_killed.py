"""Training is killed without warning, again and again; what is on disk always loads, and the run goes on."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from p2plib.config import TrainConfig
from p2plib.inference.checkpoint import read_info
from p2plib.training.state import read_progress

pytestmark = pytest.mark.once
KILLS = 10

CHILD = """
import json, math, sys
from pathlib import Path
import keras
import p2plib
from p2plib.training import recorder

class FirstStep(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            print("first step", flush=True)

recorder.SAVING_SHARE, recorder.STATE_INTERVAL = math.inf, 0  # save after every step
run, config = Path(sys.argv[1]), p2plib.TrainConfig(**json.loads(sys.argv[2]))
for path in (run / "checkpoints").glob("[!.]*.keras"):
    p2plib.load(path)
p2plib.train(config, resume=run if run.exists() else None, callbacks=[FirstStep()])
"""
"""Loads every checkpoint that it finds, then trains or goes on."""

MILESTONES = [["run folder"], ["first step"], ["epoch", "epoch"], ["first step"], ["first step"]]
"""What a session says before it is killed: at its start, in its first steps, or after it has saved a whole epoch."""


def test_what_is_on_disk_always_loads_and_resumes(tiny_config, tmp_path):
    """The moments are random but seeded, half a second or less after a milestone.

    Not marked for JAX: the files are written by the same code on every backend.
    """
    rng, run = random.Random(0), tmp_path / "run"
    config = dataclasses.replace(
        tiny_config, epochs=10**6, decay_epochs=0, checkpoint_every=1, sample_every=1, run_dir=str(run)
    )
    position = (0, 0)
    for kill in range(KILLS):
        with session(config, tmp_path / "errors.txt") as child:
            for line in MILESTONES[kill % 5]:
                await_line(child, line, tmp_path / "errors.txt")
            time.sleep(rng.uniform(0, 0.5))
            assert child.poll() is None
            child.kill()
        position = intact(run, position)
    assert position > (1, 0)  # it got on between the kills
    with session(dataclasses.replace(config, epochs=position[0] + 2), tmp_path / "errors.txt") as child:
        out, _ = child.communicate(timeout=120)
    assert child.returncode == 0, (tmp_path / "errors.txt").read_text()
    assert out.splitlines()[-1] == f"ended: all {position[0] + 2} epochs are done"
    assert intact(run, position) == (position[0] + 2, 0)
    assert list(run.rglob(".*")) == []  # what the killed ones left half-written


def test_death_between_the_last_step_of_an_epoch_and_its_validation(tiny_config, tmp_path, monkeypatch):
    """No state is saved there: an epoch without steps to go is none that a run could resume in."""
    from keras.callbacks import Callback

    from p2plib.training import recorder
    from p2plib.training.loop import train

    class Death(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 4:
                raise SystemExit

    monkeypatch.setattr(recorder, "SAVING_SHARE", math.inf)
    monkeypatch.setattr(recorder, "STATE_INTERVAL", 0)
    run = tmp_path / "run"
    with pytest.raises(SystemExit):
        train(dataclasses.replace(tiny_config, run_dir=str(run)), callbacks=[Death()])
    assert intact(run, (0, 0)) == (0, 4)
    train(resume=run)
    assert intact(run, (0, 4)) == (4, 0)


def session(config: TrainConfig, errors: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(config.run_dir), json.dumps(config.to_dict())]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    with errors.open("w") as stderr:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)


def await_line(child: subprocess.Popen[str], start: str, errors: Path) -> None:
    assert any(line.startswith(start) for line in child.stdout), errors.read_text()


def intact(run: Path, before: tuple[int, int]) -> tuple[int, int]:
    """Check every file of the run; returns where it is: epochs and steps done."""
    state = run / "checkpoints" / "state.npz"
    for path in state.parent.glob("[!.]*.keras"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None, path
        read_info(path)
    if not state.exists():  # killed before it began
        assert before == (0, 0)
        return before
    progress = read_progress(state)
    with np.load(state) as arrays:
        assert all(np.isfinite(arrays[name]).all() for name in arrays.files if name != "progress")
    position = (progress["epoch"], progress["step"])
    assert position >= before
    log = run / "log.csv"
    epochs = [int(row["epoch"]) for row in csv.DictReader(log.read_text().splitlines())] if log.exists() else []
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) - position[0] in (0, 1)  # the log comes before the state
    last = state.with_name("last.keras")
    assert not last.exists() or read_info(last).step <= position[0] * 5 + position[1]
    return position
