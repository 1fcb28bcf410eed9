"""Before/after sliders as HTML that needs no kernel, no network and no script of its own."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from html import escape

import numpy as np
from PIL import Image

# The rules sit in a <style> element: where a front end sanitizes output (a notebook that is not trusted, GitHub), it
# drops <style> and <input>, and two plain pictures with their labels are left.
STYLE = """
.p2p-slider{display:inline-block;max-width:100%}
.p2p-pair{position:relative;line-height:0;touch-action:pan-y}
.p2p-pair img{display:block;max-width:100%;height:auto;margin:0}
.p2p-pair .p2p-before{position:absolute;inset:0;width:100%;height:100%;clip-path:inset(0 calc(100% - var(--p)) 0 0)}
.p2p-pair::before{content:"";position:absolute;z-index:1;inset:0 auto 0 var(--p);width:2px;margin-left:-1px;
background:#fff;box-shadow:0 0 4px #000a;pointer-events:none}
.p2p-pair::after{content:"\\2194";position:absolute;z-index:1;top:50%;left:var(--p);width:28px;height:28px;
margin:-14px;border-radius:50%;background:#fffd;color:#333;font:18px/28px sans-serif;text-align:center;
box-shadow:0 0 4px #000a;pointer-events:none}
.p2p-pair input{appearance:none;position:absolute;z-index:2;inset:0;width:100%;height:100%;margin:0;opacity:0;
cursor:ew-resize;touch-action:pan-y}
.p2p-pair input::-webkit-slider-thumb{appearance:none;width:1px;height:100%}
.p2p-pair input::-moz-range-thumb{width:1px;height:100%;border:0}
.p2p-pair:focus-within{outline:2px solid #2a6fdb;outline-offset:2px}
.p2p-labels{display:flex;justify-content:space-between;gap:1em}
.p2p-labels span+span{text-align:right}
"""
"""The rules of every slider on a page, to be put into one `<style>` element."""

_SLIDER = """<div class="p2p-slider"><div class="p2p-pair" style="--p:{percent}%">
{after_img}
{before_img}
<input type="range" min="0" max="100" step="0.5" value="{percent}" \
aria-label="{before} on the left, {after} on the right: drag to compare" \
oninput="this.parentNode.style.setProperty('--p', this.value + '%')">
</div><div class="p2p-labels"><span>{before}</span> <span>{after}</span></div></div>"""


@dataclass(frozen=True)
class Html:
    """HTML that notebooks display."""

    text: str = field(repr=False)

    def _repr_html_(self) -> str:
        return self.text


def compare(
    before: np.ndarray,
    after: np.ndarray,
    labels: tuple[str, str] = ("before", "after"),
    percent: float = 50,
    quality: int = 90,
) -> Html:
    """A before/after slider for a notebook cell; it also moves without a kernel. Arguments as of `slider_html`."""
    return Html(f"<style>{STYLE}</style>" + slider_html(before, after, labels, percent, quality))


def slider_html(
    before: np.ndarray,
    after: np.ndarray,
    labels: tuple[str, str] = ("before", "after"),
    percent: float = 50,
    quality: int = 90,
) -> str:
    """A before/after slider as an HTML fragment; the page must hold `STYLE`. Mouse, touch and arrow keys move it.

    Args:
        before: uint8 (H, W, 3), to be seen left of the divider.
        after: uint8 of the same size, to be seen right of it.
        labels: what both are called.
        percent: where the divider stands at first, from 0 (all `after`) to 100.
        quality: of the JPEG files inside, to 95.
    """
    return _SLIDER.format(
        percent=f"{percent:g}",
        before=escape(labels[0]),
        after=escape(labels[1]),
        before_img=img_html(before, labels[0], quality, css_class="p2p-before"),
        after_img=img_html(after, labels[1], quality),
    )


def img_html(picture: np.ndarray, alt: str, quality: int = 90, css_class: str = "") -> str:
    """A uint8 picture (H, W, 3) as an `<img>` that holds its JPEG file; below 256 pixels it is shown enlarged."""
    height, width = picture.shape[:2]
    scale = max(1, 256 // width)
    attributes = f' class="{css_class}"' if css_class else ""
    attributes += ' style="image-rendering:pixelated"' if scale > 1 else ""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0)  # maps have sharp coloured edges
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{width * scale}" height="{height * scale}"'
    return f'<img alt="{escape(alt)}" {size}{attributes} src="data:image/jpeg;base64,{data}">'
