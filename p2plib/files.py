"""Atomic file writes, and locks between processes."""

from __future__ import annotations

import csv
import io
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    r"""Yield a temporary path to write to, which replaces `path` when the block succeeds.

    The temporary file is next to `path` (same file system, same suffix), so the swap is one atomic rename. If the block
    raises, the temporary file is removed and `path` is unchanged.

    Args:
        path: the final path; missing parent folders are created.

    Example:
        >>> with replacing("log.csv") as temporary:
        ...     temporary.write_text("epoch,l1\\n")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")  # unique per writer
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: str | Path) -> Iterator[Path]:
    """Like `replacing`, for a folder: yield a new folder to fill, which replaces `target` when the block succeeds.

    Args:
        target: the final path; missing parent folders are created.
    """
    target = Path(target).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".part", dir=target.parent) as place:
        new, old = Path(place) / "new", Path(place) / "old"
        new.mkdir()
        yield new
        if target.exists():
            os.replace(target, old)
        os.replace(new, target)


def remove_leftovers(folder: str | Path) -> None:
    """Remove temporary files that a killed process left anywhere below `folder`."""
    for path in list(Path(folder).rglob(".*.part*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same keys as CSV with a header line, atomically."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


class LockedError(OSError):
    """Another process holds the lock."""


@contextmanager
def locked(path: str | Path, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Lock `path` between processes; the system releases the lock when a process dies.

    Args:
        path: an existing folder, or a file, which is created if missing and stays.
        wait: called repeatedly while another process holds the lock; None means do not wait.

    Raises:
        LockedError: another process holds it, and `wait` is None.
    """
    path = Path(path)
    if path.is_dir() and sys.platform == "win32":  # Windows locks files only
        path /= ".lock"
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT)
    try:
        while not _try_lock(handle):
            if wait is None:
                raise LockedError(f"{path} is locked")
            wait()
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
