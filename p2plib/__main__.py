"""The command line: `python -m p2plib ...`. Every command calls the function that notebooks call."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

import p2plib
from p2plib.config import TrainConfig
from p2plib.errors import P2PError

Data = Annotated[str | None, arg(help="Catalog name or folder; default: what the checkpoint was trained on.")]
CheckpointPath = Annotated[Positional[Path], arg(metavar="CHECKPOINT", help="A .keras file, or a run folder.")]
Noise = Annotated[int | None, arg(help="Seed that turns the paper's test-time dropout on; off by default.")]


def data_list() -> None:
    """List the data sets of the catalog."""
    from p2plib.data.catalog import CATALOG
    from p2plib.data.download import dataset_dir

    for entry in CATALOG.values():
        here = "embedded" if entry.url is None else "downloaded" if dataset_dir(entry.name).exists() else "-"
        splits = ", ".join(f"{count} {split}" for split, count in entry.splits.items())
        print(f"{entry.name:14} {here:11} {entry.names[0]} | {entry.names[1]}, {entry.direction}; {splits}; {entry.title}")


def data_get(name: Annotated[Positional[str], arg(metavar="NAME")], /, force: bool = False) -> None:
    """Download a data set of the catalog into the user's cache.

    Args:
        name: Name of the data set.
        force: Download it again though it is there.
    """
    from p2plib.data import download

    print(download.get(name, force=force))


def data_check(
    data: Annotated[Positional[str], arg(metavar="PATH-or-NAME")], /, sheet: Path = Path("pairs.png")
) -> int:
    """Open every pair and report, by file name, what is wrong or odd; the exit status is 1 if pairs are broken.

    Args:
        data: A folder of pairs, or a name of the catalog.
        sheet: Where to write a picture of some pairs.
    """
    from p2plib.data import check, images

    report = check.check(data, progress=True)
    print(report.table())
    images.save(sheet, check.sheet(data))
    print(f"a sheet of pairs: {sheet}")
    return 1 if report.broken else 0


def evaluate(
    checkpoint: CheckpointPath,
    /,
    data: Data = None,
    split: Literal["train", "val", "test"] = "val",
    limit: int = 0,
    noise: Noise = None,
    csv: Path | None = None,
    json: Path | None = None,
) -> None:
    """Score a checkpoint on a split: L1, PSNR and SSIM of every picture and their means.

    Args:
        split: Which split.
        limit: At most so many pairs, evenly spaced over the split (0: all).
        csv: Where to write one line a picture; default: evaluation-SPLIT.csv beside the checkpoint.
        json: Where to write means, protocol and pictures; default: evaluation-SPLIT.json beside the checkpoint.
    """
    from p2plib.checkpoint import find

    result = p2plib.evaluate(p2plib.load(checkpoint), data, split, limit, noise)
    beside = find(checkpoint).parent / f"evaluation-{split}"
    csv, json = csv or beside.with_suffix(".csv"), json or beside.with_suffix(".json")
    result.write_csv(csv)
    result.write_json(json)
    print(result.table())
    print(", ".join(f"{name} {value}" for name, value in result.protocol.items()))
    print(f"saved: {csv}, {json}")


def translate(
    checkpoint: CheckpointPath,
    inputs: Annotated[Positional[tuple[Path, ...]], arg(metavar="INPUT")],
    /,
    out: Path,
    noise: Noise = None,
) -> None:
    """Translate pictures. Other sizes than the model's are resized there and back.

    Args:
        inputs: Picture files, or folders of pictures; each picture is taken whole.
        out: Folder for the results, PNG files of the same names.
    """
    model = p2plib.load(checkpoint)
    for path in p2plib.translate_files(model, inputs, out, noise):
        print(path)


def grid(
    checkpoint: CheckpointPath,
    /,
    data: Data = None,
    split: Literal["train", "val", "test"] = "val",
    count: int = 6,
    noise: Noise = None,
    out: Path = Path("grid.png"),
) -> None:
    """Draw a result grid: source | generated | expected.

    Args:
        split: Which split.
        count: Number of pairs, evenly spaced over the split.
        out: The picture to write.
    """
    from p2plib import figures

    model = p2plib.load(checkpoint)
    result = p2plib.evaluate(model, data, split, count, noise)
    figures.save(figures.result_grid(result, model.info.names), out)
    print(out)


def report(run: Annotated[Positional[Path], arg(metavar="RUN")], /) -> None:
    """Write the results of a run: result grid, learning curves, metrics, results.html with a slider for each picture."""
    from p2plib.report import write_report

    print(f"results: {write_report(run)}")


def train(argv: Sequence[str]) -> None:
    """Train, then write the report. `--resume RUN` starts from the settings of that run instead of the defaults."""
    resume, rest = _take_resume(argv)
    default = TrainConfig.read(resume / "config.json") if resume else TrainConfig()
    config = tyro.cli(
        TrainConfig,
        args=rest,
        default=default,
        prog="python -m p2plib train",
        description="Train pix2pix on pairs. `--resume RUN` goes on with a run; options given beside it override its.",
    )
    run = p2plib.train(config, resume=resume)
    report(run)


def _take_resume(argv: Sequence[str]) -> tuple[Path | None, list[str]]:
    ...


COMMANDS = {}


def main() -> None:
    """Run the command line; errors that a user can act on are printed without a traceback."""
