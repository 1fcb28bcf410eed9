"""A session of training: what one machine knows of it, the callbacks that decide and save, and the calls of `fit`.

Functions import Keras only after the configuration has chosen the backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from p2plib import hosts
from p2plib.config import TrainConfig
from p2plib.data.batches import Batches
from p2plib.training.run import Progress, Snapshot, plain_backend_errors
from p2plib.training.state import state_file

if TYPE_CHECKING:
    import keras

    from p2plib.training.callbacks import Stopper
    from p2plib.training.pix2pix import Pix2Pix
    from p2plib.training.recorder import Saver

ENDLESS = 10**9
"""Epochs with `train_time`, which ends the training before."""


class Session(NamedTuple):
    """What one machine knows of a training; only the first has a saver."""

    config: TrainConfig
    folder: Path
    progress: Progress
    saver: Saver | None
    started: float


def _callbacks(
    session: Session, terms: Sequence[str], show: Callable[[Snapshot], None]
) -> tuple[list[keras.callbacks.Callback], Stopper]:
    import keras

    from p2plib.training.callbacks import Counter, Display, EpochState, Schedule, Stopper, Together
    from p2plib.training.recorder import Recorder

    config, folder, progress, saver, started = session
    deadline = None if config.time_budget_seconds is None else started + config.time_budget_seconds
    state = EpochState(progress, config.seed, state_file(folder) if progress.iteration else None)
    if saver is None:
        stopper = Stopper(deadline, lambda: 0.0)
        return [state, Schedule(config, progress), Counter(progress), stopper, Together(progress, stopper)], stopper
    recorder = Recorder(saver, terms, show)
    stopper = Stopper(deadline, lambda: recorder.reserve)
    board = [keras.callbacks.TensorBoard(str(folder / "tensorboard"))] if config.tensorboard else []
    together = [Together(progress, stopper)] if hosts.count() > 1 else []
    return [state, Schedule(config, progress), Display(progress), recorder, stopper, *board, *together], stopper


def fit(
    models: list[Pix2Pix],
    batches: Batches,
    session: Session,
    show: Callable[[Snapshot], None],
    more: Sequence[keras.callbacks.Callback],
) -> str | None:
    """Run Keras' `fit` from the current progress; return why it ended early, or None.

    Args:
        models: from `loop.build`, each trained until its epochs are over.
        batches: the training pairs.
        session: its `progress` is updated in place.
        show: called after every epoch.
        more: additional callbacks; on several machines they come first, so that the last one speaks for all.

    Raises:
        DataError: a pair is broken.
        TrainingError: the loss became NaN or infinite, memory does not suffice, or another machine was lost.
    """
    config, folder, progress, *_ = session
    own, stopper = _callbacks(session, list(models[-1].terms), show)
    callbacks = [*more, *own] if hosts.count() > 1 else [*own, *more]
    with stopper.on_signals(), batches.plain_errors(), plain_backend_errors(folder):
        for model in models:
            end = config.warmup_epochs if model is not models[-1] else ENDLESS if config.train_time else config.epochs
            model.stop_training = False
            while progress.epoch < end and not (progress.complete(config) or model.stop_training):
                model.fit(
                    batches.feed(progress.epoch, progress.step),
                    initial_epoch=progress.epoch,
                    epochs=progress.epoch + 1 if progress.step else end,  # first finish the partial epoch
                    steps_per_epoch=batches.steps_per_epoch - progress.step,
                    verbose=0,
                    shuffle=False,  # batches are already shuffled
                    callbacks=callbacks,
                )
            if model.stop_training and not progress.done:
                return stopper.reason or "a callback requested it"
    return None
