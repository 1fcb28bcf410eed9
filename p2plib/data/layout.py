"""How the folders and files of a data set are named: which split and side a folder holds, which files are partners.

Folders may spell splits as people do: `Train`, `valid`, `validation`, `dev`, `testing`, and two sides as `trainA`,
`train_b` or `a`. Partners have the same name, or the same but for an ending or beginning that all files of their side
share, such as `0_A.png` and `0_B.png`.
Several folders may be the source: `A1`, `A2`, ..., or folders that are named as sources; see `stack`.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from p2plib.data.formats import READABLE
from p2plib.errors import DataError
from p2plib.files import some

SPLITS = ("train", "val", "test")
_SPELLINGS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
_SPLIT_OF = {spelling: split for split, spellings in _SPELLINGS.items() for spelling in spellings}
_WITH_SIDE = re.compile(rf"({'|'.join(_SPLIT_OF)})[ _-]?(a[1-9]?|b)")
_SIDE = re.compile("a[1-9]?|b")
_WITHOUT_SPLITS = 4
"""The first of the layouts that hold no splits; see `_place`."""


def split_named(name: str) -> str | None:
    """The split that a folder of this name holds, in any usual spelling; None if it is none."""
    return _SPLIT_OF.get(name.lower())


def side_named(name: str) -> bool:
    """Whether a folder of this name holds one side of pairs, of a split or not."""
    return bool(_SIDE.fullmatch(name.lower()) or _WITH_SIDE.fullmatch(name.lower()))


class _Place(NamedTuple):
    """What a folder holds by its name: a split, and side A, A1, B or (empty) both; `layout` is the kind of layout."""

    layout: int
    split: str
    side: str


def _place(parts: Sequence[str], named: Mapping[str, str] | None = None) -> _Place | None:
    """The place of a folder by its path below the data set's; `named` gives the sides of folders by their names."""
    names = [part.lower() for part in parts]
    splits = [_SPLIT_OF.get(name) for name in names]
    sides = [name.upper() if _SIDE.fullmatch(name) else None for name in names]
    if named:
        sides = [named.get(part) for part in parts]
    if len(names) == 2:
        if splits[0] and sides[1]:
            return _Place(1, splits[0], sides[1])
        if sides[0] and splits[1]:
            return _Place(2, splits[1], sides[0])
    elif len(names) == 1:
        if splits[0]:
            return _Place(0, splits[0], "")
        if (joined := _WITH_SIDE.fullmatch(names[0])) and not named:
            return _Place(3, _SPLIT_OF[joined[1]], joined[2].upper())
        if sides[0]:
            return _Place(_WITHOUT_SPLITS + 1, "train", sides[0])
    return None if names else _Place(_WITHOUT_SPLITS, "train", "")


def layout(root: Path, folders: Iterable[Path], sources: Sequence[str] = ()) -> dict[str, tuple[Path, ...]]:
    """Each split's folders: one that holds side-by-side files, or those of A, of which there may be several, and of B.

    Args:
        root: the data set's folder.
        folders: the folders below it that hold images.
        sources: the names of the folders that are A, in this order, if there are several. B is the folder of that name,
            or the only other one.

    Raises:
        DataError: none of them holds a split, there are two layouts at once, or no such sources.
    """
    folders = sorted(folders)
    named = _named(root, folders, sources) if sources else None
    found: dict[tuple[str, int], dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for folder in folders:
        if place := _place(folder.relative_to(root).parts, named):
            found[place.split, place.layout][place.side].append(folder)
    if any(kind < _WITHOUT_SPLITS for _, kind in found):
        found = {key: sides for key, sides in found.items() if key[1] < _WITHOUT_SPLITS}
    result: dict[str, tuple[Path, ...]] = {}
    every = sorted({side for sides in found.values() for side in sides if side} | {"B"})
    every = every if len(every) > 1 else ["A", "B"]
    for split in SPLITS:
        layouts = [sides for (name, _), sides in sorted(found.items()) if name == split]
        first = [paths[0] for sides in layouts for paths in [next(iter(sides.values()))]]
        twice = next((paths for sides in layouts for paths in sides.values() if len(paths) > 1), first)
        if len(twice) > 1:
            where = " and in ".join(map(str, twice))
            raise DataError(f"Images lie in {where}: these are two layouts for one split; keep one of them.")
        for sides in layouts:
            one = {side: paths[0] for side, paths in sides.items()}
            if "" in one:
                result[split] = (one[""],)
            else:
                result[split] = tuple(one.get(side) or _sibling(root, one, side, named) for side in every)
    if not result:
        raise DataError(f"{root}: {_nothing_found(root, folders)}")
    return result


def _named(root: Path, folders: Sequence[Path], sources: Sequence[str]) -> dict[str, str]:
    """The sides of folders by their names: A1, A2, ... of the sources, and B."""
    names = {part for folder in folders for part in folder.relative_to(root).parts if not split_named(part)}
    if missing := [name for name in sources if name not in names]:
        raise DataError(f"{root}: there are no images in {some(missing, 5)}; found: {some(sorted(names), 9)}.")
    others = sorted(names - set(sources))
    if "B" not in others and len(others) != 1:
        which = some(others, 9) if others else "no folder"
        raise DataError(f"{root}: beside the sources there is {which}; call the target's folder B.")
    return {name: f"A{i}" for i, name in enumerate(sources, 1)} | {"B" if "B" in others else others[0]: "B"}


def _sibling(root: Path, one: Mapping[str, Path], missing: str, named: Mapping[str, str] | None) -> Path:
    """The folder of a side that has no images, named like that of another side."""
    side, path = next(iter(one.items()))
    parts = list(path.relative_to(root).parts)
    if named:
        names = {side: name for name, side in named.items()}
        return root.joinpath(*(names[missing] if part == names[side] else part for part in parts))
    place = next(i for i in range(len(parts)) if parts[i].upper().endswith(side))
    start = len(parts[place]) - len(side)
    parts[place] = parts[place][:start] + (missing if parts[place][start].isupper() else missing.lower())
    return root.joinpath(*parts)


def _nothing_found(root: Path, folders: Sequence[Path]) -> str:
    """What is wrong with a folder that holds no split, and which one was probably meant."""
    deeper = []
    for folder in folders:
        parts = folder.relative_to(root).parts
        start = next((i for i in range(1, len(parts)) if _place(parts[i:])), len(parts))
        deeper.append(root.joinpath(*parts[:start]))
    meant = sorted(set(deeper))
    if len(meant) == 1:
        return f"no images found in this folder itself; probably {meant[0]} is meant: name that one."
    hint = f"images lie in {some([path.relative_to(root) for path in meant], 5)}; " if meant else ""
    return (
        f"no images found ({READABLE}); {hint}put side-by-side files into train/ and val/, or the two sides into "
        "trainA/, trainB/, valA/ and valB/, or join two folders with `python -m p2plib data combine A B OUT`. Several "
        "folders that are the source together are named with --sources."
    )


def stem_key(stem: str) -> str:
    """What is compared of two stems: letters with accents are the same in every Unicode form."""
    return unicodedata.normalize("NFC", stem)


def keys(a: Sequence[str], b: Sequence[str]) -> tuple[list[str], list[str], str | None]:
    """What to compare of the stems of two folders.

    If no stem of A is one of B, the ending and the beginning that all stems of a side share are left out, and
    capitals do not count.

    Returns:
        The keys of A and of B, and a note on what was left out, if anything was.
    """
    a, b = [stem_key(stem) for stem in a], [stem_key(stem) for stem in b]
    if not a or not b or set(a) & set(b):
        return list(a), list(b), None
    (cut_a, marks_a), (cut_b, marks_b) = _without_affixes(a), _without_affixes(b)
    folded_a, folded_b = [key.casefold() for key in cut_a], [key.casefold() for key in cut_b]
    unique = len(set(folded_a)) == len(a) and len(set(folded_b)) == len(b)
    if not (unique and set(folded_a) & set(folded_b)):
        return list(a), list(b), None
    left_out = " and ".join(repr(mark) for mark in (*marks_a, *marks_b) if mark) or "capitals"
    both = next(key for key in folded_a if key in folded_b)
    example = f"{a[folded_a.index(both)]} (A) and {b[folded_b.index(both)]} (B)"
    return folded_a, folded_b, f"partners have the same name but for {left_out}, for example {example}"


def families(stems: Sequence[str]) -> tuple[str, str] | None:
    """The two endings by which files of one folder are partners, such as ("_A", "_B"); None if there are no such two.

    Every stem must end in one of them, and every stem of the one must have a partner of the other.
    """
    tails: dict[str, set[str]] = defaultdict(set)
    for stem in stems:
        if not (tail := re.search(r"([ _.-]+)([^\W\d_]+)$", stem)) or not tail.start():
            return None
        tails[tail[0]].add(stem[: tail.start()])
    if len(tails) != 2:
        return None
    one, two = sorted(tails)
    return (one, two) if tails[one] == tails[two] else None


def _without_affixes(stems: Sequence[str]) -> tuple[list[str], tuple[str, str]]:
    """Stems without what all of them end and begin with, cut at the borders of words; and that."""
    if len(stems) < 2:
        return list(stems), ("", "")
    tail = _from_border(stems[0], len(stems[0]) - _shared([stem[::-1] for stem in stems]))
    cut = [stem[: len(stem) - len(tail)] for stem in stems]
    shared = range(_shared(cut), 0, -1)
    head = next((cut[0][:i] for i in shared if _border(cut[0], i)), "")
    if not all(stem[len(head) :] for stem in cut):
        return list(stems), ("", "")
    return [stem[len(head) :] for stem in cut], (head, tail)


def _shared(stems: Sequence[str]) -> int:
    """How many characters all of them begin with."""
    return sum(1 for _ in itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*stems, strict=False)))


def _from_border(stem: str, start: int) -> str:
    """The end of a stem from the first border of words at or after `start`."""
    return next((stem[i:] for i in range(max(start, 1), len(stem)) if _border(stem, i)), "")


def _border(stem: str, i: int) -> bool:
    """Whether a word may end before character `i` of a stem, or one begin there: not within digits or a word."""
    if i >= len(stem):
        return False
    before, after = stem[i - 1], stem[i]
    kinds = [0 if c.isdigit() else 1 if c.isalpha() else 2 for c in (before, after)]
    return kinds[0] != kinds[1] or (before.islower() and after.isupper())
