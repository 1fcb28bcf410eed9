"""Watching a session on Kaggle: a progress bar made of its log, its newest sample grid, and its run in the end.

Kaggle streams the log of a session that runs. Whether it gives files of one is its own affair: so a grid is asked for
when the log says that it is there, and where none comes, one line says that the grids come with the run, at the end.
"""

from __future__ import annotations

import re
import sys
from contextlib import closing, suppress
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from p2plib.config import seconds
from p2plib.data.image import read_rgb
from p2plib.errors import ConfigError
from p2plib.kaggle import client
from p2plib.kaggle.client import Status
from p2plib.show import widgets

LAST = 6
"""Lines of the log that a panel shows."""
NO_GRIDS = "Kaggle gives no files of this session while it runs; its sample grids come with the run, at the end"

# What training prints after an epoch, and what a session prints before the first one; see `training.callbacks.describe`
# and `session.train`.
_EPOCH = re.compile(r"epoch (\d+)(?:/(\d+))?  (.*?)  \| validation .*  (\d+):(\d\d)\s*")
_LIMIT = re.compile(r"time budget: .*, training time: (\S+)\s*")
_GRID = re.compile(r"sample grid: (samples/\d+\.png)\s*")


class Epoch(NamedTuple):
    """What the log says about an epoch that is done."""

    number: int
    of: int | None
    """How many there are; None if time decides."""
    losses: str
    """As printed, for example "gan 0.693  l1 0.120"."""
    seconds: float
    """Time since training began, over all sessions."""

    def left(self, limit: float | None = None) -> float | None:
        """Seconds of training that are left; `limit`: how many there are in all, where time decides."""
        if self.of:
            return self.seconds / self.number * max(self.of - self.number, 0)
        return max(limit - self.seconds, 0.0) if limit else None

    def share(self, limit: float | None = None) -> float:
        """How much of the training is done, from 0 to 1."""
        done, total = (self.number, self.of) if self.of else (self.seconds, limit or 0)
        return min(done / total, 1.0) if total else 0.0

    def text(self, limit: float | None = None) -> str:
        """Epoch, remaining time and losses in one line."""
        left = self.left(limit)
        remaining = "" if left is None else f", {_duration(left)} left"
        return f"epoch {self.number}{f'/{self.of}' if self.of else ''}{remaining}  {self.losses}"


def read(line: str) -> Epoch | None:
    """Read a line of the log; None if it is not about an epoch.

    Example:
        >>> read("epoch 3/12  gan 0.693  l1 0.120  | validation l1 0.110  psnr 15.21  | 21.0 images/s  1:30").left()
        270.0
    """
    found = _EPOCH.fullmatch(line)
    if not found or found[1] == "0":
        return None
    of = int(found[2]) if found[2] else None
    return Epoch(int(found[1]), of, found[3], 60.0 * int(found[4]) + int(found[5]))


class Display:
    """Where a log is shown: here line by line, and with a progress bar below where there is a terminal."""

    def __init__(self) -> None:
        self.limit: float | None = None
        self.bar: tqdm | None = None

    def line(self, text: str) -> None:
        """Show a line of the log, and what it says about the progress."""
        self.write(text)
        if found := _LIMIT.fullmatch(text):
            with suppress(ConfigError):
                self.limit = seconds(found[1])
        if epoch := read(text):
            self.progress(epoch.share(self.limit), epoch.text(self.limit))

    def write(self, text: str) -> None:
        """Show a line."""
        tqdm.write(text)
        sys.stdout.flush()

    def progress(self, share: float, text: str) -> None:
        """Show how much is done, and a text about it."""
        if self.bar is None:
            self.bar = tqdm(total=1.0, bar_format="{percentage:3.0f}%|{bar:20}| {desc}", disable=None)
        if not self.bar.disable:
            self.bar.n = share
            self.bar.set_description_str(text)

    def grid(self, path: Path) -> None:
        """Show a sample grid."""
        self.write(f"sample grid: {path}")

    def close(self) -> None:
        """End the bar; what it says stays."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Panel(Display):
    """The same in a notebook, which shows this as a widget: a bar, the newest sample grid and the last lines.

    Raises:
        ConfigError: ipywidgets is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        parts = widgets.ipywidgets_or_error()
        self.last: list[str] = []
        self.meter, self.text = parts.FloatProgress(max=1.0), parts.Label()
        self.picture, self.lines = parts.HTML(), parts.HTML()
        row = parts.HBox([self.meter, self.text])
        self.box = widgets.column("p2p-watch", [row, self.picture, self.lines], self._without)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        return self.box._repr_mimebundle_(**options)

    def write(self, text: str) -> None:
        """Show a line among the last ones."""
        self.last = [*self.last, text][-LAST:]
        self.lines.value = f"<pre>{escape(chr(10).join(self.last))}</pre>"

    def progress(self, share: float, text: str) -> None:
        """Move the bar."""
        self.meter.value, self.text.value = share, text

    def grid(self, path: Path) -> None:
        """Show a sample grid in place of the former one."""
        self.picture.value = widgets.img_html(read_rgb(path), f"sample grid {path.stem}")

    def _without(self) -> str:
        meter = f'<progress value="{self.meter.value:.3f}"></progress> {escape(self.text.value)}'
        return f"<div>{meter}</div>{self.picture.value}{self.lines.value}"


def display() -> Display:
    """A panel, shown in the cell's output, in a notebook; else a display for a terminal."""
    if not widgets.in_notebook():
        return Display()
    from IPython.display import display as show_in_cell

    panel = Panel()
    show_in_cell(panel)
    return panel


def follow(kernel_id: str, shown: Display, newest: Path | None = None) -> Status:
    """Show a session until it ends.

    Args:
        kernel_id: "owner/slug".
        shown: where.
        newest: the file to which the newest sample grid is fetched while the session runs; None: it is not.

    Returns:
        The final status.

    Raises:
        KaggleError: as `client.follow`.
    """
    known = asked = ""
    told = False

    def line(text: str) -> None:
        nonlocal known
        shown.line(text)
        if found := _GRID.fullmatch(text):
            known = found[1]

    def look() -> None:
        nonlocal asked, told
        if newest is None or known == asked:
            return
        asked = known
        if client.fetch_early(kernel_id, known, newest):
            shown.grid(newest)
        elif not told:
            told = True
            shown.write(NO_GRIDS)

    return client.follow(kernel_id, line, look=look)


def watch(kernel_id: str, run: Path, samples: bool = False) -> Status:
    """Show a session until it ends, fetch its run, and say where its report is.

    In a notebook, a panel shows it; elsewhere lines do, with a progress bar where there is a terminal.

    Args:
        kernel_id: "owner/slug".
        run: the run folder for what it trained; created if missing.
        samples: show the newest sample grid at each checkpoint, if Kaggle gives it before the end: in a notebook, and
            as a file beside the run folder, until that has come.

    Returns:
        The final status. Unless it is COMPLETE, no run is fetched.

    Raises:
        KaggleError: as `client.follow` and `client.pull`.
    """
    newest = run.with_name(f"{run.name}-newest.png") if samples else None
    with closing(display()) as shown:
        status = follow(kernel_id, shown, newest)
        if status.state != "COMPLETE":
            shown.write(f"python -m p2plib kaggle pull {kernel_id} fetches what it saved, if it did")
            return status
        client.pull(kernel_id, run, say=shown.write)
        if newest:
            newest.unlink(missing_ok=True)
            for last in sorted(run.glob("samples/*.png"))[-1:]:
                shown.grid(last)
        page = run.resolve() / "results.html"
        shown.write(f"report: {page.as_uri()}" if page.is_file() else f"run: {run}, without a report")
    return status


def _duration(left: float) -> str:
    """Remaining time as people say it: "2 h 05 min", "12 min", "40 s"."""
    if left < 90:
        return f"{left:.0f} s"
    hours, minutes = divmod(round(left / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
