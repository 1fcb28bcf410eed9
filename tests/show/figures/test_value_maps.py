"""Images of values beside each other, with one color bar in their unit."""

import numpy as np

from p2plib.data.kind import ImageKind
from p2plib.show.figures import value_maps

HEIGHT = ImageKind("height", channels=1, dtype="float32", low=0, high=4800, unit="m", shown=(0, 2600))


def test_equal_values_have_equal_colors_and_the_unit_is_named():
    low, high = np.full((4, 6, 1), 100, np.float32), np.full((4, 6, 1), 2600, np.float32)
    figure = value_maps({"generated": low, "expected": high}, HEIGHT)
    first, second, bar = figure.axes
    assert [axis.get_title() for axis in (first, second)] == ["generated", "expected"]
    assert bar.get_ylabel() == "m"
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0, 2600)
    np.testing.assert_array_equal(first.images[0].get_array(), low[..., 0])
    assert "generated, expected" in figure.alt


def test_differences_are_around_zero():
    figure = value_maps({"error": np.float32([[[-30], [10]]])}, HEIGHT, difference=True)
    assert figure.axes[0].images[0].get_clim() == (-30, 30)
