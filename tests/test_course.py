"""What a first-time student must find in the notebooks: each with its heading, its figure and an exercise."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
TIMES = json.loads((FOLDER / "times.json").read_text())
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

LESSONS = {
    "why adversarial": ("03_model", "## Why adversarial?", "figures.answers"),
    "blur against shift": ("03_model", "## What a judge sees that L1 does not", "image_grid"),
    "why D sees the source": ("03_model", "## Why the judge sees the source", "patch_map"),
    "the step in plain sight": ("03_model", "## One step, in stock Keras", "numbers = one_step("),
    "what D tells G": ("03_model", "## What the discriminator tells the generator", "as_colors"),
    "the field of a logit": ("03_model", "## What the discriminator tells the generator", "fields("),
    "healthy": ("04_training", "### Healthy", "symptoms"),
    "D too strong": ("04_training", "### The discriminator is too strong", "symptoms"),
    "D lost": ("04_training", "### The discriminator is lost", "symptoms"),
    "overfit": ("04_training", "### Learned by heart", "symptoms"),
    "collapse": ("04_training", "### Collapsed", "symptoms"),
    "checkerboards": ("04_training", "### Checkerboards", "symptoms"),
    "training over time": ("04_training", "## Going on", "over_time"),
    "lambda": ("04_training", "### Lambda", "frames.runs"),
    "skips": ("04_training", "### Skips", "frames.runs"),
    "patch sizes": ("04_training", "### How much does the discriminator see at once?", "frames.runs"),
    "the recipe's parts": ("04_training", "### From the paper's recipe to today's", "frames.runs"),
}
"""Notebook, heading, and what the section calls to show it."""


def sections(name: str) -> dict[str, list]:
    """The cells below each heading."""
    found: dict[str, list] = {}
    heading = ""
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "markdown":
            for line in re.findall(r"^##+ .*$", cell.source, re.MULTILINE):
                heading = line
        found.setdefault(heading, []).append(cell)
    return found


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_has_its_heading_and_what_shows_it(lesson):
    name, heading, call = LESSONS[lesson]
    [(_, cells)] = [(title, cells) for title, cells in sections(name).items() if title.startswith(heading)]
    shown = [cell for cell in cells if cell.cell_type == "code" and call in cell.source]
    assert shown and any(cell.outputs for cell in shown)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "00_start_here"])
def test_three_exercises_with_folded_solutions_that_ran(name):
    cells = sections(name)["## Exercises"]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert re.findall(r"^\*\*(\d)\.\*\*", text, re.MULTILINE) == ["1", "2", "3"]
    solutions = [cell for cell in cells if cell.cell_type == "code"]
    assert len(solutions) == 3
    for cell in solutions:
        assert "solution" in cell.metadata.tags and cell.metadata.jupyter.source_hidden and cell.outputs


@pytest.mark.parametrize("name", [name for name in NAMES if name != "00_start_here"])
def test_something_is_to_be_guessed_before_it_is_run(name):
    text = "\n".join(cell.source for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells)
    assert re.search(r"\*\*(Before you run: |Guess)", text)


def test_the_times_of_all_notebooks_are_known():
    assert sorted(TIMES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_times_are_said_as_they_were_measured(name):
    seconds = TIMES[name]
    count, long, short = (max(5, 5 * round(seconds / 5)), "seconds", "s")
    if seconds >= 100:
        count, long, short = (round(seconds / 60), "minutes", "min")
    first = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells[0].source.replace("\n", " ")
    assert f"Takes about {count} {long} on two CPU cores." in first
    [row] = re.findall(rf"^\| \[{name}\].*$", (ROOT / "docs" / "tutorials.md").read_text(), re.MULTILINE)
    assert row.endswith(f"| {count} {short} |")
