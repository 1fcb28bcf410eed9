"""Sliders: the markup, as a parser sees it. Controls and the display of a training: as a kernel runs them."""

from __future__ import annotations

import base64
import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from markup import Tags
from PIL import Image

import p2plib
from p2plib.data import toy
from p2plib.errors import ConfigError
from p2plib.show import widgets

BEFORE = np.zeros((64, 48, 3), np.uint8)
AFTER = np.full((64, 48, 3), 200, np.uint8)
HOSTILE = """<script>alert("1")</script>' onload='x"""


def decode(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))))


def test_slider_lays_before_over_after():
    page = Tags(widgets.slider_html(BEFORE, AFTER, ("sketch", "photo"), percent=30))
    after, before = page.named("img")
    assert (before["alt"], after["alt"]) == ("sketch", "photo")
    assert before["class"] == "p2p-before"
    np.testing.assert_allclose(decode(before["src"]), BEFORE, atol=2)
    np.testing.assert_allclose(decode(after["src"]), AFTER, atol=2)
    assert page.text.split() == ["sketch", "photo"]


def test_slider_can_be_operated():
    page = Tags(widgets.slider_html(BEFORE, AFTER, ("sketch", "photo"), percent=30))
    [control] = page.named("input")
    assert (control["type"], control["min"], control["max"], control["value"]) == ("range", "0", "100", "30")
    assert "sketch" in control["aria-label"] and "photo" in control["aria-label"]
    assert "--p" in control["oninput"]
    assert [attrs["style"] for attrs in page.named("div") if "style" in attrs] == ["--p:30%"]


def test_labels_are_text_whatever_they_hold():
    page = Tags(widgets.slider_html(BEFORE, AFTER, (HOSTILE, "photo")))
    assert {tag for tag, _ in page.tags} == {"div", "img", "input", "span"}
    assert not any("onload" in attrs for _, attrs in page.tags)
    assert HOSTILE in page.text
    assert page.named("img")[1]["alt"] == HOSTILE


@pytest.mark.parametrize(("side", "shown"), [(32, 256), (128, 256), (256, 256), (512, 512)])
def test_small_images_are_enlarged_by_whole_pixels(side, shown):
    [img] = Tags(widgets.img_html(np.zeros((side, side, 3), np.uint8), "x")).named("img")
    assert (img["width"], img["height"]) == (str(shown), str(shown))
    assert ("pixelated" in img.get("style", "")) == (side < shown)


def test_quality_changes_the_size_of_the_page():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert len(widgets.slider_html(noise, noise, quality=30)) < len(widgets.slider_html(noise, noise)) / 2


def test_compare_brings_its_own_style():
    shown = widgets.compare(BEFORE, AFTER, ("sketch", "photo"))
    html = shown._repr_html_()
    assert html == f"<style>{widgets.STYLE}</style>{widgets.slider_html(BEFORE, AFTER, ('sketch', 'photo'))}"
    assert len(repr(shown)) < 100


PAIRS = [toy.city(i, 32) for i in range(3)]
SOURCES, TARGETS = (np.stack(side) for side in zip(*PAIRS, strict=True))


def control(panel, name: str):
    """The control of a panel that is described so."""
    [found] = [child for child in panel.children if child.description == name]
    return found


def shown(panel) -> tuple[np.ndarray, np.ndarray]:
    """The images left and right of the divider, at their own size."""
    after, before = Tags(panel.children[-1].value).named("img")
    return decode(before["src"]).astype(int), decode(after["src"]).astype(int)


def assert_shown(panel, before: np.ndarray, after: np.ndarray) -> None:
    for one, two in zip(shown(panel), (before, after), strict=True):
        assert np.abs(one - two).mean() < 8  # JPEG


def test_browse_shows_the_pair_that_is_picked():
    pytest.importorskip("ipywidgets")
    panel = widgets.browse(PAIRS, ("photo", "map"), names=["a", "b", "c"])
    pick = control(panel, "image")
    assert (pick.options, pick.continuous_update) == (("a", "b", "c"), False)
    assert_shown(panel, *PAIRS[0])
    pick.index = 2
    assert_shown(panel, *PAIRS[2])
    assert [img["alt"] for img in Tags(panel.children[-1].value).named("img")] == ["map", "photo"]


def test_browse_leaves_a_slider_where_there_are_no_widgets():
    pytest.importorskip("ipywidgets")
    panel = widgets.browse(PAIRS, ("photo", "map"))
    bundle = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    pair = widgets.compare(*PAIRS[0], ("photo", "map"))._repr_html_()
    assert bundle["text/html"] == f"{pair}<div>The controls need a running kernel; the divider does not.</div>"
    assert widgets.NEEDS_KERNEL not in panel.children[-1].value  # they have one
    assert len(bundle["text/plain"]) < 200


def test_panels_have_the_classes_that_styles_and_tests_find_them_by():
    pytest.importorskip("ipywidgets")
    panel = widgets.browse(PAIRS)
    assert "p2p-browse" in panel._dom_classes
    assert "p2p-browse-image" in control(panel, "image")._dom_classes


def test_wrong_images_are_refused():
    pytest.importorskip("ipywidgets")
    with pytest.raises(ConfigError, match="no images"):
        widgets.browse([])
    with pytest.raises(ConfigError, match="3 images, but 2 names"):
        widgets.browse(PAIRS, names=["a", "b"])


def test_without_ipywidgets_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ConfigError, match=r"pip install 'p2plib\[notebooks\]'"):
        widgets.browse(PAIRS)


@pytest.fixture(scope="module")
def model(tiny_run) -> p2plib.Checkpoint:
    pytest.importorskip("ipywidgets")
    return p2plib.load(tiny_run)


@pytest.mark.keras
def test_explore_runs_the_model(model):
    panel = widgets.explore(model, SOURCES, TARGETS)
    assert control(panel, "left").options == control(panel, "right").options
    assert control(panel, "left").options == ("A", "generated B", "generated B, no noise", "expected B")
    assert_shown(panel, SOURCES[0], p2plib.translate(model, SOURCES[:1])[0])
    assert widgets.NEEDS_KERNEL in panel._repr_mimebundle_()["text/html"]
    control(panel, "noise seed").value = "7"
    control(panel, "image").index = 1
    assert_shown(panel, SOURCES[1], p2plib.translate(model, SOURCES[1:2], noise=7)[0])


@pytest.mark.keras
def test_explore_compares_any_two_in_any_direction(model):
    panel = widgets.explore(model, SOURCES, TARGETS)
    left, right = control(panel, "left"), control(panel, "right")
    left.value, right.value = "expected B", "A"
    assert_shown(panel, TARGETS[0], SOURCES[0])
    left.value, right.value = "generated B", "generated B, no noise"
    np.testing.assert_array_equal(*shown(panel))
    control(panel, "noise seed").value = "0"
    before, after = shown(panel)
    assert (before != after).any()


@pytest.mark.keras
def test_explore_keeps_what_it_generated(model, monkeypatch):
    calls = []
    translate = p2plib.inference.translate.translate
    monkeypatch.setattr(
        "p2plib.inference.translate.translate", lambda *args, fit: calls.append(args) or translate(*args, fit=fit)
    )
    panel = widgets.explore(model, SOURCES)
    noise = control(panel, "noise seed")
    assert "expected B" not in control(panel, "left").options
    for value in ("1", "2", "1", "off", "2"):
        noise.value = value
    assert [seed for _, _, seed in calls] == [None, 1, 2]


@pytest.mark.keras
def test_explore_takes_images_of_any_size(model):
    images = [SOURCES[0], np.zeros((40, 64, 3), np.uint8)]
    panel = widgets.explore(model, images)
    control(panel, "image").index = 1
    assert [image.shape for image in shown(panel)] == [(40, 64, 3)] * 2
    with pytest.raises(ConfigError, match="target of the same size"):
        widgets.explore(model, images, TARGETS[:2])


@pytest.mark.keras
def test_explore_offers_no_noise_to_a_model_without_dropout(model):
    info = replace(model.info, config=replace(model.info.config, dropout=0.0))
    assert control(widgets.explore(replace(model, info=info), SOURCES), "noise seed").disabled
    assert not control(widgets.explore(model, SOURCES), "noise seed").disabled


@pytest.mark.keras
@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5])])
def test_progress_prints_lines_outside_notebooks(tiny_config, capsys, every, epochs):
    show = widgets.progress(every)
    for count in range(1, 6):
        show(snapshot(replace(tiny_config, epochs=5), count))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"epoch {epoch}/5" for epoch in epochs]


def snapshot(config, epochs: int):
    from p2plib.training.run import Snapshot

    row = {"l1": 0.5, "gan": 0.7, "discriminator": 0.6, "val_l1": 0.4, "val_psnr": 20.0, "val_ssim": 0.5}
    row |= {"seconds": 1.0, "pictures_per_second": 9.0}
    rows = [{"epoch": epoch, **row} for epoch in range(1, epochs + 1)]
    terms, samples = ("l1", "gan", "discriminator"), lambda: (SOURCES, TARGETS, TARGETS)
    return Snapshot(config, ("photo", "map"), terms, rows, samples, done=epochs == config.epochs)


TRAINING = """
import dataclasses, p2plib
from p2plib.show import widgets
config = p2plib.TrainConfig.read({config!r})
p2plib.train(dataclasses.replace(config, run_dir={run!r}), show=widgets.progress())
"""


@pytest.fixture
def trained_in_a_notebook(tiny_run, tmp_path):
    """Runs a training in a kernel; returns the outputs of its cell."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    code = TRAINING.format(config=str(tiny_run / "config.json"), run=str(tmp_path / "run"))

    def run() -> list[dict]:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        return nbclient.NotebookClient(notebook, kernel_name="python3").execute().cells[0].outputs

    return run


@pytest.mark.once
def test_progress_is_one_output_of_a_notebook(trained_in_a_notebook, tmp_path):
    outputs = trained_in_a_notebook()
    [area] = [output for output in outputs if output.output_type == "display_data"]
    assert area.data["text/plain"] == "training progress"
    curves, samples = Tags(area.data["text/html"]).named("img")
    assert "learning curves" in curves["alt"]
    assert samples["alt"] == "samples: A | generated B | expected B"
    assert np.ptp(decode(curves["src"])) > 100
    assert decode(samples["src"]).shape[1] == 3 * 32 + 2 * 4
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "epoch 1/2" not in text and "ended" in text


@pytest.mark.once
def test_progress_prints_in_kaggles_batch_runs(trained_in_a_notebook, monkeypatch):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    outputs = trained_in_a_notebook()
    assert not [output for output in outputs if output.output_type == "display_data"]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "epoch 1/2" in text and "epoch 2/2" in text


def test_progress_is_drawn_at_most_every_two_seconds_and_at_the_end(tiny_config, monkeypatch):
    pytest.importorskip("IPython")
    drawn, now = [], [100.0]
    monkeypatch.setattr(widgets, "in_notebook", lambda: True)
    monkeypatch.setattr(widgets, "_display", lambda html, handle: drawn.append(html) or "handle")
    monkeypatch.setattr(widgets.time, "monotonic", lambda: now[0])
    show, counts = widgets.progress(), []
    for epoch, seconds in enumerate((0, 0.5, 2.5, 3.0, 3.1), 1):
        now[0] = 100 + seconds
        show(snapshot(replace(tiny_config, epochs=5), epoch))
        counts.append(len(drawn))
    assert counts == [1, 1, 2, 2, 3]


def test_progress_differs_only_in_its_images(tiny_config):
    pages = [Tags(widgets._training_html(snapshot(tiny_config, epochs))) for epochs in (1, 4)]
    one, two = ([{**attrs, "src": ""} for _, attrs in page.tags] for page in pages)
    assert one == two
    assert pages[0].named("img") != pages[1].named("img")
