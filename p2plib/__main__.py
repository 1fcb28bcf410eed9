"""The command line: `python -m p2plib ...`. Every command calls the function that notebooks call."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg
from tyro.extras import subcommand_cli_from_dict

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
        here = "embedded" if entry.url is None else "downloaded" if dataset_dir(entry.name).exists() else "not here yet"
        splits = ", ".join(f"{count} {split}" for split, count in entry.splits.items())
        height, width = entry.size
        print(f"{entry.name}: {entry.title} ({here})")
        print(
            f"    A {entry.names[0]} | B {entry.names[1]}, {width}x{height} each, usually {entry.direction}; {splits}"
        )
        print(f"    {entry.terms}")


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
    note = f"The model works at {model.size}x{model.size}; pictures of another size are resized there and back."
    print(note, file=sys.stderr)
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
    figures.save(figures.result_grid(result.sources, result.generated, result.targets, model.info.names), out)
    print(out)


def report(run: Annotated[Positional[Path], arg(metavar="RUN")], /) -> None:
    """Write the results of a run: result grid, learning curves, metrics, and results.html with sliders."""
    from p2plib.report import write_report

    print(f"results: {write_report(run)}")


def train(
    config: Annotated[TrainConfig, arg(name="")],
    resume: Path | None = None,
) -> None:
    """Train pix2pix on pairs, then write the results. Ctrl-C ends politely.

    Args:
        resume: Go on with the run in this folder. Options given beside it override the run's own.
    """
    report(p2plib.train(config, resume=resume))


DATA_COMMANDS: dict[str, Callable[..., Any]] = {"list": data_list, "get": data_get, "check": data_check}
COMMANDS: dict[str, Callable[..., Any]] = {
    "train": train,
    "evaluate": evaluate,
    "translate": translate,
    "grid": grid,
    "report": report,
}


def data() -> None:
    """List, download and check data sets."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Errors that a user can act on are printed without a traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(argv) or 0
    except P2PError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(argv: list[str]) -> int | None:
    prog = "python -m p2plib"
    if argv[:1] == ["data"]:
        return subcommand_cli_from_dict(DATA_COMMANDS, args=argv[1:], prog=f"{prog} data", description=data.__doc__)
    commands = {"data": data, **COMMANDS} | {"train": functools.partial(train, config=_defaults(argv))}
    return subcommand_cli_from_dict(commands, args=argv, prog=prog, description=p2plib.__doc__.partition("\n")[0])


def _defaults(argv: list[str]) -> TrainConfig:
    """What training options default to: the settings of the run that `--resume` names, if any."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--resume", type=Path)
    resume = parser.parse_known_args(argv)[0].resume
    return TrainConfig.read(resume / "config.json") if resume else TrainConfig()


if __name__ == "__main__":
    sys.exit(main())
