"""A slider over several images, such as those of one training over time: needs no kernel, network or script file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from p2plib.data.image import GAP, read_rgb
from p2plib.errors import CheckpointError, ConfigError
from p2plib.show.lessons import Lesson
from p2plib.show.widgets import Html, img_html

# All frames stand in one row; the slider moves the row. Where styles are dropped, they stand one below the other.
STYLE = """
.p2p-frames {display: inline-block; max-width: 100%; --i: 0}
.p2p-window {overflow: hidden}
.p2p-row {display: flex; transform: translateX(calc(var(--i) * -100%))}
.p2p-row figure {flex: 0 0 100%; margin: 0; text-align: center}
.p2p-row img {max-width: 100%; height: auto; margin: 0 auto; display: block}
.p2p-frames input {width: 100%; margin: 0.5em 0 0}
"""

# JupyterLab has shortcuts for the keys that move a slider, so those events must not reach it.
_FRAMES = """<div class="p2p-frames" style="--i:{start}"><div class="p2p-window"><div class="p2p-row">
{figures}
</div></div><input type="range" min="0" max="{last}" value="{start}" aria-label="{title}" aria-valuetext="{shown}" \
oninput="this.parentNode.style.setProperty('--i', this.value); this.setAttribute('aria-valuetext', \
this.parentNode.querySelectorAll('figcaption')[this.value].textContent)" \
onkeydown="if (/^(Arrow|Page|Home|End)/.test(event.key)) event.stopPropagation()"></div>"""


def frames(images: Sequence[np.ndarray], labels: Sequence[str], title: str, start: int = 0, quality: int = 75) -> Html:
    """A slider over images. Mouse, touch and arrow keys move it, without a kernel.

    Args:
        images: uint8 arrays (H, W, 3), all of one size.
        labels: the line below each image.
        title: what the slider changes, for people who cannot see it.
        start: which image is shown at first.
        quality: JPEG quality, at most 95.

    Raises:
        ConfigError: there is no image, or not one label for each.
    """
    if not len(images) or len(images) != len(labels):
        raise ConfigError(f"There are {len(images)} images and {len(labels)} labels; give one label for each image.")
    scale = max(1, 512 // images[0].shape[1])
    figures = "\n".join(
        f"<figure>{img_html(image, f'{title}: {label}', quality, scale=scale)}"
        f"<figcaption>{escape(label)}</figcaption></figure>"
        for image, label in zip(images, labels, strict=True)
    )
    text = _FRAMES.format(
        start=start, last=len(images) - 1, title=escape(title), shown=escape(labels[start]), figures=figures
    )
    return Html(f"<style>{STYLE}</style>{text}")


def runs(lesson: Lesson, title: str, start: int = 0) -> Html:
    """A slider over the trainings of a lesson: their sources, what each generated, and the expected images.

    Args:
        lesson: from `lessons.lesson`; the first two images of each training are shown.
        title: what differs between the trainings.
        start: which is shown at first; 0 are the sources.
    """
    both = 2 * len(lesson.sources)
    images = [lesson.sources, *(run.image for run in lesson.runs), lesson.targets]
    labels = ["source", *(run.label for run in lesson.runs), "expected"]
    return frames([image[:, :both] for image in images], labels, title, start, quality=55)


def over_time(run: str | Path, rows: int = 2) -> Html:
    """A slider over the training time of a run: its sample grids (source | generated | expected).

    Args:
        run: a run folder; training writes a grid every `sample_every` epochs.
        rows: how many of the grids' rows to show.

    Raises:
        CheckpointError: the run has no sample grids.
    """
    paths = sorted(Path(run, "samples").glob("*.png"))
    if not paths:
        raise CheckpointError(f"{run}: it has no samples; give a run folder that training printed.")
    sheets = [read_rgb(path) for path in paths]
    side = (sheets[0].shape[1] - 2 * GAP) // 3
    cut = [sheet[: rows * (side + GAP) - GAP] for sheet in sheets]
    steps = [int(re.sub(r"\D", "", path.stem)) for path in paths]
    return frames(cut, [f"after {step:,} steps" for step in steps], "training time", quality=60)
