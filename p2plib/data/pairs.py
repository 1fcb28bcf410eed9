"""Pairs of images: how a folder stores them, and how one is read or refused by name.

A folder keeps its pairs in one of these ways (SPLIT is train, val or test):

    SPLIT/12.jpg                     one file a pair, side by side: A left, B right
    SPLIT/A/12.jpg  SPLIT/B/12.png   two files a pair: partners have the same stem
    A/SPLIT/12.jpg  B/SPLIT/12.png   the same
    SPLITA/12.jpg   SPLITB/12.png    the same
    12.jpg    or    A/12.jpg  B/12.png    no splits: all of it is the split "train"
    12_A.jpg  12_B.png                    two files a pair in one folder, of a split or without

Other usual spellings of these names are understood; see `layout`.

A single photo must not be mistaken for two halves. A side-by-side file must therefore be at least `MIN_ASPECT` times as
wide as high: pix2pix files are 2:1, while 4:3, 3:2, 16:9 and portrait photos stay below. Pairs with narrower halves go
into two folders, which have no such limit.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, overload

import numpy as np

from p2plib.data import layout
from p2plib.data.formats import unsupported
from p2plib.data.kind import ImageKind, Kinds
from p2plib.data.layout import SPLITS as SPLITS
from p2plib.data.problems import PairError, Problem
from p2plib.data.reading import read_or_refuse
from p2plib.data.values import size_of
from p2plib.files import readable

Item = TypeVar("Item")

MIN_ASPECT = 1.8


class Pair(Protocol):
    """What every kind of pair can do."""

    @property
    def name(self) -> str:
        """What messages call it, unique in its data set."""

    @property
    def files(self) -> dict[str, Path]:
        """Its files by their content ("A", "B", "A|B" or "photo"); empty if a function makes the pair."""

    def read(self, kinds: Kinds | None = None) -> tuple[np.ndarray, np.ndarray]:
        """A and B: stored values (H, W, C) each, of the same height and width. Raises PairError.

        Args:
            kinds: what A and B are; None: 8-bit RGB.
        """

    def views(self, kinds: Kinds | None = None) -> dict[str, np.ndarray]:
        """The images that the checker examines, by name: both sides, or the photo that the pair is made of."""


@dataclass(frozen=True)
class Listing:
    """The files of a data set, sorted into splits and pairs; none of them was opened.

    Attributes:
        splits: the pairs of each split, in natural order of their names.
        unpaired: by split, the files that make no pair.
        ignored: the number of files that belong to no split, by type ("hidden", ".txt", ...).
        notes: what was guessed about all of it, one sentence each.
        sources: the names of the folders that are stacked as A, in this order; empty: A is one folder, or half a file.
        target: the name of B's folder; empty: it is called B.
        kinds: what A and B are, and the direction that it is for, if that is known already, as of a pack.
        fingerprint: a hash of all images, if that is known already.
    """

    splits: Mapping[str, Sequence[Pair]]
    unpaired: dict[str, list[Problem]] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    sources: tuple[str, ...] = ()
    target: str = ""
    kinds: tuple[Kinds, str] | None = None
    fingerprint: str = ""


class LazyPairs(Sequence[Pair]):
    """Pairs that are made when they are asked for; no list of them is made, so there can be millions."""

    @abstractmethod
    def pair(self, number: int) -> Pair:
        """The pair of a number from 0 to below the length."""

    @overload
    def __getitem__(self, number: int) -> Pair: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Pair]: ...
    def __getitem__(self, number: int | slice) -> Pair | Sequence[Pair]:
        """One or some of them."""
        if isinstance(number, slice):
            return Some(self, range(len(self))[number])
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        return self.pair(int(number) % len(self))


class Some(LazyPairs):
    """Some of the pairs of a sequence.

    Args:
        pairs: the sequence.
        numbers: theirs in it, whole numbers (N,).
    """

    def __init__(self, pairs: Sequence[Pair], numbers: np.ndarray | range) -> None:
        self.pairs, self.numbers = pairs, numbers

    def __len__(self) -> int:
        """How many there are."""
        return len(self.numbers)

    def pair(self, number: int) -> Pair:
        """See `LazyPairs.pair`."""
        return self.pairs[int(self.numbers[number])]


def _turned_apart(turns: Mapping[str, int | None], upright: Mapping[str, tuple[int, ...]]) -> str | None:
    """Why two files may be turned against each other: one of them has an EXIF orientation, the other has none.

    Args:
        turns: the orientation of A and of B.
        upright: their heights and widths with the orientation applied.

    Returns:
        One clause; None if both or none have one, or if only the upright sizes agree, which proves them right.
    """
    turned = [(side, turn) for side, turn in turns.items() if turn is not None and turn > 1]
    if not turned or None not in turns.values():
        return None
    [(side, turn)] = turned
    height, width = upright[side]
    if turn >= 5 and height != width and upright["A"] == upright["B"]:
        return None
    other = "B" if side == "A" else "A"
    return (
        f"{side} has an EXIF orientation ({turn}) and {other} has none, so they may be turned against each other; "
        f"save {side} upright, or remove its orientation if {other} fits its stored pixels"
    )


@dataclass(frozen=True)
class FilePair:
    """A pair on disk: two files, or one (`b` is None) that holds A in its left half and B in its right.

    `name` is relative to the data set's folder: "train/12.jpg", or "trainA/12.png | trainB/12.jpg" for two files. It is
    made `readable`: what is no text is replaced.
    """

    name: str
    a: Path
    b: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The files by their content: "A" and "B", or "A|B"."""
        return {"A|B": self.a} if self.b is None else {"A": self.a, "B": self.b}

    def read(self, kinds: Kinds | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Decode both images as `read_as` does.

        Returns:
            A and B: stored values (H, W, C) each, of the same size.

        Raises:
            PairError: unreadable, of different sizes, or not two halves side by side.
        """
        a, b = self.read_sides(kinds)
        if a.shape[:2] != b.shape[:2]:
            raise self.different_sizes(a, b)
        return a, b

    def different_sizes(self, a: np.ndarray, b: np.ndarray) -> PairError:
        """The error that says so."""
        return self._error("different size", f"A is {say_size(a)} and B is {say_size(b)}; make them equal")

    def views(self, kinds: Kinds | None = None) -> dict[str, np.ndarray]:
        """A and B. Raises PairError as `read`."""
        return dict(zip("AB", self.read(kinds), strict=True))

    def read_sides(self, kinds: Kinds | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As `read`, but A and B may differ in size."""
        if self.b is None:
            return self._halves(self._joined(kinds[0] if kinds else None))
        (a, turn_a), (b, turn_b) = (
            read_or_refuse(path, self.name, side, kind=kind)
            for (side, path), kind in zip(self.files.items(), kinds or (None, None), strict=True)
        )
        if detail := _turned_apart({"A": turn_a, "B": turn_b}, {"A": a.shape[:2], "B": b.shape[:2]}):
            raise self._error("orientation", detail)
        return a, b

    def _joined(self, kind: ImageKind | None) -> np.ndarray:
        """A side-by-side file. Its EXIF orientation is applied only if it then becomes wide enough.

        Otherwise it is left over from one of the photos that the halves were made of.
        """
        image, _ = read_or_refuse(self.a, self.name, upright=False, kind=kind)
        tall = image.shape[0] >= MIN_ASPECT * image.shape[1]
        return read_or_refuse(self.a, self.name, kind=kind)[0] if tall else image

    def _halves(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = image.shape[:2]
        if width % 2:
            raise self._error(
                "odd width", f"{say_size(image)} has no two equal halves; crop it, or remove it if it is a lone image"
            )
        if width < MIN_ASPECT * height:
            raise self._error(
                "not a pair",
                f"{say_size(image)} looks like a lone image, two halves side by side are at least {MIN_ASPECT} times "
                "as wide as high; remove it, or put narrow halves into two folders, A and B",
            )
        return image[:, : width // 2], image[:, width // 2 :]

    def _error(self, kind: str, detail: str) -> PairError:
        return PairError(Problem(self.name, kind, detail))


@dataclass(frozen=True)
class MadePair:
    """A pair that a function makes when it is read: `make(index, size)` returns A and B, (size, size, C) each."""

    name: str
    index: int
    size: int
    make: Callable[[int, int], tuple[np.ndarray, np.ndarray]]

    @property
    def files(self) -> dict[str, Path]:
        """None."""
        return {}

    def read(self, kinds: Kinds | None = None) -> tuple[np.ndarray, np.ndarray]:
        """A and B: stored values (size, size, C) each."""
        return self.make(self.index, self.size)

    def views(self, kinds: Kinds | None = None) -> dict[str, np.ndarray]:
        """A and B."""
        return dict(zip("AB", self.read(), strict=True))


def pair_up(
    root: Path, folders: Sequence[Path], sides: Sequence[Sequence[Path]]
) -> tuple[list[Pair], list[Problem], str | None]:
    """Pair the files of one split.

    Args:
        root: the data set's folder, which names are relative to.
        folders: the one folder of side-by-side files, or the two of A and of B.
        sides: the image files in each of them.

    Returns:
        The pairs in natural order; a problem for each file without a partner, or of the same stem as another one in its
        folder; and a note if partners were found by similar names.
    """
    if len(folders) == 1:
        endings = layout.families([path.stem for path in sides[0]])
        if not endings or _is_side_by_side(sides[0][0]):
            files = sorted(sides[0], key=lambda path: (_natural(path.stem), path.name))
            return [FilePair(readable(path.relative_to(root).as_posix()), path) for path in files], [], None
        sides = [[path for path in sides[0] if path.stem.endswith(ending)] for ending in endings]
    *keys, note = layout.keys(*([path.stem for path in side] for side in sides))
    by_key: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for side, (paths, names) in enumerate(zip(sides, keys, strict=True)):
        for path, key in sorted(zip(paths, names, strict=True)):
            by_key[key][side].append(path)
    pairs: list[Pair] = []
    problems = []
    for key in sorted(by_key, key=_natural):
        a, b = by_key[key]
        name = " | ".join(readable(path.relative_to(root).as_posix()) for path in a + b)
        if len(a) == len(b) == 1:
            pairs.append(FilePair(name, a[0], b[0]))
        elif len(a) > 1 or len(b) > 1:
            problems.append(Problem(name, "ambiguous stem", "files of one folder share a stem; keep one of them"))
        else:
            other = folders[1 if a else 0].relative_to(root).as_posix()
            detail = f"there is no image called {readable((a + b)[0].stem)} in {other}/; add it, or remove this one"
            problems.append(Problem(name, "missing partner", detail))
    return pairs, problems, note


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, evenly spaced from the first to the last (0: all)."""
    if count == 0 or count >= len(items):
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def unusable(path: Path, root: Path, below: Path | None = None) -> Problem | None:
    """The problem of a file that is `unsupported` below a folder (None: `root`); None if it is no such file."""
    why = unsupported(path, below or root)
    return Problem(readable(path.relative_to(root).as_posix()), "unsupported", why) if why else None


def _is_side_by_side(path: Path) -> bool:
    """Whether a file has the shape of two halves, by its header."""
    found = size_of(path)
    return found is not None and max(found) >= MIN_ASPECT * min(found)


def _natural(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts "2" before "10"; the name itself decides between "1" and "01"."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(parts)], name


def say_size(image: np.ndarray) -> str:
    """Width and height for messages, for example "512x256"."""
    height, width = image.shape[:2]
    return f"{width}x{height}"
