from __future__ import annotations

import numpy as np

from p2plib.show import figures


def test_answers_are_named_with_their_values():
    figure = figures.answers(np.array([-2.0, -2.1, 1.0, 1.1, 1.2]), {"L2": -0.2, "L1": 1.0})
    assert [text.get_text() for text in figure.axes[0].texts] == ["L2: -0.2", "L1: 1.0"]
    assert [line.get_xdata()[0] for line in figure.axes[0].lines] == [-0.2, 1.0]
    assert "L1 ends at 1.0" in figure.alt


def test_no_change_is_gray_and_the_scale_is_each_images_own():
    changes = np.zeros((2, 8, 8, 3), np.float32)
    changes[0, :4], changes[1, 4:] = 1e-6, -3.0
    colors = figures.as_colors(changes)
    assert colors[0, 0, 0, 0] == 255 and colors[1, 7, 0, 0] == 0
    assert abs(int(colors[0, 7, 0, 0]) - 127) <= 1 and abs(int(colors[1, 0, 0, 0]) - 127) <= 1
    assert (figures.as_colors(np.zeros_like(changes)) == 128).all()
