from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINUX = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
MAC = {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"}
WINDOWS = {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64"}
LOCKS = [
    *(("requirements.lock", python, system) for python in ("3.11", "3.12", "3.13") for system in (LINUX, MAC, WINDOWS)),
    ("requirements-kaggle.lock", "3.12", LINUX),
]


def requirements(name: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in lines if line]


def locked(name: str) -> list[tuple[Requirement, list[str]]]:
    """The requirements of a lock, each with its hashes."""
    text = (ROOT / name).read_text().replace("\\\n", "")
    entries = (line.split("--hash=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [(Requirement(pin), [part.strip() for part in hashes]) for pin, *hashes in entries]


def test_requirements_and_pyproject_name_the_same_ranges():
    extras = PROJECT["optional-dependencies"]
    assert set(requirements("requirements.txt")) == {
        *PROJECT["dependencies"],
        *extras["tensorflow"],
        *extras["jax"],
        *extras["notebooks"],
        *extras["web"],
        *extras["video"],
        *extras["bands"],
        *extras["medical"],
        *extras["sketch"],
        *extras["features"],
        *extras["export"],
        *extras["kaggle"],
        *extras["hub"],
        *extras["remote"],
        *extras["dev"],
    }


def test_what_builds_the_documentation_is_an_extra_and_no_part_of_kaggles_lock():
    assert set(requirements("requirements-docs.txt")) == set(PROJECT["optional-dependencies"]["docs"])
    names = {name: {pin.name for pin, _ in locked(name)} for name in ("requirements.lock", "requirements-kaggle.lock")}
    assert "mkdocs-material" in names["requirements.lock"]
    assert "mkdocs-material" not in names["requirements-kaggle.lock"]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-kaggle.lock"])
def test_a_lock_has_a_hash_for_every_line_and_names_no_host(name):
    pins = locked(name)
    assert len(pins) > 100
    for pin, hashes in pins:
        assert [s.operator for s in pin.specifier] == ["=="] and pin.url is None, pin
        assert hashes and all(text.startswith("sha256:") and len(text) == 71 for text in hashes), pin
    text = (ROOT / name).read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text


@pytest.mark.parametrize(("name", "python", "system"), LOCKS)
def test_a_lock_satisfies_every_requirement(name, python, system):
    """`make lock` is due when this fails."""
    environment = {**system, "python_version": python, "python_full_version": f"{python}.9"}
    found: dict[str, str] = {}
    for pin, _ in locked(name):
        if pin.marker is None or pin.marker.evaluate(environment):
            assert canonicalize_name(pin.name) not in found, pin
            [specifier] = pin.specifier
            found[canonicalize_name(pin.name)] = specifier.version
    wanted = requirements("requirements.txt") + (requirements("requirements-kaggle.txt") if "kaggle" in name else [])
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.specifier.contains(found[canonicalize_name(requirement.name)]), requirement


def test_no_backend_is_forced():
    """Kaggle and GPU machines bring their own."""
    assert not [name for name in PROJECT["dependencies"] if name.startswith(("tensorflow", "jax"))]


def test_one_version():
    import p2plib

    assert p2plib.__version__ == PROJECT["version"]
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()
