"""Callbacks around stock `fit()`: random state, the progress bar, and polite stopping."""

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

from p2plib.models.layers import set_dropout_seeds
from p2plib.training.run import Progress, Snapshot
from p2plib.training.state import load_state


class EpochState(keras.callbacks.Callback):
    """Gives an epoch its random state, or goes on in the middle of one.

    Dropout's random state follows from (seed, epoch), since Keras does not keep it in its files.
    """

    def __init__(self, progress: Progress, seed: int, state: Path | None) -> None:
        super().__init__()
        self.progress, self.seed, self.state = progress, seed, state

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the random state of the epoch or, after a resume in its middle, bring back its means so far."""
        if self.progress.step == 0:
            set_dropout_seeds(self.model.generator, self.seed, epoch)
        elif self.state:  # the rest was restored before, but fit() has just reset the epoch's means
            load_state(self.state, {"metrics": self.model.metrics_variables})


class Display(keras.callbacks.Callback):
    """Shows a bar for the epoch in a terminal, and lines that stay in any output."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start a bar; there is none where the output is not a terminal."""
        total, done = self.progress.steps_per_epoch, self.progress.step
        self.bar = tqdm(desc=f"epoch {epoch + 1}", total=total, initial=done, unit="step", leave=False, disable=None)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Advance the bar."""
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Remove the bar."""
        self.bar.close()


class Stopper(keras.callbacks.Callback):
    """Ends training after a step when the time is up or a signal came.

    Args:
        deadline: `time.monotonic()` at which all must be saved; None for no limit.
        reserve: gives the seconds that ending takes.
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
        """Let the first Ctrl-C or SIGTERM end training politely, and a second one at once."""

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
    """The last epoch as one line for people: the terms of the objective, validation, speed and time."""
    row = snapshot.rows[-1]
    known = [name for name in snapshot.terms if not math.isnan(row[name])]
    losses = "  ".join(f"{name} {row[name]:.3f}" for name in known)
    validation = f"l1 {row['val_l1']:.3f}  psnr {row['val_psnr']:.2f}  ssim {row['val_ssim']:.3f}"
    validation += f"  ab {row['val_ab']:.2f}" if "val_ab" in row else ""
    minutes, seconds = divmod(round(row["seconds"]), 60)
    rate = f"{row['pictures_per_second']:.1f} images/s  {minutes}:{seconds:02d}"
    return f"epoch {row['epoch']}/{snapshot.config.epochs}  {losses}  | validation {validation}  | {rate}"
