"""What a run records: validation after every epoch, the log, checkpoints and sample grids."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from p2plib import files, runtime
from p2plib.config import TrainConfig
from p2plib.data.dataset import Loaded
from p2plib.data.image import save_image, tile_images
from p2plib.data.kind import PLAIN, Kinds
from p2plib.data.pairs import spread
from p2plib.data.scale import Scale
from p2plib.errors import TrainingError
from p2plib.evaluation.metrics import count, label_scores, means, score
from p2plib.inference.checkpoint import CheckpointInfo, save_generator
from p2plib.inference.translate import generate
from p2plib.training.fine_tuning import weights_of
from p2plib.training.pix2pix import Pix2Pix
from p2plib.training.run import Progress, Snapshot
from p2plib.training.state import save_state, state_file

SAVING_SHARE = 0.05
"""Largest share of the time spent on saving the training state; on a slow disk it is saved less often."""
STATE_INTERVAL = 600
"""Seconds between saves of the training state within an epoch."""
SAMPLES = 6
"""Rows in a sample grid."""


def training_variables(model: Pix2Pix) -> dict[str, list[keras.Variable]]:
    """Everything that training changes: weights, random states, optimizer, and the running means of the epoch."""
    optimizer, parts = model.optimizer, {}
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        own = [v for v in optimizer.variables if not any(v is w for w in optimizer.inner_optimizer.variables)]
        parts["loss_scale"] = own
        optimizer = optimizer.inner_optimizer
    frozen = model.features.variables if model.features else []
    if draws := [variable for layer in (model.shift, model.augment) if layer for variable in layer.variables]:
        parts["random"] = draws
    apart = {id(variable) for variable in [*frozen, *draws]}
    networks = [variable for variable in model.variables if id(variable) not in apart]
    return {"model": networks, "optimizer": optimizer.variables, "metrics": model.metrics_variables} | parts


class Validator:
    """Scores a float32 copy of the generator on the validation images; checkpoints hold this copy.

    With it come the weights of the discriminator at the same step, by path, as trained: they have no moving average.

    Args:
        generator: same architecture as the trained generator, built in float32.
        pairs: source and target images.
        metrics: names of the metrics to compute; of class masks also "mean_iou", over all pixels of all images.
        kinds: what sources and targets are.
    """

    def __init__(self, generator: keras.Model, pairs: Loaded, metrics: Sequence[str], kinds: Kinds = PLAIN) -> None:
        self.generator, self.pairs, self.metrics, self.kinds = generator, pairs, metrics, kinds
        self.shown = spread(range(len(pairs.names)), SAMPLES)
        self.discriminator: dict[str, np.ndarray] = {}

    def copy_weights(self, trained: Pix2Pix) -> None:
        """Copy the generator in training, or the moving average of its weights, one at a time to save memory."""
        optimizer: Any = getattr(trained.optimizer, "inner_optimizer", trained.optimizer)
        for mine, weight in zip(self.generator.weights, trained.generator.weights, strict=True):
            value = optimizer.average(weight) if weight.trainable else weight
            mine.assign(keras.ops.convert_to_numpy(value))
        self.discriminator = weights_of(trained.discriminator) if trained.discriminator else {}

    def scores(self) -> dict[str, float]:
        """The mean of every metric over the validation images."""
        sources, targets = self.pairs.sources, self.pairs.targets
        generated = generate(self.generator, sources, kinds=self.kinds)
        of_each = [name for name in self.metrics if name != "mean_iou"]
        found = means(score(targets, generated, sources, of_each, self.kinds))
        if "mean_iou" in self.metrics:
            true, said = (self.kinds[1].indices(images) for images in (targets, generated))
            found["mean_iou"] = label_scores(count(true, said, len(self.kinds[1].classes)))["mean_iou"]
        return found

    def samples(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A few sources, generated images and targets, as people see them: uint8 (N, H, W, 3) each."""
        sources, (source, target) = self.pairs.sources[self.shown], self.kinds
        generated = target.preview(generate(self.generator, sources, kinds=self.kinds))
        return source.preview(sources), generated, target.preview(self.pairs.targets[self.shown])


class Saver:
    """Writes the checkpoints, training state and sample grids of a run.

    Args:
        folder: the run folder.
        config: the run's configuration, with its direction resolved.
        names: names of source and target.
        scale: the sizes of the training images.
        progress: progress of the run.
        validator: holds the generator to save.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        names: tuple[str, str],
        scale: Scale | None,
        progress: Progress,
        validator: Validator,
    ) -> None:
        self.folder, self.config, self.names, self.scale = folder, config, names, scale
        self.progress, self.validator = progress, validator
        self.saved_at = time.monotonic()
        self.saved_iteration = progress.iteration  # a resumed run starts from the saved state
        self.seconds = 0.0
        """How long the last save of the state took."""

    def generator(self, name: str, metrics: dict[str, float]) -> None:
        """Write `checkpoints/NAME.keras`."""
        progress = self.progress
        metrics = {} if progress.step and not progress.done else metrics  # mid-epoch, they belong to an earlier step
        path, validator = self.folder / "checkpoints" / f"{name}.keras", self.validator
        kinds = None if validator.kinds[0].plain and validator.kinds[1].plain else validator.kinds
        info = CheckpointInfo(self.config, self.names, progress.epoch, progress.iteration, metrics, self.scale, kinds)
        save_generator(path, validator.generator, info, validator.discriminator)

    def numbered_generator(self, metrics: dict[str, float]) -> None:
        """Write `checkpoints/generator_STEP.keras` and remove all but the newest `keep`."""
        self.generator(f"generator_{self.progress.iteration:07d}", metrics)
        named = sorted((self.folder / "checkpoints").glob("generator_*.keras"), reverse=True)
        for old in named[self.config.keep :] if self.config.keep else []:
            old.unlink()

    def state_due(self, interval: float) -> bool:
        """Whether the last save is at least `interval` seconds old, and another one stays within `SAVING_SHARE`."""
        return time.monotonic() - self.saved_at > max(interval, self.seconds / SAVING_SHARE)

    def state(self, model: Pix2Pix, metrics: dict[str, float]) -> None:
        """Write the state, then `last.keras`, which is never newer than the state.

        Raises:
            FloatingPointError: a weight is NaN or infinite; nothing is written.
        """
        started = time.monotonic()
        save_state(state_file(self.folder), training_variables(model), dataclasses.asdict(self.progress))
        self.generator("last", metrics)
        self.saved_at, self.saved_iteration = time.monotonic(), self.progress.iteration
        self.seconds = self.saved_at - started

    def samples(self) -> None:
        """Write a sample grid: rows of source | generated | expected."""
        rows = [list(row) for row in zip(*self.validator.samples(), strict=True)]
        save_image(self.folder / "samples" / f"{self.progress.iteration:07d}.png", tile_images(rows))


class Recorder(keras.callbacks.Callback):
    """Counts steps and epochs, and decides when to validate, log and save.

    Args:
        saver: writes files; its `progress` is updated in place, and its `validator` scores the generator.
        terms: all terms of the objective, one log column each, even if a warm-up trains on fewer.
        show: called after every epoch.
    """

    def __init__(self, saver: Saver, terms: Sequence[str], show: Callable[[Snapshot], None]) -> None:
        super().__init__()
        self.saver, self.terms, self.show = saver, tuple(terms), show
        self.config, self.progress, self.validator = saver.config, saver.progress, saver.validator
        self.metrics: dict[str, float] = {}
        self.clock = time.monotonic()
        self.validation_seconds = 0.0

    @runtime.one_device()
    def on_train_begin(self, logs: dict | None = None) -> None:
        """Save at the start, so that there is always something to load and to resume from."""
        if self.progress.iteration == 0:
            self._save_new_state()
            self.saver.generator("best", self.metrics)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock of the epoch."""
        self.epoch_started, self.first_step = time.monotonic(), self.progress.step

    @runtime.one_device()
    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count the step, and save the state within long epochs."""
        self.progress.step += 1
        if batch % 50 == 0:
            self._refuse_nan(logs or {})
        ended = self.progress.step == self.progress.steps_per_epoch  # on_epoch_end counts the epoch, then saves
        if not ended and self.saver.state_due(STATE_INTERVAL):
            self._save_new_state()

    @runtime.one_device()
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Validate, log and save, unless the epoch was interrupted. The last one may end early, with `train_time`."""
        self._refuse_nan(logs or {})
        progress = self.progress
        if progress.step < progress.steps_per_epoch and not progress.done:
            return
        started = time.monotonic()
        size = self.config.batch_size // self.config.accumulate
        rate = (progress.step - self.first_step) * size / (started - self.epoch_started)
        if progress.step == progress.steps_per_epoch:
            progress.epoch, progress.step = epoch + 1, 0
        progress.done = progress.done or progress.complete(self.config)
        self.validator.copy_weights(self.model)
        self.metrics = self.validator.scores()
        self.validation_seconds = time.monotonic() - started
        self._log(logs or {}, rate)
        self._keep()
        warm = progress.epochs_begun <= self.config.warmup_epochs  # the best of the warm-up does not count
        if self.config.patience and not warm and progress.epochs_begun - progress.best_epoch >= self.config.patience:
            progress.done = self.model.stop_training = True

    @runtime.one_device()
    def on_train_end(self, logs: dict | None = None) -> None:
        """Save where training ended."""
        if self.progress.iteration != self.saver.saved_iteration:
            self._save_new_state()

    @property
    def reserve(self) -> float:
        """Estimated seconds to finish: one validation and two saves."""
        return self.validation_seconds + 2 * self.saver.seconds

    def _refuse_nan(self, logs: dict[str, Any]) -> None:
        bad = [name for name, value in logs.items() if not math.isfinite(float(value))]
        if bad:
            raise TrainingError(
                f"The loss became NaN or infinite ({', '.join(bad)}) in epoch {self.progress.epoch + 1}. The last good "
                "state is kept: resume with a lower --learning-rate or --precision float32: --resume "
                f"{files.shell(self.saver.folder)}"
            )

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self.clock
        self.clock = now

    def _log(self, logs: dict[str, Any], rate: float) -> None:
        self._tick()
        progress = self.progress
        row: dict[str, float] = {"epoch": progress.epochs_begun, "step": progress.iteration}
        row |= {"learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))}
        row |= {name: float(logs.get(name, math.nan)) for name in sorted(self.terms)}
        row |= {f"val_{name}": value for name, value in self.metrics.items()}
        row |= {"seconds": round(progress.seconds, 2), "pictures_per_second": round(rate, 2)}
        progress.rows.append(row)
        files.write_csv(self.saver.folder / "log.csv", progress.rows)
        samples = self.validator.samples
        self.show(Snapshot(self.config, self.saver.names, self.terms, progress.rows, samples, progress.done))

    def _keep(self) -> None:
        progress, config = self.progress, self.config
        epoch, last = progress.epochs_begun, progress.done
        if epoch == config.warmup_epochs + 1:
            progress.best = -math.inf
        value = self.metrics[progress.judge] * (-1 if progress.judge == "perceptual" else 1)
        if value > progress.best:
            progress.best, progress.best_epoch = value, epoch
            self.saver.generator("best", self.metrics)
        if epoch % config.sample_every == 0 or epoch == 1 or last:
            self.saver.samples()
        numbered = epoch % config.checkpoint_every == 0 or last
        if numbered:
            self.saver.numbered_generator(self.metrics)
        if numbered or self.saver.state_due(0):
            self._save_state()

    def _save_new_state(self) -> None:
        """Save a state whose generator was not validated, and so not copied yet."""
        self.validator.copy_weights(self.model)
        self._save_state()

    def _save_state(self) -> None:
        self._tick()
        try:
            self.saver.state(self.model, self.metrics)
        except FloatingPointError as error:
            self._refuse_nan({str(error): math.nan})
