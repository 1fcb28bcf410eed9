"""What each logit of a discriminator sees: a display for notebooks that needs no kernel, network or script."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from p2plib.show.widgets import Html, img_html
from p2plib.training.discriminator import Discriminator, patch_realness

# The cells of a grid lie over the target image; each is followed by its field in the source and in the target.
STYLE = """
.p2p-fields {position: relative; display: inline-block; line-height: 0; margin-bottom: 2em}
.p2p-fields i {position: absolute; outline-offset: -1px}
.p2p-fields b {position: absolute; visibility: hidden; pointer-events: none; border: 3px solid #D55E00;
  box-sizing: border-box; outline: 1px solid white}
.p2p-fields u {position: absolute; left: 0; top: 100%; visibility: hidden; line-height: 2; text-decoration: none}
.p2p-fields i:hover, .p2p-fields i:focus {background: rgba(255, 255, 255, 0.4); outline: 1px solid white}
.p2p-fields i:is(:hover, :focus) + b, .p2p-fields i:is(:hover, :focus) + b + b,
.p2p-fields i:is(:hover, :focus) + b + b + u {visibility: visible}
"""


def fields(discriminator: Discriminator, source: np.ndarray, target: np.ndarray) -> Html:
    """Source and target side by side: pointing at a place of the target shows what the logit there sees, and says.

    Tab moves between the logits; a touch is a point.

    Args:
        discriminator: from `load_discriminator`.
        source: uint8 (S, S, 3), at the training size.
        target: a target or generated image, uint8 of the same shape.
    """
    [realness] = patch_realness(discriminator, source[None], target[None])
    image = img_html(
        np.hstack([source, target]), "source and target, for the discriminator", scale=max(1, 256 // len(source))
    )
    cells = "".join(_cells(discriminator, realness, len(source)))
    return Html(f'<style>{STYLE}</style><div class="p2p-fields">{image}{cells}</div>')


def _cells(discriminator: Discriminator, realness: np.ndarray, size: int) -> Iterator[str]:
    from p2plib.models.patchgan import patch  # imports Keras

    count = len(realness)
    first, second = patch(discriminator.model, 0, 0), patch(discriminator.model, 1, 1)
    step = second.top - first.top
    for row in range(count):
        for column in range(count):
            says = f"row {row + 1}, column {column + 1}: real {realness[row, column]:.2f}"
            cell = _box(0.5 + column / count / 2, row / count, 0.5 / count, 1 / count)
            yield f'<i tabindex="0" role="img" aria-label="{says}" style="{cell}"></i>'
            top, left = (first.top + row * step, first.left + column * step)
            upper, lower = (np.clip([top, top + first.side], 0, size) / size).tolist()
            start, end = (np.clip([left, left + first.side], 0, size) / size).tolist()
            for half in (0.0, 0.5):
                yield f'<b style="{_box(half + start / 2, upper, (end - start) / 2, lower - upper)}"></b>'
            yield f"<u>{says}</u>"


def _box(left: float, top: float, width: float, height: float) -> str:
    """A box in shares of both images together, as CSS."""
    places = {"left": left, "top": top, "width": width, "height": height}
    return ";".join(f"{name}:{100 * share:.4g}%" for name, share in places.items())
