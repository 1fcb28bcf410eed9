"""Training pairs as they are kept: decoded, at load size, in memory as far as that reaches."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from p2plib.data.dataset import Split
from p2plib.data.image import is_gray
from p2plib.data.kind import ImageKind
from p2plib.data.pairs import Pair
from p2plib.data.problems import NAMED, PairError, Problem, say_left_out
from p2plib.errors import DataError

if TYPE_CHECKING:
    from p2plib.config import TrainConfig

Sides = tuple[np.ndarray, np.ndarray]
"""Source and target, (H, W, C) each."""
CHECKED = 1000
"""How many pairs are decoded before the first step, evenly spaced: of most data sets all."""


class Decoded:
    """The pairs of a split, by number.

    A side (H, W, C) is kept as uint8 where it is 8-bit RGB or class masks, else as float32 in [-1, 1]; of masks, the
    number of the class. Up to `CHECKED` pairs are all decoded at the start; of more, `CHECKED` are, to check them, and
    each is decoded when it is first needed. Pairs that turn out to be broken only then end the training or, with
    `skip_broken`, are named once, and the next pair takes their place; so it is with pairs of no use to the task.

    Args:
        split: the pairs.
        config: sizes and memory budget.
        watch_colors: whether to find out if all targets are gray.

    Attributes:
        split: the pairs that are used.
        checked: how many pairs were decoded at the start.
        all_checked: whether these were all.
        in_memory: whether decoded pairs stay in memory; else they are read anew each time.
        enlarged: how many of the checked pairs are smaller than a window, with `load` "crop".
        gray: whether all targets of the checked pairs are gray; once training has begun, others are refused.

    Raises:
        DataError: pairs are broken, or none can be used.
    """

    def __init__(self, split: Split, config: TrainConfig, watch_colors: bool) -> None:
        self.split, self.kinds = split, split.kinds
        self.gray, self.enlarged = watch_colors, 0
        self.crop, self.shape = config.load == "crop", config.load_shape
        self._checking, self._bytes, self._lock = True, 0, Lock()
        self._beyond: list[list[tuple[int, int]]] = []
        self._said: set[str] = set()
        budget = config.memory_budget * 2**30
        some = split.spread(CHECKED)
        self.checked = len(some)
        self.all_checked = self.checked == len(split)
        size = 0 if self.crop else self.shape[0] * self.shape[1] * sum(map(_width, self.kinds))  # of a pair

        def check(pair: Pair) -> Sides | None:
            sides = self._read(pair)
            with self._lock:  # `usable` calls from several threads
                self._bytes += sum(side.nbytes for side in sides)
                fits = self.all_checked and size * len(split) <= budget and self._bytes <= budget
            return sides if fits else None

        found, used = some.usable(check)
        self._checking = False
        self.in_memory = self._bytes / len(found) * len(split) <= budget
        self.split = used if self.all_checked else replace(split, left_out=used.left_out)
        kept = enumerate(found) if self.in_memory else ()
        self._kept = {i: sides for i, sides in kept if sides is not None}

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self.split)

    def __getitem__(self, number: int) -> Sides:
        """Source and target of a pair, or of the next one that can be used.

        Raises:
            PairError: it is broken, and broken pairs are not to be skipped.
            DataError: no pair can be used.
        """
        if sides := self._kept.get(number):
            return sides
        for i in range(number, number + len(self)):
            pair = self.split.pairs[i % len(self)]
            try:
                sides = self._read(pair)
            except PairError as error:
                if error.problem.broken and not self.split.skip_broken:
                    raise
                self._say(error.problem)
                continue
            if self.in_memory:
                self._kept[number] = sides
            return sides
        raise DataError("No pair can be used any more; " + say_left_out(self.split.left_out, NAMED))

    def clipped(self) -> list[str]:
        """Notes on values of the checked images beyond the range that the network sees; none if there are none."""
        notes = []
        for which, kind, counts in zip(("source", "target"), self.kinds, zip(*self._beyond, strict=True), strict=True):
            beyond, total = (sum(numbers) for numbers in zip(*counts, strict=True))
            if beyond:
                share = 100 * beyond / total
                part = f"{share:.2g}" if share >= 0.01 else "less than 0.01"
                limits = f"{kind.low:g} to {kind.high:g} and are clipped; {which}_range sets a wider range"
                limits = "the ranges of their folders and are clipped" if kind.parts else limits
                notes.append(f"{part} % of the {which}'s values lie beyond {limits}")
        return notes

    def _read(self, pair: Pair) -> Sides:
        """Decode a pair. What it tells about all is noted while pairs are checked."""
        if self.crop:
            sides, enlarged = self.split.whole(pair, self.shape)
        else:
            sides, enlarged = self.split.resize(pair, self.shape), False
        colored = self.gray and not is_gray(sides[1])
        if self._checking:
            with self._lock:
                self.enlarged += enlarged
            self._beyond.append([(kind.beyond(side), side.size) for side, kind in zip(sides, self.kinds, strict=True)])
            if colored:  # several threads come here, and none may set it back
                self.gray = False
        elif colored:
            detail = f"its target has colors, and {self.checked} checked ones have none; set target_channels to 3"
            raise PairError(Problem(pair.name, "colors", detail))
        source, target = (_kept(side, kind) for side, kind in zip(sides, self.kinds, strict=True))
        return source, target

    def _say(self, problem: Problem) -> None:
        """Name a pair that is left out, once."""
        with self._lock:
            if problem.name in self._said:
                return
            self._said.add(problem.name)
        tqdm.write(f"left out from now on: {problem}")


def _width(kind: ImageKind) -> int:
    """Bytes of a pixel as it is kept."""
    return 1 if kind.are_classes else kind.channels * (1 if kind.plain else 4)


def _kept(values: np.ndarray, kind: ImageKind) -> np.ndarray:
    """One side as it is kept."""
    if kind.are_classes:
        return kind.indices(values)[..., None].astype(np.uint8)
    return values if kind.plain else kind.to_float(values)
