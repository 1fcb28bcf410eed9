"""The display of what each logit sees."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from p2plib.data import toy  # noqa: E402
from p2plib.show.fields import fields  # noqa: E402
from p2plib.training.discriminator import load_discriminator, patch_realness  # noqa: E402


def test_every_logit_has_a_cell_its_field_in_both_images_and_its_verdict(tiny_run):
    discriminator = load_discriminator(tiny_run)
    source, target = toy.city(0, 32)
    text = fields(discriminator, source, target).text
    [realness] = patch_realness(discriminator, source[None], target[None])
    verdicts = re.findall(r"<u>row \d+, column \d+: real ([\d.]+)</u>", text)
    assert verdicts == [f"{value:.2f}" for value in realness.flat]
    assert text.count('<i tabindex="0"') == realness.size and text.count("<b style") == 2 * realness.size
    boxes = [
        dict(re.findall(r"(left|top|width|height):([\d.e-]+)%", style))
        for style in re.findall(r'<b style="(.*?)"', text)
    ]
    for left, right in zip(boxes[::2], boxes[1::2], strict=True):
        assert float(right["left"]) == pytest.approx(float(left["left"]) + 50, abs=0.02)
        assert float(left["left"]) >= 0 and float(left["left"]) + float(left["width"]) <= 50.01
    middle = boxes[realness.size + realness.shape[0]]  # an inner logit sees 16 of 32 pixels
    assert float(middle["width"]) == pytest.approx(25) and float(middle["height"]) == pytest.approx(50)
    assert "script" not in text and "http" not in text and np.isfinite(realness).all()
