"""A real JupyterLab runs notebooks: sliders move, controls change the image, and a canvas takes drawings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import needs
import numpy as np
import pytest
from labserver import ROOT, jupyterlab
from pixels import assert_divided, drag, held, shot

pytestmark = pytest.mark.once
RESULTS, SKETCH, CANVAS = "05_results.ipynb", "08_sketch_to_photo.ipynb", "canvas.ipynb"
DRAW = """
import os, p2plib
from p2plib.show.draw import draw
draw(p2plib.load(os.environ["P2P_RUN"]))
"""
MILLISECONDS = 120_000
RUNNING = """() => {
  const shown = window.jupyterapp?.shell.currentWidget;
  return shown?.sessionContext?.session?.kernel?.connectionStatus === 'connected'
}"""
DONE = """() => window.jupyterapp.shell.currentWidget.content.widgets
  .every(cell => cell.model.type !== 'code' || cell.model.executionCount)"""


@pytest.fixture(scope="module")
def lab(browser, tiny_run, tmp_path_factory):
    """JupyterLab in a folder with notebooks, whose kernels are told of `tiny_run`.

    The one of the results and one with a canvas were not executed; that of the sketches has its stored outputs.
    """
    nbformat = needs.module("nbformat")
    needs.module("ipywidgets")
    needs.module("jupyterlab")
    results = nbformat.read(ROOT / "notebooks" / RESULTS, as_version=4)
    for cell in results.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    folder = tmp_path_factory.mktemp("notebooks")
    nbformat.write(results, folder / RESULTS)
    canvas = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(DRAW)], metadata=results.metadata)  # the kernel
    nbformat.write(canvas, folder / CANVAS)
    shutil.copy(ROOT / "notebooks" / SKETCH, folder)
    with jupyterlab(folder, tmp_path_factory.mktemp("lab"), P2P_RUN=str(tiny_run)) as lab:
        yield lab


@pytest.fixture
def executed(page, lab):
    """Opens a notebook and runs all its cells; returns its page."""

    def run(name: str) -> Any:
        page.set_default_timeout(MILLISECONDS)
        page.goto(lab.url(name))
        page.wait_for_function(RUNNING)
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_function(DONE)
        return page

    return run


@contextmanager
def redrawn(pair) -> Iterator[None]:
    """What is done here must replace the images of a slider."""
    old = pair.element_handle()
    yield
    pair.page.wait_for_function("old => !old.isConnected", arg=old)
    pair.wait_for()


def press(control, pair, key: str) -> np.ndarray:
    """Press a key on a slider of ipywidgets; returns what `pair` then shows."""
    with redrawn(pair):
        control.locator(".noUi-handle").press(key)
    return shot(pair)


def assert_alike(one: np.ndarray, two: np.ndarray) -> None:
    assert one.shape == two.shape and np.abs(one - two).mean() < 0.2


def assert_unlike(one: np.ndarray, two: np.ndarray) -> None:
    assert one.shape != two.shape or np.abs(one - two).mean() > 0.2


def test_sliders_of_a_running_notebook(executed):
    notebook = executed(RESULTS)
    plain = notebook.locator(".jp-RenderedHTML .p2p-pair").first
    assert_divided(plain, 0.5)
    drag(plain, 0.5, 0.2)
    assert_divided(plain, 0.2)
    plain.locator("input").focus()
    for key in ["ArrowRight"] * 60 + ["ArrowLeft"] * 40:  # on which JupyterLab has shortcuts
        notebook.keyboard.press(key)
    assert_divided(plain, 0.3)

    browse = notebook.locator(".p2p-browse").first
    pair, pick = browse.locator(".p2p-pair"), browse.locator(".p2p-browse-image")
    assert_divided(pair, 0.5)
    first = shot(pair)
    assert_unlike(press(pick, pair, "ArrowRight"), first)
    drag(pair, 0.5, 0.8)
    assert_divided(pair, 0.8)
    assert_alike(press(pick, pair, "ArrowLeft"), first)

    explore = notebook.locator(".p2p-explore").first
    pair, noise = explore.locator(".p2p-pair"), explore.locator(".p2p-explore-noise")
    assert_divided(pair, 0.5)
    silent = shot(pair)
    seed0 = press(noise, pair, "ArrowRight")
    seed1 = press(noise, pair, "ArrowRight")
    assert_unlike(seed0, silent)
    assert_unlike(seed1, seed0)
    assert_alike(press(noise, pair, "ArrowLeft"), seed0)
    left = explore.locator(".p2p-explore-left select")
    with redrawn(pair):
        left.select_option(index=2)  # the generated image without noise
    with redrawn(pair):
        noise.locator(".noUi-handle").press("Home")
    assert_alike(held(pair, "img.p2p-before"), held(pair, "img:not(.p2p-before)"))
    with redrawn(pair):
        left.select_option(index=3)  # the expected one
    assert_divided(pair, 0.5)
    drag(pair, 0.5, 0.7)
    assert_divided(pair, 0.7)
    assert (notebook.errors, notebook.outside) == ([], [])


@contextmanager
def translated(panel) -> Iterator[None]:
    """What is done here must change the translation beside the canvas."""
    image = panel.locator(".p2p-draw-result img")
    old = image.get_attribute("src")
    yield
    panel.page.wait_for_function(
        "old => ![null, undefined, old].includes(document.querySelector('.p2p-draw-result img')?.src)", arg=old
    )


def black(canvas) -> int:
    """How many pixels of a canvas are black."""
    return canvas.evaluate(
        "c => new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)"
        ".filter(pixel => pixel === 0xff000000).length"
    )


def test_a_drawing_is_translated_after_each_stroke(executed):
    notebook = executed(CANVAS)
    panel = notebook.locator(".p2p-draw")
    canvas, result = panel.locator("canvas"), panel.locator(".p2p-draw-result img")
    canvas.wait_for()
    blank = result.get_attribute("src")
    with translated(panel):
        drag(canvas, 0.2, 0.8)
    one, drawn = result.get_attribute("src"), black(canvas)
    assert drawn > 10 and panel.locator("img").count() == 2 and not panel.locator(".p2p-sheet img").is_visible()
    with translated(panel):
        notebook.keyboard.press("Control+z")
    assert (result.get_attribute("src"), black(canvas)) == (blank, 0)

    with translated(panel):
        drag(canvas, 0.2, 0.8)
    assert result.get_attribute("src") == one
    panel.get_by_role("button", name="Eraser").click()
    panel.get_by_role("slider", name="Size").fill("100")
    with translated(panel):
        drag(canvas, 0.6, 0.9)
    assert 0 < black(canvas) < drawn
    with translated(panel):
        panel.get_by_role("button", name="Undo").click()
    assert (result.get_attribute("src"), black(canvas)) == (one, drawn)
    with translated(panel):
        panel.get_by_role("button", name="Clear").click()
    assert (result.get_attribute("src"), black(canvas)) == (blank, 0)
    assert (notebook.errors, notebook.outside) == ([], [])


def test_the_tools_of_the_canvas_are_reached_by_keyboard(executed):
    notebook = executed(CANVAS)
    panel = notebook.locator(".p2p-draw")
    panel.locator("canvas").wait_for()
    with translated(panel):
        drag(panel.locator("canvas"), 0.2, 0.8)
    reached = []
    for _ in range(5):
        notebook.keyboard.press("Tab")
        reached.append(notebook.locator(":focus").evaluate("focused => focused.className || focused.type"))
        if "undo" in reached[-1]:
            with translated(panel):
                notebook.keyboard.press("Enter")
            assert panel.locator(".p2p-undo").is_disabled() and black(panel.locator("canvas")) == 0
        if "eraser" in reached[-1]:
            notebook.keyboard.press("Space")
            assert panel.get_by_role("button", name="Eraser").get_attribute("aria-pressed") == "true"
        if reached[-1] == "range":
            notebook.keyboard.press("ArrowRight")
            assert panel.get_by_role("slider", name="Size").input_value() == "21"
    assert reached == ["p2p-pen", "p2p-eraser", "range", "p2p-undo", "p2p-clear"]
    assert (notebook.errors, notebook.outside) == ([], [])


def test_a_canvas_that_nobody_runs_is_two_images_and_a_sentence(page, lab):
    """As it is stored; JupyterLab does not trust the file, and so drops styles and controls."""
    page.set_default_timeout(MILLISECONDS)
    page.goto(lab.url(SKETCH))
    sentence = page.get_by_text("Drawing needs a running kernel")
    sentence.wait_for()
    images = page.locator(".jp-OutputArea-output", has=sentence).locator("img")
    assert images.evaluate_all("images => images.map(i => i.complete && i.naturalWidth > 0 && i.alt)") == [
        "generated photo",
        "sketch",
    ]
    assert page.locator(".jp-OutputArea-output canvas").count() == 0
