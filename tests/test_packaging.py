from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_requirements_and_pyproject_name_the_same_ranges():
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    extras = PROJECT["optional-dependencies"]
    assert {line for line in lines if line} == {
        *PROJECT["dependencies"],
        *extras["tensorflow"],
        *extras["jax"],
        *extras["notebooks"],
        *extras["web"],
        *extras["video"],
        *extras["sketch"],
        *extras["export"],
        *extras["kaggle"],
        *extras["dev"],
    }


def test_no_backend_is_forced():
    """Kaggle and GPU machines bring their own."""
    assert not [name for name in PROJECT["dependencies"] if name.startswith(("tensorflow", "jax"))]


def test_one_version():
    import p2plib

    assert p2plib.__version__ == PROJECT["version"]
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()
