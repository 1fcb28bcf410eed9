"""A list of a folder's files with sizes and hashes, to verify downloads from Kaggle; see `hub.manifest` for its form.

The `kaggle` command silently saves error pages as files, truncates files, and follows names out of the folder.
"""

from __future__ import annotations

import json
from pathlib import Path

from p2plib.errors import KaggleError
from p2plib.files import write_text
from p2plib.hub import manifest as form
from p2plib.hub.manifest import MANIFEST, Entry

__all__ = ["MANIFEST", "Entry", "check", "complete", "read", "write"]


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
    entries = [form.describe(path, _checked(path.relative_to(folder).as_posix())) for path in paths]
    write_text(target, form.to_json(entries, complete=complete))
    return target


def read(path: Path) -> list[Entry]:
    """Read a manifest written by `write`.

    Raises:
        KaggleError: it is missing or not a manifest, or a name in it leads out of the folder.
    """
    try:
        entries = form.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = "a web page was saved instead" if form.is_page(path) else error
        raise KaggleError(f"{path}: cannot be read as a manifest of p2plib ({why}); download it again.") from error
    for entry in entries:
        _checked(entry.name)
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
    _checked(entry.name)
    if fault := form.fault(path, entry):
        raise KaggleError(f"{entry.name} {fault}; download it again.")


def _checked(name: str) -> str:
    """Refuse a name that leads out of the folder."""
    if form.leads_out(name):
        raise KaggleError(f"The file name {name!r} is refused: on some systems, it leads out of the folder.")
    return name
