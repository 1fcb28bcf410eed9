"""The log of a session on Kaggle, as a stream of lines."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

from p2plib.hub.faults import without_secrets
from p2plib.kaggle.command import command, pipes

LAST_LINES = 60.0
"""Seconds that `follow` waits for the rest of the log after the session has ended."""


class SessionLog:
    """Shows each log line of a session once, although a reopened stream starts from the first line."""

    def __init__(self, kernel_id: str) -> None:
        self.command = command("kernels", "logs", "--follow", kernel_id)
        self.process: subprocess.Popen[str] | None = None
        self.reader: Thread | None = None
        self.read = 0
        self.lines: SimpleQueue[str | None] = SimpleQueue()

    def open(self) -> None:
        """Start the stream unless it is running."""
        if self.process and self.process.poll() is None:
            return
        self.close()
        self.process = subprocess.Popen(  # noqa: S603
            self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **pipes()
        )
        self.reader = Thread(target=self._read, args=(self.process,), daemon=True)
        self.reader.start()

    def show(self, say: Callable[[str], None], seconds: float) -> None:
        """Show lines for `seconds`; return early if a stream with new lines ends."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self.lines.get(timeout=left)
            except Empty:
                return
            if line is None:
                return
            say(without_secrets(line))

    def show_rest(self, say: Callable[[str], None]) -> None:
        """Show the rest of the log after the session has ended."""
        if not (self.process and self.process.poll() == 0):
            self.open()
        if self.reader:
            self.reader.join(LAST_LINES)
        while not self.lines.empty():
            line = self.lines.get()
            if line is not None:
                say(without_secrets(line))

    def close(self) -> None:
        """End the stream."""
        if self.process and self.reader and self.process.stdout:
            self.process.kill()
            self.process.wait()
            self.reader.join()
            self.process.stdout.close()

    def _read(self, process: subprocess.Popen[str]) -> None:
        known = self.read
        for i, line in enumerate(process.stdout or ()):
            if i >= known:
                self.read += 1
                self.lines.put(line.rstrip("\n"))
        if self.read > known:
            self.lines.put(None)
