"""The page that `python -m p2plib` shows by itself: what is here, and what to do first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import p2plib

FIRST = """\
Look, without data of your own:
  {prog} web                                    draw in a browser for small models
  {prog} train --data toy --image-size 128 --base-filters 32 --train-time 3m

From your own images:
  {prog} data combine DRAWINGS PHOTOS PAIRS     two folders of equal names into one of pairs
  {prog} data check PAIRS                       what is wrong, by file name
  {prog} train --data PAIRS --train-time 30m    its last line says where the results are
  {prog} translate RUN IMAGES --out RESULTS     use the model
"""


def front_page(prog: str, commands: Mapping[str, Callable[..., Any]]) -> str:
    """The page as text.

    Args:
        prog: how p2plib is called.
        commands: all of them, by their names; what they do is the first sentence of their docstrings.
    """
    width = max(map(len, commands))
    lines = [f"  {name:{width}}  {_first_sentence(command)}" for name, command in commands.items()]
    about = (p2plib.__doc__ or "").partition("\n")[0]
    rest = f"{prog} COMMAND --help explains every option."
    return "\n".join([about, "", FIRST.format(prog=prog), "All commands:", *lines, "", rest])


def _first_sentence(command: Callable[..., Any]) -> str:
    line = (command.__doc__ or "").strip().partition("\n")[0]
    return line.partition(". ")[0].partition(";")[0].rstrip(".")
