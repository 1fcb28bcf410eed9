"""Parses the command line, runs the command, and turns errors into one line and an exit status."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tyro.extras import subcommand_cli_from_dict

import p2plib
from p2plib import hosts
from p2plib.cli import data, evaluate, kaggle, use
from p2plib.cli.front import front_page
from p2plib.cli.texts import REGISTRY, Config
from p2plib.config import TrainConfig
from p2plib.errors import P2PError, WriteError
from p2plib.files import shell
from p2plib.recipes import RECIPES

PROG = "python -m p2plib"


def train(config: Config, resume: Path | None = None) -> None:
    """Train pix2pix on pairs or photos, then write a report. Ctrl-C stops gracefully.

    Args:
        resume: Resume the run in this folder. Other options override the settings of the run.
    """
    run = p2plib.train(config, resume=resume)
    if not hosts.first():
        return
    try:
        evaluate.report(run)
    except WriteError as error:
        raise WriteError(f"{error} The training is safe; then write the report: {PROG} report {shell(run)}") from error


def data_group() -> None:
    """List, download, check, combine, split, slice and pack data sets."""


def kaggle_group() -> None:
    """Train on Kaggle's free GPU or TPU: push a kernel, download its run, resume."""


COMMANDS: dict[str, Callable[..., Any]] = {"train": train, **evaluate.COMMANDS, **use.COMMANDS}
GROUPS: dict[str, tuple[Callable[..., Any], dict[str, Callable[..., Any]]]] = {
    "data": (data_group, data.COMMANDS),
    "kaggle": (kaggle_group, kaggle.COMMANDS),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status. Errors that users can fix are printed without a traceback."""
    _take_any_name()
    # Pillow warns of damaged EXIF by a line of its own code; the pixels are unharmed.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        with REGISTRY, _all_printed():
            return _run(argv) or 0
    except P2PError as error:
        return _fail(str(error))
    except BrokenPipeError:  # the reader closed the pipe, as `head` does
        return _fail()
    except OSError as error:
        why = error.strerror or error
        return _fail(f"{error.filename}: {why}" if error.filename else f"the output cannot be written ({why})")
    except UnicodeEncodeError as error:
        return _fail(f"a name holds characters that cannot be used here ({error}); rename the file or folder.")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _take_any_name() -> None:
    """Let any file name be printed, whatever the encoding of the output, and have an output even if it is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell, and whatever file is opened next must not take its place
            setattr(sys, name, open(os.devnull, "w", errors="backslashreplace"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _all_printed() -> Iterator[None]:
    """Find out within this block, and not when Python ends, that the output cannot be written."""
    try:
        yield
    finally:
        sys.stdout.flush()


def _fail(message: str = "") -> int:
    """Print why a command failed. What waits in an output that cannot be written is given up."""
    for stream, text in ((sys.stderr, f"error: {message}\n" if message else ""), (sys.stdout, "")):
        try:
            stream.write(text)
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return 1


def _run(argv: list[str]) -> int | None:
    if argv[:1] and argv[0] in GROUPS:
        group, commands = GROUPS[argv[0]]
        if argv[0] == "kaggle":
            commands = commands | kaggle.with_defaults(_defaults(argv))
        return subcommand_cli_from_dict(commands, args=argv[1:], prog=f"{PROG} {argv[0]}", description=group.__doc__)
    commands = {name: group for name, (group, _) in GROUPS.items()} | COMMANDS
    if not argv:
        print(front_page(PROG, commands))
        return 0
    commands |= {"train": functools.partial(COMMANDS["train"], config=_defaults(argv))}
    return subcommand_cli_from_dict(commands, args=argv, prog=PROG, description=p2plib.__doc__.partition("\n")[0])


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
