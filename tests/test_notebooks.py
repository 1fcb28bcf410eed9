"""The notebooks as files: pairs in step, executed, small, fit to be shown. `pytest --nbval` compares their outputs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")
nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NAMES = sorted({path.stem for path in FOLDER.iterdir() if path.suffix in (".py", ".ipynb")})
REBUILD = "run: make notebooks"


def stored(name: str):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(name: str):
    return [cell for cell in stored(name).cells if cell.cell_type == "code"]


def test_they_are_here_and_numbered():
    numbered = [name for name in NAMES if name[:2].isdigit()]
    assert [int(name[:2]) for name in numbered] == list(range(11))
    assert "your_pairs" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_both_halves_of_a_pair_say_the_same(name):
    def cells(notebook):
        return [(cell.cell_type, cell.source.rstrip(), cell.metadata.get("tags", [])) for cell in notebook.cells]

    assert cells(stored(name)) == cells(jupytext.read(FOLDER / f"{name}.py")), REBUILD


@pytest.mark.parametrize("name", NAMES)
def test_executed_from_top_to_bottom_without_errors(name):
    nbformat.validate(stored(name))
    counts = [cell.execution_count for cell in code_cells(name)]
    assert counts == list(range(1, len(counts) + 1)), REBUILD
    assert not [output for cell in code_cells(name) for output in cell.outputs if output.output_type == "error"]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_of_one_execution(name):
    """A run that an output names was begun by a cell that said so."""
    text = "\n".join(
        str(output.get("text", output.get("data", ""))) for cell in code_cells(name) for output in cell.outputs
    )
    runs = r"runs/[\w-]+-\d{8}-\d{6}(?:-\d+)?"
    begun = set(re.findall(rf"run folder: ({runs})", text))
    assert not set(re.findall(runs, text)) - begun, REBUILD


@pytest.mark.parametrize("name", NAMES)
def test_small_and_ready_for_kaggle(name):
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 1_000_000
    assert stored(name).metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("name", NAMES)
def test_no_machine_shows(name):
    """Neither in the source nor in outputs: absolute paths, addresses, ids of widgets that are gone."""
    text = re.sub(r"[A-Za-z0-9+/=]{200,}", "", (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))  # images
    assert not re.findall(r"(?<![\w.:/~>])/(?!script|style|div|span|figure|svg|b>|p>)[a-z]+/[\w./-]*", text)
    assert not re.findall(r"[A-Z]:\\\\|127\.0\.0\.1|localhost|model_id|0x[0-9a-f]{6,}", text)
    assert str(Path.home()) not in text


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_short_and_define_nothing_of_weight(name):
    cells = [cell.source for cell in code_cells(name)]
    assert max(source.count("\n") + 1 for source in cells) <= 20
    assert not [source for source in cells if re.search(r"^\s*class ", source, re.MULTILINE)]


@pytest.mark.parametrize("name", NAMES)
def test_tells_what_it_does_and_what_to_try_next(name):
    cells = stored(name).cells
    assert re.match(r"# .+\n\n.+", cells[0].source)
    assert cells[1].metadata.tags == ["setup"]
    assert cells[2].metadata.tags == ["parameters"]  # papermill finds it by the tag
    assert "## What to try next" in cells[-1].source


@pytest.mark.parametrize("name", NAMES)
def test_the_backend_is_chosen_before_keras_is_imported(name):
    """Keras alone would take TensorFlow, which cannot use a TPU."""
    sources = [cell.source for cell in code_cells(name)]
    first = next((i for i, source in enumerate(sources) if re.search(r"^(import|from) keras", source, re.M)), None)
    chosen = r"^(runtime\.start|\w+ = (load|train))\("
    assert first is None or re.search(chosen, "\n".join(sources[:first]), re.M)


@pytest.mark.parametrize("name", NAMES)
def test_every_image_has_an_alternative_text(name):
    outputs = [output for cell in code_cells(name) for output in cell.outputs if "data" in output]
    for output in outputs:
        if "image/jpeg" in output.data:
            assert output.metadata["image/jpeg"]["alt"]
        images = re.findall(r"<img[^>]*>", output.data.get("text/html", ""))
        assert all(re.search(r'alt="[^"]+"', image) for image in images)


@pytest.mark.once
def test_papermill_runs_a_notebook_with_parameters(tmp_path):
    """As Kaggle does; nbval runs all of them, without parameters."""
    papermill = pytest.importorskip("papermill")
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        FOLDER / "03_model.ipynb", out, {"FULL": False, "DATA": "toy"}, cwd=tmp_path, progress_bar=False
    )
    cells = [cell for cell in nbformat.read(out, as_version=4).cells if cell.cell_type == "code"]
    assert "injected-parameters" in cells[2].metadata.tags
    assert all(cell.execution_count for cell in cells if cell.source)


SOURCE = """# %% tags=["parameters"]
import time
import numpy as np
from p2plib.show import widgets

# %% tags=["timing"]
print(time.time())

# %%
print(f"run folder: runs/toy-AtoB-20261231-{time.time_ns() // 1000 % 1_000_000:06}")

# %%
widgets.browse([(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.uint8))])
"""


@pytest.mark.once
def test_building_twice_changes_nothing_but_what_changed(tmp_path):
    def build() -> tuple[str, str]:
        command = [sys.executable, ROOT / "tools" / "build_notebooks.py", tmp_path / "small.py"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return said.split()[-1], (tmp_path / "small.ipynb").read_text()

    source = tmp_path / "small.py"
    source.write_text(SOURCE)
    said, first = build()
    assert said == "written"
    assert build() == ("unchanged", first)
    assert "p2p-browse" in first and "model_id" not in first

    source.write_text(SOURCE.replace("time.time()", "'later', time.time()"))
    said, second = build()
    assert said == "written"
    assert "later" in second
