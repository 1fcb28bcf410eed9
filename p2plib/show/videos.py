"""Videos side by side in a notebook: the files are inside the output, so they play without a kernel or a network."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Sequence
from html import escape
from pathlib import Path

from p2plib.errors import ConfigError
from p2plib.show.widgets import Html

LARGEST = 3_000_000
"""Bytes that all files together have at most; the output is a third larger, and stays in the notebook."""

# One video that is played, paused or wound takes the others with it. A video does not report what it already does, so
# this ends.
_OTHERS = "for (const v of this.closest('.p2p-videos').querySelectorAll('video')) "
_VIDEO = """<figure style="margin:0"><video controls loop muted playsinline preload="auto" \
style="display:block;min-width:256px;max-width:100%" aria-label="{label}" \
onplay="{others}if (v.paused) v.play()" onpause="{others}v.pause()" \
onseeking="{others}if (Math.abs(v.currentTime - this.currentTime) > 0.1) v.currentTime = this.currentTime" \
src="data:{kind};base64,{data}"></video><figcaption>{label}</figcaption></figure>"""


def videos(*paths: str | Path, labels: Sequence[str] | None = None) -> Html:
    """Videos side by side, with controls; they play together, without sound, again and again.

    A viewer that removes videos, as GitHub does, leaves the labels.

    Args:
        paths: files that browsers play, such as the `.mp4` of `translate_video`.
        labels: what is written below each; None takes the files' names without suffix.

    Raises:
        ConfigError: there are no files, one is missing or no video, `labels` has a different length, or the files
            have more than `LARGEST` bytes together.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise ConfigError("There are no videos to show; give at least one file.")
    labels = labels or [file.stem for file in files]
    if len(labels) != len(files):
        raise ConfigError(f"There are {len(files)} videos, but {len(labels)} labels.")
    kinds = [_kind(file) for file in files]
    size = sum(file.stat().st_size for file in files)
    if size > LARGEST:
        raise ConfigError(
            f"The videos have {size / 1e6:.1f} MB, and a notebook should not hold more than {LARGEST / 1e6:g}; show a "
            "shorter or smaller clip."
        )
    shown = "".join(
        _VIDEO.format(label=escape(label), kind=kind, others=_OTHERS, data=base64.b64encode(file.read_bytes()).decode())
        for file, kind, label in zip(files, kinds, labels, strict=True)
    )
    return Html(f'<div class="p2p-videos" style="display:flex;flex-wrap:wrap;gap:1em">{shown}</div>')


def _kind(file: Path) -> str:
    """The media type of a video file, by its name."""
    if not file.is_file():
        raise ConfigError(f"{file}: there is no such video file.")
    kind = mimetypes.guess_type(file.name)[0] or ""
    if not kind.startswith("video/"):
        raise ConfigError(f"{file}: not a video that a browser plays, by its name; .mp4 and .webm are.")
    return kind
