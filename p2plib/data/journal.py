"""What a check of many pairs has seen so far, kept in the cache, so that one that was interrupted goes on."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from p2plib.data.download import cache_dir
from p2plib.data.pairs import Listing, Pair
from p2plib.data.problems import Problem

MANY = 1000
"""From so many pairs on, a check keeps what it has seen."""


@dataclass
class Seen:
    """What is kept of a pair after its pixels are freed. A broken pair has a name and problems only."""

    name: str
    problems: list[Problem] = field(default_factory=list)
    size: tuple[int, int] | None = None
    digests: dict[str, bytes] = field(default_factory=dict)
    """Exact, by side; none for near-constant images."""
    fingerprint: np.ndarray | None = None
    """Perceptual hash of all sides; None if one is near-constant."""

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON-ready values."""
        return {
            "name": self.name,
            "problems": [vars(problem) for problem in self.problems],
            "size": self.size,
            "digests": {side: digest.hex() for side, digest in self.digests.items()},
            "fingerprint": None if self.fingerprint is None else self.fingerprint.tobytes().hex(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Seen:
        """The inverse of `to_json`."""
        fingerprint = values["fingerprint"]
        return cls(
            values["name"],
            [Problem(**problem) for problem in values["problems"]],
            tuple(values["size"]) if values["size"] else None,
            {side: bytes.fromhex(digest) for side, digest in values["digests"].items()},
            None if fingerprint is None else np.frombuffer(bytes.fromhex(fingerprint), np.uint8),
        )


@contextmanager
def continued(about: str, listing: Listing, inspect: Callable[[Pair], Seen]) -> Iterator[Callable[[Pair], Seen]]:
    """What looks at a pair: `inspect`, or, of many pairs, what an earlier check has seen of it that was interrupted.

    A line on stderr says so.

    Args:
        about: what is checked, and how: no other check goes on with what this one has seen.
        listing: the pairs.
        inspect: looks at a pair. Several threads may call it.
    """
    if sum(map(len, listing.splits.values())) < MANY:
        yield inspect
        return
    journal = Journal(about, stamped=not listing.fingerprint)
    if journal:
        tqdm.write(f"going on with an interrupted check, which has seen {len(journal):,} pairs", file=sys.stderr)

    def look(pair: Pair) -> Seen:
        if not (seen := journal.find(pair)):
            seen = inspect(pair)
            journal.add(pair, seen)
        return seen

    done = False
    try:
        yield look
        done = True
    finally:
        journal.close(done)


class Journal:
    """A file of lines, one for each pair that was seen; several threads may add to it.

    Where the cache cannot be written, nothing is kept.

    Args:
        about: what is checked, and how: another text has another file.
        stamped: whether files may change under the same `about`; those of a pack may not.
    """

    def __init__(self, about: str, stamped: bool = True) -> None:
        self._stamp = _stamp if stamped else lambda pair: ""
        self._path = cache_dir() / "checks" / f"{hashlib.sha256(about.encode()).hexdigest()[:32]}.jsonl"
        self._lock = Lock()
        self._known = dict(_lines(self._path))
        self._file: IO[str] | None = None
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")

    def __len__(self) -> int:
        """How many pairs an earlier check has seen."""
        return len(self._known)

    def find(self, pair: Pair) -> Seen | None:
        """What an earlier check has seen of a pair, if its files are still the same."""
        stamp, seen = self._known.get(pair.name, ("", None))
        return seen if seen and stamp == self._stamp(pair) else None

    def add(self, pair: Pair, seen: Seen) -> None:
        """Keep what was seen of a pair."""
        line = json.dumps([self._stamp(pair), seen.to_json()])
        with self._lock, suppress(OSError):
            if self._file:
                self._file.write(line + "\n")

    def close(self, done: bool) -> None:
        """Keep the file for the next check or, if this one is done, remove it."""
        with suppress(OSError):
            if self._file:
                self._file.close()
            if done:
                self._path.unlink()


def _stamp(pair: Pair) -> str:
    """The sizes and times of a pair's files; "" if one is not there."""
    try:
        return " ".join(f"{(stat := path.stat()).st_size} {stat.st_mtime_ns}" for path in pair.files.values())
    except OSError:
        return ""


def _lines(path: Path) -> Iterator[tuple[str, tuple[str, Seen]]]:
    """What a journal holds. A line that was cut off is passed over."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            stamp, values = json.loads(line)
            yield values["name"], (stamp, Seen.from_json(values))
