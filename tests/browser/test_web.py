"""The web app in a browser: a small model behind the real server, drawn for with a real mouse, finger and keyboard."""

from __future__ import annotations

import base64
import io
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from PIL import Image
from pixels import assert_divided, drag, point
from webserver import serving

from p2plib.data import sketch, toy
from p2plib.inference import checkpoint
from p2plib.inference.checkpoint import Checkpoint
from p2plib.inference.translate import translate
from p2plib.show import widgets
from p2plib.web import Limits, create_app

pytestmark = pytest.mark.once

LIMITS = Limits(upload_bytes=60_000, pixels=1_000_000, tiled_pixels=200_000, queue=1, wait_s=30)
STATIC = Path(checkpoint.__file__).parent / "web" / "static"
RED = np.full((48, 64, 3), (220, 20, 10), np.uint8)
WATER = "#96c4e8"
OUTLINES = "e => [e, e.closest('label') ?? e].map(one => getComputedStyle(one).outlineStyle)"
"""Of an element and of the label around it."""


@dataclass
class Site:
    app: Flask
    url: str
    models: dict[str, Checkpoint]


@pytest.fixture(scope="module")
def site(tiny_run, tmp_path_factory) -> Iterator[Site]:
    """One generator under three names: of maps, which has classes, of edges, and of what it was trained on."""
    folder, made = tmp_path_factory.mktemp("models"), checkpoint.load(tiny_run)
    kinds = {"city": ("toy", "BtoA", ("map", "satellite")), "shoes": ("edges2shoes", "AtoB", ("edges", "photo"))}
    for name, (data, direction, names) in kinds.items():
        config = replace(made.info.config, data=data, direction=direction)
        checkpoint.save_generator(
            folder / f"{name}.keras", made.generator, replace(made.info, config=config, names=names)
        )
    paths = [*(folder / f"{name}.keras" for name in kinds), tiny_run]
    app = create_app(paths, limits=LIMITS)
    with serving(app, LIMITS) as server:
        yield Site(app, f"http://127.0.0.1:{server.port}/", {path.stem: checkpoint.load(path) for path in paths})
    app.extensions["p2plib"].queue.close()


@pytest.fixture
def web(page, site) -> Iterator[Any]:
    """The page, which must not complain, nor ask for anything from elsewhere."""
    page.set_default_timeout(10_000)
    page.goto(site.url)
    yield page
    assert (page.errors, page.outside) == ([], [])


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def decoded(url: str) -> np.ndarray:
    """The image in a data URL, uint8 (H, W, 3)."""
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


def drawn(page: Any) -> np.ndarray:
    """What is on the canvas."""
    return decoded(page.locator("#canvas").evaluate("canvas => canvas.toDataURL()"))


def colors(image: np.ndarray) -> set[str]:
    return {"#{:02x}{:02x}{:02x}".format(*color) for color in np.unique(image.reshape(-1, 3), axis=0)}


def stroke(page: Any, *points: tuple[float, float]) -> None:
    """Draw with the mouse, from point to point, in fractions of the canvas."""
    page.locator("#canvas").scroll_into_view_if_needed()
    box = page.locator("#canvas").bounding_box()
    for i, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=1 if i == 0 else 4)
        page.mouse.down()
    page.mouse.up()


def upload(page: Any, content: bytes, name: str = "red.png") -> None:
    page.locator("#file").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})


def filled(page: Any, width: int, height: int) -> np.ndarray:
    """What is on the canvas as soon as it has this size."""
    page.locator(f"#canvas[width='{width}'][height='{height}']").wait_for()
    return drawn(page)


def translated(page: Any) -> np.ndarray:
    """Press the button; the result, as the page has it."""
    page.get_by_role("button", name="Translate").click()
    return result(page)


def result(page: Any) -> np.ndarray:
    says(page, "Done")
    return decoded(page.locator("#after").get_attribute("src"))


def says(page: Any, text: str | re.Pattern) -> None:
    page.get_by_role("status").filter(has_text=text).wait_for()


def test_a_drawing_is_translated_as_the_library_does(web, site):
    stroke(web, (0.2, 0.2), (0.8, 0.5), (0.3, 0.9))
    got = translated(web)
    expected = translate(site.models["city"], [drawn(web)])[0]
    assert np.abs(got.astype(int) - expected).max() <= 1
    assert web.locator("#took").text_content().endswith(" s")
    stroke(web, (0.8, 0.1), (0.9, 0.9))  # refined
    assert (translated(web) != got).any()


def test_undo_redo_and_clear(web):
    empty = drawn(web)
    assert colors(empty) == {"#ede9df"}  # land, the first class
    stroke(web, (0.1, 0.1), (0.9, 0.9))
    one = drawn(web)
    stroke(web, (0.9, 0.1), (0.1, 0.9))
    two = drawn(web)
    assert (one != empty).any() and (two != one).any()
    undo, redo = (web.get_by_role("button", name=name) for name in ("Undo", "Redo"))
    undo.click()
    np.testing.assert_array_equal(drawn(web), one)
    redo.click()
    np.testing.assert_array_equal(drawn(web), two)
    assert redo.is_disabled()
    web.get_by_role("button", name="Clear").click()
    np.testing.assert_array_equal(drawn(web), empty)
    for image in (two, one, empty):
        web.keyboard.press("Control+z")
        np.testing.assert_array_equal(drawn(web), image)
    assert undo.is_disabled()


def test_classes_are_drawn_in_their_exact_colors(web):
    assert web.locator("#palette label").all_text_contents() == list(toy.PALETTE)
    web.get_by_label("water").check()
    stroke(web, (0.2, 0.3), (0.7, 0.6))
    assert colors(drawn(web)) == {"#ede9df", WATER}  # and none between
    web.get_by_label("park").check()
    web.get_by_label("Box").check()
    stroke(web, (0.1, 0.1), (0.5, 0.5), (0.9, 0.4))
    image = drawn(web)
    assert (image[4:12, 4:28] == toy.PALETTE["park"]).all()
    assert (image[16:, :3] == toy.PALETTE["land"]).all()
    web.get_by_label("Eraser").check()
    web.get_by_role("slider", name="Size").fill("100")
    stroke(web, (0, 0.25), (1, 0.25))
    assert (drawn(web)[5:11] == toy.PALETTE["land"]).all()


def test_each_model_gets_its_pen(web):
    web.get_by_role("combobox").select_option("shoes")
    assert not web.locator("#palette").is_visible() and not web.get_by_label("Color").is_visible()
    stroke(web, (0.2, 0.3), (0.7, 0.6))
    assert colors(drawn(web)) == {"#ffffff", "#000000"}
    web.get_by_role("combobox").select_option(index=2)
    web.get_by_label("Color").fill("#12ab34")
    stroke(web, (0.7, 0.3), (0.2, 0.6))
    assert colors(drawn(web)) == {"#ffffff", "#000000", "#12ab34"}


def test_the_sketch_of_an_upload_is_edited_and_translated(web, site):
    button = web.get_by_role("button", name="Make a sketch")
    assert not button.is_visible()  # for a model of maps
    web.get_by_role("combobox").select_option("shoes")
    button.click()
    says(web, "Upload a photo first")
    photo = np.full((60, 80, 3), 230, np.uint8)
    photo[15:45, 20:60] = 30
    upload(web, png(photo))
    filled(web, 80, 60)
    button.focus()
    web.keyboard.press("Enter")
    says(web, "This is the sketch")
    made = drawn(web)
    np.testing.assert_array_equal(made, sketch.sketch(photo))
    web.get_by_label("Eraser").check()
    web.locator("#brush").fill("100")
    stroke(web, (0.1, 0.25), (0.9, 0.25))
    erased = drawn(web)
    assert colors(erased) == {"#ffffff", "#000000"}
    assert (made == 0).sum() > (erased == 0).sum() > 0
    web.get_by_label("Pen").check()
    stroke(web, (0.2, 0.1), (0.8, 0.1))
    edited = drawn(web)
    assert (edited == 0).sum() > (erased == 0).sum()
    expected = translate(site.models["shoes"], [edited])[0]
    assert np.abs(translated(web).astype(int) - expected).max() <= 1
    for _ in range(3):
        web.get_by_role("button", name="Undo").click()
    np.testing.assert_array_equal(drawn(web), photo)


def test_an_upload_is_translated_and_drawn_on(web, site):
    upload(web, png(RED))
    np.testing.assert_array_equal(filled(web, 64, 48), RED)
    tiles = translated(web)
    assert tiles.shape == RED.shape
    web.get_by_label("Whole image at once").check()
    fitted = translated(web)
    expected = translate(site.models["city"], [RED], fit=True)[0]
    assert np.abs(fitted.astype(int) - expected).max() <= 1 and (fitted != tiles).any()
    stroke(web, (0.5, 0.2), (0.5, 0.8))
    assert colors(drawn(web)) == {"#dc140a", "#ffffff"}


def test_a_image_is_dropped(web):
    data = web.evaluate_handle(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(bytes)], "red.png", {type: "image/png"}));
            return data;
        }""",
        list(png(RED)),
    )
    web.dispatch_event("main", "dragover", {"dataTransfer": data})
    assert web.locator("#drop").is_visible()
    web.dispatch_event("main", "drop", {"dataTransfer": data})
    np.testing.assert_array_equal(filled(web, 64, 48), RED)
    assert not web.locator("#drop").is_visible()


def test_a_image_is_pasted(web):
    web.context.grant_permissions(["clipboard-read", "clipboard-write"])
    web.evaluate(
        """async bytes => {
            const blob = new Blob([Uint8Array.from(bytes)], {type: "image/png"});
            await navigator.clipboard.write([new ClipboardItem({"image/png": blob})]);
        }""",
        list(png(RED)),
    )
    web.keyboard.press("Control+v")
    np.testing.assert_array_equal(filled(web, 64, 48), RED)


def test_a_random_example(web):
    empty = drawn(web)
    images = []
    for _ in range(2):
        with web.expect_response("**/api/example?model=city&*") as response:
            web.get_by_role("button", name="Random example").click()
        images.append(np.array(Image.open(io.BytesIO(web.request.get(response.value.url).body()))))
        web.locator("#undo:enabled").wait_for()
        web.wait_for_timeout(100)  # it is decoded
        np.testing.assert_array_equal(drawn(web), images[-1])
    assert (images[0] != images[1]).any()
    translated(web)
    web.keyboard.press("Control+z")
    web.keyboard.press("Control+z")
    np.testing.assert_array_equal(drawn(web), empty)


def test_big_images_are_shrunk(web):
    upload(web, png(np.zeros((1500, 3000, 3), np.uint8)))
    says(web, "Shrunk from 3000 × 1500 to 632 × 316 pixels.")  # 200,000 pixels, as many as go in tiles
    assert drawn(web).shape == (316, 632, 3)
    web.get_by_label("Whole image at once").check()
    assert translated(web).shape == (316, 632, 3)


def test_images_that_are_large_as_png_go_as_jpeg(web):
    noise = np.random.default_rng(0).integers(0, 256, (170, 170, 3), np.uint8)
    assert len(png(noise)) > LIMITS.upload_bytes
    upload(web, png(noise))
    filled(web, 170, 170)
    web.get_by_label("Whole image at once").check()
    translated(web)
    assert web.locator("#before").get_attribute("src").startswith("data:image/jpeg")


def test_the_divider_is_dragged_and_moved_by_keys(web):
    stroke(web, (0.1, 0.5), (0.9, 0.5))
    translated(web)
    pair = web.locator(".p2p-pair")
    drag(pair, 0.5, 0.2, 0.25)
    assert_divided(pair, 0.25)
    for _ in range(20):
        web.keyboard.press("ArrowRight")
    assert_divided(pair, 0.35)


def test_the_slider_looks_as_in_notebooks(web, site):
    address = web.locator("link[rel=stylesheet]").first.get_attribute("href")
    assert web.request.get(site.url + address).text() == widgets.STYLE.lstrip()


def test_the_result_is_downloaded(web, tmp_path):
    shown = translated(web)
    with web.expect_download() as download:
        web.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "city-satellite.png"
    with Image.open(download.value.path()) as opened:
        assert opened.format == "PNG"
        np.testing.assert_array_equal(np.array(opened), shown)


def test_the_keyboard_is_enough(web):
    reached = set()
    for _ in range(20):
        web.keyboard.press("Tab")
        reached.add(web.locator(":focus").evaluate("focused => focused.id || focused.name"))
        assert web.locator(":focus").evaluate(OUTLINES) != ["none", "none"]
        if web.locator(":focus").get_attribute("name") == "class":
            web.keyboard.press("ArrowRight")
        if web.locator(":focus").get_attribute("id") == "example":
            web.keyboard.press("Enter")
            web.locator("#undo:enabled").wait_for()
        if web.locator(":focus").get_attribute("id") == "noise":
            break
    wanted = {"model", "example", "file", "tool", "brush", "undo", "clear", "class", "go", "auto", "noise"}
    assert reached == wanted
    assert web.get_by_label("avenue").is_checked()  # the one after street
    web.keyboard.press("Control+Enter")
    result(web)
    web.keyboard.press("Tab")
    web.keyboard.press("Enter" if web.locator(":focus").get_attribute("id") == "divider" else "Tab")
    assert web.locator(":focus").get_attribute("id") == "divider"
    web.keyboard.press("End")
    assert_divided(web.locator(".p2p-pair"), 1)


def test_every_control_has_a_name(web):
    translated(web)
    upload(web, png(RED))
    filled(web, 64, 48)
    for control in web.locator("button, select, input, a, canvas").all():
        name = control.evaluate(
            "c => c.ariaLabel || [...(c.labels ?? [])].map(l => l.textContent).join() || c.textContent"
        )
        assert name.strip(), control.evaluate("c => c.outerHTML")


def test_what_is_no_image_is_refused_with_a_sentence(web):
    stroke(web, (0.1, 0.1), (0.9, 0.9))
    before = drawn(web)
    upload(web, png(RED)[:60], "broken.png")
    says(web, "broken.png cannot be read as an image; choose a PNG, JPEG or WebP file.")
    np.testing.assert_array_equal(drawn(web), before)
    noise = np.random.default_rng(0).integers(0, 256, (440, 440, 3), np.uint8)
    upload(web, png(noise))
    filled(web, 440, 440)
    web.get_by_role("button", name="Translate").click()
    says(web, "The image is too large to be sent; choose a smaller one.")
    web.get_by_role("button", name="Undo").click()
    translated(web)


def test_what_the_server_refuses_is_said(page, site):
    page.goto(site.url)
    page.get_by_label("Noise seed").fill("99999999999")
    page.get_by_role("button", name="Translate").click()
    says(page, "`noise` must be a whole number")
    page.get_by_label("Noise seed").fill("1")
    translated(page)
    assert len(page.errors) == 1 and "400" in page.errors[0]


def test_a_lost_connection_keeps_the_image(page, site):
    page.goto(site.url)
    stroke(page, (0.1, 0.1), (0.9, 0.9))
    before = drawn(page)
    page.context.set_offline(True)
    page.get_by_role("button", name="Translate").click()
    says(page, "The server cannot be reached; your image is still here")
    assert "error" in page.locator("#message").get_attribute("class")
    np.testing.assert_array_equal(drawn(page), before)
    page.context.set_offline(False)
    translated(page)


@pytest.fixture
def busy(site) -> Iterator[threading.Event]:
    """The model runs, and another image waits for it, until the event is set: no more are let in."""
    queue, done = site.app.extensions["p2plib"].queue, threading.Event()
    with ThreadPoolExecutor(2) as clients:
        for _ in range(2):
            clients.submit(queue.run, lambda: done.wait(20))
        while queue.waiting < 1:
            time.sleep(0.01)
        yield done
        done.set()


def test_a_busy_server_is_waited_for(page, site, busy):
    page.goto(site.url)
    page.get_by_role("button", name="Translate").click()
    says(page, re.compile(r"^The server is busy: waiting \d+ s for the 2nd try\.$"))
    busy.set()
    result(page)
    assert len(page.errors) == 1 and "503" in page.errors[0]


def test_waiting_can_be_stopped(page, site, busy):
    page.goto(site.url)
    page.get_by_role("button", name="Translate").click()
    says(page, "waiting")
    page.get_by_role("button", name="Stop").click()
    says(page, "Stopped.")
    assert page.get_by_role("button", name="Translate").is_visible()


def test_it_can_translate_after_each_stroke(web):
    web.get_by_label("Translate after each stroke").check()
    stroke(web, (0.1, 0.1), (0.9, 0.9))
    first = result(web)
    stroke(web, (0.9, 0.1), (0.1, 0.9))
    assert (result(web) != first).any()


@pytest.mark.parametrize("width", [360, 390])
def test_a_phone_shows_it_without_scrolling_sideways(new_page, site, width):
    page = new_page(has_touch=True, is_mobile=True, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 740})
    page.goto(site.url)
    for model in site.models:
        page.get_by_role("combobox").select_option(model)
        translated(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        box = page.locator(".p2p-pair").bounding_box()
        assert width - 40 < box["width"] < width
        assert 0 <= box["y"] < 740  # it scrolled there
    page.touchscreen.tap(*point(page.locator(".p2p-pair"), 0.3))
    assert_divided(page.locator(".p2p-pair"), 0.3)
    assert (page.errors, page.outside) == ([], [])


def test_a_finger_draws_and_does_not_scroll(new_page, site):
    page = new_page(has_touch=True, is_mobile=True)
    page.set_viewport_size({"width": 390, "height": 500})
    page.goto(site.url)
    box = page.locator("#canvas").bounding_box()
    touch = page.context.new_cdp_session(page)
    x = box["x"] + box["width"] / 2
    for kind, y in (("Start", 0.8), ("Move", 0.6), ("Move", 0.4), ("Move", 0.2), ("End", None)):
        points = [{"x": x, "y": box["y"] + y * box["height"]}] if y else []
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    page.locator("#undo:enabled").wait_for()
    assert (drawn(page)[8:25, 16] == toy.PALETTE["street"]).all()
    assert page.evaluate("scrollY") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(new_page, site, scheme):
    page = new_page(color_scheme=scheme)
    page.goto(site.url)
    page.locator("#message").evaluate("message => message.classList.add('error')")
    paper = color(page, "body", "backgroundColor")
    assert (paper.mean() < 60) == (scheme == "dark")
    for css in ("body", ".quiet", "#message", "h2"):
        assert contrast(color(page, css, "color"), paper) > 4.5
    for css in ("#go", "#example", "#tools label"):
        assert contrast(color(page, css, "color"), color(page, css, "backgroundColor")) > 4.5


def color(page: Any, css: str, name: str) -> np.ndarray:
    text = page.locator(css).first.evaluate("(element, name) => getComputedStyle(element)[name]", name)
    return np.array([float(value) for value in text[text.index("(") + 1 : -1].split(",")[:3]])


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """The contrast ratio of two colors (WCAG 2)."""

    def luminance(rgb: np.ndarray) -> float:
        x = rgb / 255
        return float(np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_without_javascript_a_sentence_says_so(new_page, site):
    page = new_page(java_script_enabled=False)
    page.goto(site.url)
    sentence = page.locator("noscript")
    assert "please turn JavaScript on" in sentence.text_content() and sentence.bounding_box()["height"] > 20
