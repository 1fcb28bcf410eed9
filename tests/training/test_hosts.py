"""Several machines that train together, as processes on 127.0.0.1."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from p2plib import hosts
from p2plib.errors import ConfigError

pytest.importorskip("jax")
pytestmark = pytest.mark.once

EPOCH = {"epochs": 1}
CODE = """
import json
import sys
import time
import traceback
from pathlib import Path

from jax.experimental import multihost_utils

import p2plib
from p2plib import hosts
from p2plib.training import loop

data, run, own, resume, distributed = sys.argv[1:]
build = loop.build


def slow(*args):  # the others come late, when the first one has saved if it does not wait for them
    models = build(*args)
    end = time.monotonic() + 5
    while time.monotonic() < end and not (hosts.first() or Path(run, "checkpoints", "state.npz").exists()):
        time.sleep(0.05)
    return models


def watched(values, **options):  # what is exchanged, by the line of p2plib that it is for
    frames = [frame for frame in traceback.extract_stack() if "p2plib" in frame.filename]
    exchanged.append(f"{Path(frames[-1].filename).name}:{frames[-1].lineno}")
    return gather(values, **options)


exchanged, gather = [], multihost_utils.process_allgather
multihost_utils.process_allgather = watched
loop.build = slow
settings = {"image_size": 32, "base_filters": 4, "receptive_field": 16, "batch_size": 4, "decay_epochs": 0, "terms": {}}
settings |= {"data": data, "precision": "float32", "distributed": distributed == "yes"} | json.loads(own)
settings |= {} if resume == "yes" else {"run_dir": run}
print("ended in", p2plib.train(p2plib.TrainConfig(**settings), resume=run if resume == "yes" else None))
print(json.dumps(exchanged))
"""


def start(folder: Path, run: Path, *settings: dict[str, Any], resume: bool = False) -> list[subprocess.Popen]:
    """Begin a training by as many machines as there are settings. One is none of several."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found, machines = [], len(settings)
    for i in range(machines):
        known = {"JOB_ADDRESSES": f"127.0.0.1:{port}", "NUM_PROCESSES": str(machines), "PROCESS_ID": str(i)}
        environment = os.environ | {f"KERAS_DISTRIBUTION_{name}": value for name, value in known.items()}
        environment |= {"KERAS_BACKEND": "jax", "PYTHONIOENCODING": "utf-8:surrogateescape"}
        says = ["yes" if resume else "no", "yes" if machines > 1 else "no"]
        command = [sys.executable, "-c", CODE, str(folder), str(run), json.dumps(settings[i]), *says]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        found.append(subprocess.Popen(command, env=environment, text=True, errors="surrogateescape", **pipes))
    return found


def finish(processes: list[subprocess.Popen], code: int = 0) -> list[str]:
    """What all have printed, once they have ended."""
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [code] * len(processes), outputs
    return outputs


def log(run: Path) -> list[dict[str, float]]:
    with open(run / "log.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def together(tiny_pairs, tmp_path_factory) -> tuple[Path, list[str]]:
    """A run of one epoch by two machines, and what they printed."""
    name = os.fsdecode(b"r\xfcn") if sys.platform == "linux" else "run"
    run = tmp_path_factory.mktemp("together") / name
    return run, finish(start(tiny_pairs, run, EPOCH, EPOCH))


def test_two_machines_train_as_one(together, tiny_pairs, tmp_path):
    run, outputs = together
    finish(start(tiny_pairs, tmp_path / "alone", EPOCH))
    [alone], [row] = log(tmp_path / "alone"), log(run)
    for name in ("l1", "gan", "discriminator", "val_l1", "val_ssim"):
        assert row[name] == pytest.approx(alone[name], rel=2e-3), name
    assert row["step"] == alone["step"] == 2
    first, second = outputs
    assert json.loads(first.splitlines()[-1]) == json.loads(second.splitlines()[-1])
    assert "2 x CPU" in first and "epoch 1/1" in first and "epoch" not in second
    assert f"ended in {run}" in first and f"ended in {run}" in second
    assert (run / "checkpoints" / "best.keras").is_file() and not list(run.parent.glob("*.part"))


@pytest.mark.parametrize("machines", [1, 2])
def test_a_run_goes_on_with_another_number_of_machines(together, tiny_pairs, tmp_path, machines):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(together[0], run)
    finish(start(tiny_pairs, run, *[{"epochs": 2}] * machines, resume=True))
    assert [row["step"] for row in log(run)] == [2, 4]


def test_all_stop_if_one_is_told_to(tiny_pairs, tmp_path):
    run = tmp_path / "run"
    machines = start(tiny_pairs, run, *[{"epochs": 10_000}] * 2)
    for _ in range(2400):
        if (run / "log.csv").exists():
            break
        time.sleep(0.1)
    machines[1].send_signal(signal.SIGTERM)
    first, _ = finish(machines)
    assert "ended: another machine stops" in first and f"to resume: python -m p2plib train --resume {run}" in first
    assert (run / "checkpoints" / "state.npz").is_file()


def test_the_clock_of_the_first_one_counts(tiny_pairs, tmp_path):
    first, second = finish(start(tiny_pairs, tmp_path / "run", *[{"train_time": "3s"}] * 2))
    assert "ended: 3s of training are done" in first
    assert json.loads(first.splitlines()[-1]) == json.loads(second.splitlines()[-1])
    rates = [row["learning_rate"] for row in log(tmp_path / "run")]
    assert rates == sorted(rates, reverse=True) and rates[-1] < rates[0] / 2


def test_machines_that_would_differ_are_refused(tiny_pairs, tmp_path):
    for output in finish(start(tiny_pairs, tmp_path / "run", EPOCH, {"epochs": 2}), code=1):
        assert "ConfigError: The machines differ in settings, devices, installed packages or images" in output
    assert not (tmp_path / "run").exists()


def test_alone_is_first():
    assert (hosts.first(), hosts.index(), hosts.count()) == (True, 0, 1)
    assert hosts.told([0.5, 2]) == [0.5, 2.0] and hosts.same("a")
    for text in ("räume/a b", os.fsdecode(b"r\xfcn"), ""):
        assert hosts.told_text(text) == text
    assert hosts.gathered([1, 2]).tolist() == [[1, 2]]


@pytest.mark.keras
def test_tensorflow_and_unknown_machines_are_refused(monkeypatch):
    import keras

    for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID"):
        monkeypatch.delenv(f"KERAS_DISTRIBUTION_{name}", raising=False)
    jax = keras.backend.backend() == "jax"
    message = "The other machines are not known, or cannot be reached" if jax else "on JAX only; add --backend jax"
    with pytest.raises(ConfigError, match=message):
        hosts.join()
    assert hosts.first() and hosts.count() == 1
