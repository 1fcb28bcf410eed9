"""The pair checker: opens every file of a data set and reports broken pairs and notes by file name."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from p2plib.config import TrainConfig
from p2plib.data.ahead import ahead
from p2plib.data.catalog import entry_of
from p2plib.data.classes import MOST_LABEL_IDS
from p2plib.data.duplicates import Hashes
from p2plib.data.formats import VALUES_ONLY
from p2plib.data.image import (
    color_profile,
    count_images,
    exif_orientation,
    has_alpha,
    has_few_colors,
    open_image,
    resize_image,
    tile_images,
)
from p2plib.data.journal import Seen, continued
from p2plib.data.kind import PLAIN, ImageKind, Kinds
from p2plib.data.measure import measured
from p2plib.data.pairs import Listing, Pair
from p2plib.data.problems import PairError, Problem
from p2plib.data.shards import is_address
from p2plib.data.tasks.base import own_folder
from p2plib.errors import DataError
from p2plib.files import shell, user_path
from p2plib.registry import TASKS

AHEAD = 64
"""Pairs that threads look at ahead of the one whose turn it is."""
NEAR_CONSTANT = 2.0
"""An image whose channels all have a standard deviation below this (of 255) is near-constant."""
NEAR_DUPLICATE = 30
"""Pairs are near-duplicates if their perceptual hashes differ in at most this many of 512 bits. A photo has 256 bits
and half this limit.

Measured: copies at 400x200 and JPEG quality 60 differ in 17 bits (median; 90 % in at most 30), the nearest pairs of
train and val in 104 (facades), 198 (maps) and 44 (edges2shoes).
"""


@dataclass(frozen=True)
class Report:
    """What `check` found.

    Attributes:
        data: the data set's name or folder.
        counts: usable pairs per split.
        sizes: per split, the number of pairs of each size: (height, width) of one side.
        problems: broken pairs and notes, in the order of the splits and of the names.
        ignored: files that belong to no split, by what they are.
        noun: what is counted, "pairs" or "photos".
        kinds: what A and B are, where they are not 8-bit RGB; one line each.
        guessed: what was guessed about the layout, one sentence each.
    """

    data: str
    counts: dict[str, int]
    sizes: dict[str, Counter[tuple[int, int]]]
    problems: list[Problem]
    ignored: Counter[str]
    noun: str = "pairs"
    guessed: Sequence[str] = ()
    kinds: Sequence[str] = ()

    @property
    def broken(self) -> list[Problem]:
        """The problems that make training refuse a pair."""
        return [problem for problem in self.problems if problem.broken]

    def table(self, limit: int | None = 20) -> str:
        """The report as text: splits, kinds of problems, then the problems by file name.

        Args:
            limit: how many notes of each kind to show (None: all); the rest are counted. Broken pairs are all shown.
        """
        lines = [f"{self.data}: {sum(self.counts.values())} usable {self.noun}, {len(self.broken)} broken"]
        for split, count in self.counts.items():
            sizes = [f"{width}x{height} ({n})" for (height, width), n in self.sizes[split].most_common(5)]
            more = len(self.sizes[split]) - len(sizes)
            sizes += [f"{more} more sizes"] * (more > 0)
            lines.append(f"  {split:6}{count:7} {self.noun}  {', '.join(sizes)}")
        lines += [f"  ignored{count:6} files  {label}" for label, count in sorted(self.ignored.items())]
        lines += [*self.guessed, *self.kinds]
        kinds = Counter((not problem.broken, problem.kind) for problem in self.problems)
        for (note, kind), count in sorted(kinds.items()):
            lines.append(f"{'note' if note else 'BROKEN'}: {kind} ({count})")
            found = [problem for problem in self.problems if (not problem.broken, problem.kind) == (note, kind)]
            shown = found[:limit] if note else found
            lines += [f"  {problem}" for problem in shown]
            lines += [f"  and {count - len(shown)} more"] * (count > len(shown))
        return "\n".join(lines)

    def next_step(self, task: str = "pairs", sources: Sequence[str] = ()) -> str:
        """What to do after this report, in one line."""
        train = f"python -m p2plib train --data {shell(self.data)}" + f" --task {task}" * (task != "pairs")
        train += f" --sources {' '.join(map(shell, sources))}" * bool(sources)
        if not any(self.counts.values()):
            return (
                f"next: no {self.noun} can be used; mend what is named above and check again, or join two folders of "
                "equal names: python -m p2plib data combine A B OUT"
            )
        if self.broken:
            return f"next: mend what is broken and check again, or train without it: {train} --skip-broken"
        return f"next: {train}"


def check(data: str | Path, task: str = "pairs", sources: Sequence[str] = (), *, progress: bool = False) -> Report:
    """Open every pair of every split and report problems by file name.

    Broken, so that training refuses the pair: unreadable, different size, odd width, not a pair, missing partner,
    ambiguous stem, unsupported, orientation of one half only. Notes: files that are 16-bit, partly transparent,
    grayscale, of indexed colors, turned by EXIF, of another color profile or of several images (they are converted),
    class numbers instead of colors, near-constant images, and images that are also in another split, as an exact
    duplicate or a near-duplicate. Where pairs are made of photos, there are also notes on photos the task cannot use,
    and on photos that look like two images side by side.

    Args:
        data: a name from the catalog, or a folder; see `tasks.base.Task.list`.
        task: what the data set is for.
        sources: the names of folders that are stacked as the source.
        progress: show a progress bar.

    A check of many pairs that was interrupted is continued by the next one, unless their files changed.

    Raises:
        DataError: there is no such data set, or it holds no images.
    """
    kind = TASKS[task]()
    listing = kind.list(data, sources=sources)
    kinds = _kinds(data, task, listing)
    seen: dict[str, list[Seen]] = {}
    where = data if entry_of(data) or is_address(data) else user_path(data).resolve()
    about = repr((str(where), listing.fingerprint, task, [kind.to_json() for kind in kinds]))
    with continued(about, listing, lambda pair: _inspect(pair, kinds)) as inspect:
        for split, pairs in listing.splits.items():
            found = (result for _, result in ahead(inspect, pairs, AHEAD, os.cpu_count()))
            seen[split] = list(tqdm(found, split, len(pairs), unit=kind.noun[:-1], disable=not progress))
    problems = []
    for split, pairs in seen.items():
        problems += listing.unpaired.get(split, []) + [problem for pair in pairs for problem in pair.problems]
    sizes = {split: Counter(pair.size for pair in pairs if pair.size) for split, pairs in seen.items()}
    counts = {split: sum(size.values()) for split, size in sizes.items()}
    problems += _duplicates(seen)
    said = [f"{one.describe()}; training {_training(one)}" for one in kinds if not one.plain]
    return Report(str(data), counts, sizes, problems, listing.ignored, kind.noun, listing.notes, said)


def sheet(
    data: str | Path, count: int = 6, size: int = 160, task: str = "pairs", sources: Sequence[str] = ()
) -> np.ndarray:
    """Make a contact sheet of pairs, A beside B, evenly spaced over the first split; square, as training sees them.

    Args:
        data: a name from the catalog, or a folder; see `tasks.base.Task.list`.
        count: number of pairs; fewer if the split has fewer. Broken ones are left out.
        size: width and height of each side, in pixels.
        task: what the data set is for.
        sources: as for `check`.

    Returns:
        uint8 (H, W, 3).

    Raises:
        DataError: as `check`, or none of these pairs can be read.
    """
    listing = TASKS[task]().list(data, sources=sources)
    pairs, kinds = next(iter(listing.splits.values())), _kinds(data, task, listing)
    rows = []
    for i in np.linspace(0, len(pairs) - 1, min(count, len(pairs)), dtype=int):
        try:
            sides = zip(kinds, pairs[i].read(kinds), strict=True)
            rows.append([resize_image(kind.preview(side), size, size) for kind, side in sides])
        except PairError:
            continue
    if not rows:
        raise DataError(f"{data}: there is no pair to show; `python -m p2plib data check {shell(data)}` says why.")
    return tile_images(rows)


def _kinds(data: str | Path, task: str, listing: Listing) -> Kinds:
    """What A and B are; of a task that makes pairs of photos, 8-bit RGB."""
    kind, entry = TASKS[task](), entry_of(data)
    if kind.from_photos:
        return PLAIN
    return measured(kind.sides(entry), listing, "AtoB", TrainConfig(task=task), own_folder(data))


def _training(kind: ImageKind) -> str:
    """What training does with a side that is not 8-bit RGB."""
    return "gives each a channel" if kind.are_classes else "maps this range to [-1, 1]"


def _inspect(pair: Pair, kinds: Kinds) -> Seen:
    seen = Seen(pair.name)
    try:
        sides = pair.views(kinds)
    except PairError as error:
        seen.problems.append(error.problem)
        return seen
    seen.size = next(iter(sides.values())).shape[:2]
    seen.problems += _conversions(pair, kinds)
    if list(pair.files) == ["photo"]:
        seen.problems += _side_by_side(pair.name, *seen.size)
    # A photo is one side alone.
    previews = [kind.preview(image) for image, kind in zip(sides.values(), kinds, strict=False)]
    for (side, image), shown in zip(sides.items(), previews, strict=True):
        if shown.std(axis=(0, 1), dtype=np.float32).max() < NEAR_CONSTANT:
            seen.problems.append(Problem(pair.name, "near-constant", f"{side} is nearly one solid color", broken=False))
        else:
            seen.digests[side] = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
    if len(seen.digests) == len(sides):
        seen.fingerprint = np.concatenate([_perceptual_hash(shown) for shown in previews])
    return seen


def _side_by_side(name: str, height: int, width: int) -> Iterator[Problem]:
    if width == 2 * height:
        detail = f"{width}x{height} is the shape of two images side by side, and is taken as one photo"
        yield Problem(name, "side by side?", detail, broken=False)


def _conversions(pair: Pair, kinds: Kinds) -> Iterator[Problem]:
    """Notes on the files that are not plain 8-bit RGB, upright and alone, and on what is done with them."""
    each = [part for kind in kinds for part in kind.parts or (kind,)]
    for (side, path), expected in zip(pair.files.items(), each, strict=False):
        if not expected.plain or path.suffix.lower() in VALUES_ONLY:  # it is read as it is
            continue
        which = "" if len(pair.files) == 1 else f"{side} "
        with open_image(path) as opened:
            for kind, detail in _unusual(opened, path, side):
                yield Problem(pair.name, kind, which + detail, broken=False)


def _unusual(opened: Image.Image, path: Path, side: str) -> Iterator[tuple[str, str]]:
    """Kind and detail of each note on one file; `side` is what it holds."""
    if (turn := exif_orientation(opened)) not in (None, 1):
        done = "ignored, the halves are taken as stored" if side == "A|B" else "applied"
        yield "orientation", f"has an EXIF orientation ({turn}), which is {done}"
    if (count := count_images(opened)) > 1:
        yield "several images", f"holds {count} images; the first is used"
    if opened.mode.startswith(("I", "F")) or (opened.format == "PNG" and _png_bit_depth(path) == 16):
        yield "16-bit", "is 16-bit, scaled to 8 bits" + _lost_levels(opened)
    if has_alpha(opened):
        yield "alpha", "is partly transparent, laid on white"
    if opened.mode in ("1", "L", "LA", "La") or opened.mode.startswith("I"):
        yield "greyscale", "is grayscale, read as RGB"
    if opened.mode in ("P", "PA"):
        yield "palette", "is of indexed colors, read as RGB"
    if profile := color_profile(opened):
        few = has_few_colors(opened)
        done = "ignored: few colors, as of labels, are kept as stored" if few else "converted to sRGB"
        yield "color profile", f"has the color profile {profile!r}, which is {done}"
    if opened.mode == "L" and (highest := int(np.asarray(opened).max(initial=0))) in range(1, MOST_LABEL_IDS):
        ways = {"A": "train with --source classes", "B": "train with --target classes"}
        way = ways.get(side, "put the halves into two folders, A and B, and training can take them as classes")
        yield "label ids", f"seems to hold class numbers up to {highest}, which differ too little as grays; {way}"


def _lost_levels(opened: Image.Image) -> str:
    """What is lost of a 16-bit image that uses a small part of its range; empty if it uses half of it or more."""
    if not opened.mode.startswith("I"):
        return ""
    highest = int(np.asarray(opened).max())
    if highest >= 1 << 15:
        return ""
    return (
        f", and since its values end at {highest} of 65535, only {highest // 257 + 1} of 256 levels are left; stretch "
        "the values of all images alike first"
    )


def _png_bit_depth(path: Path) -> int:
    """Bits per channel, from the PNG header: Pillow opens 16-bit RGB as 8-bit without a word."""
    with path.open("rb") as file:
        return file.read(25)[24]


def _perceptual_hash(image: np.ndarray) -> np.ndarray:
    """The difference hash, which is stable under resizing and recompression.

    Returns:
        256 bits as uint8 (32,): whether brightness rises from each cell of a 16x17 grid to its right neighbor.
    """
    gray = Image.fromarray(image).convert("L").resize((17, 16), Image.Resampling.BOX)
    return np.packbits(np.diff(np.asarray(gray, np.int16), axis=1) > 0)


def _duplicates(seen: dict[str, list[Seen]]) -> Iterator[Problem]:
    """Notes on images that are also in an earlier split."""
    earlier: list[Seen] = []
    for pairs in seen.values():
        names = {(side, digest): pair.name for pair in reversed(earlier) for side, digest in pair.digests.items()}
        copies = _copies(earlier, pairs)
        for pair in pairs:
            twins = {side: names.get((side, digest)) for side, digest in pair.digests.items()}
            exact = [f"{side} is the same image as in {name}" for side, name in twins.items() if name]
            if exact:
                yield Problem(pair.name, "in two splits", ", ".join(exact), broken=False)
            elif pair.name in copies:
                detail = f"looks like a copy of {copies[pair.name]}"
                yield Problem(pair.name, "nearly in two splits", detail, broken=False)
        earlier += pairs


def _copies(earlier: Sequence[Seen], pairs: Sequence[Seen]) -> dict[str, str]:
    """The names of the pairs that are nearly one of those earlier, and the names of those."""
    known, asked = ([pair for pair in some if pair.fingerprint is not None] for some in (earlier, pairs))
    if not known or not asked:
        return {}
    hashes, others = (np.array([pair.fingerprint for pair in some]) for some in (known, asked))
    found = Hashes(hashes, NEAR_DUPLICATE * hashes.shape[1] // 64).nearest(others)
    return {pair.name: known[i].name for pair, i in zip(asked, found, strict=True) if i is not None}
