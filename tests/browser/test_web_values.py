"""Models that are not 8-bit RGB in a browser: files go up, previews are seen, files come down."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deepmodels import DEPTH, HEIGHT, NUMBERS, untrained
from PIL import Image
from webserver import LIMITS, serving

from p2plib.data.values import read_values, write_values
from p2plib.web import create_app

pytestmark = pytest.mark.once

VALUES = (np.add.outer(np.arange(48), np.arange(64)) * 30)[..., None].astype(np.uint16)


@pytest.fixture(scope="module")
def address(tiny_config, tmp_path_factory) -> Iterator[str]:
    paths = untrained(tiny_config, tmp_path_factory.mktemp("models"))
    app = create_app(list(paths.values()), limits=LIMITS)
    with serving(app) as server:
        yield f"http://127.0.0.1:{server.port}/"
    app.extensions["p2plib"].queue.close()


@pytest.fixture
def web(page, address) -> Iterator[Any]:
    page.set_default_timeout(10_000)
    page.goto(address)
    yield page
    assert (page.errors, page.outside) == ([], [])


def says(page: Any, text: str) -> None:
    page.get_by_role("status").filter(has_text=text).wait_for()


def drawn(page: Any, width: int, height: int) -> np.ndarray:
    """What is on the canvas as soon as it has this size."""
    page.locator(f"#canvas[width='{width}'][height='{height}']").wait_for()
    return decoded(page.locator("#canvas").evaluate("canvas => canvas.toDataURL()"))


def decoded(url: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


@pytest.mark.parametrize("name", ["depth.tif", "depth.npy"])
def test_a_file_of_values_goes_up_and_another_comes_down(web, tmp_path, name):
    assert web.locator("#source-kind").text_content() == "1 channel of uint16, 0 to 4095"
    assert not web.get_by_label("Pen").is_visible()
    web.get_by_role("button", name="Translate").click()
    says(web, "Upload a file first")
    write_values(tmp_path / name, VALUES)
    web.locator("#file").set_input_files(tmp_path / name)
    np.testing.assert_array_equal(drawn(web, 64, 48), DEPTH.preview(VALUES))
    web.get_by_role("button", name="Translate").click()
    says(web, "Done")
    with web.expect_download() as download:
        web.locator("#download").click()
    assert download.value.suggested_filename == "heights-height.tif"
    values = read_values(Path(download.value.path()).rename(tmp_path / "got.tif"))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(decoded(web.locator("#after").get_attribute("src")), HEIGHT.preview(values))
    np.testing.assert_array_equal(decoded(web.locator("#before").get_attribute("src")), DEPTH.preview(VALUES))


def test_a_wrong_file_is_named(web, tmp_path):
    write_values(tmp_path / "wide.tif", np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    web.locator("#file").set_input_files(tmp_path / "wide.tif")
    says(web, "upload.tif: holds 3 channels of uint8, not 1 of uint16")
    web.errors.clear()  # the browser's own line on the refusal


def test_masks_are_uploaded_drawn_on_and_downloaded(web, tmp_path):
    web.get_by_role("combobox").select_option("photos")
    numbers = np.full((32, 32), 3, np.uint8)
    Image.fromarray(numbers).save(tmp_path / "mask.png")
    web.locator("#file").set_input_files(tmp_path / "mask.png")
    web.locator("#undo:enabled").wait_for()
    assert (drawn(web, 32, 32) == NUMBERS.classes["roof"]).all(), "in the colors of the classes"
    web.get_by_label("water").check()
    web.get_by_label("Box").check()
    box = web.locator("#canvas").bounding_box()
    web.mouse.move(box["x"] + 5, box["y"] + 5)
    web.mouse.down()
    web.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    web.mouse.up()
    assert {tuple(color) for color in drawn(web, 32, 32).reshape(-1, 3)} == {(200, 60, 60), (40, 80, 220)}
    web.get_by_role("button", name="Translate").click()
    says(web, "Done")
    web.get_by_role("combobox").select_option("masks")
    web.get_by_role("button", name="Translate").click()
    says(web, "Done")
    with web.expect_download() as download:
        web.locator("#download").click()
    with Image.open(download.value.path()) as opened:
        assert opened.mode == "P" and set(np.unique(opened)) <= set(NUMBERS.ids)
