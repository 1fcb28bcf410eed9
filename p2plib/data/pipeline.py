"""From pairs to batches: decode once, jitter both halves together, fresh in every epoch.

Every random choice follows from (seed, epoch, position), never from state: a run that resumes at any step sees the same
batches as one that never stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from p2plib.data import photos, sketch
from p2plib.data.catalog import CATALOG, Direction
from p2plib.data.image import resize_image
from p2plib.data.pairs import Pair, PairError, Problem
from p2plib.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

    from p2plib.config import TrainConfig

Item = TypeVar("Item")

HELD_OUT = 0.1
"""Share of the training pairs that is kept for validation when a data set has no split of that name."""
SHOWN = 10
"""So many pairs are named in an error."""


def direction(config: TrainConfig) -> Direction:
    """`AtoB` or `BtoA`: the configured direction, or the catalog's usual one, or AtoB, as for pairs made of photos."""
    if config.direction != "auto":
        return config.direction
    if config.task != "pairs":
        return "AtoB"
    return CATALOG[config.data].direction if config.data in CATALOG else "AtoB"


def side_names(config: TrainConfig) -> tuple[str, str]:
    """What the source and the target are called, for example ("satellite", "map")."""
    if config.task != "pairs":
        return photos.NAMES[config.task]
    a, b = CATALOG[config.data].names if config.data in CATALOG else ("A", "B")
    return (a, b) if direction(config) == "AtoB" else (b, a)


def pairs_of(config: TrainConfig, split: str) -> tuple[list[Pair], list[Problem]]:
    """The pairs of a split, and the files that make no pair and were left out.

    A data set without a `val` split lends a tenth of its `train` pairs, at least one, chosen by the seed; these are
    then not trained on.

    Raises:
        DataError: the data set or the split is not there, or files make no pair and `skip_broken` is off.
    """
    lent = split in ("train", "val") and "val" not in photos.splits(config.data, config.task)
    pairs, problems = photos.find_pairs(config.data, "train" if lent else split, config.task)
    pairs = [photos.no_larger(pair, 2 * config.image_size) for pair in pairs]
    broken = [problem for problem in problems if problem.broken]
    if broken and not config.skip_broken:
        raise DataError(_complaint(broken))
    if not lent:
        return list(pairs), broken
    if len(pairs) < 2:
        raise DataError(f"{config.data}: one pair is too few to train and validate on; add pairs.")
    order = np.random.default_rng(config.seed).permutation(len(pairs))
    cut = max(1, int(HELD_OUT * len(pairs)))
    return [pairs[i] for i in sorted(order[:cut] if split == "val" else order[cut:])], broken


def load_split(config: TrainConfig, split: str, limit: int = 0) -> tuple[np.ndarray, list[Pair], list[Problem]]:
    """Decode at most `limit` pairs of a split, evenly spaced (0: all), without augmentation.

    Returns:
        uint8 (N, 2, S, S, 3), source and target; the N pairs; and what was left out.

    Raises:
        DataError: the split is not there, or pairs are broken and `skip_broken` is off.
    """
    pairs, unpaired = pairs_of(config, split)
    both, pairs, unused = read_pairs(spread(pairs, limit), config.image_size, direction(config), config.skip_broken)
    return both, pairs, unpaired + unused


def originals(config: TrainConfig, split: str, limit: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Source and target of at most `limit` pairs of a split, evenly spaced (0: all), not resized to one size, uint8.

    Raises:
        DataError: the split is not there, or pairs are broken and `skip_broken` is off.
    """
    pairs, _ = pairs_of(config, split)
    halves, _, _ = _sift(spread(pairs, limit), lambda pair: pair.read(), config.skip_broken)
    return halves if direction(config) == "AtoB" else [(b, a) for a, b in halves]


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, evenly spaced from the first to the last (0: all)."""
    if count == 0 or count >= len(items):
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def read_pair(pair: Pair, size: int, direction: str) -> np.ndarray:
    """Decode one pair and resize both halves, antialiased.

    Returns:
        uint8 (2, size, size, 3): the source, then the target.
    """
    halves = [resize_image(half, size, size) for half in pair.read()]
    return np.stack(halves if direction == "AtoB" else halves[::-1])


def read_pairs(
    pairs: Sequence[Pair], size: int, direction: str, skip_broken: bool = False
) -> tuple[np.ndarray, list[Pair], list[Problem]]:
    """Decode all pairs at once.

    Returns:
        uint8 (N, 2, size, size, 3); the N pairs; and what was left out, be it broken or of no use.

    Raises:
        DataError: pairs are broken and `skip_broken` is off; the message names them.
    """
    arrays, pairs, unused = _sift(pairs, lambda pair: read_pair(pair, size, direction), skip_broken)
    return np.stack(arrays), pairs, unused


def left_out(problems: Sequence[Problem], shown: int | None = None) -> str:
    """What to tell about pairs that were left out: how many of each kind, and at most so many by name (None: all)."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(problem.kind for problem in problems).items())
    return f"{len(problems)} pair(s) are left out ({kinds}):" + _lines(problems, shown)


def _sift(
    pairs: Sequence[Pair], read: Callable[[Pair], Any], skip_broken: bool
) -> tuple[list[Any], list[Pair], list[Problem]]:
    """What `read` makes of the pairs that can be used, these pairs, and why the others cannot."""

    def attempt(pair: Pair) -> Any:
        try:
            return read(pair)
        except PairError as error:
            return error.problem

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(attempt, pairs))
    good = [(result, pair) for result, pair in zip(results, pairs, strict=True) if not isinstance(result, Problem)]
    unused = [result for result in results if isinstance(result, Problem)]
    broken = [problem for problem in unused if problem.broken]
    if broken and not skip_broken:
        raise DataError(_complaint(broken))
    if not good:
        raise DataError("No pair can be used; " + left_out(unused, SHOWN))
    return [result for result, _ in good], [pair for _, pair in good], unused


def _complaint(broken: Sequence[Problem]) -> str:
    return f"{len(broken)} broken pair(s); mend or remove them, or leave them out with --skip-broken:" + _lines(
        broken, SHOWN
    )


def _lines(problems: Sequence[Problem], shown: int | None) -> str:
    more = len(problems) - len(problems[:shown])
    return "".join(f"\n  {line}" for line in [*problems[:shown], *[f"... and {more} more"] * (more > 0)])


class TrainingData:
    """The training pairs of a configuration, as an endless supply of shuffled, jittered batches.

    Pairs are kept as uint8 at load size while they fit the memory budget. Beyond it, they are read again from disk in
    every epoch.

    Attributes:
        count: number of pairs.
        skipped: why pairs were left out: broken, or of no use to the task.
        steps_per_epoch: batches in an epoch. The pairs that do not fill a batch, other ones in every epoch, wait.

    Raises:
        DataError: pairs are broken or missing, or there are fewer than one batch.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.direction = direction(config)
        self.errors: list[DataError] = []
        pairs, self.skipped = pairs_of(config, "train")
        size = config.load_size
        self._memory: tf.Tensor | None = None
        if len(pairs) * 2 * size * size * 3 <= config.memory_budget * 2**30:
            both, pairs, unused = read_pairs(pairs, size, self.direction, config.skip_broken)
            self._memory = _tensorflow().constant(both)
        else:  # decode once, so that a broken pair is named now and not after hours
            _, pairs, unused = _sift(pairs, lambda pair: len(pair.read()), config.skip_broken)
        self.skipped += unused
        self._pairs = pairs
        self.count = len(pairs)
        self.steps_per_epoch = self.count // config.batch_size
        if not self.steps_per_epoch:
            raise DataError(
                f"{config.data}: {self.count} training pairs do not fill a batch of {config.batch_size}; "
                "lower batch_size or add pairs."
            )

    @property
    def in_memory(self) -> bool:
        """Whether the decoded pairs are kept in memory."""
        return self._memory is not None

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """While batches are used: raise the `DataError` itself, not TensorFlow's wrapping of it."""
        try:
            yield
        except Exception:
            if self.errors:
                raise self.errors[0] from None
            raise

    def batches(self, epoch: int = 0, step: int = 0) -> tf.data.Dataset:
        """Batches from the given step (0-based, within the epoch) of the given epoch (0-based) on, without end.

        Returns:
            A dataset of (source, target), each float32 (batch_size, S, S, 3) in [-1, 1].
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
            both = self._augment(load(index), epoch * self.count + position)
            both = tf.cast(both, tf.float32) / 127.5 - 1.0
            return both[0], both[1]

        dataset = tf.data.Dataset.range(epoch, np.iinfo(np.int64).max).flat_map(indices).skip(step * batch)
        dataset = dataset.map(pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return dataset.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def _loader(self) -> Callable[[Any], Any]:
        """A TensorFlow function from a pair's index to uint8 (2, L, L, 3)."""
        tf = _tensorflow()
        size = self.config.load_size
        if self._memory is not None:
            memory = self._memory
            return lambda index: memory[index]

        def read(index: np.ndarray) -> np.ndarray:
            try:
                return read_pair(self._pairs[int(index)], size, self.direction)
            except DataError as error:  # TensorFlow would wrap it beyond recognition
                self.errors.append(error)
                raise

        def load(index: Any) -> Any:
            return tf.ensure_shape(tf.numpy_function(read, [index], tf.uint8), (2, size, size, 3))

        return load

    def _augment(self, both: Any, draw: Any) -> Any:
        """Crop and flip the two halves alike, then redraw sketches; `draw` numbers the random choice."""
        tf = _tensorflow()
        size, spare = self.config.image_size, self.config.load_size - self.config.image_size
        if not spare:
            return both
        corner = tf.random.stateless_uniform([2], [self.config.seed, draw], 0, spare + 1, tf.int32)
        both = tf.slice(both, [0, corner[0], corner[1], 0], [2, size, size, 3])
        if self.config.augment == "jitter_flip":
            coin = tf.random.stateless_uniform([], [self.config.seed + 1, draw])
            both = tf.cond(coin < 0.5, lambda: tf.reverse(both, [2]), lambda: both)
        return self._redraw(both, draw) if self.config.task == "sketch" else both

    def _redraw(self, both: Any, draw: Any) -> Any:
        """The sketch drawn by an unsteady hand, so that those of people work later; the photo as it is."""
        tf = _tensorflow()

        def strokes(source: np.ndarray, draw: np.ndarray) -> np.ndarray:
            return sketch.augment_strokes(source, (self.config.seed, int(draw)))

        source = tf.numpy_function(strokes, [both[0], draw], tf.uint8)
        return tf.stack([tf.ensure_shape(source, both.shape[1:]), both[1]])


def _tensorflow() -> Any:
    """TensorFlow, for tf.data; where JAX trains, it must leave the GPU memory alone."""
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        tf.config.set_visible_devices([], "GPU")
    return tf
