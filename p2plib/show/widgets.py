"""Interactive notebook displays: before/after sliders, image browsers, live training progress.

A slider is HTML that needs no kernel, network or separate script. `browse` and `explore` add controls from ipywidgets,
which only they import.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from p2plib.data.image import tile_images
from p2plib.errors import ConfigError
from p2plib.show import figures

if TYPE_CHECKING:
    import ipywidgets

    from p2plib.inference.checkpoint import Checkpoint
    from p2plib.training.callbacks import Snapshot

REDRAW_SECONDS = 2.0
SAMPLES = 3  # samples in the live training display
NEEDS_KERNEL = "The controls need a running kernel; the divider does not."

# The CSS is in a <style> element. Front ends that sanitize output (untrusted notebooks, GitHub) drop <style> and
# <input>, which leaves two plain images with their labels.
STYLE = "\n" + package_files("p2plib").joinpath("web", "static", "slider.css").read_text(encoding="utf-8")
"""CSS for all sliders of a page, for one `<style>` element; the web app serves the same file."""

# JupyterLab has shortcuts for the keys that move the divider, so those events must not reach it.
_SLIDER = """<div class="p2p-slider"><div class="p2p-pair" style="--p:{percent}%">
{after_img}
{before_img}
<input type="range" min="0" max="100" step="0.5" value="{percent}" \
aria-label="{before} on the left, {after} on the right: drag to compare" \
oninput="this.parentNode.style.setProperty('--p', this.value + '%')" \
onkeydown="if (/^(Arrow|Page|Home|End)/.test(event.key)) event.stopPropagation()">
</div><div class="p2p-labels"><span>{before}</span> <span>{after}</span></div></div>"""


@dataclass(frozen=True)
class Html:
    """HTML for display in notebooks."""

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
    """A before/after slider for a notebook cell, which works without a kernel. For arguments see `slider_html`."""
    return Html(f"<style>{STYLE}</style>" + slider_html(before, after, labels, percent, quality))


def slider_html(
    before: np.ndarray,
    after: np.ndarray,
    labels: tuple[str, str] = ("before", "after"),
    percent: float = 50,
    quality: int = 90,
) -> str:
    """A before/after slider as an HTML fragment; the page must contain `STYLE`. Mouse, touch and arrow keys move it.

    Args:
        before: uint8 (H, W, 3), shown left of the divider.
        after: uint8 of the same size, shown right of the divider.
        labels: labels of the two images.
        percent: initial position of the divider, from 0 (all `after`) to 100.
        quality: JPEG quality, at most 95.
    """
    return _SLIDER.format(
        percent=f"{percent:g}",
        before=escape(labels[0]),
        after=escape(labels[1]),
        before_img=img_html(before, labels[0], quality, css_class="p2p-before"),
        after_img=img_html(after, labels[1], quality),
    )


def img_html(image: np.ndarray, alt: str, quality: int = 90, css_class: str = "", scale: int | None = None) -> str:
    """A uint8 image (H, W, 3) as an `<img>` with an embedded JPEG file.

    It is displayed `scale` times as large; None enlarges images below 256 pixels to that size.
    """
    height, width = image.shape[:2]
    scale = scale or shown_scale(image)
    attributes = f'class="{css_class}" ' if css_class else ""
    attributes += 'style="image-rendering:pixelated" ' if scale > 1 else ""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)  # maps have sharp colored edges
    return _img(buffer.getvalue(), alt, (width * scale, height * scale), attributes)


def shown_scale(image: np.ndarray) -> int:
    """How many times an image is enlarged: images below 256 pixels to that size, or a little less."""
    return max(1, 256 // image.shape[1])


def _img(jpeg: bytes, alt: str, size: tuple[int, int], attributes: str = "") -> str:
    data = base64.b64encode(jpeg).decode()
    width, height = size
    source = f'src="data:image/jpeg;base64,{data}"'
    return f'<img alt="{escape(alt)}" width="{width}" height="{height}" {attributes}{source}>'


def browse(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    labels: tuple[str, str] = ("before", "after"),
    names: Sequence[str] | None = None,
) -> ipywidgets.VBox:
    """Browse many pairs in one cell: a slider selects the pair, the divider compares its halves.

    The divider works without a kernel; without one, only the first pair is shown, as in `compare`.

    Args:
        pairs: (before, after), uint8 arrays (H, W, 3), both of a pair the same size.
        labels: labels of the two sides.
        names: names of the pairs; None numbers them from 1.

    Raises:
        ConfigError: there are no pairs, `names` has a different length, or ipywidgets is not installed.
    """
    pick = _image_slider(len(pairs), names)

    def draw() -> str:
        before, after = pairs[pick.index]
        return slider_html(before, after, labels)

    return _panel("p2p-browse", {"image": pick}, draw)


def explore(
    model: Checkpoint,
    images: Sequence[np.ndarray],
    targets: Sequence[np.ndarray] | None = None,
    names: Sequence[str] | None = None,
) -> ipywidgets.VBox:
    """Run a model live: choose the image, the noise, and what to show on each side of the divider.

    Each side can show the source, the generated image with or without noise and, with `targets`, the expected image.
    The noise is the paper's test-time dropout, off or with a seed. Generated images are cached.

    Args:
        model: from `p2plib.load`.
        images: sources, uint8 arrays (H, W, 3) of any size, or one array (N, H, W, 3).
        targets: the expected images, of the same sizes.
        names: names of the images; None numbers them from 1.

    Raises:
        ConfigError: there are no images, `targets` or `names` do not match them, or ipywidgets is not installed.
    """
    if targets is not None and [np.shape(target) for target in targets] != [np.shape(source) for source in images]:
        raise ConfigError("Each image needs a target of the same size.")
    pick = _image_slider(len(images), names)
    noise = _slider("noise seed", ["off", *map(str, range(100))], disabled=not model.info.config.dropout)

    @cache
    def generated(index: int, seed: int | None) -> np.ndarray:
        from p2plib.inference.translate import translate

        return translate(model, [images[index]], seed, fit=True)[0]

    source, target = model.info.names
    sides = {
        source: lambda: images[pick.index],
        f"generated {target}": lambda: generated(pick.index, noise.index - 1 if noise.index else None),
        f"generated {target}, no noise": lambda: generated(pick.index, None),
    }
    if targets is not None:
        sides[f"expected {target}"] = lambda: targets[pick.index]
    left, right = (ipywidgets_or_error().Dropdown(description=text, options=list(sides)) for text in ("left", "right"))
    right.value = f"generated {target}"
    return _panel(
        "p2p-explore",
        {"image": pick, "noise": noise, "left": left, "right": right},
        lambda: slider_html(sides[left.value](), sides[right.value](), (left.value, right.value)),
    )


def _image_slider(count: int, names: Sequence[str] | None) -> ipywidgets.SelectionSlider:
    if not count:
        raise ConfigError("There are no images to show; give at least one.")
    if names is not None and len(names) != count:
        raise ConfigError(f"There are {count} images, but {len(names)} names.")
    return _slider("image", names or [str(i + 1) for i in range(count)])


def _slider(description: str, options: Sequence[str], **more: Any) -> ipywidgets.SelectionSlider:
    layout = {"width": "28em", "max_width": "100%"}  # room for file names
    return ipywidgets_or_error().SelectionSlider(
        description=description, options=list(options), continuous_update=False, layout=layout, **more
    )


def _panel(name: str, controls: dict[str, ipywidgets.Widget], draw: Callable[[], str]) -> ipywidgets.VBox:
    """Controls above the HTML from `draw`, which is redrawn at each change.

    The CSS class is `name`; controls have the class "NAME-KEY". A viewer without widgets shows only the HTML, and says
    what is missing.
    """
    view = ipywidgets_or_error().HTML()

    def show(change: Any = None) -> None:
        view.value = f"<style>{STYLE}</style>{draw()}"

    for key, control in controls.items():
        control.add_class(f"{name}-{key}")
        control.observe(show, "index")
    show()
    return column(name, [*controls.values(), view], lambda: f"{view.value}<div>{NEEDS_KERNEL}</div>")


def column(name: str, parts: Sequence[ipywidgets.Widget], without: Callable[[], str]) -> ipywidgets.VBox:
    """Widgets below each other, with the CSS class `name`. A viewer without widgets shows the HTML of `without`."""
    box = ipywidgets_or_error().VBox

    class Column(box):  # type: ignore[misc, valid-type]
        def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
            return super()._repr_mimebundle_(**options) | {"text/html": without()}

    return Column(parts).add_class(name)


def ipywidgets_or_error() -> Any:
    """The module ipywidgets.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import ipywidgets
    except ImportError as error:
        raise ConfigError("ipywidgets is not installed; run: pip install 'p2plib[notebooks]'") from error
    return ipywidgets


def progress(every: int = 1) -> Callable[[Snapshot], None]:
    """A live display of one training run: `p2plib.train(config, show=widgets.progress())`.

    In a notebook, one output area shows learning curves and samples (source | generated | expected). It is updated at
    most every two seconds, and always after the last epoch. Elsewhere, and in Kaggle's batch runs, it prints a line
    instead.

    Args:
        every: epochs between updates.
    """
    handle: Any = None
    drawn = -REDRAW_SECONDS

    def show(snapshot: Snapshot) -> None:
        nonlocal handle, drawn
        if snapshot.rows[-1]["epoch"] % every and not snapshot.done:
            return
        if not in_notebook():
            from p2plib.training.loop import print_row

            print_row(snapshot)
        elif snapshot.done or time.monotonic() - drawn >= REDRAW_SECONDS:
            handle = _display(_training_html(snapshot), handle)
            drawn = time.monotonic()

    return show


def in_notebook() -> bool:
    """Whether this code runs in a Jupyter kernel with a possible viewer."""
    ipython = sys.modules.get("IPython")
    in_kernel = ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    return in_kernel and os.environ.get("KAGGLE_KERNEL_RUN_TYPE") != "Batch"


def _display(html: str, handle: Any) -> Any:
    """Show HTML in the output area of `handle`, or in a new one; return its handle."""
    from IPython.display import display

    bundle = {"text/html": html, "text/plain": "training progress"}
    if handle is None:
        return display(bundle, raw=True, display_id=True)
    handle.update(bundle, raw=True)
    return handle


def _training_html(snapshot: Snapshot) -> str:
    """Learning curves and samples; apart from the images, the text is constant, so that runs can be compared."""
    curves = figures.learning_curves(snapshot.rows, snapshot.config.gan_loss)
    jpeg, _ = curves._repr_jpeg_()
    width, height = (round(96 * inches) for inches in curves.get_size_inches())  # CSS has 96 pixels per inch
    style = 'style="max-width:100%;height:auto" '
    return (
        '<div class="p2p-progress" style="display:flex;flex-wrap:wrap;gap:1em">'
        f"{_img(jpeg, 'learning curves so far', (width, height), style)}{_samples_html(snapshot)}</div>"
    )


def _samples_html(snapshot: Snapshot) -> str:
    """A few rows of source | generated | expected as one image, enlarged by the browser."""
    rows = max(1, min(SAMPLES, 256 // snapshot.config.shape[0]))  # few where they are large: notebooks store them
    columns = [images[:rows] for images in snapshot.samples()]
    sheet = tile_images([list(row) for row in zip(*columns, strict=True)])
    source, target = snapshot.names
    label = f"{source} | generated {target} | expected {target}"
    image = img_html(sheet, f"samples: {label}", scale=max(1, 192 // columns[0].shape[2]))
    return f"<div>{image}<div>{escape(label)}</div></div>"
