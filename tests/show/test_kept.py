"""The kept lessons: whole, and made by the settings of the tool."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from p2plib.errors import ConfigError
from p2plib.show import figures
from p2plib.show.lessons import lesson

TOOL = Path(__file__).resolve().parents[2] / "tools" / "lesson_runs.py"
NAMES = ["ill", "lambda", "patch", "recipe", "skips"]


def titles() -> dict[str, list[str]]:
    """The runs that the tool trains; titles that it computes are left out."""
    for node in ast.walk(ast.parse(TOOL.read_text())):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "RUNS":
            return {
                key.value: [title.value for title in value.keys if isinstance(title, ast.Constant)]
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if isinstance(value, ast.Dict)
            }
    raise AssertionError(f"no RUNS in {TOOL}")


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_is_whole(name):
    kept = lesson(name)
    assert [run.title for run in kept.runs] == titles().get(name, [run.title for run in kept.runs])
    for run in kept.runs:
        assert run.image.shape == kept.sources.shape == kept.targets.shape
        assert all(np.isfinite(value) for value in run.scores.values())
        assert run.label.startswith(f"{run.title}: perceptual 0.") or run.label.startswith(
            f"{run.title}: perceptual 1."
        )
        assert not np.array_equal(run.image, kept.targets)


def test_the_small_runs_have_their_curves():
    kept = lesson("ill")
    for run in kept.runs:
        assert [row["epoch"] for row in run.rows] == list(range(1, len(run.rows) + 1))
        figure = figures.symptoms(run, kept)
        assert run.title in figure.alt
        drawn = {line.get_label(): line.get_ydata()[-1] for axes in figure.axes[:2] for line in axes.lines}
        assert drawn["validation"] == run.rows[-1]["val_l1"]
        assert drawn["discriminator"] == run.rows[-1]["discriminator"]


def test_an_unknown_lesson_gives_the_known_ones():
    with pytest.raises(ConfigError, match="ill, lambda, patch, recipe, skips"):
        lesson("nothing")
