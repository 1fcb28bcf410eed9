"""The networks: functions that return a `keras.Model`, and the registry of generators.

This file does not import Keras, so that names can be listed before a backend is chosen.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    from p2plib.config import TrainConfig

GENERATORS = {
    "unet": "p2plib.models.unet",
    "resnet6": "p2plib.models.resnet",
    "resnet9": "p2plib.models.resnet",
}
"""Name of a generator, which is the name of the function that builds it: module of that function."""


def build_generator(config: TrainConfig) -> keras.Model:
    """Build the generator that `config` describes, in the dtype policy in force."""
    build = getattr(import_module(GENERATORS[config.generator]), config.generator)
    colorizes = config.task == "colorize"
    return build(config.image_size, config.base_filters, config.norm, config.upsampling, config.dropout, colorizes)


def build_discriminator(config: TrainConfig) -> keras.Model | None:
    """Build the discriminator that `config` describes; None when the GAN weight is 0 (the L1-only control)."""
    if config.gan_weight == 0:
        return None
    from p2plib.models.patchgan import patchgan  # imports Keras

    return patchgan(config.image_size, config.base_filters, config.norm, config.receptive_field)
