"""A list of files with sizes and SHA-256 hashes, by which whoever downloads them sees that they are what was sent."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

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


def describe(path: Path, name: str) -> Entry:
    """The entry for the file at `path`, under this name."""
    with open(path, "rb") as file:
        return Entry(name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def to_json(entries: Iterable[Entry], **more: Any) -> str:
    """The text of a manifest, with `more` fields."""
    values = {"format": 1, **more, "files": [entry._asdict() for entry in sorted(entries)]}
    return json.dumps(values, indent=1) + "\n"


def from_json(text: str) -> list[Entry]:
    """The inverse of `to_json`; the names are not checked.

    Raises:
        ValueError: it is no manifest.
    """
    try:
        return [_entry(**values) for values in json.loads(text)["files"]]
    except (LookupError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def fault(path: Path, entry: Entry) -> str:
    """What is wrong with the file at `path`, to be read behind its name; "" if it is the one of the entry."""
    if not path.is_file():
        return "is missing"
    found = describe(path, entry.name)
    if found == entry:
        return ""
    if is_page(path) and not entry.name.endswith(".html"):
        return "is missing: a web page was saved instead"
    if found.size != entry.size:
        return f"has {found.size} bytes instead of {entry.size}"
    return "is damaged: its contents do not match the manifest"


def leads_out(name: str) -> bool:
    r"""Whether a file of this name may lie outside its folder on some system, as with \ and : on Windows."""
    path = PurePosixPath(name)
    return path.is_absolute() or not path.parts or ".." in path.parts or bool(re.search(r"[\\:\0]", name))


def is_page(path: Path) -> bool:
    """Whether a file begins like a web page."""
    try:
        with open(path, "rb") as file:
            return file.read(64).lstrip().startswith(b"<")
    except OSError:
        return False


def _entry(name: Any, size: Any, sha256: Any) -> Entry:
    """Validate and build an entry; raise TypeError or ValueError if a value is invalid."""
    if type(size) is not int or size < 0 or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"{name!r} has no valid size or hash")
    return Entry(str(PurePosixPath(name)), size, sha256)
