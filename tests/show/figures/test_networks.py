"""Figures of the networks: what they show comes from the networks."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch, Rectangle

from p2plib.show import figures

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from p2plib.models.patchgan import Patch  # noqa: E402
from p2plib.models.stages import stages  # noqa: E402
from p2plib.models.unet import unet  # noqa: E402


def test_u_net_has_a_bar_a_stage_and_an_arrow_a_skip():
    found = stages(unet(32, 4))
    figure = figures.u_net(found)
    [axes] = figure.axes
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert (len(bars), len(arrows)) == (10, 4)
    heights = [bar.get_height() for bar in bars]
    assert np.diff(heights[:5]).max() < 0 < np.diff(heights[4:]).min()
    assert [text.get_text().split()[0] for text in axes.texts] == [stage.name for stage in found]
    assert "a skip from down1 to up2" in figure.alt


def test_receptive_fields_outline_the_patches_even_beyond_the_image():
    patches = {"70x70": Patch(-3, 5, 70), "16x16": Patch(20, 20, 16)}
    figure = figures.receptive_fields(np.zeros((64, 64, 3), np.uint8), patches)
    [axes] = figure.axes
    corners = {(bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()) for bar in axes.patches}
    assert corners == {(5, -3, 70, 70), (20, 20, 16, 16)}
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < 0 and right > 75 and bottom > 67 and top < -3
    assert {text.get_text() for text in axes.texts} == {"70x70", "16x16"}
