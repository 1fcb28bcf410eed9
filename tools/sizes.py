"""How much disk each extra takes: `python tools/sizes.py`, where everything is installed. docs/install.md states it.

Sizes are those of the installed files, in MB; what p2plib needs anyway is counted once, in the first line.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def closure(lines: Iterable[str]) -> set[str]:
    """The names of all distributions that these requirements bring, as far as they are installed."""
    found: set[tuple[str, str]] = set()
    todo = [(Requirement(line), "") for line in lines]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), wanted)
            if key not in found and _is_installed(key[0]):
                found.add(key)
                todo += [(Requirement(line), wanted) for line in metadata.requires(key[0]) or []]
    return {name for name, _ in found}


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def megabytes(names: Iterable[str]) -> float:
    """The size of the files of these distributions."""
    files = [Path(str(file.locate())) for name in names for file in metadata.files(name) or []]
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6


def main() -> None:
    """Print a line for each extra."""
    base = closure(PROJECT["dependencies"])
    print(f"{'(none)':15}{megabytes(base):7,.0f} MB")
    for extra, lines in PROJECT["optional-dependencies"].items():
        more = closure(lines) - base
        wanted = [one for one in map(Requirement, lines) if not one.marker or one.marker.evaluate()]
        whole = all(_is_installed(canonicalize_name(one.name)) for one in wanted)
        print(f"{extra:15}{f'{megabytes(more):7,.0f} MB' if whole else ' not installed'}")


if __name__ == "__main__":
    main()
