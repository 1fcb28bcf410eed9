"""Whose kernels these are: the name that belongs to the credentials, in place of the one that a file leaves open."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from p2plib.kaggle import preflight
from p2plib.kaggle.command import run_kaggle
from p2plib.kaggle.metadata import Kernel


def filled(kernel: Kernel, say: Callable[[str], None] = print) -> Kernel:
    """The kernel under the name of the user, where its own owner is a placeholder such as YOUR-NAME.

    The `kaggle` command knows all its ways to keep credentials, and asks Kaggle whom a token belongs to.

    Args:
        kernel: as read from a file.
        say: called with a line about the name.

    Returns:
        The kernel; unchanged if it has an owner, or if there are no credentials (`preflight.check` says so).

    Raises:
        KaggleError: the credentials do not hold, or Kaggle cannot be asked.
    """
    owner, _, slug = kernel.id.partition("/")
    if not preflight.PLACEHOLDER.search(owner) or any(preflight.credentials()):
        return kernel
    found = re.search(r"^\W*username: ([\w-]+)$", run_kaggle("config", "view"), re.MULTILINE)
    if not found or found[1] == "None":
        return kernel
    say(f"owner: {found[1]}, whose credentials these are, in place of {owner}")
    return dataclasses.replace(kernel, id=f"{found[1]}/{slug}")
