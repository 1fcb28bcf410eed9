"""Pairs from plain photos: the one place that knows where the pairs of each task come from.

`pairs` is the task whose pairs a folder holds, as `p2plib.data.pairs` reads them. The other tasks make them of photos:

    colorize    the photo in gray, of the same lightness | the photo
    sketch      a sketch of the photo | the photo

Any folder of photos will do. Those at any depth of `train/`, `val/` and `test/` are these splits; where no such folder
holds photos, all photos at any depth are the split `train`.

A photo without colors teaches a colorizer to paint gray, and its score says nothing: it is left out of every split,
with a note and not as an error.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2plib.data import Task, color, pairs, sketch, toy
from p2plib.data.catalog import CATALOG, Dataset
from p2plib.data.image import IMAGE_SUFFIXES, image_files, read_rgb, resize_image
from p2plib.data.pairs import Pair, PairError, Problem
from p2plib.data.vase import vase
from p2plib.errors import DataError

NAMES: dict[Task, tuple[str, str]] = {"colorize": ("gray", "color"), "sketch": ("sketch", "photo")}
"""What source and target of the tasks are called whose pairs are made of photos."""
CHOICE_SEED = 0
"""Which photos of a catalog's set are in which split: the same for all runs, or one would test what another trained."""


@dataclass(frozen=True)
class PhotoPair:
    """A pair that is made of one photo.

    Attributes:
        name: relative to the data set's folder, "train/12.jpg".
        path: the photo.
        task: what it is made for.
        size: a larger photo is shrunk until its shorter side is so long (None: never), which saves time.
    """

    name: str
    path: Path
    task: Task
    size: int | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The file, by what it holds."""
        return {"photo": self.path}

    def photo(self) -> np.ndarray:
        """The photo: uint8 (H, W, 3).

        Raises:
            PairError: it is unreadable or, for `colorize`, gray.
        """
        return self._shrunk(self._decoded())

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Source and target: uint8 (H, W, 3) each. Raises PairError as `photo`."""
        image = self._decoded()
        photo = self._shrunk(image)
        if self.task == "colorize":
            return color.gray(photo), photo
        return self._shrunk(sketch.cached_sketch(self.path, image=image)), photo

    def _decoded(self) -> np.ndarray:
        try:
            image = read_rgb(self.path)
        except DataError as error:
            detail = str(error).removeprefix(f"{self.path}: ").rstrip(".")
            raise PairError(Problem(self.name, "unreadable", detail)) from error
        if self.task == "colorize" and color.is_gray(image):
            raise PairError(Problem(self.name, "grey", "has no colors to learn from; it is left out", broken=False))
        return image

    def _shrunk(self, image: np.ndarray) -> np.ndarray:
        scale = (self.size or np.inf) / min(image.shape[:2])
        height, width = (round(side * scale) if scale < 1 else side for side in image.shape[:2])
        return resize_image(image, height, width)


@dataclass(frozen=True)
class ToyPhoto:
    """A pair that is made of a procedural image: for `colorize` an aerial view, for `sketch` a photo of a vase."""

    name: str
    index: int
    size: int
    task: Task

    def photo(self) -> np.ndarray:
        """The photo: uint8 (size, size, 3)."""
        return toy.city(self.index, self.size)[0] if self.task == "colorize" else vase(self.index, self.size)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Source and target: uint8 (size, size, 3) each."""
        photo = self.photo()
        return (color.gray if self.task == "colorize" else sketch.sketch)(photo), photo


def splits(data: str | Path, task: Task = "pairs") -> list[str]:
    """The splits of a data set for a task, in the order train, val, test.

    Args:
        data: a name from the catalog, or a folder; see `pairs.splits`.
        task: `pairs`, or one that makes its pairs of photos.

    Raises:
        DataError: as `pairs.splits`; or the data set does not suit the task.
    """
    require(data, task)
    if task == "pairs" or data == "toy":
        return pairs.splits(data)
    return list(_files(data))


def find_pairs(data: str | Path, split: str, task: Task = "pairs") -> tuple[list[Pair], list[Problem]]:
    """Find the pairs of one split, without opening a file.

    Returns:
        The pairs, and what could not be paired, both as `pairs.find_pairs`.

    Raises:
        DataError: as `splits`; or there is no such split; or scikit-image, which sketches need, is not installed.
    """
    require(data, task)
    if task == "sketch":
        sketch.require()
    if task == "pairs":
        return pairs.find_pairs(data, split)
    if data == "toy":
        cities = [pair for pair in pairs.find_pairs(data, split)[0] if isinstance(pair, pairs.ToyPair)]
        return [toy_pair(city.name, city.index, city.size, task) for city in cities], []
    files, root = _files(data), pairs.folder_of(data)
    if split not in files:
        raise DataError(f"{data}: there is no split {split!r}; it has {', '.join(files)}.")
    return [PhotoPair(path.relative_to(root).as_posix(), path, task) for path in files[split]], []


def ignored(data: str | Path, task: Task = "pairs") -> Counter[str]:
    """Count the files in a data set's folder that belong to no split, by what they are ("hidden", ".txt", ...)."""
    if task == "pairs" or data == "toy":
        return pairs.ignored(data)
    return pairs.unused(pairs.folder_of(data), {path for found in _files(data).values() for path in found})


def require(data: str | Path, task: Task) -> None:
    """Refuse a data set of the catalog that does not suit a task.

    Raises:
        DataError: it holds photos and the task needs pairs, or the other way round.
    """
    if data not in CATALOG or data == "toy" or CATALOG[str(data)].photos == (task != "pairs"):
        return
    if task == "pairs":
        raise DataError(f"{data} holds photos, not pairs; add --task colorize or --task sketch.")
    raise DataError(f"{data} holds pairs, not photos; for {task}, name coco-sample, toy, or a folder of photos.")


def no_larger(pair: Pair, size: int) -> Pair:
    """The pair with images no larger than needed, where that saves time: drawn or shrunk to `size` pixels a side."""
    if isinstance(pair, pairs.ToyPair | ToyPhoto):
        return dataclasses.replace(pair, size=min(pair.size, size))
    return dataclasses.replace(pair, size=size) if isinstance(pair, PhotoPair) else pair


def toy_pair(name: str, index: int, size: int, task: Task) -> Pair:
    """Procedural image number `index` as a pair for a task."""
    return pairs.ToyPair(name, index, size) if task == "pairs" else ToyPhoto(name, index, size, task)


def _files(data: str | Path) -> dict[str, list[Path]]:
    """The photos of each split."""
    root = pairs.folder_of(data)
    if data in CATALOG:
        return _chosen(CATALOG[str(data)], image_files(root))
    found = {split: image_files(root / split) for split in pairs.SPLITS}
    found = {split: files for split, files in found.items() if files} or {"train": image_files(root)}
    if not any(found.values()):
        raise DataError(f"{root}: no photos found ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return found


def _chosen(dataset: Dataset, files: list[Path]) -> dict[str, list[Path]]:
    """As many photos for each split as the catalog says, chosen by seed; the others are not used."""
    wanted = sum(dataset.splits.values())
    if len(files) < wanted:
        raise DataError(
            f"{dataset.name}: {len(files)} photos are here, and its splits need {wanted}; run `python -m p2plib data "
            f"get {dataset.name} --force`."
        )
    order = iter(np.random.default_rng(CHOICE_SEED).permutation(len(files)))
    return {split: [files[i] for i in sorted(next(order) for _ in range(n))] for split, n in dataset.splits.items()}
