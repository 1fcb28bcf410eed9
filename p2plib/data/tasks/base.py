"""Base classes of tasks, and pairs that are made of single photos.

A photo task takes any folder of photos. The photos at any depth of `train/`, `val/` and `test/` form these splits. If
none of these folders holds photos, all photos at any depth form the split `train`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from p2plib.data import shards
from p2plib.data.catalog import CATALOG, Direction, Entry, entry_of
from p2plib.data.download import dataset_dir
from p2plib.data.formats import READABLE, count_others, files_below, is_image
from p2plib.data.image import resize_image
from p2plib.data.kind import ImageKind, Kinds
from p2plib.data.layout import SPLITS, split_named
from p2plib.data.pairs import Listing, MadePair, Pair, unusable
from p2plib.data.problems import PairError, Problem
from p2plib.data.reading import read_or_refuse
from p2plib.errors import ConfigError, DataError
from p2plib.files import readable, user_path

TOY = "toy"
"""The data set for which every task makes pairs of its own."""
Maker = Callable[[int, int], tuple[np.ndarray, np.ndarray]]
"""From the index and the size of a pair to A and B, (size, size, C) each."""
CHOICE_SEED = 0
"""Seed that divides the photos of a catalog data set into splits: fixed, so that no run tests what another trained."""


class Task(ABC):
    """What is learned. A subclass is registered in `registry.TASKS` and overrides what it needs.

    Attributes:
        name: as in `registry.TASKS`.
        from_photos: pairs are made of single photos.
        keeps_lightness: the network only chooses colors; the lightness of a source is kept. A large source is then
            translated at once, not in tiles.
        metrics: additional metrics of the task (names in `registry.METRICS`).
        validation_metrics: those of them that are also computed after every epoch.
        redraws: `redraw` varies the sources in training.
    """

    name: ClassVar[str]
    from_photos: ClassVar[bool] = False
    keeps_lightness: ClassVar[bool] = False
    metrics: ClassVar[tuple[str, ...]] = ()
    validation_metrics: ClassVar[tuple[str, ...]] = ()
    redraws: ClassVar[bool] = False

    @property
    def noun(self) -> str:
        """The unit of its data sets in messages: "photos" or "pairs"."""
        return "photos" if self.from_photos else "pairs"

    def list(self, data: str | Path, size: int | None = None, sources: Sequence[str] = ()) -> Listing:
        """Find the pairs of a data set, in one pass over its files.

        Args:
            data: a name from the catalog, or a folder. A name wins over a folder of that name in the current
                directory: write "./maps" for the folder. A `Path` is always a folder.
            size: largest side in pixels that is needed. Images may still be larger. None means full size.
            sources: the names of folders that are stacked as the source, for tasks that take pairs.

        Raises:
            DataError: the data set does not exist, is not downloaded yet, has no images, or does not suit the task.
        """
        entry = entry_of(data)
        self.check(entry)
        if entry and entry.make:
            return made_listing(entry, self.maker(entry.make), size)
        if shards.is_pack(data):
            pack = shards.open_pack(data)
            if pack.noun != self.noun:
                raise DataError(f"{data}: holds {pack.noun}, and the task {self.name} takes {self.noun}.")
            if sources and tuple(sources) != pack.sources:
                packed = ", ".join(pack.sources) or "one source"
                raise DataError(f"{data}: was packed with {packed}; leave sources out, or pack it again with them.")
            return pack.listing(lambda name, files: self.pair(name, files, size))
        return self.list_folder(folder_of(data), entry, size, sources)

    @abstractmethod
    def pair(self, name: str, files: Mapping[str, Path], size: int | None) -> Pair:
        """A pair of its files by their content, see `Pair.files`; `size` as for `list`."""

    @abstractmethod
    def list_folder(self, root: Path, entry: Entry | None, size: int | None, sources: Sequence[str]) -> Listing:
        """As `list`, for the folder of a data set."""

    def maker(self, make: Maker) -> Maker:
        """What makes the pairs of a data set that is not on disk, where its catalog entry has `make`."""
        return make

    @abstractmethod
    def check(self, entry: Entry | None) -> None:
        """Raise a DataError if an entry of the catalog does not suit the task. None, for a folder, always does."""

    @abstractmethod
    def direction(self, asked: str, entry: Entry | None) -> Direction:
        """Resolve the direction, which says which side is the source.

        Args:
            asked: the one in the configuration: AtoB, BtoA or auto.
            entry: the data set's entry in the catalog, if it has one.

        Raises:
            ConfigError: the task does not have this direction.
        """

    @abstractmethod
    def sides(self, entry: Entry | None) -> tuple[ImageKind, ImageKind]:
        """Names and classes of A and B, for a data set with this entry in the catalog, or a folder (None)."""

    @abstractmethod
    def example(self, index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """A pair of the toy data set: A and B, uint8 (size, size, 3) each."""

    def redraw(self, source: np.ndarray, seed: Sequence[int]) -> np.ndarray:
        """Vary a source in training; as it is, unless the task `redraws`.

        Args:
            source: uint8 (H, W, 3).
            seed: the same seed gives the same result.

        Returns:
            uint8 (H, W, 3).
        """
        return source

    def finish(self, generated: np.ndarray, source: np.ndarray, target: ImageKind) -> np.ndarray:
        """Turn the network's output for a resized source into an image of the source's own size.

        Args:
            generated: float (S, S, C) in [-1, 1].
            source: (H, W, C), at its own size.
            target: what the result is.

        Returns:
            Stored values (H, W, C).
        """
        height, width = source.shape[:2]
        return resize_image(target.to_values(generated), height, width, target.are_classes)


class PhotoTask(Task):
    """A task that makes each pair of one photo, by `make_pair`."""

    from_photos = True
    names: ClassVar[tuple[str, str]]
    """The names of source and target."""
    shrinks_first: ClassVar[bool] = False
    """Whether `make_pair` shrinks a photo before all else, so that one shrunk earlier gives the same pair."""

    @abstractmethod
    def make_pair(
        self, photo: np.ndarray, path: Path | None = None, side: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Source and target of a photo.

        Args:
            photo: uint8 (H, W, 3), at the size of its file.
            path: the file, if there is one.
            side: shrink both until the shorter side has this many pixels, which saves time. None: keep the size.

        Returns:
            uint8 (H, W, 3) each.
        """

    def example_photo(self, index: int, size: int) -> np.ndarray:
        """A procedural photo to try the task with, uint8 (size, size, 3). Raises DataError if it has none."""
        raise DataError(f"The task {self.name} has no toy photos; name a folder of photos.")

    def fault(self, photo: np.ndarray) -> tuple[str, str] | None:
        """Why a photo is useless for the task: kind and detail of a `Problem`. None if it can be used."""
        return None

    def pair(self, name: str, files: Mapping[str, Path], size: int | None) -> Pair:
        """See `Task.pair`."""
        return PhotoPair(name, files["photo"], self, size)

    def list_folder(self, root: Path, entry: Entry | None, size: int | None, sources: Sequence[str]) -> Listing:
        """See `Task.list_folder`."""
        files = files_below(root)
        useless = {path: problem for path in files if (problem := unusable(path, root))}
        found = _splits(root, [path for path in files if path in useless or is_image(path, root)], entry)
        photos = {split: [path for path in paths if path not in useless] for split, paths in found.items()}
        used = {path for paths in photos.values() for path in paths}
        unpaired = {split: [useless[path] for path in paths if path in useless] for split, paths in found.items()}
        unpaired = {split: problems for split, problems in unpaired.items() if problems}
        splits: dict[str, list[Pair]] = {
            split: [PhotoPair(readable(path.relative_to(root).as_posix()), path, self, size) for path in paths]
            for split, paths in photos.items()
        }
        return Listing(splits, unpaired, count_others(root, files, used))

    def maker(self, make: Maker) -> Maker:
        """The task's own examples: of such data sets, `check` lets only the toy pass."""
        return self.example

    def check(self, entry: Entry | None) -> None:
        """See `Task.check`."""
        if entry and not entry.photos and entry.name != TOY:
            raise DataError(
                f"{entry.name} holds pairs, not photos; for {self.name}, name coco-sample, toy, or a folder of photos."
            )

    def direction(self, asked: str, entry: Entry | None) -> Direction:
        """Always AtoB."""
        if asked == "BtoA":
            raise ConfigError(f"direction is 'BtoA', and task {self.name} knows only one; leave direction out.")
        return "AtoB"

    def sides(self, entry: Entry | None) -> tuple[ImageKind, ImageKind]:
        """See `Task.sides`."""
        source, target = self.names
        return ImageKind(source), ImageKind(target)

    def example(self, index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Task.example`."""
        return self.make_pair(self.example_photo(index, size))


@dataclass(frozen=True)
class PhotoPair:
    """A pair that is made of one photo.

    Attributes:
        name: relative to the data set's folder, "train/12.jpg".
        path: the photo's file.
        task: makes the pair.
        size: larger photos are shrunk until the shorter side has this many pixels, which saves time. None: never.
    """

    name: str
    path: Path
    task: PhotoTask
    size: int | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The file, as "photo"."""
        return {"photo": self.path}

    def read(self, kinds: Kinds | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Source and target: uint8 (H, W, 3) each. Raises PairError if the photo cannot be read or used."""
        return self.task.make_pair(self._photo(), self.path, self.size)

    def views(self, kinds: Kinds | None = None) -> dict[str, np.ndarray]:
        """The photo alone. Raises PairError as `read`."""
        return {"photo": self._photo()}

    def _photo(self) -> np.ndarray:
        photo, _ = read_or_refuse(self.path, self.name)
        if fault := self.task.fault(photo):
            raise PairError(Problem(self.name, *fault, broken=False))
        return photo


def made_listing(entry: Entry, make: Maker, size: int | None) -> Listing:
    """List the pairs of a data set that a function makes. No two splits share an index.

    Args:
        entry: the data set.
        make: `make(index, size)` returns A and B.
        size: largest side in pixels that is needed; None means that of the entry.
    """
    side = min(entry.size[0], size or entry.size[0])
    splits: dict[str, list[Pair]] = {}
    start = 0
    for split in SPLITS:
        if count := entry.splits.get(split, 0):
            splits[split] = [MadePair(f"{split}/{i}", start + i, side, make) for i in range(count)]
        start += count
    return Listing(splits)


def folder_of(data: str | Path) -> Path:
    """The folder of a data set: a downloaded one of the catalog, or any other folder.

    Raises:
        DataError: it does not exist; the message says what to do.
    """
    if entry := entry_of(data):
        root = dataset_dir(entry.name)
        if not root.is_dir():
            hint = f", or write ./{data} for the folder" if Path(data).is_dir() else ""
            raise DataError(f"{data}: not downloaded yet; run `python -m p2plib data get {data}`{hint}.")
        return root
    root = user_path(data)
    if not root.is_dir():
        raise DataError(f"{data}: neither a folder nor a data set of the catalog ({', '.join(CATALOG)}).")
    return root


def own_folder(data: str | Path) -> Path | None:
    """As `folder_of`; None if a function makes the data set, or it is a pack."""
    entry = entry_of(data)
    return None if (entry and entry.make) or shards.is_pack(data) else folder_of(data)


def _splits(root: Path, photos: list[Path], entry: Entry | None) -> dict[str, list[Path]]:
    """The photos of each split."""
    if entry:
        return _chosen(entry, photos)
    where = {path: split_named(path.relative_to(root).parts[0]) if path.parent != root else None for path in photos}
    found = {split: [path for path in photos if where[path] == split] for split in SPLITS}
    found = {split: paths for split, paths in found.items() if paths} or {"train": photos}
    if not photos:
        raise DataError(f"{root}: no photos found ({READABLE}).")
    return found


def _chosen(entry: Entry, photos: list[Path]) -> dict[str, list[Path]]:
    """Choose as many photos for each split as the catalog says. The others are not used."""
    wanted = sum(entry.splits.values())
    if len(photos) < wanted:
        raise DataError(
            f"{entry.name}: {len(photos)} photos are here, and its splits need {wanted}; run `python -m p2plib data "
            f"get {entry.name} --force`."
        )
    order = iter(np.random.default_rng(CHOICE_SEED).permutation(len(photos)))
    return {split: [photos[i] for i in sorted(next(order) for _ in range(n))] for split, n in entry.splits.items()}
