"""The toy set's product photos."""

from __future__ import annotations

import numpy as np

from p2plib.data.image import resize_image
from p2plib.data.vase import vase


def test_a_photo_of_a_vase_on_white():
    for i in range(20):
        photo = vase(i, 64)
        assert (photo.shape, photo.dtype) == ((64, 64, 3), np.uint8)
        assert photo[:4].min() > 240, "paper above"
        assert photo[32, 32].min() < 150, "glaze in the middle"


def test_the_same_index_is_the_same_vase_at_any_size():
    np.testing.assert_array_equal(vase(3, 64), vase(3, 64))
    assert np.abs(resize_image(vase(3, 256), 64, 64).astype(int) - vase(3, 64)).mean() < 3
    assert np.abs(vase(3, 64).astype(int) - vase(4, 64)).mean() > 3


def test_shape_and_glaze_go_together():
    """A slim one is blue, a round one is not: else there would be nothing to learn from an outline."""
    bodies = []
    for i in range(60):
        photo = vase(i, 64).astype(int)
        inside = photo.min(-1) < 150
        bodies.append((inside.sum(1).max(), np.argmax(photo[inside].mean(0))))
    slim = {glaze for width, glaze in bodies if width < 18}
    stout = {glaze for width, glaze in bodies if width > 32}
    assert (slim, stout) == ({2}, {0})
