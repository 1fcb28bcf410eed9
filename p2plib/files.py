"""Atomic file writes, locks between processes, and names of files as people and shells read them."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import secrets
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from p2plib.errors import WriteError

_LONGEST = 200
"""Bytes of a name that a temporary file keeps; systems allow 255 for all of it."""
_HINTS = {
    errno.ENOSPC: "make room on this disk",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    r"""Yield a temporary path to write to, which replaces `path` when the block succeeds.

    The temporary file is next to `path` (same file system, same suffix), so the swap is one atomic rename. If the block
    raises, the temporary file is removed and `path` is unchanged.

    Args:
        path: the final path; missing parent folders are created.

    Raises:
        WriteError: the system does not let it be written.

    Example:
        >>> with replacing("log.csv") as temporary:
        ...     temporary.write_text("epoch,l1\\n")
    """
    path = Path(path)
    temporary = path.with_name(f".{part_name(path.stem)}.{secrets.token_hex(4)}.part{path.suffix}")  # unique per writer
    with _plainly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with suppress(OSError):  # the first error is the one to tell
                temporary.unlink()


def part_name(name: str) -> str:
    """The part of a name that its temporary file begins with: all of it, unless it is very long."""
    return os.fsdecode(os.fsencode(name)[:_LONGEST])


@contextmanager
def replacing_folder(target: str | Path) -> Iterator[Path]:
    """Like `replacing`, for a folder: yield a new folder to fill, which replaces `target` when the block succeeds.

    Args:
        target: the final path; missing parent folders are created.

    Raises:
        WriteError: the system does not let it be written.
    """
    target = Path(target).absolute()
    prefix = f".{part_name(target.name)}."
    with _plainly(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=prefix, suffix=".part", dir=target.parent) as place:
            new, old = Path(place) / "new", Path(place) / "old"
            new.mkdir()
            yield new
            if target.exists():
                os.replace(target, old)
            os.replace(new, target)


def place(source: Path, target: Path) -> None:
    """Let a file be at another place, too: by a link, or as a copy where the system makes none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def check_writable(path: str | Path, folder: bool = False) -> None:
    """See whether a file can be written, or files in a folder, before the work that it is for; nothing is left there.

    Raises:
        WriteError: it cannot.
    """
    with _plainly(Path(path)):
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(Path(path).stat().st_mode) and not folder:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        place = Path(path).absolute() if folder else Path(path).absolute().parent
        while not os.path.lexists(place):
            place = place.parent
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(1 << 16))


def user_path(path: str | Path) -> Path:
    """A path in which a leading `~` or `~USER` is the home of a user, if there is one: else it is a name."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises an error then)


@contextmanager
def _plainly(path: Path) -> Iterator[None]:
    """Raise a WriteError about `path` in place of any OSError in this block."""
    try:
        yield
    except OSError as error:
        reason = error.reason if isinstance(error, WriteError) else error.strerror or f"{error}; is the disk full?"
        hint = _HINTS.get(error.errno or 0, "choose another place")
        message = f"{path}: cannot be written ({reason}); {hint}."
        raise WriteError(message, reason) from error


def remove_leftovers(folder: str | Path) -> None:
    """Remove temporary files that a killed process left anywhere below `folder`."""
    for path in list(Path(folder).rglob(".*.part*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically; half a character, as in broken names, is written as its number."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file in UTF-8, with or without the mark that some editors put at its beginning.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not JSON.
    """
    return json.loads(Path(path).read_text(encoding="utf-8-sig"))


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same keys as CSV with a header line, atomically."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


def readable(name: object) -> str:
    r"""A name of a file in one line of text: control characters and bytes that are no UTF-8 become `\n`, `\xe9`."""
    return _UNREADABLE.sub(_escape, str(name))


def some(names: Sequence[object], limit: int) -> str:
    """The first `limit` of names, for a message; "..." stands for the rest."""
    return ", ".join(map(str, names[:limit])) + ", ..." * (len(names) > limit)


def shell(path: object) -> str:
    """A path as a shell takes it in a command line: quoted, and no option even if it begins with a dash."""
    text = str(path)
    text = f"./{text}" if text.startswith("-") else text
    if not _UNREADABLE.search(text):
        return shlex.quote(text)
    return "$'" + readable(text.replace("\\", "\\\\").replace("'", "\\'")) + "'"


# Control characters, line separators, changes of direction, and surrogates: Python's form of bytes that are no UTF-8.
_UNREADABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode()


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
