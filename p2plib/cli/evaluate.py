"""Commands that evaluate models: `evaluate`, `fcn-score`, `compare`, `grid`, `report`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

import p2plib
from p2plib.cli.texts import CheckpointPath, Data, ExtractorName, Noise, SplitName, explained_by
from p2plib.errors import ConfigError
from p2plib.files import check_writable

if TYPE_CHECKING:
    from p2plib.evaluation.distances import Extractor

# Functions import what they call, so that `--help` is fast, without NumPy and matplotlib.


@explained_by("p2plib.evaluation.evaluate:evaluate")
def evaluate(
    checkpoint: CheckpointPath,
    /,
    data: Data = None,
    split: SplitName = "val",
    limit: int = 0,
    noise: Noise = None,
    extractor: ExtractorName = "none",
    fid: bool = False,
    csv: Path | None = None,
    json: Path | None = None,
) -> None:
    """Score a checkpoint on a split: metrics per image, their means, and distances between the two sets.

    Computes L1, PSNR, SSIM and MS-SSIM; the perceptual distance, if its weights are installed; the sliced Wasserstein
    distance (times 1000); accuracy and mean IoU if targets are labels; with an extractor also KID, and FID from 2,048
    images on.

    Args:
        fid: Compute FID even on fewer images.
        csv: Where to write one line per image; default: evaluation-SPLIT.csv next to the checkpoint.
        json: Where to write means, sets, protocol and images; default: evaluation-SPLIT.json next to the checkpoint.
    """
    from p2plib.evaluation.evaluate import in_words
    from p2plib.inference.checkpoint import home

    model = p2plib.load(checkpoint)
    result = p2plib.evaluate(model, data, split, limit, noise, _extractor(extractor), fid=fid or None, keep=1)
    beside = home(checkpoint) / f"evaluation-{split}"
    csv, json = csv or beside.with_suffix(".csv"), json or beside.with_suffix(".json")
    print(result.table())
    print(in_words(result.protocol))
    result.write_csv(csv)
    result.write_json(json)
    print(f"saved: {csv}, {json}")


@explained_by("p2plib.evaluation.fcn_score:fcn_score")
def fcn_score(
    checkpoint: CheckpointPath,
    /,
    data: Data = None,
    split: SplitName = "val",
    limit: int = 0,
    segmenter: Path | None = None,
    epochs: int | None = None,
) -> None:
    """Score photos generated from labels: does a network trained on real photos recognize the classes?

    Args:
        segmenter: That network, trained if the file is missing. Default: segmenter.keras next to the checkpoint.
        epochs: Epochs to train it (default: 20).
    """
    from p2plib.evaluation.evaluate import in_words
    from p2plib.evaluation.fcn_score import fcn_score, prepare
    from p2plib.inference.checkpoint import home

    model = p2plib.load(checkpoint)
    path = segmenter or home(checkpoint) / "segmenter.keras"
    if not path.exists():
        check_writable(path)
    result = fcn_score(model, prepare(path, model.info.config, epochs), data, split, limit)
    print(result.table())
    print(in_words(result.protocol))


@explained_by("p2plib.evaluation.compare:compare")
def compare(
    checkpoints: Annotated[Positional[tuple[Path, ...]], arg(metavar="CHECKPOINT")],
    /,
    data: Data = None,
    split: SplitName = "val",
    limit: int = 0,
    noise: Noise = None,
    extractor: ExtractorName = "none",
    count: int = 6,
    out: Path = Path("comparison"),
) -> None:
    """Compare checkpoints on the same images: a table with 95% confidence intervals and a sheet of images.

    Args:
        checkpoints: .keras files, run folders or export folders; differences are to the first one.
        count: Number of pairs on the sheet, evenly spaced over the split.
        out: Folder for comparison.json and sheet.png.
    """
    from p2plib.evaluation.compare import compare, load_all
    from p2plib.show import figures

    if not checkpoints:
        raise ConfigError("There is nothing to compare; name checkpoints.")
    result = compare(load_all(checkpoints), data, split, limit, noise, _extractor(extractor), keep=count)
    print(result.table())
    result.write_json(out / "comparison.json")
    figures.save(figures.image_grid(result.columns(count)), out / "sheet.png")
    print(f"saved: {out / 'comparison.json'}, {out / 'sheet.png'}")


def grid(
    checkpoint: CheckpointPath,
    /,
    data: Data = None,
    split: SplitName = "val",
    count: int = 6,
    noise: Noise = None,
    out: Path = Path("grid.png"),
) -> None:
    """Draw a result grid: source | generated | expected.

    Args:
        split: The split.
        count: Number of pairs, evenly spaced over the split.
        out: The image to write.
    """
    from p2plib.show import figures

    check_writable(out)
    model = p2plib.load(checkpoint)
    result = p2plib.evaluate(model, data, split, count, noise, keep=count)
    images = (result.sources, result.generated, result.targets)
    figures.save(figures.result_grid(*images, model.info.names, kinds=model.info.kinds or ()), out)
    print(out)


def report(run: Annotated[Positional[Path], arg(metavar="RUN")], /, data: str | None = None) -> None:
    """Write the results of a run: result grid, learning curves, metrics, and results.html with sliders.

    Of a model on a hub, such as hf://OWNER/NAME, they go into a folder called NAME.

    Args:
        data: Where the data set is now, if it was moved.
    """
    from p2plib.show.report import write_report

    print(f"results: {write_report(run, data=data)}")


def _extractor(name: str) -> Extractor | None:
    if name == "none":
        return None
    if name == "inception":
        from p2plib.evaluation.distances import inception_v3

        return inception_v3()
    from p2plib.evaluation.perceptual import lite2

    return lite2()


COMMANDS: dict[str, Callable[..., Any]] = {
    "evaluate": evaluate,
    "fcn-score": fcn_score,
    "compare": compare,
    "grid": grid,
    "report": report,
}
