"""Training batches: pairs are decoded once; both sides are cropped together, differently in every epoch.

Every random choice depends only on (seed, epoch, position), so a run that resumes at any step sees the same batches as
an uninterrupted one.

Both sides of a pair lie in one array (H, W, C), the source's channels first, so that whatever moves pixels moves both
alike. It is uint8 where both sides are 8-bit RGB or class masks, else float32 in [-1, 1]. Of masks, it holds the number
of the class, which becomes one channel for each class when a batch is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib import quiet
from p2plib.data.dataset import Dataset, Split
from p2plib.data.image import is_gray, window
from p2plib.data.kind import ImageKind, Kinds
from p2plib.data.pairs import Pair
from p2plib.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

    from p2plib.config import TrainConfig

GRID = 4
"""Random displacements along each side of an image that is warped: so few that nothing folds, up to 0.1 of the side."""


class Batches:
    """The training pairs of a data set, as an infinite sequence of shuffled batches, changed at random.

    Decoded pairs are kept in memory, at load size, if they fit the memory budget. Otherwise they are read
    from disk in every epoch. With `load` "crop", pairs are kept or read at their own size, which may differ, and give
    one random window in each epoch. Pairs that are too small for it are enlarged.

    Args:
        dataset: its split `train` is used.
        config: sizes, batch size, augmentation, seed and memory budget.

    Attributes:
        count: number of pairs.
        left_out: the problems of the pairs that are not used: broken, or useless for the task.
        enlarged: how many pairs are smaller than a window, and therefore enlarged.
        target_channels: channels of the images to generate; of 8-bit images, 1 if all targets are gray, else 3; of
            class masks None.
        steps_per_epoch: batches in an epoch. Pairs that do not fill a last batch are left out of the epoch; each
            epoch leaves out different ones.

    Raises:
        DataError: pairs are broken, there are fewer than in one batch, or targets have colors that a gray model cannot
            learn.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig) -> None:
        self.config = config
        self.task = dataset.task
        self.errors: list[DataError] = []
        self.kinds = dataset.kinds
        self._beyond: list[list[tuple[int, int]]] = []
        self.enlarged, self._gray = 0, not dataset.task.keeps_lightness and dataset.target.plain
        split, shape = dataset["train"], config.load_shape
        self.channels = [1 if kind.are_classes else kind.channels for kind in self.kinds]  # as kept
        channels, width = sum(self.channels), 1 if _small(self.kinds) else 4
        self._memory: tf.Tensor | list[np.ndarray] | None = None
        if config.load == "crop":
            self.split = self._read_whole(split)
        elif len(split) * shape[0] * shape[1] * channels * width <= config.memory_budget * 2**30:
            arrays, self.split = split.usable(lambda pair: self._joined(split.resize(pair, shape)))
            self._memory = _tensorflow().constant(np.stack(arrays))
        else:  # decode once, so that broken pairs are named now and not hours later
            _, self.split = split.usable(lambda pair: self._joined(split.sides(pair)).ndim)
        # Which sides are label maps, whose colors are not to be mixed.
        self.labels = [bool(config.warp and dataset.classes(side)) for side in ("source", "target")]
        self.left_out = list(self.split.left_out)
        self.count = len(self.split)
        plain = dataset.target.plain
        found = None if dataset.target.are_classes else 1 if self._gray else dataset.target.channels
        self.target_channels = config.target_channels or found
        if plain and self.target_channels == 1 and not self._gray:
            raise DataError(
                f"{dataset.data}: target_channels is 1, but there are colors in {dataset.target.name}; leave "
                "target_channels out, or make these images gray."
            )
        self.steps_per_epoch = self.count // config.batch_size
        if not self.steps_per_epoch:
            raise DataError(
                f"{dataset.data}: {self.count} training pairs do not fill a batch of {config.batch_size}; "
                "lower batch_size or add pairs."
            )

    def _read_whole(self, split: Split) -> Split:
        """Decode all pairs at their own size, once; keep all if they fit the memory budget, else none.

        Returns:
            The pairs that can be used.
        """
        shape, budget = self.config.shape, self.config.memory_budget * 2**30
        total, lock = 0, Lock()

        def read(pair: Pair) -> tuple[np.ndarray | None, bool]:
            nonlocal total
            sides, enlarged = split.whole(pair, shape)
            both = self._joined(sides)
            with lock:  # `usable` calls from several threads
                total += both.nbytes
                return both if total <= budget else None, enlarged

        results, used = split.usable(read)
        if total <= budget:
            self._memory = [both for both, _ in results if both is not None]
        self.enlarged = sum(enlarged for _, enlarged in results)
        return used

    def _joined(self, sides: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Both sides in one array; it is noted whether the target has colors."""
        if self._gray and not is_gray(sides[1]):  # several threads call this, and none may set it back
            self._gray = False
        self._beyond.append([_beyond(side, kind) for side, kind in zip(sides, self.kinds, strict=True)])
        return join(sides, self.kinds)

    def clipped(self) -> list[str]:
        """Notes on values of the training images beyond the range that the network sees; none if there are none."""
        notes = []
        for which, kind, counts in zip(("source", "target"), self.kinds, zip(*self._beyond, strict=True), strict=True):
            beyond, total = (sum(numbers) for numbers in zip(*counts, strict=True))
            if beyond:
                share = 100 * beyond / total
                notes.append(
                    f"{f'{share:.2g}' if share >= 0.01 else 'less than 0.01'} % of the {which}'s values lie beyond "
                    f"{kind.low:g} to {kind.high:g} and are clipped; {which}_range sets a wider range"
                )
        return notes

    @property
    def in_memory(self) -> bool:
        """Whether the decoded pairs are kept in memory."""
        return self._memory is not None

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Use batches in this context: it raises the original `DataError`, not TensorFlow's error around it."""
        try:
            yield
        except Exception:
            if self.errors:
                raise self.errors[0] from None
            raise

    def start(self, epoch: int = 0, step: int = 0) -> tf.data.Dataset:
        """Batches from a given epoch and step on.

        Args:
            epoch: counted from 0.
            step: within the epoch, counted from 0.

        Returns:
            An infinite dataset of (source, target), each float32 (batch_size, H, W, C) in [-1, 1].
        """
        tf = _tensorflow()
        load, batch, per_epoch = self._loader(), self.config.batch_size, self.steps_per_epoch

        def indices(epoch: Any) -> Any:
            order = tf.random.experimental.stateless_shuffle(
                tf.range(self.count, dtype=tf.int64), seed=[self.config.seed, epoch]
            )
            positions = tf.range(per_epoch * batch, dtype=tf.int64)
            epochs = tf.fill([per_epoch * batch], epoch)
            return tf.data.Dataset.from_tensor_slices((epochs, positions, order[: per_epoch * batch]))

        def pair(epoch: Any, position: Any, index: Any) -> tuple[Any, Any]:
            draw = epoch * self.count + position
            both = self._augment(self._warp(load(index, draw), draw), draw)
            source, target = tf.split(both, self.channels, -1)
            return _seen(source, self.kinds[0]), _seen(target, self.kinds[1])

        dataset = tf.data.Dataset.range(epoch, np.iinfo(np.int64).max).flat_map(indices).skip(step * batch)
        dataset = dataset.map(pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return dataset.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def _loader(self) -> Callable[[Any, Any], Any]:
        """A TensorFlow function from a pair's index, and what seeds a random window, to both sides in one array."""
        tf = _tensorflow()
        shape, crop, memory = self.config.load_shape, self.config.load == "crop", self._memory
        dtype, channels = tf.uint8 if _small(self.kinds) else tf.float32, sum(self.channels)
        if memory is not None and not crop:
            return lambda index, draw: memory[index]

        def one(i: int, where: np.ndarray) -> np.ndarray:
            if not crop:
                return join(self.split.resized(i, shape), self.kinds)
            if memory is not None:
                return window(memory[i], shape, where)
            return window(join(self.split.whole(self.split.pairs[i], shape)[0], self.kinds), shape, where)

        def read(index: np.ndarray, where: np.ndarray) -> np.ndarray:
            try:
                return one(int(index), where)
            except DataError as error:  # TensorFlow would hide it in an error of its own
                self.errors.append(error)
                raise

        def load(index: Any, draw: Any) -> Any:
            where = tf.random.stateless_uniform([2], [self.config.seed, draw])
            return tf.ensure_shape(tf.numpy_function(read, [index, where], dtype), (*shape, channels))

        return load

    def _augment(self, both: Any, draw: Any) -> Any:
        """Jitter and flip both sides in the same way, then redraw the source; `draw` seeds the random choice."""
        tf = _tensorflow()
        (height, width), (tall, wide) = self.config.shape, self.config.load_shape
        if self.config.augment == "none":
            return both
        if tall > height:
            seed, spare = [self.config.seed, draw], (tall - height, wide - width)
            top, left = (
                tf.random.stateless_uniform([2], seed, 0, room + 1, tf.int32)[i] for i, room in enumerate(spare)
            )
            both = tf.slice(both, [top, left, 0], [height, width, both.shape[-1]])
        if self.config.augment == "jitter_flip":
            coin = tf.random.stateless_uniform([], [self.config.seed + 1, draw])
            both = tf.cond(coin < 0.5, lambda: tf.reverse(both, [1]), lambda: both)
        return self._redraw(both, draw) if self.task.redraws else both

    def _warp(self, both: Any, draw: Any) -> Any:
        """Bend both sides by one smooth random field; labels take the nearest pixel's color, so none is new.

        Elastic distortions (Simard et al. 2003, section 2), with a field that is coarse instead of blurred.
        """
        if not self.config.warp:
            return both
        tf = _tensorflow()
        shape = self.config.load_shape
        coarse = tf.random.stateless_uniform([GRID, GRID, 2], [self.config.seed + 2, draw], -1, 1)
        field = tf.image.resize(coarse, shape, "gaussian")  # its weights are positive: within [-1, 1]
        places = tf.stack(tf.meshgrid(*(tf.range(side, dtype=tf.float32) for side in shape), indexing="ij"), -1)
        places = tf.abs(places + field * self.config.warp * min(shape))
        last = tf.constant(shape, tf.float32) - 1
        places = last - tf.abs(last - places)  # what lies beyond the border is mirrored
        sides = tf.split(both, self.channels, -1)
        return tf.concat([_sample(side, places, labels) for side, labels in zip(sides, self.labels, strict=True)], -1)

    def _redraw(self, both: Any, draw: Any) -> Any:
        """Let the task vary the source; the target stays the same."""
        tf = _tensorflow()

        def redraw(source: np.ndarray, draw: np.ndarray) -> np.ndarray:
            return self.task.redraw(source, (self.config.seed, int(draw)))

        source, target = tf.split(both, self.channels, -1)
        redrawn = tf.ensure_shape(tf.numpy_function(redraw, [source, draw], tf.uint8), source.shape)
        return tf.concat([redrawn, target], -1)


def join(sides: tuple[np.ndarray, np.ndarray], kinds: Kinds) -> np.ndarray:
    """Source and target, stored values (H, W, C), in one array; see the top of this file."""
    small = _small(kinds)
    return np.concatenate([_kept(side, kind, small) for side, kind in zip(sides, kinds, strict=True)], axis=-1)


def _small(kinds: Kinds) -> bool:
    return all(kind.plain or kind.are_classes for kind in kinds)


def _beyond(values: np.ndarray, kind: ImageKind) -> tuple[int, int]:
    """How many of the values are beyond the range of their kind, of how many."""
    if kind.plain or kind.are_classes:
        return 0, values.size
    return int(((values < kind.low) | (values > kind.high)).sum()), values.size


def _kept(values: np.ndarray, kind: ImageKind, small: bool) -> np.ndarray:
    if kind.are_classes:
        return kind.indices(values)[..., None].astype(np.uint8 if small else np.float32)
    return values if small else kind.to_float(values)


def _seen(kept: Any, kind: ImageKind) -> Any:
    """One side as it is kept, (H, W, C), as the networks see it: float32 in [-1, 1]."""
    tf = _tensorflow()
    if kind.are_classes:
        return tf.one_hot(tf.cast(kept[..., 0], tf.int32), len(kind.classes), 1.0, -1.0)
    return tf.cast(kept, tf.float32) / 127.5 - 1.0 if kept.dtype == tf.uint8 else kept


def _sample(image: Any, places: Any, nearest: bool) -> Any:
    """The values of an image (H, W, C) at places (H, W, 2) inside of it, row and column: nearest or bilinear."""
    tf = _tensorflow()
    if nearest:
        return tf.gather_nd(image, tf.cast(tf.round(places), tf.int32))
    low = tf.floor(places)
    part, high = places - low, tf.math.ceil(places)
    total = tf.zeros(tf.shape(image))
    for row, down in ((low, 1 - part[..., :1]), (high, part[..., :1])):
        for column, right in ((low, 1 - part[..., 1:]), (high, part[..., 1:])):
            corner = tf.cast(tf.stack([row[..., 0], column[..., 1]], -1), tf.int32)
            total += down * right * tf.cast(tf.gather_nd(image, corner), tf.float32)
    return tf.cast(tf.round(total), tf.uint8) if image.dtype == tf.uint8 else total


def _tensorflow() -> Any:
    """TensorFlow, for tf.data. If JAX trains, TensorFlow must not reserve GPU memory."""
    keras, tf = quiet.load("keras"), quiet.load("tensorflow")
    if keras.backend.backend() != "tensorflow":
        tf.config.set_visible_devices([], "GPU")
    return tf
