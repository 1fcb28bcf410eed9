"""Pairs of images: how a folder stores them, and how one is read or refused by name.

A folder keeps its pairs in one of these ways (SPLIT is train, val or test):

    SPLIT/12.jpg                     one file a pair, side by side: A left, B right
    SPLIT/A/12.jpg  SPLIT/B/12.png   two files a pair: partners have the same stem
    A/SPLIT/12.jpg  B/SPLIT/12.png   the same
    SPLITA/12.jpg   SPLITB/12.png    the same
    12.jpg    or    A/12.jpg  B/12.png    no splits: all of it is the split "train"

A single photo must not be mistaken for two halves. A side-by-side file must therefore be at least `MIN_ASPECT` times as
wide as high: pix2pix files are 2:1, while 4:3, 3:2, 16:9 and portrait photos stay below. Pairs with narrower halves go
into two folders, which have no such limit.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from p2plib.data.image import IMAGE_SUFFIXES, files_below, is_image, read_rgb
from p2plib.errors import DataError
from p2plib.files import readable

SPLITS = ("train", "val", "test")
MIN_ASPECT = 1.8


@dataclass(frozen=True)
class Problem:
    """A fault of one pair, or a note on it.

    Attributes:
        name: the pair's name, or that of a file without a partner.
        kind: a category, in one or two words.
        detail: one clause: what was found and, for a broken pair, what to do.
        broken: training refuses (or skips) the pair. False for a note.
    """

    name: str
    kind: str
    detail: str
    broken: bool = True

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}."


class PairError(DataError):
    """A pair that cannot be used; `problem` says why."""

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.problem = problem


class Pair(Protocol):
    """What every kind of pair can do."""

    @property
    def name(self) -> str:
        """What messages call it, unique in its data set."""

    @property
    def files(self) -> dict[str, Path]:
        """Its files by their content ("A", "B", "A|B" or "photo"); empty if a function makes the pair."""

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """A and B: uint8 (H, W, 3) each, of the same size. Raises PairError."""

    def views(self) -> dict[str, np.ndarray]:
        """The images that the checker examines, by name: both sides, or the photo that the pair is made of."""


@dataclass(frozen=True)
class Listing:
    """The files of a data set, sorted into splits and pairs; none of them was opened.

    Attributes:
        splits: the pairs of each split, in natural order of their names.
        unpaired: by split, the files that make no pair.
        ignored: the number of files that belong to no split, by type ("hidden", ".txt", ...).
    """

    splits: dict[str, list[Pair]]
    unpaired: dict[str, list[Problem]] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)


def read_or_refuse(path: Path, name: str, side: str = "") -> np.ndarray:
    """Read a file of a pair as `image.read_rgb` does.

    Args:
        path: the file.
        name: the pair's name.
        side: which side the file is, for the message, if there is more than one file.

    Raises:
        PairError: it cannot be read.
    """
    try:
        return read_rgb(path)
    except DataError as error:
        detail = str(error).removeprefix(f"{path}: ").rstrip(".")
        raise PairError(Problem(name, "unreadable", f"{side} {detail}".lstrip())) from error


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

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Decode both images as `image.read_rgb` does.

        Returns:
            A and B: uint8 (H, W, 3) each, of the same size.

        Raises:
            PairError: unreadable, of different sizes, or not two halves side by side.
        """
        a, b = self.read_sides()
        if a.shape != b.shape:
            raise self._error("different size", f"A is {_size(a)} and B is {_size(b)}; make them equal")
        return a, b

    def views(self) -> dict[str, np.ndarray]:
        """A and B. Raises PairError as `read`."""
        return dict(zip("AB", self.read(), strict=True))

    def read_sides(self) -> tuple[np.ndarray, np.ndarray]:
        """As `read`, but A and B may differ in size."""
        images = [read_or_refuse(path, self.name, side if self.b else "") for side, path in self.files.items()]
        return (images[0], images[1]) if self.b else self._halves(images[0])

    def _halves(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = image.shape[:2]
        if width % 2:
            raise self._error(
                "odd width", f"{_size(image)} has no two equal halves; crop it, or remove it if it is a lone image"
            )
        if width < MIN_ASPECT * height:
            raise self._error(
                "not a pair",
                f"{_size(image)} looks like a lone image, two halves side by side are at least {MIN_ASPECT} times "
                "as wide as high; remove it, or put narrow halves into two folders, A and B",
            )
        return image[:, : width // 2], image[:, width // 2 :]

    def _error(self, kind: str, detail: str) -> PairError:
        return PairError(Problem(self.name, kind, detail))


@dataclass(frozen=True)
class MadePair:
    """A pair that a function makes when it is read: `make(index, size)` returns A and B, uint8 (size, size, 3)."""

    name: str
    index: int
    size: int
    make: Callable[[int, int], tuple[np.ndarray, np.ndarray]]

    @property
    def files(self) -> dict[str, Path]:
        """None."""
        return {}

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """A and B: uint8 (size, size, 3) each."""
        return self.make(self.index, self.size)

    def views(self) -> dict[str, np.ndarray]:
        """A and B."""
        return dict(zip("AB", self.read(), strict=True))


class _Files:
    """The files below a folder, listed once."""

    def __init__(self, root: Path) -> None:
        self.root, self.all = root, files_below(root)
        self.images: dict[Path, list[Path]] = defaultdict(list)
        for path in self.all:
            if is_image(path, root):
                self.images[path.parent].append(path)

    def choose(self, *layouts: Sequence[Path]) -> Sequence[Path]:
        """Return the one layout whose folders hold images; an empty one if there is none.

        Raises:
            DataError: there are several.
        """
        found = [folders for folders in layouts if any(self.images.get(folder) for folder in folders)]
        if len(found) > 1:
            folders = " and in ".join(str(folder) for folder, *_ in found)
            raise DataError(f"Images lie in {folders}: these are two layouts for one split; keep one of them.")
        return found[0] if found else ()

    def layout(self) -> dict[str, Sequence[Path]]:
        """Each split's folders: one that holds side-by-side files, or those of A and of B."""
        root, layout = self.root, {}
        for split in SPLITS:
            both, a, b = root / split, root / "A" / split, root / "B" / split
            two = (root / f"{split}A", root / f"{split}B")
            layout[split] = self.choose((both,), (both / "A", both / "B"), (a, b), two)
        if not any(layout.values()):
            layout["train"] = self.choose((root,), (root / "A", root / "B"))
        if not any(layout.values()):
            raise DataError(
                f"{root}: no images found ({', '.join(sorted(IMAGE_SUFFIXES))}); put side-by-side files into train/ "
                "and val/, or the two sides into trainA/, trainB/, valA/ and valB/."
            )
        return {split: folders for split, folders in layout.items() if folders}


def list_pairs(root: Path) -> Listing:
    """Find the pairs of all splits in a folder, in one pass over its files.

    Raises:
        DataError: there are no images, or two layouts at once.
    """
    files = _Files(root)
    splits, unpaired, used = {}, {}, set()
    for split, folders in files.layout().items():
        sides = [files.images.get(folder, []) for folder in folders]
        used |= {path for side in sides for path in side}
        splits[split], unpaired[split] = pair_up(root, folders, sides)
    return Listing(splits, unpaired, count_others(root, files.all, used))


def pair_up(root: Path, folders: Sequence[Path], sides: Sequence[Sequence[Path]]) -> tuple[list[Pair], list[Problem]]:
    """Pair the files of one split.

    Args:
        root: the data set's folder, which names are relative to.
        folders: the one folder of side-by-side files, or the two of A and of B.
        sides: the image files in each of them.

    Returns:
        The pairs in natural order of their names, and a problem for each file that has no partner or has the same stem
        as another file in its folder.
    """
    if len(folders) == 1:
        files = sorted(sides[0], key=lambda path: (_natural(path.stem), path.name))
        return [FilePair(readable(path.relative_to(root).as_posix()), path) for path in files], []
    by_stem: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for side, paths in enumerate(sides):
        for path in sorted(paths):
            by_stem[path.stem][side].append(path)
    pairs: list[Pair] = []
    problems = []
    for stem in sorted(by_stem, key=_natural):
        a, b = by_stem[stem]
        name = " | ".join(readable(path.relative_to(root).as_posix()) for path in a + b)
        if len(a) == len(b) == 1:
            pairs.append(FilePair(name, a[0], b[0]))
        elif len(a) > 1 or len(b) > 1:
            problems.append(Problem(name, "ambiguous stem", "files of one folder share a stem; keep one of them"))
        else:
            other = folders[1 if a else 0].relative_to(root).as_posix()
            detail = f"there is no image called {readable(stem)} in {other}/; add it, or remove this one"
            problems.append(Problem(name, "missing partner", detail))
    return pairs, problems


def count_others(root: Path, files: Iterable[Path], used: set[Path]) -> Counter[str]:
    """Count the files in a folder that are not used, by type.

    Args:
        root: the folder.
        files: all files in it, at any depth.
        used: those that are part of a split.

    Returns:
        The number of the others by type: "hidden", ".txt", ...
    """
    return Counter(_label(path.relative_to(root)) for path in files if path not in used)


def _label(path: Path) -> str:
    if any(part.startswith(".") for part in path.parts):
        return "hidden"
    suffix = path.suffix.lower()
    return "images outside the splits" if suffix in IMAGE_SUFFIXES else suffix or "without suffix"


def _natural(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts "2" before "10"; the name itself decides between "1" and "01"."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(parts)], name


def _size(image: np.ndarray) -> str:
    height, width = image.shape[:2]
    return f"{width}x{height}"
