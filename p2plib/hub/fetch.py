"""Gets a model from a hub: its checkpoint, or an export, in the cache of the hub's own package, and verified.

Only files that the model's manifest names are asked for, and each is compared with it on every use. So a file that
was damaged here is fetched anew, and one that was changed there is refused. Nothing of a download is executed.
"""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath
from typing import Protocol

from p2plib.errors import HubError
from p2plib.hub import huggingface, kaggle_models
from p2plib.hub.faults import explained, is_about_a_file, quiet, said
from p2plib.hub.manifest import MANIFEST, Entry, fault, from_json, leads_out
from p2plib.hub.names import Name

PACKAGES = {"hf": "huggingface_hub", "kaggle": "kagglehub"}
"""The package for each hub; the extra `hub` installs both."""
TRIES = 3
"""How often a download that breaks off is gone on with."""
BACKOFF = 1.0
"""Seconds before that."""
_BROKEN = ("ChunkedEncodingError", "DataCorruptionError", "ReadError", "RemoteProtocolError")
"""Errors of downloads that had begun; some versions of the packages go on by themselves, and some do not."""
_PROGRAMS = ("saved_model.pb",)
"""Files that mark a folder as a program for TensorFlow rather than as mere weights."""


class Source(Protocol):
    """One version of a model on a hub."""

    def get(self, file: str, again: bool = False) -> Path:
        """The file here, downloaded if need be; `again`: in any case."""


def fetch(name: Name) -> Path:
    """Get a checkpoint or an export from a hub, or from the cache if nothing has changed or the hub is out of reach.

    Args:
        name: see `names.parse`.

    Returns:
        The `.keras` file, or the export folder, in the cache; to be read only.

    Raises:
        HubError: a package is missing, the model is not there or not p2plib's, a file is not what was published, or the
            connection fails and there is nothing in the cache.
    """
    require(name)
    source: Source = huggingface.Source(name) if name.hub == "hf" else kaggle_models.Source(name)
    try:
        with quiet():
            chosen = _chosen(name, _listing(name, source))
            paths = [_verified(name, source, entry) for entry in chosen]
    except Exception as error:  # each package has its own, and some of them change with its version
        raise explained(name, error) from error
    return paths[0] if chosen[0].name.endswith(".keras") else _folder(name, chosen[0], paths[0])


def require(name: Name) -> None:
    """See whether the package for a hub is installed.

    Raises:
        HubError: it is not; the message says how to install it.
    """
    package = PACKAGES[name.hub]
    try:
        __import__(package)
    except ImportError as error:
        raise HubError(f"{name}: needs {package}, which is not installed; run: pip install 'p2plib[hub]'") from error


def _listing(name: Name, source: Source) -> list[Entry]:
    """The manifest, read anew if it is damaged here."""
    try:
        path = _get(source, MANIFEST)
    except Exception as error:
        if is_about_a_file(error):
            raise HubError(f"{name}: was not published by p2plib, for it has no {MANIFEST}; choose another.") from error
        raise
    try:
        entries = _read(path)
    except (OSError, ValueError):
        path = _get(source, MANIFEST, again=True)
        try:
            entries = _read(path)
        except (OSError, ValueError) as error:
            raise HubError(f"{name}: its {MANIFEST} is not p2plib's ({said(error)}); choose another.") from error
    if bad := next((entry.name for entry in entries if leads_out(entry.name)), None):
        raise HubError(f"{name}: the file name {bad!r} in its {MANIFEST} is refused, it leads out of the folder.")
    return entries


def _read(path: Path) -> list[Entry]:
    return from_json(path.read_text(encoding="utf-8"))


def _chosen(name: Name, entries: list[Entry]) -> list[Entry]:
    """The files that make up what was asked for; the first tells which it is."""
    if name.file is None:
        chosen = [entry for entry in entries if entry.name.endswith(".keras") and "/" not in entry.name]
        if len(chosen) != 1:
            raise HubError(
                f"{name}: holds {len(chosen) or 'no'} checkpoints; name the file you mean behind it, after a /."
            )
        return chosen
    chosen = [entry for entry in entries if entry.name == name.file and entry.name.endswith(".keras")]
    chosen = chosen or [entry for entry in entries if entry.name.startswith(f"{name.file}/")]
    if not chosen:
        models = {str(PurePosixPath(e.name).parent) for e in entries if e.name.endswith("/p2plib.json")}
        models |= {entry.name for entry in entries if entry.name.endswith(".keras")}
        raise HubError(f"{name}: has no such model; it holds {', '.join(sorted(models)) or 'none'}.")
    if any(PurePosixPath(entry.name).name in _PROGRAMS for entry in chosen):
        raise HubError(
            f"{name}: a SavedModel is a program, which p2plib does not run from a hub; take the checkpoint, or another "
            "export."
        )
    return chosen


def _folder(name: Name, entry: Entry, path: Path) -> Path:
    """The export folder in the cache, from one of its files."""
    depth = len(PurePosixPath(entry.name).parts) - len(PurePosixPath(name.file or "").parts)
    return path.parents[depth - 1]


def _verified(name: Name, source: Source, entry: Entry) -> Path:
    """The file, fetched once more if the one in the cache is not what the manifest says."""
    path = _get(source, entry.name)
    if not fault(path, entry):
        return path
    path = _get(source, entry.name, again=True)
    if wrong := fault(path, entry):
        raise HubError(
            f"{name}: {entry.name} {wrong}; it was changed after it was published, so it is not used. Ask its owner to "
            "publish it anew."
        )
    return path


def _get(source: Source, file: str, again: bool = False) -> Path:
    """The file, whose download goes on if it breaks off."""
    for attempt in range(1, TRIES):
        try:
            return source.get(file, again)
        except Exception as error:  # each package has its own
            if type(error).__name__ not in _BROKEN:
                raise
            time.sleep(BACKOFF * attempt)
    return source.get(file, again)
