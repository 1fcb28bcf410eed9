"""What is wrong with pairs, and how messages name it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from p2plib.errors import DataError

NAMED = 10
"""How many pairs an error names at most."""


@dataclass(frozen=True)
class Problem:
    """A fault of one pair, or a note on it.

    Attributes:
        name: the pair's name, or that of a file without a partner.
        kind: a category, in one or two words.
        detail: one clause: what was found and, for a broken pair, what to do.
        broken: training refuses (or skips) the pair. False for a note.
    """

    name: str
    kind: str
    detail: str
    broken: bool = True

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}."


class PairError(DataError):
    """A pair that cannot be used; `problem` says why."""

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.problem = problem


def say_left_out(problems: Sequence[Problem], limit: int | None = None) -> str:
    """A message about pairs that were left out: the number of each kind, then at most `limit` of the problems."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(problem.kind for problem in problems).items())
    return f"{len(problems)} pair(s) are left out ({kinds}):" + _lines(problems, limit)


def refuse_broken(problems: Sequence[Problem], skip_broken: bool) -> None:
    """Raise a DataError that names the broken pairs, if there are any and they are not to be skipped."""
    broken = [problem for problem in problems if problem.broken]
    if broken and not skip_broken:
        raise DataError(
            f"{len(broken)} broken pair(s); fix or remove them, or leave them out with --skip-broken:"
            + _lines(broken, NAMED)
        )


def _lines(problems: Sequence[Problem], limit: int | None) -> str:
    more = len(problems) - len(problems[:limit])
    return "".join(f"\n  {line}" for line in [*problems[:limit], *[f"... and {more} more"] * (more > 0)])
