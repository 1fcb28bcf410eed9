"""Pairs of images: where a data set keeps them, and how one pair is read whole or refused by name.

A folder keeps its pairs in one of these ways (SPLIT is train, val or test):

    SPLIT/12.jpg                     one file a pair, side by side: A left, B right
    SPLIT/A/12.jpg  SPLIT/B/12.png   two files a pair: partners have the same stem
    A/SPLIT/12.jpg  B/SPLIT/12.png   the same
    SPLITA/12.jpg   SPLITB/12.png    the same
    12.jpg    or    A/12.jpg  B/12.png    no splits: all of it is the split "train"

By its shape alone, a photo can look like two halves. A side-by-side file must therefore be at least `MIN_ASPECT` times
as wide as high: pix2pix files are 2:1, while 4:3, 3:2, 16:9 and upright photos stay below. Pairs whose halves are
narrower than that go into two folders, which has no such limit.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from p2plib.data.catalog import CATALOG
from p2plib.data.download import dataset_dir
from p2plib.data.image import IMAGE_SUFFIXES, read_rgb
from p2plib.data.toy import city
from p2plib.errors import DataError

SPLITS = ("train", "val", "test")
MIN_ASPECT = 1.8


@dataclass(frozen=True)
class Problem:
    """One thing the checker has to say about one pair.

    Attributes:
        name: the pair's name, or that of a file without a partner.
        kind: what it is, in one or two words; equal problems have equal kinds.
        detail: one clause: what was found and, for a broken pair, what to do.
        broken: training refuses (or skips) the pair; else it is a note.
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
    """What the pipeline needs of a pair, wherever it comes from."""

    @property
    def name(self) -> str:
        """What messages call it, unique in its data set."""

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """A and B: uint8 (H, W, 3) each, of the same size. Raises PairError."""


@dataclass(frozen=True)
class FilePair:
    """A pair on disk: two files, or one (`b` is None) that holds A in its left half and B in its right.

    `name` is relative to the data set's folder: "train/12.jpg", or "trainA/12.png | trainB/12.jpg" for two files.
    """

    name: str
    a: Path
    b: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The files by what they hold: "A" and "B", or "A|B"."""
        return {"A|B": self.a} if self.b is None else {"A": self.a, "B": self.b}

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Decode both images as `read_rgb` does.

        Returns:
            A and B: uint8 (H, W, 3) each, of the same size.

        Raises:
            PairError: unreadable, of different sizes, or not two halves side by side.
        """
        a, b = self.read_sides()
        if a.shape != b.shape:
            raise self._error("different size", f"A is {_size(a)} and B is {_size(b)}; make them equal")
        return a, b

    def read_sides(self) -> tuple[np.ndarray, np.ndarray]:
        """As `read`, but A and B may differ in size."""
        images = [self._image(side, path) for side, path in self.files.items()]
        return (images[0], images[1]) if self.b else self._halves(images[0])

    def _image(self, side: str, path: Path) -> np.ndarray:
        try:
            return read_rgb(path)
        except DataError as error:
            detail = str(error).removeprefix(f"{path}: ").rstrip(".")
            raise self._error("unreadable", detail if self.b is None else f"{side} {detail}") from error

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
class ToyPair:
    """A pair of the procedural city, drawn when it is read; the splits have no index in common."""

    name: str
    index: int
    size: int

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Aerial photo and map: uint8 (size, size, 3) each."""
        return city(self.index, self.size)


def splits(data: str | Path) -> list[str]:
    """The splits of a data set, in the order train, val, test.

    Args:
        data: a name from the catalog, or a folder. A name of the catalog wins over a folder of that name in the
            current directory: write "./maps" for the folder. A `Path` is always a folder.

    Raises:
        DataError: no such data set, not downloaded yet, no images, or two layouts at once.
    """
    return list(_toy_starts() if data == "toy" else _layout(folder_of(data)))


def find_pairs(data: str | Path, split: str) -> tuple[list[Pair], list[Problem]]:
    """Find the pairs of one split, without opening a file.

    Returns:
        The pairs in natural order of their names, and what could not be paired: files that lack a partner, and
        files that share their stem with another in the same folder.

    Raises:
        DataError: as `splits`, or the data set has no such split.
    """
    available = splits(data)
    if split not in available:
        raise DataError(f"{data}: there is no split {split!r}; it has {', '.join(available)}.")
    if data == "toy":
        toy, start = CATALOG["toy"], _toy_starts()[split]
        return [ToyPair(f"{split}/{i}", start + i, toy.size[0]) for i in range(toy.splits[split])], []
    root = folder_of(data)
    return pair_up(root, _layout(root)[split])


def ignored(data: str | Path) -> Counter[str]:
    """Count the files in a data set's folder that belong to no split, by what they are ("hidden", ".txt", ...)."""
    if data == "toy":
        return Counter()
    root = folder_of(data)
    used = {path for folders in _layout(root).values() for folder in folders for path in _images(folder)}
    return unused(root, used)


def unused(root: Path, used: set[Path]) -> Counter[str]:
    """Count the files below a folder that are not among `used`, by what they are."""
    return Counter(_label(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path not in used)


def _label(path: Path) -> str:
    if any(part.startswith(".") for part in path.parts):
        return "hidden"
    suffix = path.suffix.lower()
    return "images outside the splits" if suffix in IMAGE_SUFFIXES else suffix or "without suffix"


def _toy_starts() -> dict[str, int]:
    """The index of each split's first city."""
    counts = [CATALOG["toy"].splits.get(split, 0) for split in SPLITS]
    return {split: sum(counts[:i]) for i, split in enumerate(SPLITS) if counts[i]}


def folder_of(data: str | Path) -> Path:
    """The folder of a data set, be it downloaded or the user's."""
    if data in CATALOG:
        root = dataset_dir(str(data))
        if not root.is_dir():
            hint = f", or write ./{data} for the folder" if Path(data).is_dir() else ""
            raise DataError(f"{data}: not downloaded yet; run `python -m p2plib data get {data}`{hint}.")
        return root
    root = Path(data).expanduser()
    if not root.is_dir():
        raise DataError(f"{data}: neither a folder nor a data set of the catalog ({', '.join(CATALOG)}).")
    return root


def _layout(root: Path) -> dict[str, Sequence[Path]]:
    """Each split's folders: one that holds side-by-side files, or those of A and of B."""
    layout = {}
    for split in SPLITS:
        both, a, b = root / split, root / "A" / split, root / "B" / split
        layout[split] = _choose((both,), (both / "A", both / "B"), (a, b), (root / f"{split}A", root / f"{split}B"))
    if not any(layout.values()):
        layout["train"] = _choose((root,), (root / "A", root / "B"))
    if not any(layout.values()):
        raise DataError(
            f"{root}: no images found ({', '.join(sorted(IMAGE_SUFFIXES))}); put side-by-side files into train/ and "
            "val/, or the two sides into trainA/, trainB/, valA/ and valB/."
        )
    return {split: folders for split, folders in layout.items() if folders}


def _choose(*layouts: Sequence[Path]) -> Sequence[Path]:
    """The one layout whose folders hold images; empty if none does."""
    found = [folders for folders in layouts if any(any(_images(folder)) for folder in folders)]
    if len(found) > 1:
        folders = " and in ".join(str(folder) for folder, *_ in found)
        raise DataError(f"Images lie in {folders}: these are two layouts for one split; keep one of them.")
    return found[0] if found else ()


def _images(folder: Path) -> Iterator[Path]:
    """The image files in a folder that may not exist; hidden files are none."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def pair_up(root: Path, folders: Sequence[Path]) -> tuple[list[Pair], list[Problem]]:
    """As `find_pairs`, for the one folder of side-by-side files, or the two of A and of B, below `root`."""
    if len(folders) == 1:
        files = sorted(_images(folders[0]), key=lambda path: (_natural(path.stem), path.name))
        return [FilePair(path.relative_to(root).as_posix(), path) for path in files], []
    by_stem: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for side, folder in enumerate(folders):
        for path in sorted(_images(folder)):
            by_stem[path.stem][side].append(path)
    pairs: list[Pair] = []
    problems = []
    for stem in sorted(by_stem, key=_natural):
        a, b = by_stem[stem]
        name = " | ".join(path.relative_to(root).as_posix() for path in a + b)
        if len(a) == len(b) == 1:
            pairs.append(FilePair(name, a[0], b[0]))
        elif len(a) > 1 or len(b) > 1:
            problems.append(Problem(name, "ambiguous stem", "files of one folder share a stem; keep one of them"))
        else:
            other = folders[1 if a else 0].relative_to(root).as_posix()
            detail = f"there is no image called {stem} in {other}/; add it, or remove this one"
            problems.append(Problem(name, "missing partner", detail))
    return pairs, problems


def _natural(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts "2" before "10"; the name itself decides between "1" and "01"."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(parts)], name


def _size(image: np.ndarray) -> str:
    height, width = image.shape[:2]
    return f"{width}x{height}"
