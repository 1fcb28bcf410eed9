"""What an evaluation keeps of its images, so that memory does not grow with them: numbers, features, a few images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from p2plib.data.dataset import Dataset, Loaded, Split
from p2plib.data.pairs import spread
from p2plib.evaluation import distances, metrics
from p2plib.inference.tiling import DELAY
from p2plib.models import features
from p2plib.registry import METRICS

CHUNK = 32
"""How many pairs are in memory at a time, besides those that are read meanwhile. It is a multiple of all batch sizes of
networks here, so that they see the same batches as if all pairs came at once."""


def in_chunks(split: Split) -> Iterator[Loaded]:
    """All pairs as `Split.load` gives them, `CHUNK` at a time; the next ones are read while these are used.

    If it takes more than a second, a progress bar is shown on stderr, where that is a terminal.

    Args:
        split: pairs that can be used, from `Split.readable`.
    """
    parts = [split.pairs[i : i + CHUNK] for i in range(0, len(split), CHUNK)]
    bar = tqdm(total=len(split), desc="evaluating", unit="image", leave=False, delay=DELAY, disable=None)
    with bar, ThreadPoolExecutor() as pool:

        def begin(i: int) -> list[Future[tuple[np.ndarray, np.ndarray]]]:
            return [pool.submit(split.resize, pair, split.shape) for part in parts[i : i + 1] for pair in part]

        coming = begin(0)
        for i, part in enumerate(parts):
            read, coming = [future.result() for future in coming], begin(i + 1)
            sources, targets = (np.stack(side) for side in zip(*read, strict=True))
            yield Loaded(sources, targets, [pair.name for pair in part], list(split.left_out))
            bar.update(len(part))


class Column:
    """An array of `count` rows, a few of which are added at a time; what they are is known from the first ones."""

    def __init__(self, count: int) -> None:
        self.count, self.filled, self.rows = count, 0, np.empty(0)

    def add(self, rows: np.ndarray) -> None:
        """Put rows (N, ...) behind those that are there."""
        if not self.filled:
            self.rows = np.empty((self.count, *rows.shape[1:]), rows.dtype)
        self.rows[self.filled : self.filled + len(rows)] = rows
        self.filled += len(rows)


class Tally:
    """Scores of generated images, a few of which are added at a time, so that there can be any number of them.

    Memory holds the scores, a few patches of each image, its features if there is an extractor, and some images.

    Args:
        dataset: where the pairs are from.
        count: how many there will be.
        colors: class colors if targets are labels.
        extractor: computes the features that distances need; None: there are none.
        keep: how many images are kept, evenly spaced (0: all).
    """

    def __init__(
        self,
        dataset: Dataset,
        count: int,
        colors: Mapping[str, Sequence[int]] | None,
        extractor: distances.Extractor | None,
        keep: int,
    ) -> None:
        self.dataset, self.colors, self.extractor = dataset, colors, extractor
        self.wanted = _wanted(dataset)
        self.count, self.names = count, list[str]()
        self.scores: dict[str, Column] = {}
        self.confusion = np.zeros((len(colors or ()),) * 2, np.int64)
        self.patches = distances.Patches(count, dataset.shape)
        self.colorfulness, self.features = self._columns(2, count), self._columns(2, count)
        self.positions = np.array(spread(range(count), keep))
        self.kept = self._columns(3, len(self.positions))

    def add(self, loaded: Loaded, generated: np.ndarray) -> None:
        """Score the next pairs, and what was generated from them: stored values (N, H, W, C)."""
        source, target = self.dataset.kinds
        scores = metrics.score(loaded.targets, generated, loaded.sources, self.wanted, self.dataset.kinds)
        sources, targets = source.preview(loaded.sources), target.preview(loaded.targets)
        generated = target.preview(generated)
        if self.colors:
            matrices = metrics.confusion(targets, generated, self.colors)
            scores["accuracy"] = matrices.trace(axis1=1, axis2=2) / matrices.sum((1, 2))
            self.confusion += matrices.sum(0)
        for name, values in scores.items():
            self.scores.setdefault(name, Column(self.count)).add(values)
        self.patches.add(targets, generated)
        for column, images in zip(self.colorfulness, (generated, targets), strict=True):
            if self.dataset.task.keeps_lightness:
                column.add(metrics.colorfulness(images))
        for column, images in zip(self.features, (targets, generated), strict=True):
            if self.extractor:
                column.add(self.extractor(images))
        begin, end = len(self.names), len(self.names) + len(targets)
        here = self.positions[(self.positions >= begin) & (self.positions < end)] - begin
        for column, images in zip(self.kept, (sources, generated, targets), strict=True):
            column.add(images[here])
        self.names += loaded.names

    def sets(self, fid: bool) -> dict[str, float]:
        """The numbers for the whole set, once all images are there; `fid` says whether FID is one of them."""
        found = {"swd": float(np.mean(list(self.patches.distances().values())))}
        if self.colors:
            found |= metrics.label_scores(self.confusion)
            found |= metrics.class_iou(self.confusion, self.colors) if self.dataset.target.are_classes else {}
            del found["pixel_accuracy"]  # equals the mean of `accuracy`: all images have one size
        if self.dataset.task.keeps_lightness:
            generated, targets = (float(column.rows.mean()) for column in self.colorfulness)
            found |= {"colourfulness": generated, "colourfulness_real": targets}
        if self.extractor:
            # KID compares all features with all others, so they are kept, in float32 as networks give them: 50,000
            # images of 1,280 features are 256 MB a set. FID takes its means and covariances from them.
            real, fake = (column.rows for column in self.features)
            found["kid"], found["kid_se"] = distances.kid(real, fake)
            found |= {"fid": distances.fid(real, fake)} if fid else {}
        return found

    @staticmethod
    def _columns(number: int, count: int) -> list[Column]:
        return [Column(count) for _ in range(number)]


def _wanted(dataset: Dataset) -> tuple[str, ...]:
    """The metrics for a data set. The perceptual distance is one where the weights of its network are."""
    seen = ("perceptual",) if features.available("lite2") else ()
    return (*metrics.COMMON, *seen, *METRICS.added, *dataset.task.metrics)
