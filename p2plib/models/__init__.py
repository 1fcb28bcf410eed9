"""The networks: functions that return a `keras.Model`, looked up by name in `p2plib.registry`.

This file does not import Keras, so that the backend can be chosen first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from p2plib.registry import DISCRIMINATORS, GENERATORS, TASKS

if TYPE_CHECKING:
    import keras

    from p2plib.config import TrainConfig


def build_generator(config: TrainConfig) -> keras.Model:
    """Build the generator for `config` under the current dtype policy.

    Its function in `registry.GENERATORS` gets the keywords image_size, base_filters, norm, upsampling and dropout, and
    colorizes=True if the task predicts only colors (see `models.colorizer`). With `target_channels` 1, its images are
    made gray.
    """
    colorizes = {"colorizes": True} if TASKS[config.task].keeps_lightness else {}
    generator = GENERATORS[config.generator](
        image_size=config.image_size,
        base_filters=config.base_filters,
        norm=config.norm,
        upsampling=config.upsampling,
        dropout=config.dropout,
        **colorizes,
    )
    if config.target_channels != 1:
        return generator
    from p2plib.models.colorizer import gray  # imports Keras

    return gray(generator)


def build_discriminator(config: TrainConfig) -> keras.Model | None:
    """Build the discriminator for `config`; None if the GAN weight is 0.

    Its function in `registry.DISCRIMINATORS` gets the keywords image_size, base_filters, norm and receptive_field.
    """
    if config.gan_weight == 0:
        return None
    return DISCRIMINATORS[config.discriminator](
        image_size=config.image_size,
        base_filters=config.discriminator_filters or config.base_filters,
        norm=config.norm if config.discriminator_norm == "same" else config.discriminator_norm,
        receptive_field=config.receptive_field,
    )


def custom_layers() -> dict[str, Any]:
    """The custom layers in p2plib's `.keras` files, for `keras.saving.load_model(custom_objects=...)`."""
    from p2plib.models.colorizer import LAYERS  # imports Keras

    return LAYERS
