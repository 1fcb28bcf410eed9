"""The generators that come with p2plib."""

from __future__ import annotations

import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.errors import CheckpointError  # noqa: E402
from p2plib.inference.checkpoint import SHIPPED, find, read_info, shipped  # noqa: E402


def test_all_are_here():
    assert shipped() == ["toy-colors", "toy-map", "toy-satellite", "vases"]


@pytest.mark.parametrize("name", shipped())
def test_each_is_small_and_has_a_card(name):
    assert find(name).stat().st_size < 4e6
    assert name in (SHIPPED / name / "README.md").read_text(encoding="utf-8")
    assert (SHIPPED / name / "sample.jpg").exists()


@pytest.mark.parametrize("name", shipped())
def test_each_is_as_good_as_it_was_when_trained(name):
    """Weights are stored in float16, which must not show."""
    result = p2plib.evaluate(p2plib.load(name), limit=10)
    before = read_info(find(name)).metrics
    assert result.mean["ssim"] > before["ssim"] - 0.03
    assert result.mean["l1"] < before["l1"] * 1.15


def test_a_file_of_that_name_wins(tmp_path, monkeypatch, tiny_run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vases").symlink_to(tiny_run)
    assert find("vases").name == "best.keras"


def test_an_unknown_name_is_told_which_there_are():
    with pytest.raises(CheckpointError, match="toy-map"):
        p2plib.load("toy-mpa")
