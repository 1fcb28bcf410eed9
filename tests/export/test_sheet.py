"""Keys say what grays measure and what colors stand for, below the images."""

import dataclasses

import numpy as np
import pytest

from p2plib.data.kind import PLAIN, ImageKind
from p2plib.evaluation.evaluate import Evaluation
from p2plib.export.sheet import keys, sample
from p2plib.show.figures import image_grid
from p2plib.show.figures.common import DPI

BANDS = ImageKind("bands", channels=4, dtype="uint16", high=4095)
HEIGHT = ImageKind("height", channels=1, dtype="float32", low=0, high=4800, unit="m", shown=(0, 2600))
MASKS = ImageKind(
    "masks",
    {"grass": (10, 200, 10), "Straße": (90, 90, 90), "вода": (20, 40, 220)},
    channels=1,
    form="ids",
    ids=(0, 1, 2),
)


def test_photos_and_bands_have_no_key():
    assert keys([*PLAIN, BANDS], 300) == []


def test_a_bar_goes_from_black_to_white():
    [bar] = keys([HEIGHT], 300)
    assert bar.shape == (24, 300, 3)
    middle = bar[12, :, 0].astype(int)
    start = next(x for x in range(300) if (middle[x : x + 40] < 60).all())
    ramp = middle[start : start + 100]
    assert ramp[0] <= 1 and (np.diff(ramp) >= 0).all() and ramp[-1] > 80
    assert (bar[:, -40:] < 128).any() and (bar[:, :40] < 128).any(), "both ends are labeled"


def test_a_bar_without_room_is_its_labels():
    [bar] = keys([HEIGHT], 40)
    assert bar.shape == (24, 40, 3)


@pytest.mark.parametrize(("width", "lines"), [(400, 1), (90, 3)])
def test_each_class_has_its_color_and_lines_wrap(width, lines):
    [legend] = keys([MASKS], width)
    assert legend.shape == (24 * lines, width, 3)
    for color in MASKS.classes.values():
        assert (legend == color).all(-1).sum() == 12 * 12


def test_the_sheet_and_the_grid_have_them():
    images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    evaluation = Evaluation({}, ["a", "b"], {}, images, images, images)
    plain, keyed = sample(evaluation), sample(evaluation, (PLAIN[0], HEIGHT))
    assert keyed.shape == (plain.shape[0] + 24, *plain.shape[1:])
    np.testing.assert_array_equal(keyed[: len(plain)], plain)
    columns = {"A": images, "B": images}
    plain, keyed = image_grid(columns), image_grid(columns, kinds=(MASKS, HEIGHT))
    assert len(keyed.axes) == len(plain.axes) + 2
    assert keyed.get_figheight() == pytest.approx(plain.get_figheight() + 48 / DPI)
    for one, two in zip(plain.axes, keyed.axes, strict=False):
        assert one.get_position().height * plain.get_figheight() == pytest.approx(
            two.get_position().height * keyed.get_figheight()
        )


def test_a_key_bar_is_that_of_the_range_where_nothing_else_is_shown():
    whole, part = keys([dataclasses.replace(HEIGHT, shown=None), HEIGHT], 300)
    assert (whole != part).any()
