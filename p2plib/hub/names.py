"""Names of models on a hub: `hf://OWNER/NAME` and `kaggle://OWNER/MODEL`.

Behind the name, `@` names a revision (Hugging Face: a branch, tag or commit; Kaggle: the number of a version), and `/`
a file of the model, or an export folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from p2plib.errors import HubError

HUBS = {"hf": "Hugging Face", "kaggle": "Kaggle"}
"""The hubs, and what people call them."""

# A `Path` keeps one of the two slashes, and on Windows it turns them round.
_PREFIX = re.compile(r"(hf|kaggle):/+")
_REST = re.compile(r"(?P<owner>\w[\w.-]*)/(?P<model>\w[\w.-]*)(?:@(?P<revision>\w[\w.-]*))?(?:/(?P<file>[^@:]+))?")


@dataclass(frozen=True)
class Name:
    """The name of a model on a hub."""

    hub: str
    """A name in `HUBS`."""
    owner: str
    model: str
    revision: str | None = None
    """None means the newest."""
    file: str | None = None
    """Path of a file or folder in the model; None means its checkpoint."""

    @property
    def repo(self) -> str:
        """Owner and model, as both hubs write them."""
        return f"{self.owner}/{self.model}"

    @property
    def short(self) -> str:
        """What tables and files are called after it."""
        return f"{self.model}/{Path(self.file).stem}" if self.file else self.model

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.hub}://{self.repo}{at}" + (f"/{self.file}" if self.file else "")


def parse(text: str | Path) -> Name | None:
    """Read the name of a model on a hub.

    Args:
        text: as a person gave it, or as a `Path` has spoiled it.

    Returns:
        The name, or None if this is the path of a file or folder.

    Raises:
        HubError: it begins like a name, and is none.

    Example:
        >>> parse("hf://alice/maps@v1")
        Name(hub='hf', owner='alice', model='maps', revision='v1', file=None)
        >>> parse("runs/maps") is None
        True
    """
    plain = str(text).replace("\\", "/")
    begins = _PREFIX.match(plain)
    if not begins:
        return None
    hub, rest = begins[1], plain[begins.end() :].rstrip("/")
    found = _REST.fullmatch(rest)
    if not found or ".." in rest:
        raise HubError(f"{hub}://{rest}: is no name of a model; {_pattern(hub)}.")
    if hub == "kaggle" and not (found["revision"] or "1").isdigit():
        raise HubError(f"{hub}://{rest}: Kaggle counts versions, 1, 2, 3; {_pattern(hub)}.")
    return Name(hub, **found.groupdict())


def _pattern(hub: str) -> str:
    model, revision = ("NAME", "REVISION") if hub == "hf" else ("MODEL", "VERSION")
    plain = f"{hub}://OWNER/{model}"
    return f"give {plain}, with @{revision} and /FILE behind it if you want"
