"""What `pip install` gets: wheel and source archive hold all of the package, and run in an environment of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import p2plib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "p2plib").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
)
TRY = """
import sys
from pathlib import Path
import numpy as np
import p2plib
from p2plib.web import create_app

assert Path(p2plib.__file__).is_relative_to(sys.prefix), p2plib.__file__
model = p2plib.load("toy-map")  # weights that come with it
[image] = p2plib.translate(model, [np.full((64, 64, 3), 90, np.uint8)])
assert image.shape == (64, 64, 3)
app = create_app(["toy-map"])  # templates and scripts
page = app.test_client().get("/").text
assert "<html" in page and app.test_client().get("/static/app.js").status_code == 200
app.extensions["p2plib"].queue.close()
print(p2plib.__version__)
"""

pytestmark = pytest.mark.once


def run(*command: object, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)), env=os.environ | environment, capture_output=True, text=True, cwd=Path(sys.prefix)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """A source archive, made of a copy of the project, and a wheel made of that archive."""
    folder = tmp_path_factory.mktemp("dist")
    copy = folder / "copy"
    shutil.copytree(ROOT / "p2plib", copy / "p2plib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    backend = (
        "import os, sys; from setuptools import build_meta; os.chdir(sys.argv[1]); build_meta.build_sdist(sys.argv[2])"
    )
    run(sys.executable, "-c", backend, copy, folder)
    [archive] = folder.glob("*.tar.gz")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, archive)
    [wheel] = folder.glob("*.whl")
    return {"archive": archive, "wheel": wheel}


def test_they_hold_all_of_the_package_and_nothing_else(built):
    with tarfile.open(built["archive"]) as archive:
        inside = [name.partition("/")[2] for name in archive.getnames() if not archive.getmember(name).isdir()]
    assert sorted(name for name in inside if name.startswith("p2plib/")) == PACKAGE
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert sorted(names) == PACKAGE


def test_the_wheel_runs_in_an_environment_of_its_own(built, tmp_path):
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    options = ["--no-deps", "--no-index", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, built["wheel"])
    others = sysconfig.get_path("purelib")  # the dependencies; p2plib itself is not found by this path
    assert run(python, "-c", TRY, PYTHONPATH=others).splitlines()[-1] == p2plib.__version__
    listed = run(python.with_name("p2plib"), "data", "list", PYTHONPATH=others)
    assert "facades: " in listed
