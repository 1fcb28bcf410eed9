"""A real JupyterLab runs a notebook: its sliders move, and its controls change the image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import needs
import numpy as np
import pytest
from labserver import ROOT, jupyterlab
from pixels import assert_divided, drag, held, shot

pytestmark = pytest.mark.once
NAME = "05_results.ipynb"
MILLISECONDS = 120_000
RUNNING = """() => {
  const shown = window.jupyterapp?.shell.currentWidget;
  return shown?.sessionContext?.session?.kernel?.connectionStatus === 'connected'
}"""
DONE = """() => window.jupyterapp.shell.currentWidget.content.widgets
  .every(cell => cell.model.type !== 'code' || cell.model.executionCount)"""


@pytest.fixture(scope="module")
def lab(browser, tiny_run, tmp_path_factory):
    """JupyterLab in a folder with the notebook of the results, not executed; it is to show `tiny_run`."""
    nbformat = needs.module("nbformat")
    needs.module("ipywidgets")
    needs.module("jupyterlab")
    notebook = nbformat.read(ROOT / "notebooks" / NAME, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    folder = tmp_path_factory.mktemp("notebooks")
    nbformat.write(notebook, folder / NAME)
    with jupyterlab(folder, tmp_path_factory.mktemp("lab"), P2P_RUN=str(tiny_run)) as lab:
        yield lab


@pytest.fixture
def notebook(page, lab):
    """The page of the notebook; all its cells have run."""
    page.set_default_timeout(MILLISECONDS)
    page.goto(lab.url(NAME))
    page.wait_for_function(RUNNING)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(DONE)
    return page


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


def test_sliders_of_a_running_notebook(notebook):
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
