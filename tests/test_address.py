"""Where the project is: one place says it, and the table of notebooks, they and their first cell follow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import p2plib

pytest.importorskip("jupytext")
nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = "https://github.com/OWNER/p2plib"
PATHS = ["pyproject.toml", "docs/tutorials.md", "notebooks", "tools"]


@pytest.fixture
def project(tmp_path) -> Path:
    for name in PATHS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    return tmp_path


def tell(project: Path, *address: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, project / "tools" / "address.py", *address]
    return subprocess.run(command, capture_output=True, text=True)


def contents(project: Path) -> dict[str, str]:
    paths = [path for name in PATHS[:3] for path in (sorted((project / name).glob("*.*")) or [project / name])]
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def first_cells(project: Path, name: str) -> tuple[str, str]:
    title, setup = nbformat.read(project / "notebooks" / f"{name}.ipynb", as_version=4).cells[:2]
    return title.source, setup.source


def test_everything_agrees_with_the_address_in_pyproject(project):
    assert tell(project).returncode == 0
    assert contents(project) == contents(ROOT), "run: python tools/address.py"


def test_an_address_is_told_everywhere_and_taken_back(project):
    before = contents(project)
    assert tell(project, "none").stdout == "The project's address: none\n"
    without = contents(project)
    assert not [name for name, text in without.items() if "[Open in Colab]" in text or "[Colab](" in text]

    assert tell(project, f"{EXAMPLE}.git").stdout == f"The project's address: {EXAMPLE}\n"
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["urls"] == {"Repository": EXAMPLE}
    text = (project / "docs" / "tutorials.md").read_text(encoding="utf-8")
    for path in sorted((project / "notebooks").glob("*.ipynb")):
        title, setup = first_cells(project, path.stem)
        colab = f"https://colab.research.google.com/github/OWNER/p2plib/blob/main/notebooks/{path.name}"
        kaggle = f"https://kaggle.com/kernels/welcome?src={EXAMPLE}/blob/main/notebooks/{path.name}"
        shown = f"[Open in Colab][colab] · [Open on Kaggle][kaggle]\n\n[colab]: {colab}\n[kaggle]: {kaggle}"
        assert title.endswith(f"\n\n{shown}")
        assert f"[Colab]({colab}) · [Kaggle]({kaggle}) |" in text
        assert f'else "git+{EXAMPLE}"' in setup

    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--quiet",
        "--ignore",
        "I",
        ".",
    ]  # which looks for p2plib beside them
    assert subprocess.run(ruff, cwd=project).returncode == 0
    told = contents(project)
    assert tell(project).returncode == 0 and contents(project) == told
    tell(project, "none")
    assert contents(project) == without
    if "[project.urls]" not in before["pyproject.toml"]:
        assert without == before


def test_an_address_that_they_cannot_open_is_refused(project):
    done = tell(project, "https://example.org/p2plib")
    assert done.returncode == 1
    assert done.stderr == (
        "https://example.org/p2plib: Colab and Kaggle open notebooks of public repositories: "
        "https://github.com/OWNER/NAME\n"
    )
    assert contents(project) == contents(ROOT)


def test_new_code_is_not_given_the_outputs_of_old_code(project):
    path = project / "notebooks" / "00_start_here.py"
    path.write_text(path.read_text().replace("100_002", "100_003"))
    done = tell(project)
    assert done.returncode == 1 and "00_start_here.py: this code is new, so execute the notebook" in done.stderr


WHEEL = f"p2plib-{p2plib.__version__}-py3-none-any.whl"


def first_cell(folder: Path, *places: str, online: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the first cell without p2plib, in a folder; a stand-in for pip prints what it was asked for."""
    for place in places:
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / WHEEL).touch()
    stand_in = (
        "import subprocess, types, importlib.util\n"
        "importlib.util.find_spec = lambda name: None\n"
        "def run(command, check=False):\n"
        "    print(*command[1:])\n"
        f"    return types.SimpleNamespace(returncode={int(not online)})\n"
        "subprocess.run = run\n"
    )
    environment = os.environ | {"P2PLIB_KAGGLE_ROOT": str(folder / "kaggle")}
    code = stand_in + first_cells(ROOT, "01_eda")[1]
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("place", [".", "kaggle/input/wheel", "kaggle/input/datasets/owner/wheel"])
def test_the_first_cell_finds_the_wheel(tmp_path, place):
    done = first_cell(tmp_path, place)
    folder = tmp_path / place
    wheel = (folder / WHEEL).as_uri()
    assert done.stdout == f"-m pip install --quiet --find-links={folder} p2plib[features] @ {wheel}\n", done.stderr


def test_without_the_internet_the_first_cell_installs_p2plib_alone(tmp_path):
    wheel = (tmp_path / WHEEL).as_uri()
    last = first_cell(tmp_path, ".", online=False).stdout.splitlines()[-1]
    assert last == f"-m pip install --quiet --find-links={tmp_path} --no-deps {wheel}"


def test_the_first_cell_says_what_is_missing(tmp_path):
    done = first_cell(tmp_path)
    if "git+" in first_cells(ROOT, "01_eda")[1]:
        assert "p2plib[features] @ git+https://" in done.stdout
    else:
        assert done.stderr.endswith("p2plib is not here. Put its wheel beside this notebook: docs/open_anywhere.md\n")
