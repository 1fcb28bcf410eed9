"""Image-to-image translation of pairs, the task of pix2pix itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from p2plib.data import toy
from p2plib.data.catalog import Direction, Entry
from p2plib.data.kind import ImageKind
from p2plib.data.listing import list_pairs
from p2plib.data.pairs import FilePair, Listing, Pair
from p2plib.data.stack import StackPair
from p2plib.data.tasks.base import Task
from p2plib.errors import DataError
from p2plib.registry import TASKS


@TASKS.register("pairs")
class Pairs(Task):
    """One side of a pair from the other."""

    name = "pairs"

    def pair(self, name: str, files: Mapping[str, Path], size: int | None) -> Pair:
        """See `Task.pair`."""
        *sources, target = files.values()
        return StackPair(name, tuple(sources), target) if len(files) > 2 else FilePair(name, *files.values())

    def list_folder(self, root: Path, entry: Entry | None, size: int | None, sources: Sequence[str]) -> Listing:
        """See `Task.list_folder`."""
        return list_pairs(root, sources)

    def check(self, entry: Entry | None) -> None:
        """See `Task.check`."""
        if entry and entry.photos:
            raise DataError(f"{entry.name} holds photos, not pairs; add --task colorize or --task sketch.")

    def direction(self, asked: str, entry: Entry | None) -> Direction:
        """The configured one; for auto the usual one of the catalog, or AtoB for folders."""
        return cast(Direction, asked) if asked != "auto" else entry.direction if entry else "AtoB"

    def sides(self, entry: Entry | None) -> tuple[ImageKind, ImageKind]:
        """As the catalog says; "A" and "B" for folders."""
        if entry and entry.kinds:
            return entry.kinds
        a, b = entry.names if entry else ("A", "B")
        return ImageKind(a), ImageKind(b, entry.classes if entry else {})

    def example(self, index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The toy city: aerial photo and map."""
        return toy.city(index, size)
