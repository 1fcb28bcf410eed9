"""Several source folders: the files of the same name, one in each folder, are stacked as channels in a stated order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2plib.data.formats import images_in
from p2plib.data.kind import ImageKind, Kinds
from p2plib.data.pairs import FilePair, Pair, pair_up, say_size
from p2plib.data.problems import PairError, Problem
from p2plib.data.reading import read_as, read_or_refuse
from p2plib.data.stored import DTYPES, MOST_CHANNELS
from p2plib.errors import DataError


@dataclass(frozen=True)
class StackPair:
    """A pair whose A is several files.

    Attributes:
        name: as that of a `FilePair`, by the first file of A and the one of B.
        parts: the files of A, in the order in which their channels are stacked.
        b: the file of B.
    """

    name: str
    parts: tuple[Path, ...]
    b: Path

    @property
    def files(self) -> dict[str, Path]:
        """The files by their content: "A1", "A2", ..., and "B"."""
        return {f"A{i}": path for i, path in enumerate(self.parts, 1)} | {"B": self.b}

    def read(self, kinds: Kinds | None = None) -> tuple[np.ndarray, np.ndarray]:
        """A and B: stored values (H, W, C) each, of the same size. Raises PairError."""
        a, b = kinds or (None, None)
        images = {
            side: read_or_refuse(path, self.name, side, kind=kind)[0]
            for (side, path), kind in zip(self.files.items(), [*_parts(a, len(self.parts)), b], strict=True)
        }
        sizes = {side: say_size(image) for side, image in images.items()}
        if len(set(sizes.values())) > 1:
            detail = ", ".join(f"{side} is {size}" for side, size in sizes.items())
            raise PairError(Problem(self.name, "different size", f"{detail}; make them equal"))
        target = images.pop("B")
        return _joined(list(images.values()), a), target

    def views(self, kinds: Kinds | None = None) -> dict[str, np.ndarray]:
        """A and B. Raises PairError as `read`."""
        return dict(zip("AB", self.read(kinds), strict=True))


def stack_up(
    root: Path, folders: Sequence[Path], sides: Sequence[Sequence[Path]]
) -> tuple[list[Pair], list[Problem], str | None]:
    """Form the pairs of one split, as `pairs.pair_up` does of two folders, of which the last is that of B."""
    pairs, problems, note = pair_up(root, (folders[0], folders[-1]), (sides[0], sides[-1]))
    parts: dict[Path, tuple[Path, ...]] = {pair.a: (pair.a,) for pair in pairs if isinstance(pair, FilePair)}
    for folder, side in zip(folders[1:-1], sides[1:-1], strict=True):
        found, more, _ = pair_up(root, (folders[0], folder), (sides[0], side))
        partners = {pair.a: pair.b for pair in found if isinstance(pair, FilePair) and pair.b}
        parts = {a: (*files, partners[a]) for a, files in parts.items() if a in partners}
        problems += more
    whole = [
        StackPair(pair.name, parts[pair.a], pair.b)
        for pair in pairs
        if isinstance(pair, FilePair) and pair.b and pair.a in parts
    ]
    return [*whole], problems, note


def stacked(parts: Sequence[ImageKind]) -> ImageKind:
    """What a stack is: its channels are those of all parts, each of which keeps a range of its own.

    Raises:
        DataError: these are too many channels.
    """
    name, channels = " + ".join(part.name for part in parts), sum(part.channels for part in parts)
    if channels > MOST_CHANNELS:
        raise DataError(f"{name}: has {channels} channels; at most {MOST_CHANNELS} are supported.")
    dtype = np.result_type(*(np.dtype(part.dtype) for part in parts)).name
    whole = dtype if dtype in DTYPES else "float32"  # which holds the values of all of them exactly
    return ImageKind(name, channels=channels, dtype=whole, parts=tuple(parts))


def partners(path: Path, kind: ImageKind) -> tuple[Path, ...]:
    """The files of a stack of which `path` is that of the first part: the same names in the folders of the others.

    Args:
        path: a file in, or below, a folder that is called like the first part, beside those of the others.
        kind: the stack.

    Returns:
        The file alone, if the kind is no stack or there is no such folder: it then holds all channels itself.

    Raises:
        DataError: one of the others has no such file.
    """
    first = kind.parts[0].name if kind.parts else ""
    places = [i for i, part in enumerate(path.parts[:-1]) if part == first]
    if not first or not places:
        return (path,)
    found = [path]
    for part in kind.parts[1:]:
        folder = Path(*path.parts[: places[-1]], part.name, *path.parts[places[-1] + 1 : -1])
        same = [file for file in images_in(folder) if file.stem == path.stem]
        if len(same) != 1:
            many = "no image" if not same else "several images"
            raise DataError(f"{path}: there is {many} called {path.stem} in {folder}; each needs exactly one.")
        found += same
    return tuple(found)


def read_stacked(path: Path, kind: ImageKind, missing: float | None = None) -> np.ndarray:
    """Read an image as `reading.read_as` does; of a stack, all its `partners`.

    Raises:
        DataError: as `read_as` and `partners`, or the sizes differ.
    """
    files = partners(path, kind)
    if len(files) == 1:
        return read_as(path, kind, missing)
    images = [read_as(file, part, missing) for file, part in zip(files, kind.parts, strict=True)]
    if len({image.shape[:2] for image in images}) > 1:
        sizes = ", ".join(f"{part.name} is {say_size(image)}" for part, image in zip(kind.parts, images, strict=True))
        raise DataError(f"{path}: {sizes}; make them equal.")
    return _joined(images, kind)


def _parts(kind: ImageKind | None, count: int) -> Sequence[ImageKind | None]:
    return kind.parts if kind else [None] * count


def _joined(images: Sequence[np.ndarray], kind: ImageKind | None) -> np.ndarray:
    values = np.concatenate(images, axis=-1)
    return values.astype(kind.dtype) if kind else values
