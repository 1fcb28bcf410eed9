"""What happens around stock `fit()`: random state, validation, log, checkpoints, sample grids, stopping."""

from __future__ import annotations

import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from p2plib import files
from p2plib.config import TrainConfig
from p2plib.data import pipeline
from p2plib.data.image import save_image, tile_images
from p2plib.errors import TrainingError
from p2plib.evaluation.evaluate import means, score, to_csv
from p2plib.evaluation.metrics import COLOR, VALIDATION
from p2plib.inference import checkpoint
from p2plib.inference.translate import generate
from p2plib.models.layers import set_dropout_seeds
from p2plib.training.pix2pix import GAN_TRACKERS, Pix2Pix

STATE_OVERHEAD = 20
"""The training state is saved no oftener than that saving it takes a twentieth of the time."""
STATE_INTERVAL = 600
"""Seconds after which the training state is saved in the middle of an epoch."""
SAMPLES = 6
"""Rows of a sample grid."""


@dataclass
class Progress:
    """Where a run is; part of the training state."""

    epoch: int = 0
    """Epochs done."""
    step: int = 0
    """Steps done in the epoch after those."""
    steps_per_epoch: int = 0
    seconds: float = 0.0
    """Training time so far, over all sessions."""
    best: float = -math.inf
    """The best validation SSIM so far."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The log, one row an epoch."""

    @property
    def iteration(self) -> int:
        """Optimizer updates so far."""
        return self.epoch * self.steps_per_epoch + self.step


@dataclass(frozen=True)
class Snapshot:
    """A run after an epoch, for those who show it."""

    config: TrainConfig
    names: tuple[str, str]
    """What source and target are called."""
    rows: list[dict[str, Any]]
    """The log so far, one row an epoch."""
    samples: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]
    """Runs the generator on a few validation images: sources, generated, targets, each uint8 (N, S, S, 3)."""


def training_variables(model: Pix2Pix) -> dict[str, list[keras.Variable]]:
    """All that training changes: weights and random states, optimizer, and the means of a half-done epoch."""
    optimizer, parts = model.optimizer, {}
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        own = [v for v in optimizer.variables if not any(v is w for w in optimizer.inner_optimizer.variables)]
        parts["loss_scale"] = own
        optimizer = optimizer.inner_optimizer
    return {"model": model.variables, "optimizer": optimizer.variables, "metrics": model.metrics_variables} | parts


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
            checkpoint.load_state(self.state, {"metrics": self.model.metrics_variables})


class Recorder(keras.callbacks.Callback):
    """Validates, logs, saves; keeps `progress`.

    Args:
        folder: the run folder.
        config: the run's configuration, its direction resolved.
        names: what source and target are called.
        progress: where the run is; updated in place.
        twin: a float32 copy of the generator's architecture, which validates and is saved.
        validation: uint8 (N, 2, S, S, 3), source and target.
        show: called after every epoch.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        names: tuple[str, str],
        progress: Progress,
        twin: keras.Model,
        validation: np.ndarray,
        show: Callable[[Snapshot], None],
    ) -> None:
        super().__init__()
        self.folder, self.config, self.names = folder, config, names
        self.progress, self.twin, self.validation, self.show = progress, twin, validation, show
        self.metrics: dict[str, float] = {}
        self.clock = self.saved = time.monotonic()
        self.saved_iteration = progress.iteration  # a resumed run begins with what is on disk
        self.validation_seconds = self.save_seconds = 0.0
        self.shown = validation[pipeline.spread(range(len(validation)), SAMPLES)]

    @property
    def checkpoints(self) -> Path:
        """The folder of generator checkpoints and training state."""
        return self.folder / "checkpoints"

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Make sure that there is something to load and to resume from, whatever happens."""
        if self.progress.iteration == 0:
            self._sync_twin()
            self._save_state()
            self._save_generator("best")

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock of the epoch."""
        self.epoch_started, self.first_step = time.monotonic(), self.progress.step

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count, and look after long epochs."""
        self.progress.step += 1
        if batch % 50 == 0:
            self._check(logs or {})
        ended = self.progress.step == self.progress.steps_per_epoch  # on_epoch_end counts the epoch, then saves
        if not ended and self._state_due(STATE_INTERVAL):
            self._sync_twin()
            self._save_state()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Validate, log and save, unless the epoch was broken off."""
        self._check(logs or {})
        if self.progress.step < self.progress.steps_per_epoch:
            return
        started = time.monotonic()
        steps = self.progress.step - self.first_step
        rate = steps * self.config.batch_size / (started - self.epoch_started)
        self.progress.epoch, self.progress.step = epoch + 1, 0
        self._sync_twin()
        self.metrics = self._validate()
        self.validation_seconds = time.monotonic() - started
        self._log(logs or {}, rate)
        self._keep(last=self.progress.epoch == self.config.epochs)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Save where training ended."""
        if self.progress.iteration != self.saved_iteration:
            self._sync_twin()
            self._save_state()

    @property
    def reserve(self) -> float:
        """Seconds that ending takes, as far as seen: validation and two savings."""
        return self.validation_seconds + 2 * self.save_seconds

    def _check(self, logs: dict[str, Any]) -> None:
        bad = [name for name, value in logs.items() if not math.isfinite(float(value))]
        if bad:
            raise TrainingError(
                f"The loss became NaN or infinite ({', '.join(bad)}) in epoch {self.progress.epoch + 1}. The last good "
                f"state is kept: resume with a lower --learning-rate or --precision float32: --resume {self.folder}"
            )

    def _sync_twin(self) -> None:
        for twin, weight in zip(self.twin.weights, self.model.generator.weights, strict=True):  # one copy at a time
            twin.assign(keras.ops.convert_to_numpy(weight))

    def _validate(self) -> dict[str, float]:
        generated = generate(self.twin, self.validation[:, 0])
        names = (*VALIDATION, *COLOR) if self.config.task == "colorize" else VALIDATION
        return means(score(self.validation[:, 1], generated, names))

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self.clock
        self.clock = now

    def _log(self, logs: dict[str, Any], rate: float) -> None:
        self._tick()
        progress = self.progress
        row: dict[str, float] = {"epoch": progress.epoch, "step": progress.iteration}
        row |= {"learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))}
        if self.config.warmup_epochs:
            row |= dict.fromkeys(GAN_TRACKERS, math.nan)  # all rows have the columns; so far there may be no GAN
        row |= {name: float(value) for name, value in logs.items() if name in self.model.trackers}
        row |= {f"val_{name}": value for name, value in self.metrics.items()}
        row |= {"seconds": round(progress.seconds, 2), "pictures_per_second": round(rate, 2)}
        progress.rows.append(row)
        files.write_text(self.folder / "log.csv", to_csv(progress.rows))
        self.show(Snapshot(self.config, self.names, progress.rows, self._samples))

    def _keep(self, last: bool) -> None:
        epoch, config = self.progress.epoch, self.config
        if epoch == config.warmup_epochs + 1:
            self.progress.best = -math.inf
        if self.metrics["ssim"] > self.progress.best:
            self.progress.best = self.metrics["ssim"]
            self._save_generator("best")
        if epoch % config.sample_every == 0 or epoch == 1 or last:
            self._save_samples()
        if epoch % config.checkpoint_every == 0 or last:
            self._save_generator(f"generator_{self.progress.iteration:07d}")
            self._forget()
            self._save_state()
        elif self._state_due(0):
            self._save_state()

    def _forget(self) -> None:
        named = sorted(self.checkpoints.glob("generator_*.keras"), reverse=True)
        for old in named[self.config.keep :] if self.config.keep else []:
            old.unlink()

    def _samples(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.shown[:, 0], generate(self.twin, self.shown[:, 0]), self.shown[:, 1]

    def _save_samples(self) -> None:
        rows = [list(row) for row in zip(*self._samples(), strict=True)]
        save_image(self.folder / "samples" / f"{self.progress.iteration:07d}.png", tile_images(rows))

    def _save_generator(self, name: str) -> None:
        progress = self.progress
        metrics = {} if progress.step else self.metrics  # within an epoch, they are of another step
        info = checkpoint.Info(self.config, self.names, progress.epoch, progress.iteration, metrics)
        checkpoint.save_generator(self.checkpoints / f"{name}.keras", self.twin, info)

    def _state_due(self, interval: float) -> bool:
        return time.monotonic() - self.saved > max(interval, STATE_OVERHEAD * self.save_seconds)

    def _save_state(self) -> None:
        """The state first: `last.keras` may be one saving older than it, never newer."""
        started = time.monotonic()
        self._tick()
        try:
            variables = training_variables(self.model)
            checkpoint.save_state(self.checkpoints / "state.npz", variables, dataclasses.asdict(self.progress))
        except FloatingPointError as error:
            self._check({str(error): math.nan})
        self._save_generator("last")
        self.saved, self.saved_iteration = time.monotonic(), self.progress.iteration
        self.save_seconds = self.saved - started


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


def describe(row: dict[str, Any], epochs: int) -> str:
    """A row of the log as one line for people."""
    known = [name for name in ("l1", *GAN_TRACKERS) if not math.isnan(row.get(name, math.nan))]
    losses = "  ".join(f"{name} {row[name]:.3f}" for name in known)
    validation = f"l1 {row['val_l1']:.3f}  psnr {row['val_psnr']:.2f}  ssim {row['val_ssim']:.3f}"
    validation += f"  ab {row['val_ab']:.2f}" if "val_ab" in row else ""
    minutes, seconds = divmod(round(row["seconds"]), 60)
    rate = f"{row['pictures_per_second']:.1f} images/s  {minutes}:{seconds:02d}"
    return f"epoch {row['epoch']}/{epochs}  {losses}  | validation {validation}  | {rate}"
