"""The U-Net generator (Isola et al. 2017, section 3.2.1 and 6.1.1; Ronneberger et al. 2015)."""

from __future__ import annotations

import keras
from keras import layers

from p2plib.models.colorizer import colored, lightness
from p2plib.models.layers import conv, normalize, upsample


def unet(
    image_size: int = 256,
    base_filters: int = 64,
    norm: str = "instance",
    upsampling: str = "transpose",
    dropout: float = 0.5,
    colorizes: bool = False,
) -> keras.Model:
    """Build a U-Net that halves the image down to 1x1 and doubles it back, with a skip at every size.

    At 256 pixels and 64 filters this is the paper's C64-C128-C256-C512-C512-C512-C512-C512 encoder and
    CD512-CD512-CD512-C512-C256-C128-C64 decoder, with 54.4 million weights.

    Args:
        image_size: height and width in pixels, a power of two from 32 to 1024.
        base_filters: filters of the first layer; deeper layers have 2, 4 and at most 8 times as many.
        norm: "instance", "batch" or "none". There is none at the 1x1 bottleneck, which it would set to zero.
        upsampling: "transpose" (transposed convolution) or "resize" (resize-convolution).
        dropout: rate in the three innermost decoder blocks, the paper's only source of noise.
        colorizes: let the network see lightness and choose colors; see `colorizer`.

    Returns:
        A model (N, S, S, 3) -> (N, S, S, 3), float32 in [-1, 1].
    """
    depth = image_size.bit_length() - 1
    filters = [base_filters * min(2**level, 8) for level in range(depth)]
    use_bias = norm == "none"

    inputs = layers.Input((image_size, image_size, 3), name="source")
    x = seen = lightness(inputs) if colorizes else inputs
    skips = []
    for level in range(depth):
        name, outermost, bottleneck = f"down{level + 1}", level == 0, level == depth - 1
        if not outermost:
            x = layers.LeakyReLU(0.2, name=f"{name}_activation")(x)
        x = conv(x, name, filters[level], 4, 2, use_bias=use_bias or outermost or bottleneck)
        if not (outermost or bottleneck):
            x = normalize(x, name, norm)
        skips.append(x)

    skips.pop()
    for level in reversed(range(depth - 1)):
        name = f"up{level + 2}"
        x = layers.ReLU(name=f"{name}_activation")(x)
        x = upsample(x, name, filters[level], upsampling, use_bias=use_bias)
        x = normalize(x, name, norm)
        if level >= depth - 4:
            x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
        x = layers.Concatenate(name=f"{name}_skip")([x, skips.pop()])
    x = layers.ReLU(name="up1_activation")(x)
    x = upsample(x, "up1", 2 if colorizes else 3, upsampling, activation="tanh", dtype="float32")
    return keras.Model(inputs, colored(seen, x) if colorizes else x, name="generator")
