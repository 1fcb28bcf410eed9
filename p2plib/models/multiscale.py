"""The discriminator at two scales (Wang et al. 2018, "High-resolution image synthesis", section 3.2)."""

from __future__ import annotations

import keras
from keras import layers

from p2plib.data.image import Shape, sides
from p2plib.models.patchgan import judge_patches
from p2plib.registry import DISCRIMINATORS


@DISCRIMINATORS.register("multiscale")
def multiscale(
    image_size: int | Shape = 256,
    base_filters: int = 64,
    norm: str = "instance",
    receptive_field: int = 70,
    source_channels: int = 3,
    target_channels: int = 3,
) -> keras.Model:
    """Build two PatchGANs: one sees the pair as it is, the other at half its size, where a patch shows twice as much.

    Args:
        image_size: height and width in pixels. Half of it must be enough for `patchgan`.
        base_filters: as for `patchgan`.
        norm: as for `patchgan`.
        receptive_field: as for `patchgan`; at half size, it is twice as wide in pixels of the image.
        source_channels: as for `patchgan`.
        target_channels: as for `patchgan`.

    Returns:
        A model [source, target] -> logits at full and at half size, as those of `patchgan`: (N, 30, 30, 1) and
        (N, 14, 14, 1) for 70-pixel patches of 256x256 images.
    """
    source = layers.Input((*sides(image_size), source_channels), name="source")
    target = layers.Input((*sides(image_size), target_channels), name="target")
    pair = layers.Concatenate(name="pair")([source, target])
    half = layers.AveragePooling2D(2, name="half_pair")(pair)  # (N, 128, 128, 6)
    logits = [
        judge_patches(pair, base_filters, norm, receptive_field),
        judge_patches(half, base_filters, norm, receptive_field, "half_"),
    ]
    return keras.Model([source, target], logits, name="discriminator")
