"""A canvas in a notebook: what is drawn there is translated after each stroke.

The canvas is the web app's, and runs in the browser. Drawings come to the kernel through a hidden text area, because
every notebook viewer has those of ipywidgets, and not all load widgets of others.
"""

from __future__ import annotations

import base64
import io
from html import escape
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from p2plib.data.image import to_rgb
from p2plib.errors import ConfigError, DataError
from p2plib.inference.translate import translate
from p2plib.show.widgets import STYLE, column, img_html, ipywidgets_or_error, shown_scale, slider_html

if TYPE_CHECKING:
    import ipywidgets

    from p2plib.inference.checkpoint import Checkpoint

LARGEST = 1024
"""The longest side of a canvas, in pixels."""
PREFIX = "data:image/png;base64,"
NEEDS_KERNEL = "Drawing needs a running kernel: this is the starting image, and what the model makes of it."

_FILES = package_files("p2plib")
_SCRIPT = _FILES.joinpath("web", "static", "canvas.js").read_text(encoding="utf-8").replace("export class", "class")
_SCRIPT += _FILES.joinpath("show", "draw.js").read_text(encoding="utf-8")

# Colors are those of the page, by day and by night; the canvas itself is paper.
_STYLE = """
.p2p-sheet {width: max-content; max-width: 100%; line-height: 1.5}
.p2p-sheet > [hidden] {display: none !important}
.p2p-sheet canvas {display: block; max-width: 100%; height: auto; touch-action: none; cursor: crosshair;
  outline: 1px solid #8886}
.p2p-sheet div {display: flex; flex-wrap: wrap; align-items: center; gap: 6px; margin-top: 8px}
.p2p-sheet button {padding: 3px 10px; border: 1px solid #8888; border-radius: 6px; background: none; color: inherit;
  font: inherit; cursor: pointer}
.p2p-sheet button:disabled {opacity: 0.5; cursor: default}
.p2p-sheet button[aria-pressed=true] {border-color: #2a6fdb; background: #2a6fdb; color: #fff}
.p2p-sheet label {display: flex; align-items: center; gap: 6px}
.p2p-sheet input {width: 80px; accent-color: #2a6fdb}
.p2p-sheet :is(button, input):focus-visible {outline: 2px solid #2a6fdb; outline-offset: 2px}
"""

# A script in the value of a widget does not run, but the handler of an image does. Where that is dropped, too, the
# image stays.
_SHEET = """<style>{style}</style><div class="p2p-sheet">
<canvas width="0" height="0" role="img" aria-label="Your drawing; it needs a mouse, a pen or a finger" tabindex="-1" \
style="width:{width}px;image-rendering:{rendering}" hidden></canvas>
<div role="group" aria-label="Drawing" hidden>
<button type="button" class="p2p-pen" aria-pressed="true">Pen</button>
<button type="button" class="p2p-eraser" aria-pressed="false">Eraser</button>
<label>Size <input type="range" min="0" max="100" value="20"></label>
<button type="button" class="p2p-undo" title="Ctrl+Z" disabled>Undo</button>
<button type="button" class="p2p-clear">Clear</button>
</div>
<img alt="the starting image" width="{width}" src="{source}" onload="{script}">
</div>"""


def draw(model: Checkpoint, image: np.ndarray | None = None) -> ipywidgets.VBox:
    """A canvas to draw on in black and white, and beside it what the model makes of it after each stroke.

    Mouse, pen or finger draw; there is an eraser, undo and clear. Without a kernel, the starting image and its
    translation are shown as in `widgets.compare`.

    Args:
        model: from `p2plib.load`.
        image: what is on the canvas at first, uint8 (H, W, 3); None is blank paper of the model's size.

    Raises:
        ConfigError: `image` is not such an array or is larger than `LARGEST`, or ipywidgets is not installed.
    """
    widgets = ipywidgets_or_error()
    start = np.full((*model.shape, 3), 255, np.uint8) if image is None else image
    if start.dtype != np.uint8 or start.ndim != 3 or start.shape[2] != 3:
        raise ConfigError(f"The canvas starts from a uint8 image (H, W, 3), not {start.dtype} {start.shape}.")
    if max(start.shape) > LARGEST:
        raise ConfigError(f"The canvas has at most {LARGEST} pixels a side; shrink the image of {start.shape[:2]}.")
    source, target = model.info.names
    [first] = translate(model, [start], fit=True)
    sheet, drawn = widgets.HTML(_sheet_html(start)), widgets.Textarea(layout={"display": "none"})
    result = widgets.HTML(_result_html(first, target))

    def show(change: Any) -> None:
        try:
            [generated] = translate(model, [decode(change["new"], start.shape[:2])], fit=True)
        except DataError as error:
            result.value = f'<p role="alert">{escape(str(error))}</p>'
        else:
            result.value = _result_html(generated, target)

    drawn.observe(show, "value")
    side_by_side = widgets.HBox([sheet, result], layout={"flex_flow": "row wrap", "grid_gap": "16px"})
    result.add_class("p2p-draw-result")
    pair = slider_html(start, first, (source, f"generated {target}"))
    fallback = f"<style>{STYLE}</style>{pair}<div>{NEEDS_KERNEL}</div>"
    return column("p2p-draw", [side_by_side, drawn], lambda: fallback)


def decode(url: str, largest: tuple[int, int]) -> np.ndarray:
    """The image in a data URL that a canvas sent, or that anything else did.

    Args:
        url: "data:image/png;base64,...".
        largest: height and width that it has at most.

    Returns:
        uint8 (H, W, 3).

    Raises:
        DataError: it is not a PNG image, is damaged, or is larger.
    """
    height, width = largest
    if not url.startswith(PREFIX) or len(url) > 8 * height * width + 10_000:  # base64 of four bytes a pixel: 5.3
        raise DataError("The drawing is not a PNG image of the canvas's size.")
    try:
        data = base64.b64decode(url.removeprefix(PREFIX), validate=True)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:  # reads only the header
            if opened.width <= width and opened.height <= height:
                return to_rgb(opened)
    except Exception as error:  # on damaged files, decoders raise anything
        raise DataError("The drawing is damaged: it cannot be decoded as a PNG image.") from error
    raise DataError(f"The drawing is larger than the canvas: {opened.width}x{opened.height} pixels.")


def _sheet_html(start: np.ndarray) -> str:
    """The canvas and its tools."""
    buffer = io.BytesIO()
    Image.fromarray(start).save(buffer, "PNG")
    scale = shown_scale(start)
    return _SHEET.format(
        style=_STYLE,
        width=scale * start.shape[1],
        rendering="pixelated" if scale > 1 else "auto",
        source=PREFIX + base64.b64encode(buffer.getvalue()).decode(),
        script=escape(_SCRIPT),
    )


def _result_html(generated: np.ndarray, target: str) -> str:
    image = img_html(generated, f"generated {target}")
    return f"{image}<div>generated {escape(target)}</div>"
