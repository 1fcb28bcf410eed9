"""Parses the command line, runs the command, and turns errors into one line and an exit status."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tyro.extras import subcommand_cli_from_dict

import p2plib
from p2plib.cli import data, evaluate, kaggle, use
from p2plib.cli.texts import REGISTRY, Config
from p2plib.config import RECIPES, TrainConfig
from p2plib.errors import P2PError


def train(config: Config, resume: Path | None = None) -> None:
    """Train pix2pix on pairs or photos, then write a report. Ctrl-C stops gracefully.

    Args:
        resume: Resume the run in this folder. Other options override the settings of the run.
    """
    evaluate.report(p2plib.train(config, resume=resume))


def data_group() -> None:
    """List, download, check, combine and split data sets."""


def kaggle_group() -> None:
    """Train on Kaggle's free GPU or TPU: push a kernel, download its run, resume."""


COMMANDS: dict[str, Callable[..., Any]] = {"train": train, **evaluate.COMMANDS, **use.COMMANDS}
GROUPS: dict[str, tuple[Callable[..., Any], dict[str, Callable[..., Any]]]] = {
    "data": (data_group, data.COMMANDS),
    "kaggle": (kaggle_group, kaggle.COMMANDS),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status. Errors that users can fix are printed without a traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        with REGISTRY:
            return _run(argv) or 0
    except P2PError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(argv: list[str]) -> int | None:
    prog = "python -m p2plib"
    if argv[:1] and argv[0] in GROUPS:
        group, commands = GROUPS[argv[0]]
        if argv[0] == "kaggle":
            commands = commands | kaggle.with_defaults(_defaults(argv))
        return subcommand_cli_from_dict(commands, args=argv[1:], prog=f"{prog} {argv[0]}", description=group.__doc__)
    commands = {name: group for name, (group, _) in GROUPS.items()} | COMMANDS
    commands |= {"train": functools.partial(COMMANDS["train"], config=_defaults(argv))}
    return subcommand_cli_from_dict(commands, args=argv, prog=prog, description=p2plib.__doc__.partition("\n")[0])


def _defaults(argv: list[str]) -> TrainConfig:
    """Defaults of the training options: those of `--recipe` and `--init`, or the settings of the run to `--resume`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--init", type=lambda text: None if text == "None" else text)  # as the full parser reads it
    parser.add_argument("--recipe", choices=RECIPES, default="modern")
    try:
        known = parser.parse_known_args(argv)[0]
    except argparse.ArgumentError:  # the full parser says what is wrong
        return TrainConfig()
    if known.resume:
        return TrainConfig.read(known.resume / "config.json")
    return TrainConfig(recipe=known.recipe, init=known.init)
