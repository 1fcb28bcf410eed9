"""The canvas of notebooks: what the kernel makes of what comes from it; tests/browser has the canvas itself."""

from __future__ import annotations

import base64
import html
import io
import re
import sys

import numpy as np
import pytest
from markup import Tags
from PIL import Image

import p2plib
from p2plib.errors import ConfigError, DataError
from p2plib.show import draw as module
from p2plib.show import widgets
from p2plib.show.draw import decode, draw

SIZE = 32
SHEET = np.full((SIZE, SIZE, 3), 255, np.uint8)
SHEET[10:12, 4:20] = 0


def url(image: np.ndarray, format: str = "PNG") -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format)
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def test_what_the_canvas_sends_is_decoded():
    np.testing.assert_array_equal(decode(url(SHEET), (SIZE, SIZE)), SHEET)
    np.testing.assert_array_equal(decode(url(SHEET[:20]), (SIZE, SIZE)), SHEET[:20])


NOISE = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
JUNK = {
    "nothing": "",
    "text": "hello",
    "address": "https://example.org/a.png",
    "jpeg": url(SHEET, "JPEG"),
    "jpeg that says it is PNG": url(SHEET, "JPEG").replace("jpeg", "png", 1),
    "no base64": "data:image/png;base64,???",
    "no ASCII": "data:image/png;base64,ü",
    "empty": "data:image/png;base64,",
    "cut off": url(SHEET)[:100],
    "too large": url(np.zeros((SIZE, SIZE + 1, 3), np.uint8)),
    "too long": url(NOISE),
}


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_refused(name):
    with pytest.raises(DataError, match="drawing"):
        decode(JUNK[name], (SIZE, SIZE))


def test_a_small_file_of_many_pixels_is_refused_by_its_header(monkeypatch):
    buffer = io.BytesIO()
    Image.new("1", (4000, 4000)).save(buffer, "PNG")
    monkeypatch.setattr(module, "to_rgb", lambda opened: pytest.fail("it was decoded"))
    with pytest.raises(DataError, match="larger than the canvas: 4000x4000"):
        decode("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(), (64, 64))


@pytest.fixture(scope="module")
def model(tiny_run) -> p2plib.Checkpoint:
    pytest.importorskip("ipywidgets")
    return p2plib.load(tiny_run)


def parts(panel):
    """The canvas, the result, and the text area between canvas and kernel."""
    row, text = panel.children
    return *row.children, text


def shown(result) -> np.ndarray:
    [img] = Tags(result.value).named("img")
    assert img["alt"] == "generated B"
    return np.array(Image.open(io.BytesIO(base64.b64decode(img["src"].partition(",")[2])))).astype(int)


def assert_shown(result, generated: np.ndarray) -> None:
    assert np.abs(shown(result) - generated).mean() < 8  # JPEG


@pytest.mark.keras
def test_each_drawing_is_translated(model):
    _, result, text = parts(draw(model))
    blank = np.full((SIZE, SIZE, 3), 255, np.uint8)
    assert_shown(result, p2plib.translate(model, [blank])[0])
    first = result.value
    text.value = url(SHEET)
    assert_shown(result, p2plib.translate(model, [SHEET])[0])
    assert result.value != first
    text.value = url(blank)
    assert result.value == first


@pytest.mark.keras
def test_a_drawing_of_any_size_is_fitted(model, monkeypatch):
    calls = []
    translate = module.translate
    monkeypatch.setattr(module, "translate", lambda *args, **more: calls.append(more) or translate(*args, **more))
    sheet = np.full((48, 80, 3), 255, np.uint8)
    _, result, text = parts(draw(model, sheet))
    text.value = url(255 - sheet)
    assert shown(result).shape == (48, 80, 3)
    assert calls == [{"fit": True}] * 2


@pytest.mark.keras
def test_junk_becomes_a_sentence_and_the_next_drawing_an_image(model):
    _, result, text = parts(draw(model))
    text.value = "<script>"
    page = Tags(result.value)
    assert [tag for tag, _ in page.tags] == ["p"] and "not a PNG image" in page.text
    text.value = url(SHEET)
    assert_shown(result, p2plib.translate(model, [SHEET])[0])


@pytest.mark.keras
def test_the_canvas_is_the_web_apps_with_tools_that_have_names(model):
    sheet, _, text = parts(draw(model, SHEET))
    page = Tags(sheet.value)
    [image], [canvas] = page.named("img"), page.named("canvas")
    np.testing.assert_array_equal(decode(image["src"], (SIZE, SIZE)), SHEET)
    assert image["alt"] and canvas["aria-label"] and "hidden" in canvas
    assert page.text.split()[-5:] == ["Pen", "Eraser", "Size", "Undo", "Clear"]
    assert {tag for tag, _ in page.tags} == {"style", "div", "canvas", "button", "label", "input", "img"}
    assert "class Drawing {" in image["onload"] and not re.search(r"^(im|ex)port ", image["onload"], re.MULTILINE)
    assert html.escape(image["onload"]) in sheet.value
    assert text.layout.display == "none"


@pytest.mark.keras
def test_without_widgets_there_are_two_images_and_a_sentence(model):
    bundle = draw(model, SHEET)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    pair = widgets.compare(SHEET, p2plib.translate(model, [SHEET])[0], ("A", "generated B")).text
    assert bundle["text/html"] == f"{pair}<div>{module.NEEDS_KERNEL}</div>"
    assert "script" not in bundle["text/html"] and "onload" not in bundle["text/html"]
    assert "needs a running kernel" in module.NEEDS_KERNEL


@pytest.mark.keras
def test_wrong_images_are_refused(model, monkeypatch):
    for image in (SHEET / 255, SHEET[..., 0]):
        with pytest.raises(ConfigError, match="uint8 image"):
            draw(model, image)
    with pytest.raises(ConfigError, match="at most 1024 pixels"):
        draw(model, np.zeros((8, 1025, 3), np.uint8))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ConfigError, match=r"pip install 'p2plib\[notebooks\]'"):
        draw(model)
