"""Callbacks for stock `fit()`: random state, progress bar, and graceful stopping."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
from tqdm import tqdm

from p2plib import hosts
from p2plib.config import TrainConfig
from p2plib.models.layers import set_seeds
from p2plib.training.run import Progress, Snapshot
from p2plib.training.state import load_state

RATE_EVERY = 10
"""Steps between changes of the learning rate with `train_time`."""


def learning_rate(config: TrainConfig, progress: Progress) -> float:
    """The learning rate at a point of the training: constant, then linear decay toward zero over the second half.

    With `train_time`, the time of training steps counts, else epochs, of which `decay_epochs` may set the decay's.
    """
    if total := config.train_time_seconds:
        return config.learning_rate * max(0.0, min(1.0, 2 * (1 - progress.trained / total)))
    decay = config.epochs // 2 if config.decay_epochs is None else config.decay_epochs
    return config.learning_rate * min(1.0, (config.epochs - progress.epoch) / (decay + 1))


class Schedule(keras.callbacks.Callback):
    """Sets the learning rate, measures the time of training steps, and ends the training when `train_time` is used up.

    The first step of a session does not count, as it compiles. Of several machines, the clock of the first one counts.
    """

    def __init__(self, config: TrainConfig, progress: Progress) -> None:
        super().__init__()
        self.config, self.progress, self.limit = config, progress, config.train_time_seconds
        self.compiled = False

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the rate of the epoch."""
        self._set_rate()
        self.clock = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """With `train_time`, the rate follows the time."""
        if self.limit and batch % RATE_EVERY == 0 and batch:
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()  # else the step would go on with the optimizer's old variables
            self._set_rate()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count the time since the last step."""
        now = time.monotonic()
        if self.compiled:
            self.progress.trained += now - self.clock
        self.clock, self.compiled = now, True
        if self.limit and hosts.first() and self.progress.trained >= self.limit:
            self.progress.done = self.model.stop_training = True

    def _set_rate(self) -> None:
        # All hear it before all set it, since JAX compares between machines what a variable is set to.
        [self.model.optimizer.learning_rate] = hosts.told([learning_rate(self.config, self.progress)])


class Counter(keras.callbacks.Callback):
    """Counts steps and epochs where no `Recorder` does: on all machines but the first."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count the step."""
        self.progress.step += 1

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Count the epoch, if it is whole."""
        if self.progress.step == self.progress.steps_per_epoch:
            self.progress.epoch, self.progress.step = epoch + 1, 0


class Together(keras.callbacks.Callback):
    """Keeps several machines in step: all stop if one must.

    It comes after all callbacks that decide something, since the machines wait for each other in it.
    """

    def __init__(self, progress: Progress, stopper: Stopper) -> None:
        super().__init__()
        self.progress, self.stopper = progress, stopper

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Stop all if one stops."""
        self._agree()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """The same, after validation."""
        self._agree()

    def _agree(self) -> None:
        said = hosts.gathered([self.model.stop_training, self.progress.done])
        self.progress.done = bool(said[0, 1])
        if said[:, 0].any() and not self.model.stop_training:
            self.model.stop_training = True
            self.stopper.reason = self.stopper.reason or "another machine stops"


class EpochState(keras.callbacks.Callback):
    """Sets the random state of each epoch, or restores the metrics of an epoch that was interrupted.

    Keras does not save dropout's random state, so it is derived from (seed, epoch).
    """

    def __init__(self, progress: Progress, seed: int, state: Path | None) -> None:
        super().__init__()
        self.progress, self.seed, self.state = progress, seed, state

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the random state of the epoch or, after a mid-epoch resume, restore its running means."""
        if self.progress.step == 0:
            set_seeds(self.model, self.seed, epoch)
        elif self.state:  # the rest is restored already, but fit() has just reset the epoch's means
            load_state(self.state, {"metrics": self.model.metrics_variables})


class Display(keras.callbacks.Callback):
    """Shows a progress bar for the epoch in a terminal."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start a bar, if the output is a terminal."""
        total, done = self.progress.steps_per_epoch, self.progress.step
        self.bar = tqdm(desc=f"epoch {epoch + 1}", total=total, initial=done, unit="step", leave=False, disable=None)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Advance the bar."""
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Remove the bar."""
        self.bar.close()


class Stopper(keras.callbacks.Callback):
    """Stops training after the current step when time runs out or a signal arrives.

    Args:
        deadline: `time.monotonic()` by which everything must be saved; None for no limit.
        reserve: returns the seconds needed to validate and save.
    """

    def __init__(self, deadline: float | None, reserve: Callable[[], float]) -> None:
        super().__init__()
        self.deadline, self.reserve = deadline, reserve
        self.reason: str | None = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Stop if there is a reason."""
        if self.deadline is not None and time.monotonic() + self.reserve() >= self.deadline:
            self.reason = self.reason or "the time budget is used up"
        if self.reason:
            self.model.stop_training = True

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Stop gracefully on the first Ctrl-C or SIGTERM, and at once on a second Ctrl-C."""

        def stop(number: int, frame: Any) -> None:
            self.reason = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
            signal.signal(signal.SIGINT, signal.default_int_handler)

        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers
            return
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def describe(snapshot: Snapshot) -> str:
    """Summarize the last epoch in one line: losses, validation metrics, speed and time."""
    row = snapshot.rows[-1]
    known = [name for name in snapshot.terms if not math.isnan(row[name])]
    losses = "  ".join(f"{name} {row[name]:.3f}" for name in known)
    validation = f"l1 {row['val_l1']:.3f}  psnr {row['val_psnr']:.2f}  ssim {row['val_ssim']:.3f}"
    validation += f"  ab {row['val_ab']:.2f}" if "val_ab" in row else ""
    validation += f"  perceptual {row['val_perceptual']:.3f}" if "val_perceptual" in row else ""
    validation += f"  mean IoU {row['val_mean_iou']:.3f}" if "val_mean_iou" in row else ""
    minutes, seconds = divmod(round(row["seconds"]), 60)
    rate = f"{row['pictures_per_second']:.1f} images/s  {minutes}:{seconds:02d}"
    of = "" if snapshot.config.train_time else f"/{snapshot.config.epochs}"
    return f"epoch {row['epoch']}{of}  {losses}  | validation {validation}  | {rate}"
