"""`Dataset`: one opened data set, with task, direction, names and splits resolved from the configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from p2plib.data import statistics
from p2plib.data.catalog import Direction, Entry, entry_of
from p2plib.data.formats import OUTSIDE
from p2plib.data.image import Color, Shape, enlarge_image, resize_image, sides, window
from p2plib.data.kind import ImageKind, Kinds
from p2plib.data.measure import measured
from p2plib.data.pairs import Listing, Pair, Some, spread
from p2plib.data.problems import NAMED, PairError, Problem, refuse_broken, say_left_out
from p2plib.data.tasks.base import Task, own_folder
from p2plib.errors import DataError
from p2plib.registry import TASKS

if TYPE_CHECKING:
    from p2plib.config import TrainConfig

HELD_OUT = 0.1
"""Share of the training pairs that is kept for validation when a data set has no split of that name."""
PALETTE_FROM = 40
"""How many images of a split, evenly spaced, are searched for the colors of label classes."""


class Loaded(NamedTuple):
    """Decoded pairs of a split."""

    sources: np.ndarray
    """Stored values (N, H, W, C); what they are says the data set's `source`."""
    targets: np.ndarray
    """The same for its `target`."""
    names: list[str]
    """The N pairs' names."""
    left_out: list[Problem]
    """Why other pairs are missing: broken, or of no use to the task."""


@dataclass(frozen=True)
class Split:
    """The pairs of one split, with the source first.

    Attributes:
        pairs: the pairs, as A and B.
        direction: which side is the source.
        shape: height and width in pixels that pairs are brought to.
        kinds: what sources and targets are.
        skip_broken: leave broken pairs out, instead of raising an error that names them.
        left_out: the files that form no pair, and the pairs that turned out to be broken or useless for the task.
        crop: pairs come to their size by a crop of the center at their own scale, and are not resized as a whole.
    """

    pairs: Sequence[Pair]
    direction: Direction
    shape: Shape
    kinds: Kinds
    skip_broken: bool = False
    left_out: tuple[Problem, ...] = ()
    crop: bool = False

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self.pairs)

    @property
    def names(self) -> list[str]:
        """The name of every pair, unique in the data set."""
        return [pair.name for pair in self.pairs]

    def name(self, i: int) -> str:
        """The name of pair `i`."""
        return self.pairs[i].name

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target of pair `i` at their own size: stored values (H, W, C) each.

        Raises:
            PairError: the pair cannot be used; the message says why.
        """
        return self.sides(self.pairs[i])

    def resized(self, i: int, size: int | Shape | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Source and target of pair `i` at one size: stored values (H, W, C) each. Raises as `read`.

        They are resized without a crop or, with `crop`, cut out of the center as they are.
        """
        return self.resize(self.pairs[i], size or self.shape)

    def spread(self, count: int) -> Split:
        """At most `count` of the pairs, evenly spaced from the first to the last (0: all)."""
        return replace(self, pairs=spread(self.pairs, count))

    def load(self, limit: int = 0, size: int | Shape | None = None) -> Loaded:
        """Decode pairs and bring them to one size as `resized` does, without augmentation.

        Args:
            limit: at most this many, evenly spaced over the split; 0 means all.
            size: height and width in pixels, or one number for both; None means that of the data set.

        Raises:
            DataError: pairs are broken and `skip_broken` is off, or none can be used; the message names them.
        """
        pairs, used = self.spread(limit).usable(lambda pair: self.resize(pair, size or self.shape))
        sources, targets = (np.stack(side) for side in zip(*pairs, strict=True))
        return Loaded(sources, targets, used.names, list(used.left_out))

    def readable(self) -> Split:
        """Those of the pairs that can be used: each is read once, and none is kept in memory. Raises as `load`.

        If it takes more than a second, a progress bar is shown on stderr, where that is a terminal.
        """
        return self.usable(lambda pair: bool(self.sides(pair)), progress=True)[1]

    def originals(self, limit: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
        """Source and target of at most `limit` pairs, evenly spaced (0: all), at their own size. Raises as `load`."""
        return self.spread(limit).usable(self.sides)[0]

    def usable(self, read: Callable[[Pair], Any], progress: bool = False) -> tuple[list[Any], Split]:
        """Call `read` on every pair, in threads; with `progress`, behind a bar.

        Returns:
            The results for the pairs that can be used, and a split of these pairs.

        Raises:
            DataError: as `load`.
        """

        def attempt(pair: Pair) -> Any:
            try:
                return read(pair)
            except PairError as error:
                return error.problem

        with ThreadPoolExecutor() as pool:
            done, off = pool.map(attempt, self.pairs), None if progress else True
            results = list(tqdm(done, "reading", len(self), leave=False, unit="pair", delay=1, disable=off))
        good = [
            (result, pair) for result, pair in zip(results, self.pairs, strict=True) if not isinstance(result, Problem)
        ]
        unused = [result for result in results if isinstance(result, Problem)]
        refuse_broken(unused, self.skip_broken)
        left_out = (*self.left_out, *unused)
        if not good:
            raise DataError("No pair can be used; " + say_left_out(left_out, NAMED))
        return [result for result, _ in good], replace(self, pairs=[pair for _, pair in good], left_out=left_out)

    def sides(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        """Source and target of a pair. Raises as `read`."""
        source, target = self.kinds
        if self.direction == "AtoB":
            return pair.read((source, target))
        b, a = pair.read((target, source))
        return a, b

    def resize(self, pair: Pair, size: int | Shape) -> tuple[np.ndarray, np.ndarray]:
        """Read one pair and bring it to a size: see `resized`."""
        if self.crop:
            source, target = self.whole(pair, size)[0]
            return window(source, size), window(target, size)
        source, target = (
            resize_image(image, *sides(size), kind.are_classes)
            for image, kind in zip(self.sides(pair), self.kinds, strict=True)
        )
        return source, target

    def whole(self, pair: Pair, size: int | Shape) -> tuple[tuple[np.ndarray, np.ndarray], bool]:
        """Read one pair to cut windows of this size out of it.

        Both sides have one size here as everywhere: a pair whose sides differ is broken, and never made to fit.

        Returns:
            Source and target at their own scale; whether they had to be enlarged for the window to fit.

        Raises:
            PairError: as `read`.
        """
        source, target = self.sides(pair)
        small = any(length < side for length, side in zip(source.shape[:2], sides(size), strict=True))
        masks = [kind.are_classes for kind in self.kinds]
        return (enlarge_image(source, size, masks[0]), enlarge_image(target, size, masks[1])), small


@dataclass(frozen=True)
class Dataset:
    """An opened data set; `dataset["train"]` is a split.

    Attributes:
        data: a name from the catalog, or a folder.
        entry: its entry in the catalog, if it has one.
        task: what is learned from it.
        direction: which side is the source: AtoB or BtoA.
        source: what the sources are: name, classes, channels, type and range of their values.
        target: what the targets are.
        shape: height and width in pixels that pairs are brought to.
        listing: its pairs by split.
        held_out: the seed that chooses a tenth of `train` for validation; None if there is a split `val`.
        skip_broken: leave broken pairs out, instead of raising an error that names them.
        crop: see `Split`.
        chosen: the names of the pairs of splits, where a run has fixed them (see `record`).
    """

    data: str
    entry: Entry | None
    task: Task
    direction: Direction
    source: ImageKind
    target: ImageKind
    shape: Shape
    listing: Listing
    held_out: int | None
    skip_broken: bool = False
    crop: bool = False
    chosen: Mapping[str, frozenset[str]] | None = None

    @property
    def kinds(self) -> Kinds:
        """What sources and targets are."""
        return self.source, self.target

    @property
    def names(self) -> tuple[str, str]:
        """The names of source and target, for example ("satellite", "map")."""
        return self.source.name, self.target.name

    @property
    def notes(self) -> list[str]:
        """What was guessed about the files, and which images are not used; one sentence each."""
        outside = [f"{count} {label}" for label, count in self.listing.ignored.items() if label.startswith(OUTSIDE)]
        unused = f"Not used: {', '.join(outside)}." if outside and not self.entry else ""
        return [*self.listing.notes, *([unused] if unused else [])]

    @property
    def splits(self) -> list[str]:
        """The names of the splits in the order train, val, test, including a held-out `val`."""
        have = [*self.listing.splits, *(["val"] if self.held_out is not None else [])]
        return sorted(have, key=["train", "val", "test"].index)

    def __getitem__(self, name: str) -> Split:
        """The split `name`.

        Without a `val` split, a tenth of the `train` pairs, at least one, is held out for validation. The seed chooses
        them, and they are not in `train` then.

        Raises:
            DataError: there is no such split, or files in it form no pair and `skip_broken` is off.
        """
        chosen = (self.chosen or {}).get(name)
        divided = self.held_out is not None and name in ("train", "val")
        where = "train" if divided else name
        if where not in self.listing.splits:
            raise DataError(f"{self.data}: there is no split {name!r}; it has {', '.join(self.listing.splits)}.")
        unpaired = self.listing.unpaired.get(where, [])
        refuse_broken(unpaired, self.skip_broken)
        pairs = self.listing.splits[where]
        if chosen is not None:
            pairs = [pair for found in self.listing.splits.values() for pair in found if pair.name in chosen]
        elif divided:
            pairs = self._divide(pairs, name)
        broken = tuple(problem for problem in unpaired if problem.broken)
        return Split(pairs, self.direction, self.shape, self.kinds, self.skip_broken, broken, self.crop)

    def classes(self, side: Literal["source", "target"], split: str = "train") -> dict[str, Color] | None:
        """The classes of the sources or targets; None if these are not labels.

        They are part of the catalog. For other folders, they are found in the images.

        Raises:
            DataError: the split cannot be used.
        """
        kind = self.source if side == "source" else self.target
        if self.entry or self.task.from_photos or not kind.plain:
            return dict(kind.classes) or None
        originals = self[split].originals(PALETTE_FROM)
        return statistics.label_palette([pair[side == "target"] for pair in originals])

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the names and file sizes of all pairs in the training and validation splits; of a pack, its own.

        A copy of the data set in another folder has the same fingerprint.
        """
        digest = hashlib.sha256(f"{self.task.name} {self.direction}".encode())
        if self.listing.fingerprint:
            digest.update(f"{self.listing.fingerprint} {self.held_out}".encode())
            return digest.hexdigest()[:16]
        for split in ("train", "val"):
            for pair in self[split].pairs:
                sizes = [path.stat().st_size if path.exists() else None for path in pair.files.values()]
                digest.update(repr((split, pair.name, sizes)).encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    def _divide(self, pairs: Sequence[Pair], name: str) -> Sequence[Pair]:
        """The pairs of `train` that are held out if `name` is "val", and the others if it is "train"."""
        if len(pairs) < 2:
            raise DataError(f"{self.data}: one pair is too few to train and validate on; add pairs.")
        return Some(pairs, _held_out(self.held_out, len(pairs))[name == "train"])


def open_dataset(config: TrainConfig, kinds: Kinds | None = None) -> Dataset:
    """Open the data set of a configuration. Its files are listed once.

    Only what is not 8-bit RGB is also read, to find the range of its values.

    Args:
        config: the fields `data`, `sources`, `task`, `direction`, `image_size`, `load`, `seed` and `skip_broken` are
            used, and those on classes, channels and ranges.
        kinds: what sources and targets are, if that is decided, as for a trained model; None: found in the images.

    Raises:
        DataError: the data set does not exist, is not downloaded yet, has no images or two layouts, or does not suit
            the task.
        ConfigError: the task does not have this direction.
    """
    task = TASKS[config.task]()
    entry = entry_of(config.data)
    crop = config.load == "crop"  # then photos must not be shrunk
    listing = task.list(config.data, None if crop else 2 * max(config.shape), config.sources)
    direction = direction_of(config)
    a, b = task.sides(entry)
    if listing.kinds:  # a pack knows the names, and the classes that the catalog had
        a, b = (ImageKind(kind.name, kind.classes if kind.plain else {}) for kind in listing.kinds[0])
    named = (a, b) if direction == "AtoB" else (b, a)
    folder = own_folder(config.data)
    source, target = kinds or (named if task.from_photos else measured(named, listing, direction, config, folder))
    held_out = None if "val" in listing.splits or "train" not in listing.splits else config.seed
    shape, skip = config.shape, config.skip_broken
    return Dataset(config.data, entry, task, direction, source, target, shape, listing, held_out, skip, crop)


def direction_of(config: TrainConfig) -> Direction:
    """The direction that a configuration comes to; its data need not be there."""
    return TASKS[config.task]().direction(config.direction, entry_of(config.data))


@lru_cache(maxsize=1)
def _held_out(seed: int | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the pairs that are held out, and of the others."""
    order, cut = np.random.default_rng(seed).permutation(count), max(1, int(HELD_OUT * count))
    return np.sort(order[:cut]), np.sort(order[cut:])
