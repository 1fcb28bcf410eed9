"""`train(config)`: stock `fit()`, exact resume, and a run folder with everything needed to reproduce the run.

The run folder holds `config.json`, `environment.json` (versions, hardware, git revision), `data.json` (which images),
`log.csv` (one row per epoch), `samples/` (grids source | generated | expected) and `checkpoints/`: `best.keras` (by
the perceptual distance of the validation images, by SSIM where its network is not installed, or by the mean IoU of
class masks), `last.keras`,
`generator_STEP.keras`, and `state.npz` to resume from.

Training ends after the last epoch or after `train_time`. It is interrupted when the time budget runs out, or gracefully
on Ctrl-C or SIGTERM. With `train_time`, the learning rate follows the clock, so two runs are not the same run.

A run depends on its seed, settings, images, versions and machine, and on nothing else; a resumed run sees the batches,
crops, dropout masks and optimizer state of one that never stopped. Two such runs agree up to rounding. On CPUs they
agreed to the bit in every case compared, on both backends; the backends do not promise it, and GPUs add in varying
order. `deterministic=True` is the backend's own promise of equal bits. It costs nothing on CPUs and speed on GPUs.

With `init`, a new run starts from a trained model; see `fine_tuning`.

With `warmup_epochs`, the GAN losses are NaN in the log until the GAN starts, and `best.keras` ignores the warm-up,
whose images are blurry.

Functions import Keras only after the configuration has chosen the backend.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from p2plib import files, hosts, runtime
from p2plib.config import TrainConfig
from p2plib.data import record
from p2plib.data.batches import Batches
from p2plib.data.dataset import Dataset, Loaded, open_dataset
from p2plib.data.kind import PLAIN, Kinds
from p2plib.data.measure import decided
from p2plib.data.problems import say_left_out
from p2plib.data.scale import scale_of
from p2plib.errors import ConfigError
from p2plib.evaluation.metrics import VALIDATION
from p2plib.models import build_discriminator, build_generator, features
from p2plib.training import fine_tuning
from p2plib.training.objective import available, class_notes, feature_network, objective
from p2plib.training.run import Progress, Snapshot, begun, check_alike, claimed, kinds_of, settings, write_records
from p2plib.training.session import Session, fit
from p2plib.training.state import load_state, read_progress, state_file

if TYPE_CHECKING:
    import keras

    from p2plib.training.pix2pix import Pix2Pix
    from p2plib.training.recorder import Saver

JUDGES = {
    "mean_iou": "the mean IoU of the validation images",
    "perceptual": "the perceptual distance of the validation images",
    "ssim": "SSIM of the validation images; pip install 'p2plib[features]' has them judged as people see them",
}


def train(
    config: TrainConfig | None = None,
    *,
    resume: str | Path | None = None,
    show: Callable[[Snapshot], None] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Path:
    """Train pix2pix.

    See the top of this file for the run folder, when training ends, and reproducibility.

    Args:
        config: the settings; None means the defaults or, with `resume`, those of the run.
        resume: a run folder to continue. `config` may then differ from the run's in `config.CHANGEABLE` only.
        show: called after every epoch; `widgets.progress()` draws live curves and samples. None prints a line.
        callbacks: additional Keras callbacks.

    Example:
        >>> run = p2plib.train(p2plib.TrainConfig(data="facades", train_time="30m"))

    Returns:
        The run folder.

    Raises:
        ConfigError: settings conflict with each other or with the resumed run.
        DataError: pairs are missing or broken.
        CheckpointError: there is nothing to resume from, or no trained model to start from.
        TrainingError: the loss became NaN or infinite, or memory does not suffice; the last good state is kept.
    """
    started = time.monotonic()
    config = settings(config, resume)
    origin = fine_tuning.origin(config, resume)
    config, plan = _plan(config, new=resume is None)
    dataset = record.same_pairs(open_dataset(config, kinds_of(resume)), record.read(resume), say)
    config = available(dataclasses.replace(config, direction=dataset.direction), say, resume is not None)
    batches, validation = Batches(dataset, config, hosts.share()), dataset["val"].load(config.validation_pairs)
    config = _say_data(config, dataset, batches, validation)
    check_alike(config, plan, dataset)
    with claimed(config, resume) as folder:
        progress = _progress(folder, batches)
        with runtime.distributed(plan) as scope:
            models = build(config, plan, scope, origin, dataset.kinds)
            saver = _saver(folder, config, plan, dataset, validation, progress) if hosts.first() else None
            _restore(folder, models, progress, config)
            session = Session(config, folder, progress, saver, started)
            reason = fit(models, batches, session, show or print_row, callbacks)
    say(f"ended: {reason or _complete(config, progress)}")
    if reason:
        say(f"to resume: python -m p2plib train --resume {files.shell(folder)}")
    return folder


def build(
    config: TrainConfig,
    plan: runtime.Plan,
    scope: AbstractContextManager[Any],
    origin: Path | None = None,
    kinds: Kinds = PLAIN,
) -> list[Pix2Pix]:
    """Build and compile the networks for `config` and `plan`, with initial weights from the seed.

    Args:
        config: the settings.
        plan: devices, precision and compilation.
        scope: from `runtime.distributed`.
        origin: the checkpoint to take weights from, if any.
        kinds: what sources and targets are.

    Returns:
        The model to train. With a warm-up, it comes second, after one with the same generator and no discriminator.
        Each has its own optimizer, so both networks start with a new Adam after the warm-up. (A shared Adam would use
        the warm-up's step count for bias correction, and D's first steps would be over ten times too large.)

    Raises:
        CheckpointError: the checkpoint is damaged.
        ConfigError: none of its generator's weights fit.
    """
    import keras  # after the backend is chosen

    from p2plib.training.diff_augment import DiffAugment
    from p2plib.training.optimizer import AveragingAdam
    from p2plib.training.pix2pix import Pix2Pix

    trained = fine_tuning.read(origin) if origin else None  # first: it draws random numbers
    keras.utils.set_random_seed(config.seed)
    with scope, runtime.dtype_policy(plan.precision):
        generator, discriminator = _networks(config, trained, kinds)
        opponents = [None, discriminator] if config.warmup_epochs else [discriminator]
        augment = DiffAugment((kinds[0].plain, kinds[1].plain)) if config.diff_augment else None
        parts = config.gan_loss, objective(config), feature_network(config, plan), augment
        models = [Pix2Pix(generator, opponent, *parts) for opponent in opponents]
        for model in models:
            options: dict[str, Any] = {"beta_1": 0.5, "averaging": config.ema}
            if config.accumulate > 1:
                options["gradient_accumulation_steps"] = config.accumulate
            adam = AveragingAdam(config.learning_rate, **options, name="adam")
            model.compile(adam, jit_compile=plan.xla)
            model.build((None, *config.shape, kinds[0].network_channels))
            model.optimizer.build(model.trainable_variables)
    return models


def _networks(
    config: TrainConfig, trained: fine_tuning.Trained | None, kinds: Kinds
) -> tuple[keras.Model, keras.Model | None]:
    """Generator and discriminator; they get trained weights before an optimizer's averages begin as their weights."""
    generator, discriminator = build_generator(config, kinds), build_discriminator(config, kinds)
    if trained:
        say("\n".join(fine_tuning.begin(trained, config, generator, discriminator)))
    return generator, discriminator


def _complete(config: TrainConfig, progress: Progress) -> str:
    if config.patience and progress.best_epoch + config.patience <= progress.epochs_begun:
        return f"no better validation result for {config.patience} epochs"
    return f"{config.train_time} of training are done" if config.train_time else f"all {config.epochs} epochs are done"


def _plan(config: TrainConfig, new: bool) -> tuple[TrainConfig, runtime.Plan]:
    """Choose backend and devices; fit the settings of a new run to them, and reject those that cannot work."""
    if config.tensorboard and not find_spec("tensorboard"):
        raise ConfigError("TensorBoard is not installed; run: pip install 'p2plib[tensorboard]'")
    plan = runtime.start(config)
    fitting = config.for_devices(plan.devices)
    if (size := config.batch_size) != fitting.batch_size:
        if not new:
            raise ConfigError(f"This run's batch_size {size} is not divisible by {plan.devices} devices; use others.")
        say(f"batch_size is {fitting.batch_size}, not {size}, to divide by {plan.devices} devices")
    return fitting, plan


def _say_data(config: TrainConfig, dataset: Dataset, batches: Batches, validation: Loaded) -> TrainConfig:
    """Say what the images are; returns the settings with what follows from it."""
    if left_out := batches.left_out + validation.left_out:
        say(say_left_out(left_out))
    pairs = batches.pairs
    of = "the training pairs" if pairs.all_checked else f"{pairs.checked} checked training pairs"
    if pairs.enlarged:
        say(f"{pairs.enlarged} of {of} are smaller than {config.image_size} pixels: enlarged")
    for kind in dataset.kinds:
        if not kind.plain:
            say(f"{kind.describe()}, for the network {'one channel for each' if kind.are_classes else '-1 to 1'}")
    if dataset.source.are_classes and config.source == "auto":
        say("the sources hold class numbers, so they are taken as classes (source image: as levels of gray)")
    if dataset.target.plain and batches.target_channels == 1 and not config.target_channels:
        say("all training targets are gray, so the generated images are, too (target_channels 3: in color)")
    for note in [*pairs.clipped(), *dataset.notes, *class_notes(config)]:
        say(note)
    if not pairs.all_checked:
        later = "are named and left out" if config.skip_broken else "end the training"
        say(f"{pairs.checked} of the training pairs were checked; broken ones among the others {later}")
    where = "in memory" if batches.in_memory else "read from disk every epoch"
    say(f"{batches.count} training pairs ({where}), {len(validation.names)} validation pairs")
    return dataclasses.replace(decided(config, dataset.kinds), target_channels=batches.target_channels)


def _progress(folder: Path, batches: Batches) -> Progress:
    """Where the run is; a new one is at its beginning. Nothing is written for a run that cannot go on."""
    if not begun(folder):
        judge = "perceptual" if features.available("lite2") else "ssim"
        judge = "mean_iou" if batches.kinds[1].are_classes else judge
        return Progress(steps_per_epoch=batches.steps_per_epoch, judge=judge)
    progress = Progress(**read_progress(state_file(folder)) | {"done": False})
    if progress.steps_per_epoch != batches.steps_per_epoch:
        raise ConfigError(
            f"The training data changed: an epoch had {progress.steps_per_epoch} steps and now has "
            f"{batches.steps_per_epoch}; restore the old pairs, or start a new run."
        )
    return progress


def _restore(folder: Path, models: list[Pix2Pix], progress: Progress, config: TrainConfig) -> None:
    """Set the model that saved the run's state to it, if there is one."""
    from p2plib.training.recorder import training_variables  # imports Keras

    if not begun(folder):
        return
    if hosts.first():
        files.remove_leftovers(folder)
    # At the very end of a warm-up, it is still the first model.
    warm = progress.iteration <= config.warmup_epochs * progress.steps_per_epoch
    load_state(state_file(folder), training_variables(models[0] if warm else models[-1]))
    hosts.told([0])  # all have read the state, before the first one saves another


def _saver(
    folder: Path, config: TrainConfig, plan: runtime.Plan, dataset: Dataset, validation: Loaded, progress: Progress
) -> Saver:
    """Write the records of the run, and build what validates and saves: it holds a float32 copy of the generator."""
    from p2plib.training.recorder import Saver, Validator  # import Keras

    with runtime.one_device(), runtime.dtype_policy("float32"):
        copy = build_generator(config, dataset.kinds)
        copy.compile(jit_compile=plan.xla)
    write_records(folder, config, plan, dataset)
    say(f"run folder: {folder}\nbest.keras is chosen by {JUDGES[progress.judge]}")
    names = tuple(dict.fromkeys((*VALIDATION, progress.judge, *dataset.task.validation_metrics)))
    validator = Validator(copy, validation, names, dataset.kinds)
    return Saver(folder, config, dataset.names, scale_of(dataset), progress, validator)


def print_row(snapshot: Snapshot) -> None:
    """Print the last epoch in one line."""
    from p2plib.training.callbacks import describe

    say(describe(snapshot))


def say(line: str) -> None:
    """Print a line above the progress bar, without buffering; of several machines, the first one does."""
    if not hosts.first():
        return
    tqdm.write(line)
    sys.stdout.flush()
