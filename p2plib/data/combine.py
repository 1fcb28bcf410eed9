"""Make new folders of pairs: combine two folders side by side, or divide one into splits.

The originals are not changed. A new folder appears complete or not at all. Files that cannot be used are all named
first.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from p2plib.data.formats import READABLE, count_others, files_below, image_files, images_in, is_image
from p2plib.data.image import class_colors, read_class_numbers, resize_image, save_image
from p2plib.data.layout import SPLITS, split_named
from p2plib.data.listing import list_pairs
from p2plib.data.pairs import MIN_ASPECT, FilePair, Pair, pair_up, unusable
from p2plib.data.problems import PairError, Problem
from p2plib.data.reading import refused
from p2plib.data.shards import is_pack
from p2plib.errors import DataError, WriteError
from p2plib.files import readable, replacing_folder, user_path

_Job = tuple[FilePair, Path]
"""A pair, and where it goes, relative to the new folder."""


@dataclass(frozen=True)
class Written:
    """A new folder.

    Attributes:
        folder: where it is.
        counts: pairs per split; "train" for a folder without splits.
        ignored: the number of files that were left out because they are not images, by type (".txt", "hidden", ...).
        notes: what was guessed, one sentence each.
    """

    folder: Path
    counts: dict[str, int]
    ignored: Counter[str]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {split}" for split, count in self.counts.items())
        left = ", ".join(f"{count} {label}" for label, count in sorted(self.ignored.items()))
        first = f"{self.folder}: {counts}" + (f"; not images, left out: {left}" if left else "")
        return "\n".join([first, *self.notes])


def combine(
    a: Path,
    b: Path,
    out: Path,
    resize: int | None = None,
    label_ids: Literal["A", "B"] | None = None,
    progress: bool = False,
) -> Written:
    """Write the images of two folders as side-by-side pairs, A left and B right, as PNG files, which are lossless.

    Partners have the same stem. Both folders hold images, or both hold some of `train/`, `val/` and `test/`.

    Args:
        a: folder of the images on the left.
        b: folder of the images on the right.
        out: the folder to write, which must be new or empty.
        resize: resize all images to squares of this side in pixels. None: partners must have the same size.
        label_ids: this side holds class numbers, not colors; each class gets a color (see `image.class_colors`).
        progress: show a bar on stderr.

    Raises:
        DataError: an image has no partner, cannot be read, differs from its partner in size or is too narrow (the
            message names all of them); a folder is missing or holds no images; `out` is not empty or not writable.
    """
    a, b = read_folder(a), read_folder(b)
    if resize is not None and resize < 1:
        raise DataError(f"Images cannot be resized to {resize} pixels; give a size of 1 or more.")
    jobs, problems, notes = _matched(a, b)
    counts = Counter(path.parts[0] if len(path.parts) > 1 else "train" for _, path in jobs)
    if not jobs and not problems:
        raise DataError(f"{a} and {b}: no images found ({READABLE}).")

    def write(job: _Job, place: Path) -> None:
        save_image(place / job[1], _side_by_side(job[0], resize, label_ids))

    with new_folder(out, a, b) as place:
        problems += _each(lambda job: write(job, place), jobs, progress)
        _refuse(problems)
    return Written(out, dict(counts), _others(a) + _others(b), notes)


def split(data: Path, out: Path, val: float = 0.1, test: float = 0.0, seed: int = 0, progress: bool = False) -> Written:
    """Copy a folder of pairs into `train/`, `val/` and `test/`, chosen by the seed. The layout stays the same.

    Args:
        data: a folder of photos, side-by-side files, or `A/` and `B/`, without splits. Their content is not checked.
        out: the folder to write, which must be new or empty.
        val: share of the pairs for validation, at least one pair if it is above 0.
        test: share of the pairs for the final test, at least one pair if it is above 0.
        seed: decides which pairs go where.
        progress: show a bar on stderr.

    Raises:
        DataError: the shares are wrong; the folder has splits, is too small, or holds files that form no pair (which
            the message names); `out` is not empty or not writable.
    """
    data = read_folder(data)
    if not (val >= 0 and test >= 0 and 0 < val + test < 1):
        raise DataError(f"val {val:g} and test {test:g} must be shares that leave some pairs to train on.")
    listing = list_pairs(data)
    if list(listing.splits) != ["train"]:
        raise DataError(f"{data}: has the splits {', '.join(listing.splits)} already; take a folder without.")
    problems = [problem for problem in listing.unpaired["train"] if problem.kind != "unsupported"]
    files = [pair for pair in listing.splits["train"] if pair.files]
    if files:
        problems += _outside(data, [data], {path.parent for pair in files for path in pair.files.values()})
    problems += _dead_links(files) + _unsupported(data, [data])
    _refuse(problems)
    names = _chosen(len(files), {"val": val, "test": test}, seed, data)
    jobs = [(pair, Path(name)) for pair, name in zip(files, names, strict=True)]

    def copy(job: tuple[Pair, Path], place: Path) -> None:
        for side, path in job[0].files.items():
            target = place / job[1] / ("" if side == "A|B" else side) / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)

    with new_folder(out, data) as place:
        _each(lambda job: copy(job, place), jobs, progress)
    return Written(out, {name: names.count(name) for name in SPLITS if name in names}, _others(data), listing.notes)


def read_folder(path: Path) -> Path:
    """An existing folder, as an absolute path. Raises DataError if it is none."""
    if not user_path(path).is_dir():
        raise DataError(f"{path}: no such folder.")
    if is_pack(path):
        raise DataError(f"{path}: is a pack; name the folder that it was made of.")
    return user_path(path).resolve()


def _matched(a: Path, b: Path) -> tuple[list[_Job], list[Problem], list[str]]:
    """The pairs of two folders and their new places, the files that cannot be paired, and notes on what was guessed."""
    if a == b:
        raise DataError(f"{a}: A and B are the same folder; name two.")
    try:
        root = Path(os.path.commonpath([a, b]))
    except ValueError:
        raise DataError(f"{a} and {b} lie on different drives; bring them to one.") from None
    splits = [_split_folders(folder) for folder in (a, b)]
    names = [name for name in SPLITS if name in splits[0] or name in splits[1]]
    jobs, problems, notes, taken = [], [], [], set()
    for name in names or [""]:
        folders = [found.get(name, folder / name) for found, folder in zip(splits, (a, b), strict=True)]
        together, alone, note = pair_up(root, folders, [images_in(folder) for folder in folders])
        problems += alone
        notes += [f"{note}."] * bool(note)
        taken |= set(folders)
        jobs += [(pair, Path(name, f"{pair.a.stem}.png")) for pair in together if isinstance(pair, FilePair)]
    return jobs, problems + _outside(root, (a, b), taken) + _unsupported(root, (a, b)), notes


def _split_folders(folder: Path) -> dict[str, Path]:
    """The folders of splits in a folder, in any usual spelling."""
    return {split: path for path in sorted(folder.iterdir()) if path.is_dir() and (split := split_named(path.name))}


def _unsupported(root: Path, sources: Iterable[Path]) -> list[Problem]:
    """The files below the sources that look like images and cannot be read."""
    found = [unusable(path, root, source) for source in sources for path in files_below(source)]
    return [problem for problem in found if problem]


def _side_by_side(pair: FilePair, resize: int | None, label_ids: str | None) -> np.ndarray:
    halves = list(pair.read_sides() if resize or label_ids else pair.read())
    labels = "AB".index(label_ids) if label_ids else None
    if labels is not None:
        with refused(pair.files["AB"[labels]], pair.name, "AB"[labels]):
            halves[labels] = read_class_numbers(pair.files["AB"[labels]])
    if resize:
        halves = [resize_image(half, resize, resize, labels=i == labels) for i, half in enumerate(halves)]
    if labels is not None:
        halves[labels] = class_colors()[halves[labels]]
    if halves[0].shape != halves[1].shape:
        raise pair.different_sizes(*halves)
    height, width = halves[0].shape[:2]
    if 2 * width < MIN_ASPECT * height:
        detail = f"{width}x{height} is too narrow for two halves side by side; keep the two folders, or use --resize"
        raise PairError(Problem(pair.name, "too narrow", detail))
    return np.hstack(halves)


def _chosen(count: int, shares: dict[str, float], seed: int, data: Path) -> list[str]:
    """The split of each pair."""
    sizes = {name: max(1, round(share * count)) if share else 0 for name, share in shares.items()}
    if sum(sizes.values()) >= count:
        raise DataError(f"{data}: {count} pairs are too few for these splits; add pairs.")
    names = ["train"] * count
    order = iter(np.random.default_rng(seed).permutation(count))
    for name, size in sizes.items():
        for _ in range(size):
            names[next(order)] = name
    return names


def _outside(root: Path, sources: Iterable[Path], taken: set[Path]) -> list[Problem]:
    """The images below the sources that are in none of the folders taken."""
    names = [path for source in sources for path in image_files(source) if path.parent not in taken]
    detail = "is outside the folders that are used; move or remove it"
    return [Problem(readable(path.relative_to(root).as_posix()), "outside", detail) for path in names]


def _dead_links(pairs: Iterable[Pair]) -> list[Problem]:
    """The pairs that cannot be copied, because a link leads to no file."""
    broken = [pair for pair in pairs if not all(path.exists() for path in pair.files.values())]
    return [Problem(pair.name, "unreadable", "is a link to a missing file; remove it") for pair in broken]


def _others(folder: Path) -> Counter[str]:
    files = files_below(folder)
    return count_others(folder, files, {path for path in files if is_image(path, folder)})


def _each(task: Callable[[Any], None], jobs: Sequence[Any], progress: bool) -> list[Problem]:
    """Run `task` on all jobs, in threads; returns the problems."""
    from tqdm import tqdm

    def attempt(job: Any) -> Problem | None:
        try:
            task(job)
        except PairError as error:
            return error.problem
        return None

    with ThreadPoolExecutor() as pool:
        done = tqdm(pool.map(attempt, jobs), total=len(jobs), unit="pair", disable=not progress)
        return [problem for problem in done if problem]


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        hint = (
            " (--resize 256 makes sizes equal)" if any(problem.kind == "different size" for problem in problems) else ""
        )
        listed = "\n  ".join(map(str, problems))
        raise DataError(f"{len(problems)} problem(s), nothing was written{hint}:\n  {listed}")


@contextmanager
def new_folder(out: Path, *sources: Path) -> Iterator[Path]:
    """A temporary folder next to `out`, which becomes `out` when the block ends without an error.

    Raises:
        DataError: `out` lies in one of the sources, is there and not empty, or cannot be written.
    """
    if any(out.resolve().is_relative_to(source) for source in sources):
        raise DataError(f"{out}: lies where the images come from; choose another folder.")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out}: is there already, and nothing is overwritten; choose another folder, or remove it.")
    try:
        with replacing_folder(out) as place:
            yield place
    except WriteError as error:
        raise DataError(f"{error} Nothing was written.") from error
