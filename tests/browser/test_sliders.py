"""Sliders without a kernel, a server or a network: the page of a run, and a notebook exported to HTML."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import needs
import numpy as np
import pytest
from PIL import Image
from pixels import assert_divided, drag, point

from p2plib.show.frames import frames
from p2plib.show.report import write_report

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
OFFLINE = {"require_js_url": "", "mathjax_url": ""}
"""What nbconvert's template fetches for formulas and for ipywidgets; sliders need neither."""


@pytest.fixture(scope="module")
def results(tiny_run, tmp_path_factory) -> str:
    """The address of a run's page."""
    folder = tmp_path_factory.mktemp("results") / "run"
    shutil.copytree(tiny_run, folder)
    return write_report(folder).as_uri()


def test_the_mouse_drags_the_divider(page, results):
    page.goto(results)
    pair = page.locator(".p2p-pair").first
    assert_divided(pair, 0.5)
    drag(pair, 0.5, 0.2, 0.25)
    assert_divided(pair, 0.25)
    drag(pair, 0.25, 0.9)
    assert_divided(pair, 0.9)
    assert (page.errors, page.outside) == ([], [])


def test_each_slider_moves_alone(page, results):
    page.goto(results)
    pairs = page.locator(".p2p-pair")
    drag(pairs.nth(1), 0.5, 0.1)
    assert_divided(pairs.nth(0), 0.5)
    assert_divided(pairs.nth(1), 0.1)
    assert_divided(pairs.nth(2), 0.5)


def test_keys_move_the_divider(page, results):
    page.goto(results)
    page.get_by_role("slider").first.focus()
    for key, fraction in {"ArrowRight": 0.6, "ArrowLeft": 0.5, "ArrowUp": 0.6, "ArrowDown": 0.5}.items():
        for _ in range(20):
            page.keyboard.press(key)
        assert_divided(page.locator(".p2p-pair").first, fraction)
    page.keyboard.press("Home")
    assert_divided(page.locator(".p2p-pair").first, 0)
    page.keyboard.press("End")
    assert_divided(page.locator(".p2p-pair").first, 1)


def test_the_tab_key_reaches_a_slider_that_says_what_it_is(page, results):
    page.goto(results)
    page.get_by_role("link").last.focus()
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.get_attribute("type") == "range"
    assert "on the left" in focused.get_attribute("aria-label")
    outline = page.locator(".p2p-pair").first.evaluate("pair => getComputedStyle(pair).outlineStyle")
    assert outline == "solid"


def test_a_finger_moves_the_divider(new_page, results):
    page = new_page(has_touch=True, is_mobile=True)
    page.goto(results)
    pair = page.locator(".p2p-pair").first
    page.touchscreen.tap(*point(pair, 0.3))
    assert_divided(pair, 0.3)
    page.touchscreen.tap(*point(pair, 0.7))
    assert_divided(pair, 0.7)
    assert (page.errors, page.outside) == ([], [])


def export(notebook: Path, html: Path, **options: str) -> str:
    """Convert a stored notebook to static HTML, without running it; returns its address."""
    nbconvert, nbformat = needs.module("nbconvert"), needs.module("nbformat")
    text, _ = nbconvert.HTMLExporter(**options).from_notebook_node(nbformat.read(notebook, as_version=4))
    html.write_text(text, encoding="utf-8")
    return html.as_uri()


@pytest.mark.parametrize("options", [{}, OFFLINE], ids=["plain", "offline"])
def test_exported_results_slide_without_a_kernel(page, tmp_path, options):
    page.goto(export(NOTEBOOKS / "05_results.ipynb", tmp_path / "results.html", **options))
    pairs = page.locator(".p2p-pair")
    assert pairs.count() == 3  # compare, browse, explore
    for i in range(3):
        assert_divided(pairs.nth(i), 0.5)
        drag(pairs.nth(i), 0.5, 0.2)
        assert_divided(pairs.nth(i), 0.2)
    if options:
        assert (page.errors, page.outside) == ([], [])


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_exports_to_a_page_that_needs_no_network(page, tmp_path, notebook):
    page.goto(export(notebook, tmp_path / "page.html", **OFFLINE))
    images = page.locator("img").evaluate_all("images => images.map(image => image.complete && image.naturalWidth)")
    assert all(images) and page.locator(".jp-Cell").count() == len(json.loads(notebook.read_text())["cells"])
    assert (page.errors, page.outside) == ([], [])


@pytest.fixture
def strip(tmp_path) -> str:
    """The address of a page with a slider over a red, a green and a blue image, the green one shown at first."""
    images = [np.full((64, 64, 3), color, np.uint8) for color in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    path = tmp_path / "frames.html"
    path.write_text(frames(images, ["red", "green", "blue"], "color", start=1).text, encoding="utf-8")
    return path.as_uri()


def shown(page) -> str:
    """The color of the image in the window."""
    picture = Image.open(io.BytesIO(page.locator(".p2p-window").screenshot())).convert("RGB")
    middle = picture.getpixel((picture.width // 2, 64))
    return ("red", "green", "blue")[int(np.argmax(middle))]


def test_keys_and_mouse_choose_the_frame_and_say_which(page, strip):
    page.goto(strip)
    slider = page.get_by_role("slider")
    assert shown(page) == slider.get_attribute("aria-valuetext") == "green"
    slider.focus()
    for key, color in {"ArrowRight": "blue", "ArrowLeft": "green", "Home": "red", "End": "blue"}.items():
        page.keyboard.press(key)
        assert shown(page) == slider.get_attribute("aria-valuetext") == color
    page.mouse.click(*point(slider, 0.02))
    assert shown(page) == slider.get_attribute("aria-valuetext") == "red"
    assert (page.errors, page.outside) == ([], [])


def test_without_styles_all_frames_and_labels_are_there(page, strip):
    page.goto(strip)
    page.locator("style").evaluate("style => style.remove()")
    tops = page.locator(".p2p-row figure").evaluate_all("all => all.map(figure => figure.getBoundingClientRect().top)")
    assert tops == sorted(set(tops)) and len(tops) == 3
    assert page.locator("figcaption").all_inner_texts() == ["red", "green", "blue"]
