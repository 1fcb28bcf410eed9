"""The networks: functions that return a `keras.Model`, built by the names in `p2plib.registry`.

This file does not import Keras, so that a backend can be chosen first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from p2plib.registry import DISCRIMINATORS, GENERATORS, TASKS

if TYPE_CHECKING:
    import keras

    from p2plib.config import TrainConfig


def build_generator(config: TrainConfig) -> keras.Model:
    """Build the generator that `config` describes, in the dtype policy in force.

    Its function in `registry.GENERATORS` is called with keywords: image_size, base_filters, norm, upsampling, dropout,
    and colorizes=True where the task has it choose colors only (see `models.colorizer`).
    """
    colorizes = {"colorizes": True} if TASKS[config.task].keeps_lightness else {}
    return GENERATORS[config.generator](
        image_size=config.image_size,
        base_filters=config.base_filters,
        norm=config.norm,
        upsampling=config.upsampling,
        dropout=config.dropout,
        **colorizes,
    )


def build_discriminator(config: TrainConfig) -> keras.Model | None:
    """Build the discriminator that `config` describes; None when the GAN weight is 0 (the L1-only control).

    Its function in `registry.DISCRIMINATORS` is called with keywords: image_size, base_filters, norm, receptive_field.
    """
    if config.gan_weight == 0:
        return None
    return DISCRIMINATORS[config.discriminator](
        image_size=config.image_size,
        base_filters=config.base_filters,
        norm=config.norm,
        receptive_field=config.receptive_field,
    )


def custom_layers() -> dict[str, Any]:
    """The layers that a `.keras` file of ours may name, for `keras.saving.load_model(custom_objects=...)`."""
    from p2plib.models.colorizer import LAYERS  # imports Keras

    return LAYERS
