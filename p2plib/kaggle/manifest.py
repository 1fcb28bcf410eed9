"""The list of a folder's files with sizes and hashes: what left Kaggle is what arrived, or the file at fault is named.

The `kaggle` command saves error pages as files, truncates, and follows names out of the folder, all in silence.
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
"""Name of the list, in the folder that it describes."""


class Entry(NamedTuple):
    """One file of a folder."""

    name: str
    """Path relative to the folder, with "/" on every system."""
    size: int
    """In bytes."""
    sha256: str
    """64 hexadecimal digits."""


def write(folder: Path) -> Path:
    """List every file below `folder`, the list itself excepted, atomically. Write it last: it seals what is there.

    Returns:
        The path of the list.

    Raises:
        KaggleError: a file has a name that other systems cannot take.
    """
    target = folder / MANIFEST
    paths = [path for path in folder.rglob("*") if path.is_file() and path != target]
    entries = sorted(_describe(path, path.relative_to(folder).as_posix()) for path in paths)
    values = {"format": 1, "files": [entry._asdict() for entry in entries]}
    write_text(target, json.dumps(values, indent=1) + "\n")
    return target


def read(path: Path) -> list[Entry]:
    """Read a list that `write` wrote.

    Raises:
        KaggleError: it is missing, is no such list, or a name in it would leave the folder.
    """
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        entries = [_entry(**values) for values in files]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        why = "a web page was saved in its place" if _is_page(path) else error
        raise KaggleError(f"{path}: cannot be read as a manifest of p2plib ({why}); get it again.") from error
    for entry in entries:
        _check_name(entry.name)
    return entries


def check(path: Path, entry: Entry) -> None:
    """Compare the file at `path` with its entry.

    Raises:
        KaggleError: it is missing, a web page, of another size, or holds other bytes; the message names the entry.
    """
    if not path.is_file():
        fault = "is missing"
    elif (found := _describe(path, entry.name)) == entry:
        return
    elif _is_page(path) and not entry.name.endswith(".html"):
        fault = "is not there, a web page was saved in its place"
    elif found.size != entry.size:
        fault = f"has {found.size} bytes, and the manifest says {entry.size}"
    else:
        fault = "is damaged, its bytes are not those that the manifest describes"
    raise KaggleError(f"{entry.name} {fault}; get it again.")


def _describe(path: Path, name: str) -> Entry:
    _check_name(name)
    with open(path, "rb") as file:
        return Entry(name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _entry(name: Any, size: Any, sha256: Any) -> Entry:
    """An entry of the right types; raises TypeError or ValueError for any other."""
    if type(size) is not int or size < 0 or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"{name!r} has no proper size or hash")
    return Entry(str(PurePosixPath(name)), size, sha256)


def _check_name(name: str) -> None:
    r"""Refuse names that lead out of the folder on any system: \ and : act as such on Windows."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or re.search(r"[\\:\0]", name):
        raise KaggleError(f"The file name {name!r} is refused: on some system it would lie outside its folder.")


def _is_page(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(64).lstrip().startswith(b"<")
    except OSError:
        return False
