"""A real JupyterLab runs a notebook: its sliders move, and its controls change the picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import needs
import numpy as np
import pytest
from labserver import jupyterlab
from pixels import assert_divided, drag, held, shot

CELLS = [
    "import p2plib\nfrom p2plib import widgets\nfrom p2plib.data import toy\n"
    "sources, targets = zip(*(toy.city(i, 64) for i in range(3)))",
    "widgets.compare(sources[0], targets[0], ('photo', 'map'))",
    "widgets.browse(list(zip(sources, targets)), ('photo', 'map'))",
    "widgets.explore(p2plib.load({run!r}), sources, targets)",
]
MILLISECONDS = 120_000
RUNNING = """() => {
  const shown = window.jupyterapp?.shell.currentWidget;
  return shown?.sessionContext?.session?.kernel?.connectionStatus === 'connected'
}"""
DONE = """() => window.jupyterapp.shell.currentWidget.content.widgets
  .every(cell => cell.model.type !== 'code' || cell.model.executionCount)"""


@pytest.fixture(scope="module")
def folder(tiny_run, tmp_path_factory) -> Path:
    """Holds small.ipynb, never executed, with every kind of slider."""
    nbformat = needs.module("nbformat")
    cells = [nbformat.v4.new_code_cell(text.replace("{run!r}", repr(str(tiny_run)))) for text in CELLS]
    folder = tmp_path_factory.mktemp("notebooks")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "small.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(browser, folder, tmp_path_factory):
    needs.module("ipywidgets")
    needs.module("jupyterlab")
    with jupyterlab(folder, tmp_path_factory.mktemp("lab")) as lab:
        yield lab


def run_all(page, lab, name: str) -> None:
    """Open a notebook and run all its cells."""
    page.set_default_timeout(MILLISECONDS)
    page.goto(lab.url(name))
    page.wait_for_function(RUNNING)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(DONE)


@pytest.fixture(params=["small.ipynb"])
def notebook(page, lab, request):
    """The page of a notebook whose cells have run."""
    run_all(page, lab, request.param)
    return page


@contextmanager
def redrawn(pair) -> Iterator[None]:
    """What is done here must replace the pictures of a slider."""
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
    assert one.shape == two.shape and np.abs(one - two).mean() < 1


def assert_unlike(one: np.ndarray, two: np.ndarray) -> None:
    assert one.shape != two.shape or np.abs(one - two).mean() > 1


def test_sliders_of_a_running_notebook(notebook):
    plain = notebook.locator(".jp-RenderedHTML .p2p-pair").first
    assert_divided(plain, 0.5)
    drag(plain, 0.5, 0.2)
    assert_divided(plain, 0.2)
    for _ in range(20):
        notebook.keyboard.press("ArrowRight")  # which JupyterLab has a shortcut on
    assert_divided(plain, 0.3)

    browse = notebook.locator(".p2p-browse").first
    pair, pick = browse.locator(".p2p-pair"), browse.locator(".p2p-browse-picture")
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
        left.select_option(index=2)  # the generated picture without noise
    with redrawn(pair):
        noise.locator(".noUi-handle").press("Home")
    assert_alike(held(pair, "img.p2p-before"), held(pair, "img:not(.p2p-before)"))
    with redrawn(pair):
        left.select_option(index=3)  # the expected one
    assert_divided(pair, 0.5)
    drag(pair, 0.5, 0.7)
    assert_divided(pair, 0.7)
    assert (notebook.errors, notebook.outside) == ([], [])
