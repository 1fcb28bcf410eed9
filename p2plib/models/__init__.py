"""The networks: functions that return a `keras.Model`, looked up by name in `p2plib.registry`.

This file does not import Keras, so that the backend can be chosen first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from p2plib.data.kind import PLAIN, Kinds
from p2plib.registry import DISCRIMINATORS, GENERATORS, TASKS

if TYPE_CHECKING:
    import keras

    from p2plib.config import TrainConfig


def build_generator(config: TrainConfig, kinds: Kinds = PLAIN) -> keras.Model:
    """Build the generator for `config` under the current dtype policy.

    Its function in `registry.GENERATORS` gets the keywords image_size, base_filters, norm, upsampling and dropout,
    colorizes=True if the task predicts only colors (see `models.colorizer`), and source_channels and target_channels if
    these are not 3. With `target_channels` 1, its 8-bit images are made gray. Where targets are classes, it gives their
    probabilities; see `models.masks`.

    Args:
        config: the settings.
        kinds: what sources and targets are.
    """
    more: dict[str, Any] = {"colorizes": True} if TASKS[config.task].keeps_lightness else {}
    generator = GENERATORS[config.generator](
        image_size=_size(config),
        base_filters=config.base_filters,
        norm=config.norm,
        upsampling=config.upsampling,
        dropout=config.dropout,
        **more | _channels(kinds),
    )
    if kinds[1].are_classes:
        from p2plib.models.masks import probabilities  # imports Keras

        return probabilities(generator)
    if config.target_channels != 1 or not kinds[1].plain:
        return generator
    from p2plib.models.colorizer import gray  # imports Keras

    return gray(generator)


def build_discriminator(config: TrainConfig, kinds: Kinds = PLAIN) -> keras.Model | None:
    """Build the discriminator for `config`; None if the GAN weight is 0.

    Its function in `registry.DISCRIMINATORS` gets the keywords image_size, base_filters, norm and receptive_field, and
    source_channels and target_channels if these are not 3.

    Args:
        config: the settings.
        kinds: what sources and targets are.
    """
    if config.gan_weight == 0:
        return None
    return DISCRIMINATORS[config.discriminator](
        image_size=_size(config),
        base_filters=config.discriminator_filters or config.base_filters,
        norm=config.norm if config.discriminator_norm == "same" else config.discriminator_norm,
        receptive_field=config.receptive_field,
        **_channels(kinds),
    )


def _size(config: TrainConfig) -> int | tuple[int, int]:
    """One number for squares, height and width for other rectangles."""
    height, width = config.shape
    return height if height == width else (height, width)


def _channels(kinds: Kinds) -> dict[str, int]:
    named = {"source_channels": kinds[0].network_channels, "target_channels": kinds[1].network_channels}
    return {name: count for name, count in named.items() if count != 3}


def custom_layers() -> dict[str, Any]:
    """The custom layers in p2plib's `.keras` files, for `keras.saving.load_model(custom_objects=...)`."""
    from p2plib.models.colorizer import LAYERS  # imports Keras

    return LAYERS
