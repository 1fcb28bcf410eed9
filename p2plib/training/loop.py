"""`train(config)`: stock `fit()`, exact resume, and a run folder that holds everything to repeat it.

Keras is imported by the functions here, not by the module: the backend is chosen from the configuration first.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from p2plib import files, runtime
from p2plib.config import CHANGEABLE, TrainConfig
from p2plib.data import pipeline
from p2plib.errors import ConfigError
from p2plib.inference import checkpoint
from p2plib.models import build_discriminator, build_generator

if TYPE_CHECKING:
    import keras

    from p2plib.training.callbacks import Progress, Snapshot
    from p2plib.training.pix2pix import Pix2Pix


def train(
    config: TrainConfig | None = None,
    *,
    resume: str | Path | None = None,
    show: Callable[[Snapshot], None] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Path:
    """Train pix2pix.

    The run folder holds `config.json`, `environment.json` (versions, hardware, git revision), `log.csv` (a row an
    epoch), `samples/` (grids source | generated | expected) and `checkpoints/`: `best.keras` (by validation SSIM),
    `last.keras`, `generator_STEP.keras`, and `state.npz` to resume from.

    Training ends after the last epoch, when the time budget is used up, or politely on Ctrl-C and SIGTERM. A run that
    resumes gives the weights that it would have had without the break: the same batches, crops, dropout masks and
    optimizer state. To the bit where a step is one compiled program (JAX, or TensorFlow with `xla="on"`). TensorFlow
    without XLA adds gradients in an order that changes from run to run, so that no two of its runs are equal unless
    $TF_DETERMINISTIC_OPS is 1.

    With `warmup_epochs`, the log has no GAN losses (NaN) for the first epochs, and `best.keras` is the best since then:
    SSIM likes the blurred images of L1, which are not what such a run is for.

    Args:
        config: the settings; None means the defaults or, with `resume`, those of the run.
        resume: a run folder to go on with. `config` may then differ from the run's in `config.CHANGEABLE` only.
        show: called after every epoch; `widgets.progress()` draws curves and samples live. None prints a line.
        callbacks: more Keras callbacks.

    Returns:
        The run folder.

    Raises:
        ConfigError: settings do not go together, or not with the run that is resumed.
        DataError: pairs are missing or broken.
        CheckpointError: there is nothing to resume from.
        TrainingError: the loss became NaN; the last good state is kept.
    """
    started = time.monotonic()
    folder, config = _open_run(config, resume)
    if config.tensorboard and not find_spec("tensorboard"):
        raise ConfigError("TensorBoard is not installed; run: pip install 'p2plib[tensorboard]'")
    plan = runtime.start(config)
    if config.batch_size % plan.devices:
        raise ConfigError(f"batch_size {config.batch_size} does not divide by {plan.devices} devices; change it.")
    data = pipeline.TrainingData(config)
    validation, _, skipped = pipeline.load_split(config, "val", config.validation_pairs)
    if data.skipped or skipped:
        say(pipeline.left_out(data.skipped + skipped))
    where = "in memory" if data.in_memory else "read from disk every epoch"
    say(f"{data.count} training pairs ({where}), {len(validation)} validation pairs")
    _write_records(folder, config, plan)
    say(f"run folder: {folder}")
    with runtime.distributed(plan) as scope:
        models = build(config, plan, scope)
        reason = _fit(models, data, validation, folder, config, plan, started, show or print_row, callbacks)
    say(f"ended: {reason or f'all {config.epochs} epochs are done'}")
    if reason:
        say(f"to go on: python -m p2plib train --resume {folder}")
    return folder


def build(config: TrainConfig, plan: runtime.Plan, scope: AbstractContextManager[Any]) -> list[Pix2Pix]:
    """Build and compile the networks as `config` and `plan` say, with weights drawn from the seed.

    Returns:
        The model that is trained; with a warm-up, before it, one of the same generator, without discriminator. Each has
        an optimizer of its own: after a warm-up both networks begin with a new one, as if the generator had been loaded
        from a file. (One Adam for all would correct the bias of its means by a count of steps that the discriminator
        has not made, so that its first steps would be over ten times too long.)
    """
    import keras

    from p2plib.training.pix2pix import Pix2Pix

    keras.utils.set_random_seed(config.seed)
    with scope, runtime.dtype_policy(plan.precision):
        generator, discriminator = build_generator(config), build_discriminator(config)
        judges = [None, discriminator] if config.warmup_epochs else [discriminator]
        weights = (config.gan_loss, config.gan_weight, config.l1_weight)
        models = [Pix2Pix(generator, judge, *weights) for judge in judges]
        for model in models:
            model.compile(keras.optimizers.Adam(config.learning_rate, beta_1=0.5, name="adam"), jit_compile=plan.xla)
            model.build((None, config.image_size, config.image_size, 3))
            model.optimizer.build(model.trainable_variables)
    return models


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """The learning rate of an epoch (0-based): constant, then linearly towards zero over the last `decay_epochs`."""
    left = config.epochs - epoch
    return config.learning_rate * min(1.0, left / (config.decay_epochs + 1))


def _fit(
    models: list[Pix2Pix],
    data: pipeline.TrainingData,
    validation: Any,
    folder: Path,
    config: TrainConfig,
    plan: runtime.Plan,
    started: float,
    show: Callable[[Snapshot], None],
    more: Sequence[keras.callbacks.Callback],
) -> str | None:
    """Run `fit()` from where the run is; returns why it ended early, if it did."""
    import keras

    from p2plib.training.callbacks import Display, EpochState, Progress, Recorder, Stopper

    state = folder / "checkpoints" / "state.npz"
    progress = Progress(steps_per_epoch=data.steps_per_epoch)
    resumed = state.exists()
    if resumed:
        files.remove_leftovers(folder)
        progress = _restore(state, models, data, config)
    with runtime.one_device(), runtime.dtype_policy("float32"):
        twin = build_generator(config)
        twin.compile(jit_compile=plan.xla)
    recorder = Recorder(folder, config, pipeline.side_names(config), progress, twin, validation, show)
    budget = config.time_budget_seconds
    stopper = Stopper(None if budget is None else started + budget, lambda: recorder.reserve)
    callbacks = [
        EpochState(progress, config.seed, state if resumed else None),
        keras.callbacks.LearningRateScheduler(lambda epoch, _: learning_rate(config, epoch)),
        Display(progress),
        recorder,
        stopper,
        *([keras.callbacks.TensorBoard(str(folder / "tensorboard"))] if config.tensorboard else []),
        *more,
    ]
    with stopper.on_signals(), data.plain_errors():
        for model in models:
            end = config.epochs if model is models[-1] else config.warmup_epochs
            model.stop_training = False
            while progress.epoch < end and not model.stop_training:
                model.fit(
                    data.batches(progress.epoch, progress.step),
                    initial_epoch=progress.epoch,
                    epochs=progress.epoch + 1 if progress.step else end,  # first end the half-done epoch
                    steps_per_epoch=data.steps_per_epoch - progress.step,
                    verbose=0,
                    shuffle=False,  # they are shuffled
                    callbacks=callbacks,
                )
            if model.stop_training:
                return stopper.reason or "a callback asked for it"
    return None


def _restore(state: Path, models: list[Pix2Pix], data: pipeline.TrainingData, config: TrainConfig) -> Progress:
    """Set the model that saved the state; at the very end of the warm-up that is still the first."""
    from p2plib.training.callbacks import Progress, training_variables

    progress = Progress(**checkpoint.read_progress(state))
    if progress.steps_per_epoch != data.steps_per_epoch:
        raise ConfigError(
            f"The training data changed: an epoch had {progress.steps_per_epoch} steps and now has "
            f"{data.steps_per_epoch}; bring the old pairs back, or start a new run."
        )
    warm = progress.iteration <= config.warmup_epochs * data.steps_per_epoch
    checkpoint.load_state(state, training_variables(models[0] if warm else models[-1]))
    return progress


def _open_run(config: TrainConfig | None, resume: str | Path | None) -> tuple[Path, TrainConfig]:
    """The run folder (not made yet if it is new) and the configuration with its direction resolved."""
    if resume is None:
        config = config or TrainConfig()
        config = dataclasses.replace(config, direction=pipeline.direction(config))
        return _new_folder(config), config
    folder = Path(resume)
    saved = TrainConfig.read(folder / "config.json")
    if config is None:
        return folder, saved
    config = dataclasses.replace(config, direction=pipeline.direction(config))
    before, after = saved.to_dict(), config.to_dict()
    changed = [name for name in after if after[name] != before[name] and name not in CHANGEABLE]
    if changed:
        raise ConfigError(f"A resumed run cannot change {', '.join(changed)}; start a new run for that.")
    return folder, config


def _new_folder(config: TrainConfig) -> Path:
    name = f"{Path(config.data).resolve().name}-{config.direction}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = Path(config.run_dir or Path(os.environ.get("P2PLIB_RUNS", "runs"), name))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty; go on with --resume {folder}, or choose another run_dir.")
    return folder


def _write_records(folder: Path, config: TrainConfig, plan: runtime.Plan) -> None:
    environment = runtime.describe() | {"plan": dataclasses.asdict(plan), "git_revision": _git_revision()}
    files.write_text(folder / "config.json", json.dumps(config.to_dict(), indent=1) + "\n")
    files.write_text(folder / "environment.json", json.dumps(environment, indent=1) + "\n")


def _git_revision() -> str | None:
    """The revision of the folder that training is started in, with "+" if files were changed."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def print_row(snapshot: Snapshot) -> None:
    """Print the last epoch as one line."""
    from p2plib.training.callbacks import describe

    say(describe(snapshot.rows[-1], snapshot.config.epochs))


def say(line: str) -> None:
    """Print a line above the progress bar, at once."""
    tqdm.write(line)
    sys.stdout.flush()
