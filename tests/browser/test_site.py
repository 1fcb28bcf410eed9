"""The documentation site as a file: built as `make docs` builds it, then opened without a server or a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pixels import assert_divided, drag

pytest.importorskip("mkdocs")

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def show(page, site):
    """Opens a page of the site; at the end, nothing may have failed or left this machine."""

    def open_page(name: str):
        page.goto((site / name).as_uri())
        return page

    yield open_page
    assert (page.errors, page.outside) == ([], [])


def test_search_finds_without_a_server(show):
    page = show("index.html")
    page.locator("[data-md-component=search-query]").fill("checkerboard")
    result = page.locator(".md-search-result__item").first
    result.wait_for()
    assert "checkerboard" in result.inner_text().lower()


@pytest.mark.parametrize("name", ["index.html", "tutorials/03_model.html", "overview.html"])
def test_every_picture_shows(show, name):
    page = show(name)
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert page.evaluate("document.images.length") > 0
    assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)") == []


def test_a_slider_of_a_notebook_moves(show):
    pair = show("tutorials/05_results.html").locator(".p2p-pair").first
    drag(pair, 0.5, 0.25)
    assert_divided(pair, 0.25)


def test_formulas_are_as_high_as_their_letters(show):
    formula = show("objective.html").locator(".formula-inline svg").first.bounding_box()
    assert 5 < formula["height"] < 30 and formula["width"] > 5


@pytest.mark.parametrize("name", ["index.html", "options.html", "files.html", "api/data.html", "tutorials/01_eda.html"])
def test_no_page_is_wider_than_a_phone(show, name):
    page = show(name)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
