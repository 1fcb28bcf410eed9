"""Sliders: the markup, as a parser sees it."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from markup import Tags
from PIL import Image

from p2plib import widgets

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
def test_small_pictures_are_enlarged_by_whole_pixels(side, shown):
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
