"""Packs: data sets as a few large files, the shards, instead of millions of small ones. `pack.pack` writes them.

A pack is a folder, or a place in an object store:

    pack.json          what the images are, and the shards of each split
    train-00000.tar    a shard: a tar archive as WebDataset has it, of some thousand pairs
    train-00000.index  where each of its pairs lies, and the checksums

In a shard, each pair is a run of files of one number: `00000012.name.txt`, the name of the pair, then its images, such
as `00000012.A.jpg` and `00000012.B.png`. They are the files of the data set, byte for byte, unless these hold other
values than 8-bit colors: then they are NPZ files of the values. So one request for a range of bytes reads a pair, and
any pair can be the next.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from p2plib.data.catalog import entry_of
from p2plib.data.held import HeldFile
from p2plib.data.kind import ImageKind, Kinds
from p2plib.data.pairs import LazyPairs, Listing, Pair
from p2plib.data.problems import PairError, Problem
from p2plib.errors import DataError
from p2plib.files import user_path

DESCRIPTION = "pack.json"
SUFFIXES = (".tar", ".index")
"""Those of the two files of a shard."""
FORMAT = 1
"""Raised when packs are written in another way that older versions cannot read."""
BLOCK = 512
"""Tar's unit in bytes: each file begins with a header of one block, and fills whole blocks."""
Build = Callable[[str, Mapping[str, Path]], Pair]
"""From a pair's name and its files by their content to the pair."""


def is_pack(data: str | Path) -> bool:
    """Whether data are a pack: a folder that holds `pack.json`, or any address such as "s3://bucket/pack".

    A name from the catalog is none, whatever the current folder holds.
    """
    return is_address(data) or (not entry_of(data) and (user_path(data) / DESCRIPTION).is_file())


def is_address(data: str | Path) -> bool:
    """Whether data are in an object store, by an address such as "gs://bucket/pack"."""
    return bool(re.match("[a-z][a-z0-9+.-]+://", str(data)))


class Place:
    """Where the files of a pack are: a folder, or a place in an object store, which fsspec reads.

    Raises:
        DataError: fsspec, or what it needs for this kind of address, is not installed.
    """

    def __init__(self, data: str | Path) -> None:
        self.data, self.remote = str(data), is_address(data)
        if self.remote:
            if not find_spec("fsspec"):
                raise DataError(f"{data}: needs fsspec; run: pip install 'p2plib[remote]'")
            from fsspec.core import url_to_fs

            try:
                self._system, self._root = url_to_fs(self.data.rstrip("/"))
            except (ImportError, ValueError) as error:
                raise DataError(f"{data}: cannot be opened ({error}).") from error

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes of a file, from `start` to before `end`.

        Raises:
            DataError: it cannot be read.
        """
        try:
            if self.remote and self._system.async_impl:
                return bytes(self._system.cat_file(f"{self._root}/{name}", start=start or None, end=end))
            with self._open(name) as file:
                file.seek(start)
                return bytes(file.read(-1 if end is None else end - start))
        except Exception as error:  # each store has errors of its own
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error or type(error).__name__
            raise DataError(f"{self.data.rstrip('/')}/{name}: cannot be read ({reason}).") from error

    def _open(self, name: str) -> Any:
        if self.remote:  # without a cache, which would read megabytes ahead of each pair
            return self._system.open(f"{self._root}/{name}", "rb", cache_type="none")
        return (user_path(self.data) / name).open("rb")


@dataclass(frozen=True)
class Shard:
    """One shard.

    Attributes:
        name: that of its files, without suffix.
        pairs: how many there are.
        index: the SHA-256 of its index, which holds the checksums of all images.
        plan: a hash of the names, sizes and times of the files that it was made of.
        left_out: the problems of pairs that are not in it.
    """

    name: str
    pairs: int
    index: str
    plan: str = ""
    left_out: tuple[str, ...] = ()


def rows(images: int) -> np.dtype:
    """What an index holds of each pair of so many images.

    It is where the pair begins, the sizes in bytes of its name and of its images, and the images' CRC-32.
    """
    return np.dtype([("start", "<u8"), ("sizes", "<u4", (images + 1,)), ("crc", "<u4", (images,))])


class Packed(LazyPairs):
    """The pairs of one split of a pack. Memory holds a row of 28 bytes for each, once its shard was used.

    Args:
        place: where the shards are.
        shards: the shards.
        content: what the images of a pair are: "A" and "B", "A|B" or others; see `Pair.files`.
        build: makes a pair of its files.
    """

    def __init__(self, place: Place, shards: Sequence[Shard], content: Sequence[str], build: Build) -> None:
        self.place, self.shards, self.content, self.build = place, shards, tuple(content), build
        self._ends = list(accumulate(shard.pairs for shard in shards))
        self._indexes: dict[int, np.ndarray] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        """How many there are."""
        return self._ends[-1] if self._ends else 0

    def pair(self, number: int) -> Pair:
        """See `LazyPairs.pair`; nothing of it is read yet."""
        shard = bisect_right(self._ends, number)
        return PackedPair(self, shard, number - self._ends[shard] + self.shards[shard].pairs)

    def row(self, shard: int, number: int) -> np.void:
        """The row of the index for a pair of a shard, as `rows` describes. Raises DataError."""
        with self._lock:
            if shard not in self._indexes:
                self._indexes[shard] = self._read_index(self.shards[shard])
        return self._indexes[shard][number]

    def _read_index(self, shard: Shard) -> np.ndarray:
        content = self.place.read(f"{shard.name}.index")
        if hashlib.sha256(content).hexdigest() != shard.index:
            raise DataError(f"{self.place.data}: {shard.name}.index is damaged; copy the pack anew, or pack it again.")
        return np.frombuffer(content, rows(len(self.content)))


@dataclass(frozen=True)
class PackedPair:
    """A pair of a pack. Each use reads it anew, by one request."""

    packed: Packed
    shard: int
    number: int

    @property
    def name(self) -> str:
        """The name that it had in its data set."""
        row = self._row
        start = int(row["start"]) + BLOCK
        return _text(self._read(start, start + int(row["sizes"][0])))

    @property
    def files(self) -> dict[str, Path]:
        """Its files, held in memory."""
        return self._whole().files

    def read(self, kinds: Kinds | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As that of the pair that it was made of."""
        return self._whole().read(kinds)

    def views(self, kinds: Kinds | None = None) -> dict[str, np.ndarray]:
        """As that of the pair that it was made of."""
        return self._whole().views(kinds)

    @property
    def _row(self) -> np.void:
        return self.packed.row(self.shard, self.number)

    def _read(self, start: int, end: int) -> bytes:
        return self.packed.place.read(f"{self.packed.shards[self.shard].name}.tar", start, end)

    def _whole(self) -> Pair:
        """The pair with its files in memory. Raises PairError if their bytes are not those that were packed."""
        row = self._row
        starts = offsets(row["sizes"].tolist())
        content = self._read(int(row["start"]), int(row["start"]) + starts[-1])
        runs = list(pairwise(starts))
        name = _text(content[BLOCK : BLOCK + int(row["sizes"][0])])
        files: dict[str, Path] = {}
        images = zip(self.packed.content, runs[1:], row["sizes"][1:], row["crc"], strict=True)
        for what, (begin, _), size, crc in images:
            held = content[begin + BLOCK : begin + BLOCK + int(size)]
            if len(held) != size or zlib.crc32(held) != crc:
                shard = self.packed.shards[self.shard].name
                detail = f"is damaged in {shard}.tar; copy the pack anew, or pack it again"
                raise PairError(Problem(name, "unreadable", detail))
            files[what] = HeldFile(_text(content[begin : begin + 100].partition(b"\0")[0]), held)
        return self.packed.build(name, files)


def offsets(sizes: Sequence[int]) -> list[int]:
    """Where each of these files, with its header, begins in a tar archive, and where the last one ends."""
    return [0, *accumulate(BLOCK + -(-size // BLOCK) * BLOCK for size in sizes)]


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


@dataclass(frozen=True)
class Pack:
    """What `pack.json` says.

    Attributes:
        place: where the pack is.
        data: the name of the data set that was packed, or of its folder.
        noun: what is counted, "pairs" or "photos".
        content: of each split, what the images of a pair are; see `Pair.files`.
        shards: of each split, its shards.
        kinds: what A and B are; of photos None.
        sources: see `Listing`.
        target: see `Listing`.
        direction: how the data set is usually trained, for which `kinds` are.
        complete: whether packing came to its end.
    """

    place: Place
    data: str
    noun: str
    content: dict[str, list[str]]
    shards: dict[str, list[Shard]]
    kinds: Kinds | None
    sources: tuple[str, ...]
    target: str
    direction: str
    complete: bool

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all images, their names and their splits."""
        found = [(split, [shard.index for shard in shards]) for split, shards in self.shards.items()]
        return hashlib.sha256(json.dumps([found, self.to_json()["kinds"]]).encode()).hexdigest()[:16]

    def listing(self, build: Build) -> Listing:
        """Its pairs by split.

        Raises:
            DataError: it is not complete.
        """
        if not self.complete:
            raise DataError(f"{self.place.data}: packing it did not come to its end; run the same `data pack` again.")
        splits = {name: Packed(self.place, found, self.content[name], build) for name, found in self.shards.items()}
        kinds = (self.kinds, self.direction) if self.kinds else None
        return Listing(splits, sources=self.sources, target=self.target, kinds=kinds, fingerprint=self.fingerprint)

    def to_json(self) -> dict[str, Any]:
        """What `pack.json` holds."""
        return {
            "format": FORMAT,
            "data": self.data,
            "noun": self.noun,
            "direction": self.direction,
            "content": self.content,
            "sources": self.sources,
            "target": self.target,
            "complete": self.complete,
            "kinds": [kind.to_json() for kind in self.kinds] if self.kinds else None,
            "shards": {split: [vars(shard) for shard in found] for split, found in self.shards.items()},
        }


def open_pack(data: str | Path) -> Pack:
    """Open a pack: one small file is read.

    Raises:
        DataError: it is not there, damaged, or made by a later version.
    """
    place = Place(data)
    try:
        found = json.loads(place.read(DESCRIPTION))
        if found["format"] > FORMAT:
            raise DataError(f"{data}: was packed by a later version of p2plib; update p2plib.")
        kinds = tuple(map(ImageKind.from_json, found["kinds"])) if found["kinds"] else None
        shards = {
            split: [Shard(**one | {"left_out": tuple(one["left_out"])}) for one in some]
            for split, some in found["shards"].items()
        }
        names = ("data", "noun", "content", "target", "direction", "complete")
        same = {name: found[name] for name in names}
        return Pack(place, shards=shards, kinds=kinds, sources=tuple(found["sources"]), **same)  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{data}/{DESCRIPTION}: is damaged ({error}); copy the pack anew, or pack it again.") from error
