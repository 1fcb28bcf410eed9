"""Training batches: both sides are cropped together, differently in every epoch.

Every random choice depends only on (seed, epoch, position), so a run that resumes at any step sees the same batches as
an uninterrupted one.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib import quiet
from p2plib.data.ahead import ahead
from p2plib.data.dataset import Dataset
from p2plib.data.decoded import Decoded, Sides
from p2plib.data.draws import below, shuffled, uniform
from p2plib.data.image import to_float, window
from p2plib.data.kind import ImageKind
from p2plib.data.shards import is_address
from p2plib.errors import DataError

if TYPE_CHECKING:
    from p2plib.config import TrainConfig

AHEAD = 2
"""Batches that threads prepare while the networks compute."""
FAR = 32
"""Pairs that threads fetch at a time from an object store, since each waits for the network."""
GRID = 4
"""Random displacements along each side of an image that is warped: so few that nothing folds, up to 0.1 of the side."""


class Batches:
    """The training pairs of a data set, as an infinite sequence of shuffled batches, changed at random.

    With `load` "crop", pairs are kept or read at their own size, which may differ, and give one random window in each
    epoch. Pairs that are too small for it are enlarged.

    Args:
        dataset: its split `train` is used.
        config: sizes, batch size, augmentation, seed and memory budget.
        share: which of several machines this is, from 0, and how many there are: each gets its rows of every batch.

    Attributes:
        count: number of pairs.
        left_out: the problems of the pairs that are not used: broken, or useless for the task.
        pairs: the pairs, decoded.
        target_channels: channels of the images to generate; of 8-bit images, 1 if all targets are gray, else 3; of
            class masks None.
        size: pairs in a batch here: of the configuration's `batch_size`, one of the `accumulate` parts, and of this the
            share.
        steps_per_epoch: such batches in an epoch. Pairs that do not fill a last whole batch are left out of the epoch;
            each epoch leaves out different ones.

    Raises:
        DataError: pairs are broken, there are fewer than in one batch, or targets have colors that a gray model cannot
            learn.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, share: tuple[int, int] = (0, 1)) -> None:
        self.config, self.share = config, share
        self.task = dataset.task
        self.errors: list[DataError] = []
        self.kinds = dataset.kinds
        watch_colors = not dataset.task.keeps_lightness and dataset.target.plain
        self.pairs = Decoded(dataset["train"], config, watch_colors)
        # Which sides are label maps, whose colors are not to be mixed.
        self.labels = [bool(config.warp and dataset.classes(side)) for side in ("source", "target")]
        self.left_out = list(self.pairs.split.left_out)
        self.count = len(self.pairs)
        plain = dataset.target.plain
        found = None if dataset.target.are_classes else 1 if self.pairs.gray else dataset.target.channels
        self.target_channels = config.target_channels or found
        if plain and self.target_channels == 1 and not self.pairs.gray:
            raise DataError(
                f"{dataset.data}: target_channels is 1, but there are colors in {dataset.target.name}; leave "
                "target_channels out, or make these images gray."
            )
        self.pairs.gray = plain and self.target_channels == 1
        self.size = config.batch_size // config.accumulate // share[1]
        self.steps_per_epoch = self.count // config.batch_size * config.accumulate
        if not self.steps_per_epoch:
            raise DataError(
                f"{dataset.data}: {self.count} training pairs do not fill a batch of {config.batch_size}; "
                "lower batch_size or add pairs."
            )

    @property
    def in_memory(self) -> bool:
        """Whether the decoded pairs are kept in memory."""
        return self.pairs.in_memory

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Use batches in this context: it raises the original `DataError`, not TensorFlow's error around it."""
        try:
            yield
        except Exception:
            if self.errors:
                raise self.errors[0] from None
            raise

    def start(self, epoch: int = 0, step: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches from a given epoch and step on, without end.

        Args:
            epoch: counted from 0.
            step: within the epoch, counted from 0.

        Returns:
            (source, target), each float32 (size, H, W, C) in [-1, 1].
        """
        size, waiting, threads = self.size, AHEAD * self.size, os.cpu_count()
        if is_address(self.config.data):
            waiting, threads = max(waiting, FAR), FAR
        pairs = ahead(lambda place: self._pair(*place), self._places(epoch, step), waiting, threads)
        while True:
            sources, targets = zip(*(pair for _, pair in itertools.islice(pairs, size)), strict=True)
            yield np.stack(sources), np.stack(targets)

    def feed(self, epoch: int = 0, step: int = 0) -> Any:
        """The same for `fit`: as it is, or, on TensorFlow, as a `tf.data.Dataset` whose shapes are known."""
        if quiet.load("keras").backend.backend() != "tensorflow":
            return self.start(epoch, step)
        tf = quiet.load("tensorflow")
        shapes = [(self.size, *self.config.shape, kind.network_channels) for kind in self.kinds]
        signature = tuple(tf.TensorSpec(shape, tf.float32) for shape in shapes)
        dataset = tf.data.Dataset.from_generator(lambda: self.start(epoch, step), output_signature=signature)
        return dataset.prefetch(tf.data.AUTOTUNE)

    def _places(self, epoch: int, step: int) -> Iterator[tuple[int, int]]:
        """Each pair to show: its index, and the number that seeds what is random about it."""
        for now in itertools.count(epoch):
            (mine, machines), begin = self.share, step if now == epoch else 0
            order = shuffled((self.config.seed, now), self.count)
            for batch in range(begin, self.steps_per_epoch):
                start = (batch * machines + mine) * self.size
                for position in range(start, start + self.size):
                    yield int(order[position]), now * self.count + position

    def _pair(self, index: int, draw: int) -> Sides:
        """Source and target of a pair as the networks see them, changed at random."""
        source, target = self._augment(self._warp(self._load(index, draw), draw), draw)
        return _seen(source, self.kinds[0]), _seen(target, self.kinds[1])

    def _load(self, index: int, draw: int) -> Sides:
        """Both sides of a pair at load size; with `load` "crop", a random window of them."""
        try:
            source, target = self.pairs[index]
        except DataError as error:  # TensorFlow would hide it in an error of its own
            self.errors.append(error)
            raise
        if self.config.load != "crop":
            return source, target
        shape, where = self.config.load_shape, uniform((self.config.seed, draw), [2])
        return window(source, shape, where), window(target, shape, where)

    def _augment(self, sides: Sides, draw: int) -> Sides:
        """Jitter and flip both sides in the same way, then redraw the source; `draw` seeds the random choice."""
        (height, width), (tall, wide) = self.config.shape, self.config.load_shape
        if self.config.augment == "none":
            return sides
        top = left = 0
        if tall > height:
            top, left = below((self.config.seed, draw), (tall - height + 1, wide - width + 1))
        step = -1 if self.config.augment == "jitter_flip" and uniform((self.config.seed + 1, draw)) < 0.5 else 1
        source, target = (side[top : top + height, left : left + width][:, ::step] for side in sides)
        return self._redraw((source, target), draw) if self.task.redraws else (source, target)

    def _warp(self, sides: Sides, draw: int) -> Sides:
        """Bend both sides by one smooth random field; labels take the nearest pixel's color, so none is new.

        Elastic distortions (Simard et al. 2003, section 2), with a field that is coarse instead of blurred.
        """
        if not self.config.warp:
            return sides
        shape = self.config.load_shape
        down, across = (_smoothing(GRID, side) for side in shape)
        coarse = uniform((self.config.seed + 2, draw), (GRID, GRID, 2), -1, 1)
        field = np.einsum("hi,ijk,wj->hwk", down, coarse, across)  # weighted means: within [-1, 1]
        places = np.stack(np.meshgrid(*(np.arange(side, dtype=np.float32) for side in shape), indexing="ij"), -1)
        places = np.abs(places + field * np.float32(self.config.warp * min(shape)))
        last = np.array(shape, np.float32) - 1
        places = last - np.abs(last - places)  # what lies beyond the border is mirrored
        source, target = (_sample(side, places, labels) for side, labels in zip(sides, self.labels, strict=True))
        return source, target

    def _redraw(self, sides: Sides, draw: int) -> Sides:
        """Let the task vary the source; the target stays the same."""
        source, target = sides
        return self.task.redraw(source, (self.config.seed, draw)), target


def _seen(kept: np.ndarray, kind: ImageKind) -> np.ndarray:
    """One side as it is kept, (H, W, C), as the networks see it: float32 in [-1, 1]."""
    if kind.are_classes:
        places = np.arange(len(kind.classes), dtype=kept.dtype)
        return np.where(kept == places, np.float32(1), np.float32(-1))
    return to_float(kept) if kept.dtype == np.uint8 else kept


def _smoothing(coarse: int, fine: int) -> np.ndarray:
    """Weights (fine, coarse) that enlarge values smoothly: those of a Gaussian, cut off and normalized.

    As in TensorFlow's `resize` with the method "gaussian": a standard deviation of half a cell, cut at one and a half.
    """
    centers = (np.arange(fine, dtype=np.float32)[:, None] + 0.5) * np.float32(coarse / fine)
    apart = np.abs(np.arange(coarse, dtype=np.float32) + np.float32(0.5) - centers)
    weights = np.where(apart < 1.5, np.exp(-2 * apart**2), 0).astype(np.float32)
    return weights / weights.sum(1, keepdims=True)


def _sample(image: np.ndarray, places: np.ndarray, nearest: bool) -> np.ndarray:
    """The values of an image (H, W, C) at places (H, W, 2) inside of it, row and column: nearest or bilinear."""
    if nearest:
        rows, columns = np.moveaxis(np.rint(places).astype(int), -1, 0)
        return image[rows, columns]
    low = np.floor(places)
    part, high = places - low, np.ceil(places)
    total = np.zeros(image.shape, np.float32)
    for row, down in ((low, 1 - part[..., :1]), (high, part[..., :1])):
        for column, right in ((low, 1 - part[..., 1:]), (high, part[..., 1:])):
            total += down * right * image[row[..., 0].astype(int), column[..., 1].astype(int)]
    return np.rint(total).astype(np.uint8) if image.dtype == np.uint8 else total
