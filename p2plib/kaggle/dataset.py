"""A private data set on Kaggle for a person's own images: sent once, and anew when they change.

The record that `pack` writes travels beside the archive. It is asked for before anything is sent, and again afterward:
Kaggle unpacks for minutes, and a kernel that is pushed meanwhile would run without the data set, or with its former
version. An upload that breaks off goes on with the next call, since the `kaggle` command remembers how far it came.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from p2plib.errors import KaggleError
from p2plib.files import write_text
from p2plib.kaggle import pack
from p2plib.kaggle.command import UnclearError, run_kaggle, run_watched, shown
from p2plib.kaggle.pack import RECORD, Packed, megabytes

METADATA = "dataset-metadata.json"
"""What the `kaggle` command reads beside the files."""
WAIT, POLL = 30 * 60.0, 10.0
"""Seconds that a data set may take to become ready, and between two questions whether it is."""
LONGEST, SHORTEST = 50, 6
"""Letters that Kaggle takes for a name."""


class Place(NamedTuple):
    """Where images go."""

    id: str
    """owner/slug."""
    title: str


@dataclass(frozen=True)
class _There:
    """What is on Kaggle: the state of the newest version, the record in it, and whether it came without the images."""

    state: str
    record: Packed | None = None
    alone: bool = False


def place(owner: str, name: str) -> Place:
    """The data set for images of this name.

    Raises:
        KaggleError: the name is too short or too long.
    """
    slug = "-".join(re.findall(r"[a-z0-9]+", name.lower()))
    if not SHORTEST <= len(slug) <= LONGEST or len(name) > LONGEST:
        raise KaggleError(
            f"{name!r} cannot be the name of a data set on Kaggle, which has {SHORTEST} to {LONGEST} letters from a to "
            "z and digits; give one with --dataset."
        )
    return Place(f"{owner}/{slug}", name)


def usual_name(folder: Path) -> str:
    """The name of the data set for the images in a folder."""
    plain = " ".join(re.findall(r"[A-Za-z0-9]+", folder.resolve().name))
    return f"p2plib {plain or 'images'}"[:LONGEST].rstrip()


def send(folder: Path, where: Place, license: str = "other", say: Callable[[str], None] = print) -> None:
    """Bring what is packed in `folder` to Kaggle, unless it is there already, and wait until it is ready there.

    Args:
        folder: holds what `pack.pack` wrote.
        where: the data set; it is created, private, or gets a new version.
        license: Kaggle's name of its license.
        say: called with each line.

    Raises:
        KaggleError: it is not there, or not ready; the message says why, and what to do. The archive stays, and the
            next call goes on.
    """
    packed = pack.read(folder / RECORD)
    if packed is None:
        raise KaggleError(f"{folder}: nothing is packed here; give the command again.")
    there = _look(where.id)
    if there and there.state not in ("ready", "failed"):  # from an earlier call
        there = _wait(where.id, lambda there: there.state in ("ready", "failed"), say)
    if there and _same(there, packed):
        say(f"{where.id}: the same images are there already, nothing to upload")
        return
    if there and there.state == "ready" and not there.record:
        raise KaggleError(
            f"{where.id}: a data set of this name is there that p2plib did not make, or that another program changed; "
            "it is left alone: name another one with --dataset, or remove it on Kaggle."
        )
    _upload(folder, where, license, bool(there), packed.size, say)
    _wait(where.id, lambda there: there.state == "ready" and _same(there, packed), say)
    say(f"{where.id}: ready")


def check_same(dataset_id: str, record: Packed) -> None:
    """See that a data set still holds the images that a training began with.

    Raises:
        KaggleError: it holds others, or is gone.
    """
    there = _look(dataset_id)
    if not (there and _same(there, record)):
        raise KaggleError(
            f"{dataset_id}: this data set was changed since the training began, by another push or program; nothing "
            "was pushed: bring these images back (kaggle push with the folder as it was), or begin a new training."
        )


def _same(there: _There, record: Packed) -> bool:
    return there.record is not None and there.record.fingerprint == record.fingerprint and not there.alone


def _look(dataset_id: str) -> _There | None:
    """What is on Kaggle under this name; None if there is nothing that the user may see."""
    try:
        text = run_kaggle("datasets", "status", dataset_id)
    except UnclearError:  # Kaggle says in many ways that there is none; creating it asks again
        return None
    found = re.search(r"^\s*([A-Za-z_]+)\s*$", text, re.MULTILINE)  # not a warning, which may stand beside it
    state = found[1].lower() if found else "in a state that is not known"
    if state != "ready" or not (record := _fetch(dataset_id)):
        return _There(state)
    return _There(state, record, _stands_alone(dataset_id))


def _fetch(dataset_id: str) -> Packed | None:
    """The record in the newest version of a data set; None if it has none."""
    with TemporaryDirectory(prefix="p2plib-") as folder:
        try:
            run_kaggle("datasets", "download", dataset_id, "-f", RECORD, "-p", folder, "-o", "-q")
        except UnclearError:
            return None
        return pack.read(Path(folder, RECORD))


def _stands_alone(dataset_id: str) -> bool:
    """Whether the record came without the images: before 2.2.5, the command made data sets of what had arrived."""
    try:
        lines = run_kaggle("datasets", "files", dataset_id, "--csv").splitlines()
    except UnclearError:
        return False
    names = [line.partition(",")[0] for line in lines if "," in line]
    return names == ["name", RECORD]


def _upload(folder: Path, where: Place, license: str, again: bool, size: int, say: Callable[[str], None]) -> None:
    values = {"title": where.title, "id": where.id, "licenses": [{"name": license}]}
    write_text(folder / METADATA, json.dumps(values, indent=1) + "\n")
    say(f"{where.id}: uploading {megabytes(size)}, as {'a new version' if again else 'a new private data set'}")
    started = time.monotonic()
    what = ["version", "-m", "Other images, packed by p2plib"] if again else ["create"]
    text = run_watched("datasets", *what, "-p", str(folder.resolve()))
    if "Upload unsuccessful" in text:  # and the command went on without it, as it did before 2.2.5
        raise KaggleError(
            f"{where.id}: the upload broke off, and this version of the kaggle command made a data set without the "
            "images; give the same command again, which mends it (kaggle 2.2.5 also goes on where it ended)."
        )
    if "is being created" not in text:
        raise KaggleError(f"{where.id}: Kaggle did not take it; mend what it says and try again:\n{shown(text)}")
    say(f"{where.id}: uploaded in {time.monotonic() - started:.0f} s; Kaggle unpacks it now")


def _wait(dataset_id: str, done: Callable[[_There], bool], say: Callable[[str], None]) -> _There:
    """Ask until a data set is as it should be."""
    deadline, said = time.monotonic() + WAIT, ""
    while True:
        there = _look(dataset_id)
        if there and done(there):
            return there
        state = there.state if there else "not there yet"
        state = "the former version is ready" if state == "ready" else state
        if state == "failed":
            raise KaggleError(f"{dataset_id}: Kaggle could not unpack the images; give the same command again.")
        if time.monotonic() > deadline:
            raise KaggleError(
                f"{dataset_id}: Kaggle has not made it ready within {WAIT / 60:.0f} minutes ({state}); nothing is "
                "lost: give the same command later, and it goes on from here."
            )
        if state != said:
            say(f"{dataset_id}: {state}; waiting")
            said = state
        time.sleep(POLL)
