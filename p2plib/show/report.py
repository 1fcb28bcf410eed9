"""The report of a run: images, curves and metrics, and a single page with all of them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from importlib.resources import files as package_files
from pathlib import Path
from string import Template
from typing import Any

from p2plib import files
from p2plib.data.image import read_rgb
from p2plib.data.pairs import spread
from p2plib.errors import CheckpointError
from p2plib.evaluation.evaluate import Evaluation, evaluate, sized
from p2plib.export.card import training_facts
from p2plib.hub.names import parse
from p2plib.inference import checkpoint
from p2plib.inference.checkpoint import Checkpoint, CheckpointInfo
from p2plib.show import figures, widgets
from p2plib.training.run import read_log

GRID_ROWS = 6
QUALITY = 80  # JPEG quality in the page: 50 images of 128 pixels take less than 2 MB
SETTINGS = (
    *("recipe", "init", "generator", "target_channels", "image_size", "load", "base_filters", "norm", "upsampling"),
    *("dropout", "discriminator", "discriminator_norm", "receptive_field", "gan_loss", "gan_weight", "l1_weight"),
    *("terms", "ema", "diff_augment", "warp", "epochs", "train_time", "warmup_epochs", "decay_epochs", "batch_size"),
    *("learning_rate", "augment", "seed"),
)
"""The fields of `TrainConfig` on the page; `config.json` has all."""


def write_report(run: str | Path, limit: int = 100, data: str | None = None) -> Path:
    """Evaluate a run's best generator on its validation split and write a report into the run folder.

    The files are `result_grid.png`, `learning_curves.png` (after the first epoch), `metrics.csv`, `metrics.json`, and
    `results.html`, a self-contained page that works offline.

    Args:
        run: a run folder, or a model on a hub, such as hf://OWNER/NAME, whose report goes into a folder called after it
            and has no learning curves, since logs are not published.
        limit: maximum number of validation pairs, evenly spaced (0: all). All are scored, and the page shows at most
            `evaluate.KEPT` of them.
        data: where the data set is now, if it was moved.

    Returns:
        The path of `results.html`.

    Raises:
        CheckpointError: `run` is not a run folder.
        DataError: the validation pairs cannot be used.
        WriteError: the run folder cannot be written.
    """
    on_hub = parse(run)
    given, run = run, checkpoint.home(run) if on_hub else Path(run)
    if not (on_hub or run.is_dir()):
        raise CheckpointError(f"{run}: not a run folder; give the folder that training printed.")
    files.check_writable(run, folder=True)
    model = checkpoint.load(given)
    evaluation = evaluate(model, data, limit=limit)
    evaluation.write_csv(run / "metrics.csv")
    evaluation.write_json(run / "metrics.json")
    figures.save(_grid(evaluation, model), run / "result_grid.png")
    rows = [] if on_hub else read_log(run / "log.csv")
    if rows:
        figures.save(figures.learning_curves(rows, model.info.config.gan_loss), run / "learning_curves.png")
    page = run / "results.html"
    facts = {"epochs done": model.info.epoch} if on_hub else training_facts(run, rows)
    files.write_text(page, _page(run, model.info, evaluation, facts, bool(rows), limit))
    return page


def _grid(evaluation: Evaluation, model: Checkpoint) -> figures.Figure:
    shown = spread(range(len(evaluation.sources)), GRID_ROWS)
    of = [evaluation.shown[i] for i in shown]
    captions = [f"{evaluation.images[i]}, SSIM {evaluation.scores['ssim'][i]:.2f}" for i in of]
    images = (evaluation.sources[shown], evaluation.generated[shown], evaluation.targets[shown])
    return figures.result_grid(*images, model.info.names, captions, model.info.kinds or ())


def _page(
    run: Path, info: CheckpointInfo, evaluation: Evaluation, facts: Mapping[str, Any], curves: bool, limit: int
) -> str:
    source, target = info.names
    shown, total = evaluation.shown, evaluation.total
    config = info.config.to_dict()
    template = package_files("p2plib").joinpath("show", "report.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        style=widgets.STYLE,
        title=escape(f"{files.readable(Path(info.config.data).resolve().name)}: {source} → {target}"),
        lead=f"pix2pix, the best generator of the run on the validation images: step {info.step}, epoch {info.epoch}.",
        numbers="\n".join(f"<div><dt>{_title(name)}</dt><dd>{x:.3f}</dd></div>" for name, x in evaluation.mean.items()),
        protocol=_protocol(evaluation, total, limit),
        tables=_table("Settings", {name: config[name] for name in SETTINGS}) + _table("Training", facts),
        figures=_figures(run, config["validation_pairs"], curves),
        heading=f"{len(shown)} of {total} validation images",
        pairs="\n".join(_pair(evaluation, i, of, info.names) for i, of in enumerate(shown)),
    )


def _protocol(evaluation: Evaluation, total: int, limit: int) -> str:
    count, protocol = len(evaluation.images), evaluation.protocol
    spaced = " (evenly spaced)" if 0 < limit < total else ""
    return (
        f"Means over {count} of the {total} images of the validation split{spaced}, "
        f"{sized(protocol['size'], protocol.get('crops') == 'center')}, dropout off. L1 is on [-1, 1]; "
        "PSNR (in dB), SSIM and MS-SSIM are for images on [0, 1]."
    )


def _title(metric: str) -> str:
    return metric.upper().replace("_", "-")


def _table(caption: str, facts: Mapping[str, Any]) -> str:
    rows = [f'<tr><th scope="row">{escape(name)}</th><td>{escape(str(x))}</td></tr>' for name, x in facts.items()]
    return f"<table><caption>{caption}</caption><tbody>\n" + "\n".join(rows) + "\n</tbody></table>\n"


def _figures(run: Path, validation_pairs: int, curves: bool) -> str:
    html = ""
    if curves:
        data = base64.b64encode((run / "learning_curves.png").read_bytes()).decode()
        img = f'<img class="curves" alt="Losses and validation metrics by epoch" src="data:image/png;base64,{data}">'
        which = f"at most {validation_pairs}" if validation_pairs else "all"
        html += f'<h2>Learning curves</h2>\n<p class="soft">Validation after every epoch used {which} images.</p>\n'
        html += f'<div class="wide">{img}</div>\n'
    grid = read_rgb(run / "result_grid.png")
    img = widgets.img_html(grid, "Rows of source, generated and expected image", QUALITY)
    return html + f'<h2>Result grid</h2>\n<div class="wide">{img}</div>'


def _pair(evaluation: Evaluation, i: int, of: int, names: tuple[str, str]) -> str:
    """The card of the image at `i` of those that are kept, which is that of pair `of`."""
    name = evaluation.images[of]
    scores = ", ".join(f"{_title(metric)} {values[of]:.3f}" for metric, values in evaluation.scores.items())
    source = widgets.img_html(evaluation.sources[i], names[0], QUALITY)
    labels = (f"generated {names[1]}", f"expected {names[1]}")
    slider = widgets.slider_html(evaluation.generated[i], evaluation.targets[i], labels, quality=QUALITY)
    return (
        f'<figure class="card"><figcaption><b>{escape(name)}</b> {scores}</figcaption>\n<div class="images">'
        f'<div>{source}<div class="p2p-labels">{escape(names[0])}</div></div>\n{slider}</div></figure>'
    )
