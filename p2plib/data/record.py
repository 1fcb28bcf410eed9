"""Which pairs a run trains and validates on: its `data.json`, by which a resumed run finds them again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2plib.data.catalog import entry_of
from p2plib.data.dataset import NAMED, Dataset
from p2plib.data.layout import stem_key
from p2plib.data.pairs import Pair
from p2plib.data.shards import is_address
from p2plib.errors import ConfigError, DataError
from p2plib.files import read_json, some, user_path

FILE = "data.json"
"""Its name in the run folder."""
SPLITS = ("train", "val")
HASHED = 20_000
"""Of so many pairs at most, the content is hashed, which reads all files."""


def record_of(dataset: Dataset, before: Mapping[str, Any]) -> dict[str, Any]:
    """What `data.json` holds: a fingerprint, counts, the folder, and each pair's name with a hash of its files.

    Of more than `HASHED` pairs, the sizes of their files stand for the hashes; of a pack, its own hash stands for all
    pairs. A resumed run keeps what it had before, which `same_pairs` has compared.
    """
    splits = {split: dataset[split].pairs for split in SPLITS}
    counts = {split: len(found) for split, found in splits.items()}
    folder = None if dataset.entry or is_address(dataset.data) else str(user_path(dataset.data).resolve())
    about = {"fingerprint": dataset.fingerprint, **counts, "folder": folder}
    if dataset.listing.fingerprint and not before.get("pairs"):
        return about | {"pack": dataset.listing.fingerprint}
    if not (pairs := before.get("pairs")):
        take = digest if sum(map(len, splits.values())) <= HASHED else sizes
        with ThreadPoolExecutor() as pool:
            pairs = {
                split: dict(zip([p.name for p in found], pool.map(take, found), strict=True))
                for split, found in splits.items()
            }
    return about | {"pairs": pairs}


def read(run: str | Path | None) -> dict[str, Any]:
    """The record of a run; empty for a new run (None), and for one that has none, as those of version 0.1.

    Raises:
        ConfigError: it is damaged.
    """
    path = Path(run or "", FILE)
    if run is None or not path.exists():
        return {}
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{path}: cannot be read as the record of a run's images ({error}); restore it, or remove it if the images "
            "are those that the run started with."
        ) from error


def same_pairs(dataset: Dataset, record: Mapping[str, Any], say: Callable[[str], None]) -> Dataset:
    """The data set with the pairs that a run began with, in the splits that they were in.

    Pairs that were added since are named and left out: they wait for a new run.

    Raises:
        ConfigError: pairs are missing, or have other content under the same name; or it is another pack.
    """
    if _is_another_pack(dataset, record):
        raise ConfigError(
            f"The training data changed: {dataset.data} is not the pack that this run started with; name that pack "
            "with --data, or start a new run."
        )
    if not record.get("pairs"):
        return dataset
    here, recorded = _here(dataset, record)
    before = {name: was for split in SPLITS for name, was in recorded[split].items()}
    known = [here[name] for name in before if name in here]
    with ThreadPoolExecutor() as pool:
        changed = [
            pair.name
            for pair, same in zip(known, pool.map(lambda pair: _is(pair, before[pair.name]), known), strict=True)
            if not same
        ]
    wrong = {"missing": [name for name in before if name not in here], "changed": changed}
    if said := [f"{len(names)} {what} ({some(names, NAMED)})" for what, names in wrong.items() if names]:
        raise ConfigError(
            f"The training data changed: {dataset.data} holds other images than when this run started: "
            f"{', '.join(said)}; restore them, name the folder that holds them with --data, or start a new run."
        )
    if new := [name for name in here if name not in before]:
        say(f"{len(new)} pair(s) are new and not part of this run ({some(new, NAMED)}); they wait for a new run.")
    return kept(dataset, record)


def kept(dataset: Dataset, record: Mapping[str, Any]) -> Dataset:
    """The data set with the pairs of a record, in the record's splits; unchanged without a record.

    Raises:
        DataError: pairs that the run validated on are missing, so that no result would compare with its own.
    """
    if _is_another_pack(dataset, record):
        raise DataError(f"{dataset.data}: is not the pack that this run validated on; name it with --data.")
    if not record.get("pairs"):
        return dataset
    here, recorded = _here(dataset, record)
    if missing := [name for name in recorded["val"] if name not in here]:
        raise DataError(
            f"{dataset.data}: {len(missing)} of the {len(recorded['val'])} validation pairs of this run are missing "
            f"({some(missing, NAMED)}); restore them, or name a folder that holds them with --data."
        )
    return replace(dataset, chosen={split: frozenset(recorded[split]) for split in SPLITS})


def holds_same(dataset: Dataset, record: Mapping[str, Any]) -> bool:
    """Whether a data set holds the very images that a run validated on: it is the run's own, in another place."""
    if "pack" in record:
        return not _is_another_pack(dataset, record)
    if not record.get("pairs"):
        return False
    here, recorded = _here(dataset, record)
    validated = recorded["val"]
    return bool(validated) and all(was and name in here and _is(here[name], was) for name, was in validated.items())


def _is_another_pack(dataset: Dataset, record: Mapping[str, Any]) -> bool:
    """Whether a run was on a pack, and the data set is not that one."""
    return "pack" in record and bool(record["pack"] != dataset.listing.fingerprint)


def _here(dataset: Dataset, record: Mapping[str, Any]) -> tuple[dict[str, Pair], dict[str, dict[str, str]]]:
    """The pairs that a data set holds, by name, and by split the recorded ones under the names that they have in it.

    Systems and archives write accents in different Unicode forms, and what `kaggle push` packs has suffixes of its own.
    """
    here = {pair.name: pair for split in SPLITS for pair in dataset.listing.splits.get(split, [])}
    recorded = record["pairs"]
    known = {name for split in SPLITS for name in recorded[split]}
    others = {stem_key(name): name for name in here.keys() - known}
    counts = [Counter(map(_bare, names)) for names in (here, known)]
    bare = {_bare(name): name for name in others.values() if all(count[_bare(name)] <= 1 for count in counts)}

    def found(name: str) -> str:
        return name if name in here else others.get(stem_key(name)) or bare.get(_bare(name), name)

    return here, {split: {found(name): was for name, was in recorded[split].items()} for split in SPLITS}


def _bare(name: str) -> str:
    """The name of a pair without the suffixes of its files."""
    return stem_key(" | ".join(part.rpartition(".")[0] or part for part in name.split(" | ")))


def found_again(data: str, record: Mapping[str, Any]) -> str:
    """Where a run's data are: `data` as it is, or the folder it meant where the run was started.

    If `data` is gone, as a checkpoint from before a move has it, it is the folder where the run went on.
    """
    folder, here = record.get("folder"), user_path(data)
    if folder and Path(folder).is_dir() and not (here.is_absolute() and here.is_dir()):
        return str(folder)
    return data


def check_there(data: str) -> None:
    """Raise a DataError if the folder of a run's images, which nobody named just now, is gone."""
    if not (entry_of(data) or is_address(data) or user_path(data).is_dir()):
        raise DataError(f"{data}: the folder of this run's images is not here; name where it is now with --data.")


def _is(pair: Pair, was: str | None) -> bool:
    """Whether a pair's files are those that a hash, or their sizes, were taken of."""
    return (sizes if was and was.startswith("size") else digest)(pair) == was


def sizes(pair: Pair) -> str | None:
    """The sizes of a pair's files in bytes, where hashes would take too long; None as for `digest`."""
    try:
        found = [path.stat().st_size for path in pair.files.values()]
    except OSError:
        return None
    return f"size {' '.join(map(str, found))}" if found else None


def digest(pair: Pair) -> str | None:
    """A hash of the content of a pair's files; None if a function makes it or a file is not there."""
    found = hashlib.sha256()
    if not all(path.is_file() for path in pair.files.values()):
        return None
    try:
        for path in pair.files.values():
            found.update(path.read_bytes())
    except OSError:
        return None
    return found.hexdigest()[:16] if pair.files else None
