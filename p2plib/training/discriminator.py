"""A run's discriminator after training: its verdict on images, patch by patch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from p2plib import runtime
from p2plib.config import TrainConfig
from p2plib.data.image import to_float
from p2plib.errors import CheckpointError
from p2plib.inference.checkpoint import started_from
from p2plib.models import build_discriminator, build_generator
from p2plib.registry import GAN_LOSSES
from p2plib.training.state import load_state, read_progress, state_file

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Discriminator:
    """A discriminator and the configuration it was trained with; `patch_realness` takes it."""

    model: keras.Model
    config: TrainConfig


def load_discriminator(run: str | Path) -> Discriminator:
    """Load the discriminator from a run's training state, in float32; it belongs to `last.keras`.

    Raises:
        ConfigError: the folder has no configuration.
        CheckpointError: there is no training state, or no discriminator (a run without a GAN, or still in its warm-up).
    """
    run = started_from(Path(run))
    config = TrainConfig.read(run / "config.json")
    if config.gan_weight == 0:
        raise CheckpointError(f"{run}: was trained without a GAN (gan_weight 0), so it has no discriminator.")
    state = state_file(run)
    if config.warmup_epochs and (done := read_progress(state))["epoch"] + bool(done["step"]) <= config.warmup_epochs:
        raise CheckpointError(f"{run}: is still in its L1 warm-up, so it has no discriminator yet; train it further.")
    runtime.start(TrainConfig(precision="float32"))
    from p2plib.training.pix2pix import Pix2Pix  # imports Keras

    with runtime.one_device(), runtime.dtype_policy("float32"):
        model = Pix2Pix(build_generator(config), build_discriminator(config))
        load_state(state, {"model": model.variables})
    return Discriminator(model.discriminator, config)


def patch_realness(discriminator: Discriminator, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Score how real each patch of the target or generated images looks to the discriminator.

    Args:
        discriminator: from `load_discriminator`.
        sources: uint8 (N, S, S, 3), at the training size.
        targets: target or generated images, uint8 of the same shape.

    Returns:
        float32 (N, P, P) in [0, 1], one value per patch, where P is `models.patchgan.logits_size`; 1/2 means undecided.
        With the vanilla GAN loss, it is the probability of "real". Of several scales, it is the finest.
    """
    from keras import ops, tree

    realness = GAN_LOSSES[discriminator.config.gan_loss].realness
    with runtime.one_device():
        pairs = zip(to_float(sources), to_float(targets), strict=True)
        logits = [tree.flatten(discriminator.model([source[None], target[None]]))[0] for source, target in pairs]
        return ops.convert_to_numpy(realness(ops.concatenate(logits)))[..., 0]
