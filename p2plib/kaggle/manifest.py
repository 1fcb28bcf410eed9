"""A list of a folder's files with sizes and hashes, to verify downloads from Kaggle.

The `kaggle` command silently saves error pages as files, truncates files, and follows names out of the folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from p2plib.errors import KaggleError
from p2plib.files import write_text

MANIFEST = "manifest.json"
"""File name of the manifest, in the folder that it describes."""


class Entry(NamedTuple):
    """One file of a folder."""

    name: str
    """Path relative to the folder, with "/" on every system."""
    size: int
    """Size in bytes."""
    sha256: str
    """64 hexadecimal digits."""


def write(folder: Path, complete: bool = False) -> Path:
    """Write a manifest of every other file below `folder`, atomically. Call this last.

    Args:
        folder: the run folder.
        complete: whether the training has ended for good; see `complete`.

    Returns:
        The path of the manifest.

    Raises:
        KaggleError: a file name is not allowed on some system.
    """
    target = folder / MANIFEST
    paths = [path for path in folder.rglob("*") if path.is_file() and path != target]
    entries = sorted(_describe(path, path.relative_to(folder).as_posix()) for path in paths)
    values = {"format": 1, "complete": complete, "files": [entry._asdict() for entry in entries]}
    write_text(target, json.dumps(values, indent=1) + "\n")
    return target


def read(path: Path) -> list[Entry]:
    """Read a manifest written by `write`.

    Raises:
        KaggleError: it is missing or not a manifest, or a name in it leads out of the folder.
    """
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        entries = [_entry(**values) for values in files]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        why = "a web page was saved instead" if _is_page(path) else error
        raise KaggleError(f"{path}: cannot be read as a manifest of p2plib ({why}); download it again.") from error
    for entry in entries:
        _check_name(entry.name)
    return entries


def complete(path: Path) -> bool:
    """Whether a manifest says that the training has ended for good; those of former versions never do.

    Raises:
        KaggleError: as `read`.
    """
    read(path)
    return json.loads(path.read_text(encoding="utf-8")).get("complete") is True


def check(path: Path, entry: Entry) -> None:
    """Compare the file at `path` with its entry.

    Raises:
        KaggleError: the file is missing, a web page, or differs in size or content; the message names the entry.
    """
    if not path.is_file():
        fault = "is missing"
    elif (found := _describe(path, entry.name)) == entry:
        return
    elif _is_page(path) and not entry.name.endswith(".html"):
        fault = "is missing: a web page was saved instead"
    elif found.size != entry.size:
        fault = f"has {found.size} bytes instead of {entry.size}"
    else:
        fault = "is damaged: its contents do not match the manifest"
    raise KaggleError(f"{entry.name} {fault}; download it again.")


def _describe(path: Path, name: str) -> Entry:
    _check_name(name)
    with open(path, "rb") as file:
        return Entry(name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _entry(name: Any, size: Any, sha256: Any) -> Entry:
    """Validate and build an entry; raise TypeError or ValueError if a value is invalid."""
    if type(size) is not int or size < 0 or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"{name!r} has no valid size or hash")
    return Entry(str(PurePosixPath(name)), size, sha256)


def _check_name(name: str) -> None:
    r"""Reject names that lead out of the folder on any system, including \ and : on Windows."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or re.search(r"[\\:\0]", name):
        raise KaggleError(f"The file name {name!r} is refused: on some systems, it leads out of the folder.")


def _is_page(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(64).lstrip().startswith(b"<")
    except OSError:
        return False
