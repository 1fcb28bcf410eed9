"""Fine-tuning: a new run that starts from the weights of a trained generator and its discriminator.

Weights are taken by layer: if a layer of the new network has the name of a trained one, and all its weights have the
same names and shapes, it begins as that one was saved. Every other layer begins as in any new run. So a model can be
trained further on other pairs, at another image size (the U-Net has another number of levels then), or for another
task (the first or last layer differs).

A run that is resumed has everything in its training state, and needs the trained model no more.

This file does not import Keras, so that the backend can be chosen first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from p2plib.config import TrainConfig
from p2plib.errors import CheckpointError, ConfigError
from p2plib.hub import names
from p2plib.inference import checkpoint
from p2plib.inference.checkpoint import CheckpointInfo
from p2plib.training.state import state_file

if TYPE_CHECKING:
    import keras

LISTED = 8
"""How many new parts of a network are named."""


@dataclass(frozen=True)
class Trained:
    """A checkpoint to start from."""

    path: Path
    info: CheckpointInfo
    generator: dict[str, np.ndarray]
    """Weights by the variable's path, for example "down1_conv/kernel"."""
    discriminator: dict[str, np.ndarray]
    """The same; empty if the checkpoint has no discriminator."""


def origin(config: TrainConfig, resume: str | Path | None = None) -> Path | None:
    """Find the checkpoint that a run starts from, and see that it is one.

    Args:
        config: the settings of the run.
        resume: the run folder, if it is not a new run.

    Returns:
        The file, or None if the run starts from nothing or has begun already.

    Raises:
        CheckpointError: there is no such file, or it is not a p2plib checkpoint.
    """
    if not config.init or (resume is not None and state_file(resume).exists()):
        return None
    path = checkpoint.find(config.init)
    if path.is_dir():
        raise CheckpointError(f"{path}: an exported model cannot be trained; give its run folder or .keras file.")
    checkpoint.read_info(path)
    return path


def read(path: Path) -> Trained:
    """Read the weights of a checkpoint.

    Args:
        path: from `origin`.

    Raises:
        CheckpointError: the file is damaged.
    """
    info, discriminator = checkpoint.read_info(path), checkpoint.read_discriminator(path)
    return Trained(path, info, weights_of(checkpoint.load_generator(path)), discriminator)


def weights_of(network: keras.Model) -> dict[str, np.ndarray]:
    """Copy the weights of a network, by the variable's path."""
    return {variable.path: np.asarray(variable).copy() for variable in network.weights}


def begin(
    trained: Trained, config: TrainConfig, generator: keras.Model, discriminator: keras.Model | None
) -> list[str]:
    """Set the networks of a new run to the trained weights, wherever these fit.

    Args:
        trained: from `read`.
        config: the settings of the new run.
        generator: its generator.
        discriminator: its discriminator, if it has one.

    Returns:
        A table of what was taken: a title, and a line for each network.

    Raises:
        ConfigError: nothing of the generator fits.
    """
    theirs, mine = _architecture(trained.info.config), _architecture(config)
    taken = take(generator, trained.generator)
    if not taken:
        raise ConfigError(
            f"No layer of {_given(trained, config)} fits: its generator is {theirs}, and this run's is {mine}; choose "
            "the same generator and base_filters, or leave init out."
        )
    lines = [
        f"starting from {checkpoint.short_name(_given(trained, config))} ({theirs}):",
        f"  generator: {_row(generator, taken)}",
    ]
    if discriminator and not trained.discriminator:
        lines.append("  discriminator: new, for the checkpoint has none")
    elif discriminator:
        lines.append(f"  discriminator: {_row(discriminator, take(discriminator, trained.discriminator))}")
    return lines


def take(network: keras.Model, weights: Mapping[str, np.ndarray]) -> set[str]:
    """Set every layer of a network whose weights all fit.

    Args:
        network: any model.
        weights: arrays by the variable's path.

    Returns:
        The paths of the variables that were set.
    """
    there = _by_layer({path: array.shape for path, array in weights.items()})
    here = _by_layer({variable.path: tuple(variable.shape) for variable in network.weights})
    fitting = {path for layer, shapes in here.items() if shapes == there.get(layer) for path in shapes}
    for variable in network.weights:
        if variable.path in fitting:
            variable.assign(weights[variable.path])
    return fitting


def _given(trained: Trained, config: TrainConfig) -> str | Path:
    """The checkpoint as people know it: one from a hub lies in a cache, under another name."""
    return config.init if config.init and names.parse(config.init) else trained.path


def _by_layer(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, tuple[int, ...]]]:
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for path, shape in shapes.items():
        layers.setdefault(path.rpartition("/")[0], {})[path] = shape
    return layers


def _row(network: keras.Model, taken: set[str]) -> str:
    """What was taken of a network, for people; new layers by stage, such as down5 for down5_conv and down5_norm."""
    sizes = {variable.path: int(np.prod(variable.shape)) for variable in network.weights}
    if not taken:
        return f"new, for none of its {len(sizes)} weights fit"
    if len(taken) == len(sizes):
        return f"all {len(sizes)} weights taken"
    share = 100 * sum(sizes[path] for path in taken) // sum(sizes.values())  # not rounded up to 100
    layers = [path.rpartition("/")[0] for path in sizes if path not in taken]
    new = list(dict.fromkeys(layer.removesuffix("_conv").removesuffix("_norm") for layer in layers))
    more = f" and {len(new) - LISTED} more" if len(new) > LISTED else ""
    return (
        f"{len(taken)} of {len(sizes)} weights taken ({share} % of the numbers); new: {', '.join(new[:LISTED])}{more}"
    )


def _architecture(config: TrainConfig) -> str:
    return (
        f"{config.generator} of {config.base_filters} filters for {config.image_size} pixels, norm {config.norm}, "
        f"upsampling {config.upsampling}, task {config.task}"
    )
