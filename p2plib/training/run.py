"""The run folder and its settings, records and lock, and the progress of a run."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from p2plib import files, hosts, runtime
from p2plib.config import CHANGEABLE, TrainConfig
from p2plib.data import record
from p2plib.data.dataset import Dataset
from p2plib.data.kind import Kinds
from p2plib.data.measure import DECIDED
from p2plib.errors import ConfigError, TrainingError, WriteError
from p2plib.inference.checkpoint import read_info
from p2plib.training.state import state_file

_LOST = ("Gloo", "NCCL", "UNAVAILABLE", "Connection", "heartbeat")
"""What errors say that JAX raises when it no longer reaches another machine."""


@dataclass
class Progress:
    """The progress of a run; part of the training state."""

    epoch: int = 0
    """Completed epochs."""
    step: int = 0
    """Steps done in the current epoch."""
    steps_per_epoch: int = 0
    seconds: float = 0.0
    """Time so far, over all sessions, with validation and saving."""
    trained: float = 0.0
    """Time of training steps so far, over all sessions, without the first of each session, which compiles."""
    done: bool = False
    """Whether training has ended, so that there is nothing to resume."""
    judge: str = "ssim"
    """The validation metric that chooses `best.keras`."""
    best: float = -math.inf
    """The best value of this metric so far, negative if lower is better."""
    best_epoch: int = 0
    """The epoch of `best`."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The log, one row per epoch."""

    @property
    def iteration(self) -> int:
        """Optimizer updates so far."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def epochs_begun(self) -> int:
        """Completed epochs, and the one at hand."""
        return self.epoch + bool(self.step)

    def complete(self, config: TrainConfig) -> bool:
        """Whether all epochs, or all of `train_time`, are done."""
        if limit := config.train_time_seconds:
            return self.trained >= limit
        return self.epoch >= config.epochs


@dataclass(frozen=True)
class Snapshot:
    """The state of a run after an epoch, for display."""

    config: TrainConfig
    names: tuple[str, str]
    """Names of source and target."""
    terms: tuple[str, ...]
    """The terms of the objective; each has a column in the log."""
    rows: list[dict[str, Any]]
    """The log so far, one row per epoch."""
    samples: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]
    """Runs the generator on a few validation images; returns sources, generated, targets, each uint8 (N, S, S, 3)."""
    done: bool = False
    """Whether the training is complete."""


def settings(config: TrainConfig | None, resume: str | Path | None) -> TrainConfig:
    """Resolve the settings of a new or resumed run.

    Args:
        config: the requested settings; None means the defaults or, with `resume`, those of the run.
        resume: the run folder to resume.

    Raises:
        ConfigError: it is not a run folder, or a setting differs that a resumed run cannot change.
        WriteError: the run folder cannot be written.
    """
    if resume is None:
        config = config or TrainConfig()
        if config.run_dir:
            _refuse_files_in(Path(config.run_dir))
        files.check_writable(config.run_dir or _runs(), folder=True)
        return config
    saved = TrainConfig.read(Path(resume) / "config.json")
    files.check_writable(resume, folder=True)
    known = record.read(resume)
    if config is None or config.data == saved.data:
        there = record.found_again(saved.data, known)
        record.check_there(there)
        saved = dataclasses.replace(saved, data=there)
        config = dataclasses.replace(config, data=there) if config else saved
    if config.direction == "auto":
        config = dataclasses.replace(config, direction=saved.direction)
    unset = [name for name in DECIDED if getattr(config, name) in (None, "auto")]
    config = dataclasses.replace(config, **{name: getattr(saved, name) for name in unset})
    before, after = saved.to_dict(), config.to_dict()
    changed = [name for name in after if after[name] != before[name] and name not in CHANGEABLE]
    if known and "data" in changed:  # the same images elsewhere are the same data, which is checked by the record
        changed.remove("data")
    if changed:
        raise ConfigError(f"A resumed run cannot change {', '.join(changed)}; start a new run for that.")
    return config


def kinds_of(resume: str | Path | None) -> Kinds | None:
    """What sources and targets of a resumed run are; None for a new run, or if they are 8-bit RGB."""
    last = Path(resume, "checkpoints", "last.keras") if resume else None
    return read_info(last).kinds if last and last.exists() else None


def begun(folder: Path) -> bool:
    """Whether there is a training state in a run folder, as the first of several machines sees it.

    All must call this at the same point. If each looked for itself, a slower machine would see what the first has saved
    by then, and restore it while the others train. JAX would take its weights for their numbers ("not the same on each
    process", with values from unset memory), or Gloo would end them all ("Received data size doesn't match").
    """
    return bool(hosts.told([state_file(folder).exists()])[0])


def check_alike(config: TrainConfig, plan: runtime.Plan, dataset: Dataset) -> None:
    """See that all machines that train together would do the same; otherwise they would exchange unlike numbers.

    Raises:
        ConfigError: settings, devices or images differ; all machines raise it.
    """
    if hosts.count() > 1 and not hosts.same(f"{config.to_dict()} {plan} {dataset.fingerprint}"):
        raise ConfigError(
            "The machines differ in settings, devices, installed packages or images; start the same command on "
            "machines of one kind, with the same images under the same path."
        )


@contextmanager
def claimed(config: TrainConfig, resume: str | Path | None) -> Iterator[Path]:
    """Lock the run folder, created for a new run, so that no other process trains in it; the first machine does.

    Raises:
        ConfigError: another process is training in it, or a new run's folder is not empty.
        TrainingError: a file cannot be written; the message says how to go on.
    """
    if not hosts.first():
        yield Path(hosts.told_text(""))
        return
    folder = Path(resume) if resume is not None else _new_folder(config)
    try:
        with files.locked(folder):
            hosts.told_text(str(folder))
            yield folder
    except files.LockedError as error:
        raise ConfigError(
            f"{folder}: another process is training in this folder; wait until it ends, or choose another run_dir."
        ) from error
    except WriteError as error:
        go_on = f"What was saved before is intact; then go on: python -m p2plib train --resume {files.shell(folder)}"
        raise TrainingError(f"{error} {go_on if state_file(folder).exists() else 'Then start again.'}") from error


def write_records(folder: Path, config: TrainConfig, plan: runtime.Plan, dataset: Dataset) -> None:
    """Write what is needed to reproduce the run: settings, versions, hardware, and which images it uses.

    Raises:
        ConfigError: the run in this folder used other images.
    """
    before = record.read(folder)
    data = record.record_of(dataset, before)
    if before and not before.get("pairs") and before["fingerprint"] != data["fingerprint"]:
        counts = ", ".join(f"{before[split]} {split} pairs then, {data[split]} now" for split in ("train", "val"))
        raise ConfigError(
            f"The training data changed: {config.data} holds other images than when this run started ({counts}); "
            "restore the old ones, name their folder with --data, or start a new run."
        )
    environment = runtime.describe() | {"plan": dataclasses.asdict(plan), "git_revision": _git_revision()}
    contents = {"config.json": config.to_dict(), "environment.json": environment, record.FILE: data}
    for name, content in contents.items():
        files.write_text(folder / name, json.dumps(content, indent=1) + "\n")


def read_log(path: str | Path) -> list[dict[str, float]]:
    """Read a run's `log.csv`, one row per epoch; empty if there is no such file yet."""
    if not Path(path).exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _runs() -> Path:
    """The folder of runs that are given none."""
    return Path(os.environ.get("P2PLIB_RUNS") or "runs")


def _new_folder(config: TrainConfig) -> Path:
    """Create the folder of a new run; runs that start in the same second get different folders."""
    if config.run_dir:
        folder = Path(config.run_dir)
        _refuse_files_in(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    data = files.part_name(Path(config.data).resolve().name)
    name = f"{data}-{config.direction}-{datetime.now():%Y%m%d-%H%M%S}"
    parent = _runs()
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        try:
            (parent / (name + suffix)).mkdir(parents=True)
        except FileExistsError:
            continue
        return parent / (name + suffix)
    raise ConfigError(f"{parent / name}: 999 folders of this name exist; set run_dir.")


def _refuse_files_in(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        go_on = f"--resume {files.shell(folder)}"
        raise ConfigError(f"{folder} is not empty; continue it with {go_on}, or choose another run_dir.")


def _git_revision() -> str | None:
    """The git revision of the working directory, with "+" if files were changed."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


@contextmanager
def plain_backend_errors(folder: Path) -> Iterator[None]:
    """Raise a TrainingError in place of a backend's error about memory, or about other machines, in this block."""
    try:
        yield
    except Exception as error:
        what, saved = str(error), f"What this run saved is whole; it is in {folder}."
        if "RESOURCE_EXHAUSTED" in what or type(error).__name__ == "ResourceExhaustedError":
            raise TrainingError(
                "The device ran out of memory. Start a run that needs less: accumulate takes each batch in parts, and "
                f"image_size, base_filters and batch_size can be smaller. {saved}"
            ) from error
        if hosts.count() > 1 and any(sign in what for sign in _LOST):
            raise TrainingError(
                f"Another machine was lost. {saved} Go on: python -m p2plib train --resume {files.shell(folder)}"
            ) from error
        raise
