"""Figures of the data: what is drawn, and where."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from p2plib.show.figures import data

NAMES = ("satellite", "map")


def halves(count: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (2, count, height, width, 3), np.uint8)


def boxes(figure) -> np.ndarray:
    """Left, lower, right and upper edge of every image, in pixels."""
    size = np.tile(figure.get_size_inches() * figure.dpi, 2)
    return np.array([axes.get_position().extents for axes in figure.axes]) * size


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_pair_sheet_shows_the_halves_side_by_side():
    sources, targets = halves(4)
    figure = data.pair_sheet(sources, targets, NAMES)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_array_equal(shown[::2], sources)
    np.testing.assert_array_equal(shown[1::2], targets)
    box = boxes(figure)
    np.testing.assert_allclose(box[1::2, 0] - box[::2, 2], data.SEAM)
    np.testing.assert_allclose(box[1::2, 1], box[::2, 1])


def test_pair_sheet_titles_its_columns_once():
    titles = [axes.get_title() for axes in data.pair_sheet(*halves(4), NAMES).axes]
    assert titles == [*NAMES, *NAMES, *NAMES, "", ""]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 16), (24, 16)])
@pytest.mark.parametrize(("count", "columns"), [(1, 3), (5, 3), (4, 2)])
def test_pair_sheet_keeps_shapes_and_lets_nothing_overlap(count, columns, height, width):
    figure = data.pair_sheet(*halves(count, height, width), NAMES, captions=["x"] * count, columns=columns)
    box = boxes(figure)
    np.testing.assert_allclose((box[:, 3] - box[:, 1]) / (box[:, 2] - box[:, 0]), height / width, rtol=0.01)
    assert box.min() >= -1e-6
    assert box[:, 2].max() <= data.WIDTH + 1e-6
    apart = (box[:, None, 0] >= box[None, :, 2]) | (box[:, None, 1] >= box[None, :, 3])
    assert (apart | apart.T | np.eye(len(box), dtype=bool)).all()


def test_pair_sheet_writes_captions_below_their_pairs():
    captions = ["train/1", "$x_1$", "a & b", "last"]
    figure = data.pair_sheet(*halves(4), NAMES, captions)
    assert texts(figure) == captions
    assert not any(text.get_parse_math() for text in figure.texts)
    width, height = figure.get_size_inches() * figure.dpi
    for text, (left, low, _, _), (_, _, right, _) in zip(
        figure.texts, boxes(figure)[::2], boxes(figure)[1::2], strict=True
    ):
        x, y = text.get_position()
        assert left < x * width < right
        assert 0 < low - y * height < data.CAPTION


def test_pair_sheet_demands_as_many_of_each():
    sources, targets = halves(2)
    with pytest.raises(ValueError):
        data.pair_sheet(sources, targets[:1], NAMES)


def test_histograms_are_shares_of_each_channel():
    sources, targets = np.full((2, 3, 4, 4, 3), (0, 100, 255), np.uint8)
    targets[0] = 8
    figure = data.color_histograms(sources, targets, NAMES)
    assert [axes.get_title() for axes in figure.axes[:2]] == list(NAMES)
    assert [axes.get_ylabel().split(",")[0] for axes in figure.axes[::2]] == ["red", "green", "blue"]
    for source, target, value in zip(figure.axes[::2], figure.axes[1::2], (0, 100, 255), strict=True):
        heights, mixed = (axes.patches[0].get_data().values for axes in (source, target))
        assert heights[value // 8] == pytest.approx(100) and heights.sum() == pytest.approx(100)
        assert mixed[1] == pytest.approx(100 / 3) and mixed[value // 8] == pytest.approx(200 / 3)


def test_bars_have_the_color_and_length_of_their_class():
    figure = data.palette_bars({"land": 0.75, "$a_b$": 0.25}, {"$a_b$": (0, 0, 255), "land": (250, 204, 92)})
    [axes] = figure.axes
    assert [(bar.get_width(), to_hex(bar.get_facecolor())) for bar in axes.patches] == [
        (0.75, "#facc5c"),
        (0.25, "#0000ff"),
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["land", "$a_b$"]
    assert not any(label.get_parse_math() for label in axes.get_yticklabels())
    assert [text.get_text() for text in axes.texts] == ["75.0%", "25.0%"]
    assert figure.alt == "Shares of the pixels: land 75.0%, $a_b$ 25.0%"


def test_steps_tell_what_the_arrays_hold():
    whole = np.zeros((2, 16, 32, 3), np.uint8)
    whole[0, 0, 0] = 200
    scaled = np.linspace(-1, 1, 2 * 8 * 8 * 3, dtype=np.float32).reshape(2, 8, 8, 3)
    figure = data.steps({"decode": whole, "normalize": scaled}, NAMES)
    expected = [*NAMES, "decode", "32x16 uint8\n0 to 200", "normalize", "8x8 float32\n-1.00 to 1.00"]
    assert texts(figure) == expected
    shown = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_array_equal(shown[:2], whole)
    np.testing.assert_allclose(shown[2:], (scaled + 1) / 2)


def test_steps_put_sources_above_targets_equally_wide():
    first, second = (np.zeros((2, *shape, 3), np.uint8) for shape in ((16, 32), (8, 8)))
    box = boxes(data.steps({"one": first, "two": second}, NAMES))
    assert np.ptp(box[:, 2] - box[:, 0]) == pytest.approx(0)
    np.testing.assert_allclose((box[:, 3] - box[:, 1]) / (box[:, 2] - box[:, 0]), [0.5, 0.5, 1, 1])
    assert (box[::2, 1] > box[1::2, 3]).all()
    assert box[:, 2].max() <= data.WIDTH


def test_steps_outline_the_window_in_both_halves():
    pair = np.zeros((2, 20, 20, 3), np.uint8)
    figure = data.steps({"load size": pair, "crop": pair[:, 3:13, 5:15]}, NAMES, windows={"load size": (3, 5, 10)})
    outlines = [[patch for patch in axes.patches if isinstance(patch, Rectangle)] for axes in figure.axes]
    assert [len(found) for found in outlines] == [2, 2, 0, 0]
    assert {patch.get_bbox().bounds for found in outlines for patch in found} == {(4.5, 2.5, 10, 10)}
