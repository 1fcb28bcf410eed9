"""What a slider shows, as the screen has it, against the images that it holds."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

KNOB = 20  # pixels on both sides of the divider that its line, its knob and their shadow cover


def shot(element: Any) -> np.ndarray:
    """A screenshot of an element, (H, W, 3)."""
    return np.array(Image.open(io.BytesIO(element.screenshot())).convert("RGB")).astype(float)


def held(pair: Any, css: str) -> np.ndarray:
    """The image in the `<img>` that `css` selects, at the size at which the page shows it."""
    data = pair.locator(css).get_attribute("src").partition(",")[2]
    image, box = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), pair.bounding_box()
    size = round(box["width"]), round(box["height"])
    return np.array(image.resize(size, Image.Resampling.NEAREST)).astype(float)


def assert_divided(pair: Any, fraction: float) -> None:
    """On the screen, left of the divider is the one image, right of it the other."""
    before, after = held(pair, "img.p2p-before"), held(pair, "img:not(.p2p-before)")
    height, width = before.shape[:2]
    shown = shot(pair)[:height, :width]  # where the page lies between pixels of the screen, there is one more
    x = np.arange(width) - fraction * width
    for side, mine, other in ((x < -KNOB, before, after), (x > KNOB, after, before)):
        if side.any():
            wrong, right = (np.abs(shown - image)[:, side].mean((0, 2)) for image in (other, mine))
            assert wrong.mean() > 10, "the images are too alike to tell them apart"
            assert (right < wrong / 2).mean() > 0.95  # of the columns


def point(pair: Any, fraction: float) -> tuple[float, float]:
    """The point of the page at this fraction of the slider's width, off its middle."""
    pair.scroll_into_view_if_needed()
    box = pair.bounding_box()
    return box["x"] + fraction * box["width"], box["y"] + 0.3 * box["height"]


def drag(pair: Any, *fractions: float) -> None:
    """Press the mouse at the first of these fractions of the width, go by way of the others, release it."""
    mouse = pair.page.mouse
    mouse.move(*point(pair, fractions[0]))
    mouse.down()
    for fraction in fractions[1:]:
        mouse.move(*point(pair, fraction), steps=5)
    mouse.up()
