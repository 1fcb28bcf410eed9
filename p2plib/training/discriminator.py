"""A run's discriminator after training: its verdict on images, patch by patch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib import runtime
from p2plib.config import TrainConfig
from p2plib.data.image import to_float
from p2plib.data.kind import PLAIN
from p2plib.errors import CheckpointError
from p2plib.inference.checkpoint import find, read_discriminator, read_info, started_from
from p2plib.models import build_discriminator, build_generator
from p2plib.registry import GAN_LOSSES
from p2plib.training.fine_tuning import take
from p2plib.training.run import kinds_of
from p2plib.training.state import load_state, read_progress, state_file

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Discriminator:
    """A discriminator and the configuration it was trained with; `patch_realness` takes it."""

    model: keras.Model
    config: TrainConfig


def load_discriminator(run: str | Path) -> Discriminator:
    """Load a trained discriminator, in float32.

    Args:
        run: a run folder, whose training state has the discriminator that belongs to `last.keras`; or a `.keras` file
            or the name of a generator that comes with p2plib, which have the one beside that generator, rounded to half
            precision.

    Raises:
        ConfigError: the folder has no configuration.
        CheckpointError: there is no training state, or no discriminator (a run without a GAN, or still in its warm-up,
            or a file of an earlier version).
    """
    run = started_from(Path(run))
    if not run.is_dir():
        return _beside(find(run))
    config = TrainConfig.read(run / "config.json")
    if config.gan_weight == 0:
        raise CheckpointError(f"{run}: was trained without a GAN (gan_weight 0), so it has no discriminator.")
    state = state_file(run)
    if config.warmup_epochs and (done := read_progress(state))["epoch"] + bool(done["step"]) <= config.warmup_epochs:
        raise CheckpointError(f"{run}: is still in its L1 warm-up, so it has no discriminator yet; train it further.")
    runtime.start(TrainConfig(precision="float32"))
    from p2plib.training.pix2pix import Pix2Pix  # imports Keras

    with runtime.one_device(), runtime.dtype_policy("float32"):
        kinds = kinds_of(run) or PLAIN
        model = Pix2Pix(build_generator(config, kinds), build_discriminator(config, kinds))
        load_state(state, {"model": model.variables})
    return Discriminator(model.discriminator, config)


def _beside(path: Path) -> Discriminator:
    """The discriminator that a generator's file has beside it."""
    info, weights = read_info(path), read_discriminator(path)
    config = info.config
    if not weights:
        raise CheckpointError(f"{path}: has no discriminator beside its generator; give a run folder.")
    runtime.start(TrainConfig(precision="float32"))
    with runtime.one_device(), runtime.dtype_policy("float32"):
        model = build_discriminator(config, info.kinds or PLAIN)
    if model is None or len(take(model, weights)) != len(model.weights):
        raise CheckpointError(f"{path}: its discriminator was made by another version; give a run folder.")
    return Discriminator(model, config)


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


def wishes(
    discriminator: Discriminator, sources: np.ndarray, targets: np.ndarray, generated: np.ndarray
) -> dict[str, np.ndarray]:
    """How L1 and the GAN loss want generated images to change: their negative gradients, not weighted.

    Args:
        discriminator: from `load_discriminator`.
        sources: uint8 (N, S, S, 3), at the training size.
        targets: target images, uint8 of the same shape.
        generated: generated images, uint8 of the same shape.

    Returns:
        By term, "l1" and "gan": float32 (N, S, S, 3), per value of the image on [-1, 1].
    """
    from keras import ops, tree

    from p2plib.training.pix2pix import slope  # imports Keras
    from p2plib.training.terms import Step, gan, l1

    loss = GAN_LOSSES[discriminator.config.gan_loss]
    terms: dict[str, Callable[..., Any]] = {
        "l1": lambda image, source, target: l1(Step(source, target, image)),
        "gan": lambda image, source, target: gan(
            Step(source, target, image, loss, judged=tree.flatten(discriminator.model([source, image])))
        ),
    }
    changes: dict[str, list[np.ndarray]] = {name: [] for name in terms}
    with runtime.one_device():
        for images in zip(sources, targets, generated, strict=True):
            source, target, made = (ops.convert_to_tensor(to_float(image[None])) for image in images)
            for name, term in terms.items():
                gradient = slope(partial(term, source=source, target=target), made)
                changes[name].append(-ops.convert_to_numpy(gradient)[0])
    return {name: np.stack(arrays) for name, arrays in changes.items()}
