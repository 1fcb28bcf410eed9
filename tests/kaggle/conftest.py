"""A Kaggle of the tests' own, to which the unmodified `kaggle` command talks."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from kaggle_server import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server; the environment is such that the `kaggle` command takes it for Kaggle."""
    server = Server()
    wanted = server.environment(tmp_path_factory.mktemp("home"))
    for name in set(os.environ) - set(wanted):
        monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    yield server
    server.stop()


@pytest.fixture
def home(server: Server) -> Path:
    """The home folder that the `kaggle` command sees, empty."""
    return Path(os.environ["HOME"])


@pytest.fixture
def impatient(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the `kaggle` command try again without the pauses before it, which add up to minutes."""
    folder = tmp_path_factory.mktemp("impatient")
    (folder / "sitecustomize.py").write_text("import time\n\ntime.sleep = lambda seconds: None\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.fixture(scope="session")
def clean_python(tmp_path_factory) -> Path:
    """A Python that has all packages of this one but p2plib, as Kaggle's has.

    A .pth file adds their folder; the .pth files in that folder, which an editable install lives by, are not read.
    """
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    found = subprocess.run([python, "-I", "-c", "import p2plib"], capture_output=True, cwd=folder)
    if not found.returncode:
        pytest.skip("p2plib is installed, not editable: it cannot be left out")
    return python
