"""A person's own images, packed to travel to Kaggle: one archive of what training reads, and a record of it.

A pair that is resized for training travels at that size, as `data.batches` would resize it, in PNG, which loses
nothing. So training there sees the very same batches as here. What training needs at its own size (windows of `load`
crop, photos for sketches), or what is smaller as it is, travels as it is. Files keep their folders and their names, but
for the suffix.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from json import dumps
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image

from p2plib.data.classes import TABLE
from p2plib.data.dataset import Dataset, Split, open_dataset
from p2plib.data.image import Shape, shrink_image
from p2plib.data.pairs import Pair
from p2plib.data.record import digest
from p2plib.data.tasks.base import PhotoPair, folder_of
from p2plib.errors import DataError
from p2plib.files import read_json, replacing, write_text

if TYPE_CHECKING:
    from p2plib.config import TrainConfig

FOLDER = "images"
"""The folder that Kaggle makes of the archive."""
ARCHIVE, RECORD = f"{FOLDER}.zip", "p2plib-images.json"
"""The two files that travel."""
FORMAT = 1
"""Raise it when the same images are packed differently, so that they travel anew."""


@dataclass(frozen=True)
class Packed:
    """What was packed: the content of the record, without any name of a file or folder."""

    fingerprint: str
    """A hash of the images, by split and name, and of the sizes that they travel at."""
    noun: str
    """What is counted: "pairs" or "photos"."""
    counts: dict[str, int]
    """How many there are, by split. A held-out `val` is counted by itself, and travels among `train`."""
    resized: int
    """How many of them travel at the size of training; the others travel as they are."""
    left_out: int
    """How many stay here: broken, or of no use to the task."""
    size: int
    """Bytes of the archive."""

    def __str__(self) -> str:
        splits = ", ".join(f"{count} {split}" for split, count in self.counts.items())
        as_is = sum(self.counts.values()) - self.resized
        ways = [f"{self.resized} at the size of training"] * bool(self.resized) + [f"{as_is} as they are"] * bool(as_is)
        stay = f"; {self.left_out} stay here" * bool(self.left_out)
        return f"{splits} {self.noun} ({', '.join(ways)}{stay}), {megabytes(self.size)}"


def pack(config: TrainConfig, out: Path, original: bool = False, progress: bool = False) -> Packed:
    """Pack the pairs or photos of `config.data` into `out`, unless they are packed there already.

    Args:
        config: names the folder, and the sizes of training.
        out: where the archive and its record are written.
        original: pack the files as they are.
        progress: show a progress bar.

    Raises:
        DataError: images cannot be used; the message names them.
        WriteError: the archive cannot be written.
    """
    dataset = open_dataset(config)
    splits = {name: dataset[name] for name in dataset.splits}
    original = original or config.load == "crop"
    packer = _Packer(dataset, config, original)
    fingerprint = packer.fingerprint(splits)
    if (kept := read(out / RECORD)) and kept.fingerprint == fingerprint and _size(out / ARCHIVE) == kept.size:
        return kept
    (out / RECORD).unlink(missing_ok=True)  # it must never describe another archive
    used = packer.write(splits, out / ARCHIVE, progress)
    counts = {name: len(split) for name, split in used.items()}
    left_out = {problem.name for split in used.values() for problem in split.left_out}
    packed = Packed(
        fingerprint, dataset.task.noun, counts, packer.resized, len(left_out), (out / ARCHIVE).stat().st_size
    )
    write_text(out / RECORD, dumps({"format": FORMAT, **asdict(packed)}, indent=1) + "\n")
    return packed


def read(path: Path) -> Packed | None:
    """Read a record; None if there is none, or it is not one of this version."""
    try:
        values = read_json(path)
        return Packed(**values) if values.pop("format") == FORMAT else None
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None


class _Packer:
    """Packs the pairs of one data set.

    Attributes:
        resized: how many pairs were packed at the size of training.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, original: bool) -> None:
        self.dataset, self.config, self.original = dataset, config, original
        self.root = folder_of(dataset.data)
        self.resized = 0
        paths = {path for pairs in dataset.listing.splits.values() for pair in pairs for path in pair.files.values()}
        self.taken = Counter(path.with_suffix("") for path in paths)
        self.lock = Lock()

    def table(self) -> bytes:
        """The table that names the classes of masks; empty if there is none."""
        path = self.root / TABLE
        return path.read_bytes() if path.is_file() else b""

    def side(self, split: str, pair: Pair) -> int | Shape | None:
        """Height and width at which a pair travels, of a photo the shorter side; None: as it is."""
        plain = self.dataset.source.plain and self.dataset.target.plain
        if (
            self.original
            or not plain
            or not pair.files
            or any(self.taken[path.with_suffix("")] > 1 for path in pair.files.values())
        ):
            return None
        if isinstance(pair, PhotoPair):
            return pair.size if pair.task.shrinks_first else None
        return self.config.load_shape if split == "train" else self.config.shape

    def fingerprint(self, splits: dict[str, Split]) -> str:
        """A hash of all that decides what is packed; the files are read, not decoded."""
        found = hashlib.sha256(f"{FORMAT} {self.dataset.task.name}".encode())
        with ThreadPoolExecutor() as pool:
            for name, split in splits.items():
                for pair, content in zip(split.pairs, pool.map(digest, split.pairs), strict=True):
                    said = repr((name, pair.name, self.side(name, pair), content))
                    found.update(said.encode(errors="surrogateescape"))
        if table := self.table():
            found.update(table)
        return found.hexdigest()[:16]

    def write(self, splits: dict[str, Split], path: Path, progress: bool) -> dict[str, Split]:
        """Write the archive, atomically.

        Returns:
            The splits with the pairs that can be used. All others stay here.
        """
        from tqdm import tqdm

        used = {}
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:  # stored: images are compressed
            if table := self.table():
                archive.writestr(zipfile.ZipInfo(TABLE), table)
            for name, split in splits.items():
                with tqdm(desc=f"packing {name}", total=len(split), disable=not progress) as bar:

                    def add(pair: Pair, name: str = name, split: Split = split, bar: tqdm = bar) -> None:
                        members, resized = self.members(pair, split, self.side(name, pair))
                        with self.lock:  # `usable` calls from several threads
                            for member, content in members.items():
                                archive.writestr(zipfile.ZipInfo(member), content)
                            self.resized += resized
                            bar.update()

                    _, used[name] = split.usable(add)
        return used

    def members(self, pair: Pair, split: Split, side: int | Shape | None) -> tuple[dict[str, bytes], bool]:
        """The files of a pair, by name in the archive, and whether they are resized. Raises PairError as `read`."""
        if side is None:
            split.sides(pair)  # it must be readable
            return dict(self._originals(pair)), False
        if isinstance(pair, PhotoPair):
            images = [shrink_image(pair.views()["photo"], cast(int, side))]
            if pair.task.fault(images[0]):  # too few colors are left to see that it has some
                return dict(self._originals(pair)), False
        else:
            both = replace(split, direction="AtoB").resize(pair, cast(Shape, side))
            images = list(both) if len(pair.files) == 2 else [np.hstack(list(both))]
        contents = [_png(image) for image in images]
        if sum(path.stat().st_size for path in pair.files.values()) <= sum(map(len, contents)):
            return dict(self._originals(pair)), False
        names = [self._name(path.with_suffix(".png")) for path in pair.files.values()]
        return dict(zip(names, contents, strict=True)), True

    def _originals(self, pair: Pair) -> Iterator[tuple[str, bytes]]:
        for path in pair.files.values():
            yield self._name(path), path.read_bytes()

    def _name(self, path: Path) -> str:
        name = path.relative_to(self.root).as_posix()
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{name!r}: this name is no text that an archive can hold; rename the file.") from error
        return name


def megabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
