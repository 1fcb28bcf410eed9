"""Figures: what is drawn, and that files hold it pixel by pixel."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2plib.errors import ConfigError
from p2plib.show import figures
from p2plib.show.figures import results


def images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (3, count, size, size, 3), np.uint8)


def log(epochs: int, gan: bool = True) -> list[dict[str, float]]:
    """A log whose SSIM is best in the epoch before the last."""
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "step": 10.0 * epoch, "l1": 1 / epoch, "val_l1": 1.2 / epoch, "val_psnr": 10.0 + epoch}
        row["val_ssim"] = 0.2 if epoch == epochs > 1 else 0.3 + 0.001 * epoch
        rows.append(row | ({"gan": 1.5, "discriminator": 0.5} if gan else {}))
    return rows


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_grid_titles_name_both_sides():
    figure = figures.result_grid(*images(2, 8), names=("satellite", "map"))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["satellite", "generated map", "expected map", "", "", ""]


def test_grid_shows_captions_as_they_are():
    captions = ["a.png, SSIM 0.31", "$x_1$ & <b>.png"]
    figure = figures.result_grid(*images(2, 8), captions=captions)
    assert [text.get_text() for text in figure.texts] == captions
    assert not any(text.get_parse_math() for text in figure.texts)


@pytest.mark.parametrize(("count", "size"), [(1, 32), (3, 128), (2, 256), (1, 512)])
@pytest.mark.parametrize("captions", [False, True])
def test_saved_grid_holds_every_pixel(tmp_path, count, size, captions):
    columns = images(count, size)
    figure = figures.result_grid(*columns, captions=["name"] * count if captions else None)
    figures.save(figure, tmp_path / "grid.png")
    sheet = np.array(Image.open(tmp_path / "grid.png").convert("RGB"))
    side, line = max(size, 256), results.CAPTION if captions else 0
    assert sheet.shape[1] == 3 * side + 2 * results.GAP
    assert sheet.shape[0] == results.TITLE + count * (side + line) + (count - 1) * results.GAP
    for j, column in enumerate(columns):
        for i, image in enumerate(column):
            top, left = results.TITLE + i * (side + line + results.GAP), j * (side + results.GAP)
            shown = image.repeat(side // size, 0).repeat(side // size, 1)
            np.testing.assert_array_equal(sheet[top : top + side, left : left + side], shown)


def test_letters_grow_with_a_figure_that_is_too_wide_to_be_shown_as_it_is():
    def letters(size: int) -> float:
        image = np.zeros((1, size, size, 3), np.uint8)
        figure = figures.result_grid(image, image, image)
        return figure.axes[0].title.get_fontsize() / figure.get_figwidth()

    assert letters(1024) == pytest.approx(letters(2048), rel=0.01)
    assert letters(256) > letters(512)


def test_grid_demands_as_many_of_each():
    sources, generated, targets = images(2, 8)
    with pytest.raises(ValueError):
        figures.result_grid(sources, generated[:1], targets)


def test_any_columns_can_stand_side_by_side():
    first, second, third = images(2, 8)
    columns = {"map": first, "L1": second, "L1 + GAN": third, "expected": first}
    figure = figures.image_grid(columns)
    assert [axes.get_title() for axes in figure.axes[:4]] == list(columns)
    assert len(figure.axes) == 8


def test_error_map_shows_where_and_how_much(tmp_path):
    generated, targets = np.zeros((2, 2, 16, 16, 3), np.uint8)
    targets[1, 4:8, :, 0] = 255  # only the second, only red, in a quarter of the rows
    figure = figures.error_map(generated, targets, ("made", "meant"))
    assert [axes.get_title() for axes in figure.axes[:3]] == ["made", "meant", "absolute error"]
    heat = figure.axes[5].images[0].get_array()
    np.testing.assert_allclose(heat[4:8], 1 / 3)
    assert heat.sum() == pytest.approx(4 * 16 / 3)
    assert [figure.axes[i].texts[0].get_text() for i in (2, 5)] == ["mean 0.000", "mean 0.083"]


def test_patch_map_lays_the_judgment_over_the_whole_image():
    shown, other, _ = images(2, 16)
    realness = np.linspace(0, 1, 2 * 9).reshape(2, 3, 3)
    figure = figures.patch_map({"generated": (shown, realness), "expected": (other, realness[::-1])})
    assert [axes.get_title() for axes in figure.axes[:4]] == ["generated", "patches", "expected", "patches"]
    for axes, judged in zip((figure.axes[1], figure.axes[3]), realness, strict=True):
        image, heat = axes.images
        assert heat.get_extent() == image.get_extent()
        np.testing.assert_array_equal(heat.get_array(), judged)
        assert axes.texts[0].get_text() == f"mean {judged.mean():.2f}"


def test_notebooks_show_figures_as_jpeg_with_an_alternative_text():
    figure = figures.image_grid({"<photo>": images(1, 8)[0]})
    data, metadata = figure._repr_jpeg_()
    width, height = (round(inches * figure.dpi) for inches in figure.get_size_inches())
    assert Image.open(io.BytesIO(data)).size == (width, height)
    assert metadata == {"alt": "1 rows of images: <photo>"}


@pytest.mark.parametrize("epochs", [1, 2, 200])
def test_curves_draw_the_columns_of_the_log(epochs):
    rows = log(epochs)
    figure = figures.learning_curves(rows)
    assert [axes.get_title() for axes in figure.axes] == ["L1", "GAN losses", "PSNR", "SSIM"]
    panels = [("l1", "val_l1"), ("gan", "discriminator"), ("val_psnr",), ("val_ssim",)]
    for axes, columns in zip(figure.axes, panels, strict=True):
        for line, column in zip(axes.lines[: len(columns)], columns, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), range(1, epochs + 1))
            np.testing.assert_array_equal(line.get_ydata(), [row[column] for row in rows])
    figure.draw_without_rendering()
    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks and all(float(tick).is_integer() for tick in ticks)


def test_curves_mark_the_epoch_of_the_best_ssim():
    *_, psnr, ssim = figures.learning_curves(log(5)).axes
    for axes, value in ((psnr, 14.0), (ssim, 0.304)):
        mark = axes.lines[-1]
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (4, value)
        assert texts(axes)[-1] == f"best.keras: {value:.3f}, epoch 4"


def test_curves_without_a_gan_have_no_panel_for_it():
    figure = figures.learning_curves(log(3, gan=False), "vanilla")
    assert [axes.get_title() for axes in figure.axes] == ["L1", "PSNR", "SSIM"]


@pytest.mark.parametrize(("gan_loss", "value"), [("vanilla", math.log(2)), ("lsgan", 0.25)])
def test_curves_show_where_the_discriminator_is_undecided(gan_loss, value):
    axes = figures.learning_curves(log(3), gan_loss).axes[1]
    assert axes.lines[-1].get_ydata() == pytest.approx([value, value])
    assert texts(axes)[-1] == "undecided discriminator"


@pytest.mark.parametrize("gan_loss", ["hinge", None])
def test_curves_claim_no_such_line_for_other_losses(gan_loss):
    assert texts(figures.learning_curves(log(3), gan_loss).axes[1]) == ["generator", "discriminator"]


@pytest.mark.keras
@pytest.mark.parametrize("name", ["vanilla", "lsgan"])
def test_undecided_is_what_both_losses_are_at_one_half(name):
    from p2plib.registry import GAN_LOSSES

    logit = {"vanilla": 0.0, "lsgan": 0.5}[name]  # lsgan has no sigmoid: the output is the judgment
    judged = np.full((1, 4, 4, 1), logit, np.float32)
    loss = GAN_LOSSES[name]
    values = [float(loss.discriminator(judged, judged)), float(loss.generator(judged))]
    assert values == pytest.approx([loss.undecided] * 2)


def test_every_other_term_and_metric_has_a_panel_of_its_own():
    rows = [row | {"perceptual": 0.5, "val_ab": 12.0} for row in log(3)]
    figure = figures.learning_curves(rows, "vanilla")
    assert [axes.get_title() for axes in figure.axes] == ["L1", "GAN losses", "PSNR", "SSIM", "perceptual", "ab"]
    assert [texts(axes) for axes in figure.axes[4:]] == [["training"], ["validation"]]
    assert len(figures.learning_curves([row | {"val_ab": 12.0} for row in log(3)]).axes) == 5


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPG", ".svg"])
def test_save_takes_the_format_from_the_suffix(tmp_path, suffix):
    path = tmp_path / f"curves{suffix}"
    figures.save(figures.learning_curves(log(2)), path)
    start = {".png": b"\x89PNG", ".svg": b"<?xml"}.get(suffix, b"\xff\xd8\xff")
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["curves.xyz", "curves"])
def test_save_refuses_other_suffixes_by_name(tmp_path, name):
    with pytest.raises(ConfigError, match=name):
        figures.save(figures.learning_curves(log(1)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_figures_leave_pyplot_alone():
    code = "import sys, p2plib.show.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
