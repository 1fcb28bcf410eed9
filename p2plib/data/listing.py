"""Finds the pairs in a folder, in one pass over its files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from p2plib.data import layout
from p2plib.data.formats import count_others, files_below, is_image
from p2plib.data.pairs import Listing, pair_up, unusable
from p2plib.data.problems import Problem
from p2plib.data.stack import stack_up


def list_pairs(root: Path, sources: Sequence[str] = ()) -> Listing:
    """Find the pairs of all splits in a folder, in one pass over its files.

    Args:
        root: the folder.
        sources: the names of the folders that are stacked as A; none: A1, A2, ... are, if they are there.

    Raises:
        DataError: there are no images, or two layouts at once, or no such folders.
    """
    files = files_below(root)
    images: dict[Path, list[Path]] = defaultdict(list)
    useless: dict[Path, list[Problem]] = defaultdict(list)
    for path in files:
        if is_image(path, root):
            images[path.parent].append(path)
        elif problem := unusable(path, root):
            useless[path.parent].append(problem)
    splits, unpaired, notes, used = {}, {}, [], set()
    found = layout.layout(root, images.keys() | useless.keys(), sources)
    for split, folders in found.items():
        sides = [images.get(folder, []) for folder in folders]
        used |= {path for side in sides for path in side}
        splits[split], problems, note = (pair_up if len(folders) < 3 else stack_up)(root, folders, sides)
        unpaired[split] = [problem for folder in folders for problem in useless.get(folder, [])] + problems
        notes += [f"{split}: {note}."] * bool(note)
    count = max(map(len, found.values())) - 1  # folders of A
    names = tuple(sources) or tuple(f"A{i + 1}" for i in range(count))
    names = names if count > 1 else ()
    return Listing(splits, unpaired, count_others(root, files, used), notes, names, _target(root, found, sources))


def _target(root: Path, found: Mapping[str, Sequence[Path]], sources: Sequence[str]) -> str:
    """The name of the target's folder, where those of the sources are named."""
    parts = next(iter(found.values()))[-1].relative_to(root).parts if sources else ()
    return next((part for part in parts if not layout.split_named(part)), "")
