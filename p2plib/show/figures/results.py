"""Figures of training and its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from p2plib.data.kind import ImageKind
from p2plib.export.sheet import keys
from p2plib.files import readable
from p2plib.registry import GAN_LOSSES
from p2plib.show.figures.common import BLUE, DPI, GRAY, GREEN, VERMILION, Figure

TITLE, CAPTION, GAP, WIDE = 32, 24, 8, 1600  # pixels


class Panel(NamedTuple):
    """One plot of the learning curves."""

    title: str
    unit: str
    lines: dict[str, tuple[str, str]]
    """Label in the legend and color, by column of the log."""
    best: str | None = None
    """The column that marks the best epoch."""


PANELS = (
    Panel("L1", "L1 on [-1, 1]", {"l1": ("training", VERMILION), "val_l1": ("validation", BLUE)}),
    Panel("GAN losses", "loss", {"gan": ("generator", VERMILION), "discriminator": ("discriminator", GREEN)}),
    Panel("PSNR", "PSNR in dB", {"val_psnr": ("validation", BLUE)}, best="val_psnr"),
    Panel("SSIM", "SSIM", {"val_ssim": ("validation", BLUE)}, best="val_ssim"),
)
JUDGES = {"val_mean_iou": -1, "val_perceptual": 1, "val_ssim": -1}
"""The columns that choose `best.keras`: the first that a log has; -1 where larger is better."""
NO_CURVES = {"epoch", "step", "learning_rate", "seconds", "pictures_per_second"}
"""Columns of the log that are not drawn."""


def result_grid(
    sources: np.ndarray,
    generated: np.ndarray,
    targets: np.ndarray,
    names: tuple[str, str] = ("source", "target"),
    captions: Sequence[str] | None = None,
    kinds: Sequence[ImageKind] = (),
) -> Figure:
    """Rows of source | generated | expected, in the layout of `image_grid`.

    Args:
        sources: uint8 (N, S, S, 3), like `generated` and `targets`.
        generated: the generated images.
        targets: the expected images.
        names: names of source and target, for the column titles.
        captions: one line below each row, for example "3.jpg, SSIM 0.31".
        kinds: see `image_grid`.
    """
    columns = {names[0]: sources, f"generated {names[1]}": generated, f"expected {names[1]}": targets}
    return image_grid(columns, captions, kinds)


def image_grid(
    columns: Mapping[str, np.ndarray], captions: Sequence[str] | None = None, kinds: Sequence[ImageKind] = ()
) -> Figure:
    """Images in titled columns at full resolution; images below 256 pixels are enlarged to that size.

    Args:
        columns: images of each column by title, uint8 (N, H, W, 3), from top to bottom.
        captions: one line below each row.
        kinds: what the images are; their keys go below the rows, see `sheet.keys`.

    Raises:
        ValueError: the columns have different numbers of images.
    """
    rows = list(zip(*columns.values(), strict=True))
    size = rows[0][0].shape[:2]
    high, wide = (side * max(1, 256 // max(size)) for side in size)
    width = len(columns) * (wide + GAP) - GAP
    zoom = max(1.0, width / WIDE)  # a wide figure is shrunk to be shown, and its letters with it
    top, line = round(TITLE * zoom), round(CAPTION * zoom) if captions else 0
    below = keys(kinds, width)
    height = top + len(rows) * (high + line + GAP) - GAP + sum(map(len, below))
    figure = Figure((width / DPI, height / DPI), f"{len(rows)} rows of images: {' | '.join(columns)}")
    for i, row in enumerate(rows):
        bottom = height - top - i * (high + line + GAP) - high
        for j, (title, image) in enumerate(zip(columns, row, strict=True)):
            left = j * (wide + GAP)
            axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
            axes.imshow(image, interpolation="none")
            axes.set_axis_off()
            if i == 0:
                axes.set_title(readable(title), fontsize=10 * zoom, pad=4 * zoom, parse_math=False)
        if captions:
            at, words = (0.5, (bottom - line / 2) / height), readable(captions[i])
            figure.text(*at, words, fontsize=8 * zoom, ha="center", va="center", parse_math=False)
    _add_below(figure, below, height)
    return figure


def _add_below(figure: Figure, strips: Sequence[np.ndarray], height: int) -> None:
    """Put images as wide as a figure of `height` pixels at its bottom, one below the other."""
    bottom = 0
    for strip in reversed(strips):
        axes = figure.add_axes((0, bottom / height, 1, len(strip) / height))
        axes.imshow(strip, interpolation="none")
        axes.set_axis_off()
        bottom += len(strip)


def error_map(generated: np.ndarray, targets: np.ndarray, names: tuple[str, str] = ("generated", "expected")) -> Figure:
    """Rows of generated | expected | absolute error.

    Args:
        generated: uint8 (N, S, S, 3).
        targets: the expected images, like `generated`.
        names: titles of the first two columns.
    """
    errors = np.abs(generated.astype(np.int16) - targets).mean(axis=-1) / 255
    figure, cells = _heat_grid(
        len(generated), 3, f"{names[0]} | {names[1]} | absolute error of {len(generated)} images"
    )
    for row, new, target, error in zip(cells, generated, targets, errors, strict=True):
        row[0].imshow(new)
        row[1].imshow(target)
        heat = row[2].imshow(error, cmap="inferno", vmin=0, vmax=max(float(errors.max()), 1 / 255))
        _note(row[2], f"mean {error.mean():.3f}")
    _titles(cells[0], [*names, "absolute error"])
    bar = figure.colorbar(heat, ax=cells[:, 2], shrink=0.9)
    bar.set_label("share of the full range", fontsize=9)
    return figure


def patch_map(columns: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Images with the discriminator's scores as an overlay: each patch's color shows how real it looks.

    Args:
        columns: images, uint8 (N, S, S, 3), and what `patch_realness` says of them, (N, P, P), by title.
    """
    count = len(next(iter(columns.values()))[0])
    figure, cells = _heat_grid(count, 2 * len(columns), f"How real the discriminator finds {', '.join(columns)}")
    for j, (images, realness) in enumerate(columns.values()):
        height, width = images[0].shape[:2]
        for row, image, map_ in zip(cells, images, realness, strict=True):
            row[2 * j].imshow(image)
            row[2 * j + 1].imshow(image.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
            extent = (-0.5, width - 0.5, height - 0.5, -0.5)
            heat = row[2 * j + 1].imshow(map_, cmap="PuOr", vmin=0, vmax=1, alpha=0.7, extent=extent)
            _note(row[2 * j + 1], f"mean {map_.mean():.2f}")
    _titles(cells[0], [title for name in columns for title in (name, "patches")])
    bar = figure.colorbar(heat, ax=cells[:, -1], ticks=[0, 0.5, 1], shrink=0.9)
    bar.ax.set_yticklabels(["fake", "undecided", "real"])
    return figure


def _heat_grid(rows: int, columns: int, alt: str) -> tuple[Figure, np.ndarray]:
    """Create a figure with axes (rows, columns) without ticks."""
    figure = Figure((2 * columns + 0.9, 1.95 * rows + 0.25), alt, layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    return figure, cells


def _note(axes: Axes, text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "boxstyle": "round,pad=0.2"}
    axes.text(0.04, 0.96, text, fontsize=9, va="top", bbox=box, transform=axes.transAxes)


def _titles(row: Sequence[Axes], titles: Sequence[str]) -> None:
    for axes, title in zip(row, titles, strict=True):
        axes.set_title(title, fontsize=10, parse_math=False)


def learning_curves(rows: Sequence[Mapping[str, float]], gan_loss: str | None = None) -> Figure:
    """Losses and validation metrics by epoch, with a mark at `best.keras`.

    It is the best by the first of `JUDGES` that the log has.

    Args:
        rows: the log, one row per epoch, at least one. Without the columns `gan` and `discriminator`, their
            panel is left out. Rows where they are NaN (warm-up) cannot be the best.
        gan_loss: the run's GAN loss, to draw a line for the undecided discriminator if it has one.
    """
    panels = _panels(rows[0])
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(
        (4.2 * columns, 3 * lines),
        f"Learning curves over {len(rows)} epochs: {', '.join(panel.title for panel in panels)}",
        layout="constrained",
    )
    begun = [row for row in rows if not np.isnan(row.get("gan", 0))] or rows
    judge = next(column for column in JUDGES if column in rows[0])
    best = min(begun, key=lambda row: JUDGES[judge] * row[judge])
    undecided = GAN_LOSSES[gan_loss].undecided if gan_loss else None
    all_axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, panel in zip(all_axes, panels, strict=False):
        draw_panel(axes, panel, rows)
        if panel.best:
            epoch, value = best["epoch"], best[panel.best]
            label = f"best.keras: {value:.3f}, epoch {epoch:.0f}"
            axes.plot(epoch, value, "o", color=VERMILION, ms=7, label=label)
        if "gan" in panel.lines and undecided is not None:
            axes.axhline(undecided, color=GRAY, ls="--", lw=1, label="undecided discriminator")
        axes.legend(fontsize=8)
    for axes in all_axes[len(panels) :]:
        axes.remove()
    return figure


def _panels(row: Mapping[str, float]) -> list[Panel]:
    """The plots for the columns of a log: one for each term or metric that the usual plots do not show."""
    usual = [panel for panel in PANELS if panel.lines.keys() <= row.keys()]
    shown = {column for panel in usual for column in panel.lines} | NO_CURVES
    others = [column for column in row if column not in shown]
    where = {True: ("validation", BLUE), False: ("training", VERMILION)}
    extra = [Panel(c.removeprefix("val_"), c.removeprefix("val_"), {c: where[c.startswith("val_")]}) for c in others]
    return usual + [panel._replace(best=next((c for c in panel.lines if c in JUDGES), None)) for panel in extra]


def draw_panel(axes: Axes, panel: Panel, rows: Sequence[Mapping[str, float]]) -> None:
    """Draw one plot of the learning curves."""
    epochs = [row["epoch"] for row in rows]
    for column, (label, color) in panel.lines.items():
        values = [row[column] for row in rows]
        axes.plot(epochs, values, color=color, lw=1.5, marker="o", ms=4 if len(rows) <= 30 else 0, label=label)
    axes.set_title(panel.title, fontsize=11)
    axes.set_xlabel("epoch", fontsize=9)
    axes.set_ylabel(panel.unit, fontsize=9)
    axes.tick_params(labelsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
