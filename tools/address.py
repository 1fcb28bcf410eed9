"""How the notebooks open elsewhere: `python tools/address.py [https://github.com/OWNER/p2plib | none]`.

The project's address is kept in pyproject.toml alone (`[project.urls]`, Repository). From it come the links of
docs/tutorials.md and notebooks to Colab and Kaggle, and what the first cell of notebooks installs where p2plib is
missing. Without an address there are no links, and that cell takes a wheel. Nothing is executed; the outputs of
notebooks stay.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import build_notebooks

ROOT = Path(__file__).resolve().parents[1]
BRANCH = "main"

EXTRAS = {
    "00_start_here": "",
    "06_use_and_judge": "[export,features,video]",
    "08_sketch_to_photo": "[features,sketch]",
    "your_pairs": "[export,features]",
}
"""The extras of p2plib that a notebook uses; that of all others is FEATURES."""
FEATURES = "[features]"

LINKS = """\
#
# [Open in Colab][colab] · [Open on Kaggle][kaggle]
#
# [colab]: {}
# [kaggle]: {}
"""
"""They are text: a badge is an image that every reader of a notebook would fetch from somebody else's server."""

SETUP = """\
# %% jupyter={{"source_hidden": true}} tags=["setup"]
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("p2plib") is None:  # as on Kaggle and in Colab, until it is installed here
    inputs = Path(os.environ.get("P2PLIB_KAGGLE_ROOT", "/kaggle"), "input")
    folders = [Path.cwd(), *inputs.glob("*"), *inputs.glob("datasets/*/*")]
    wheels = [wheel for folder in folders for wheel in folder.glob("p2plib-*.whl")]
{source}
    beside = [f"--find-links={{wheel.parent}}" for wheel in wheels]  # what else it needs may lie there, too
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *beside]
    if subprocess.run([*pip, {requirement}]).returncode:  # offline: p2plib alone
        subprocess.run([*pip, "--no-deps", source], check=True)

"""
"""The first code cell; of its source, the one or the other."""
FROM_REPOSITORY = """\
    source = wheels[0].as_uri() if wheels else "git+{repository}\""""
FROM_WHEEL = """\
    if not wheels:
        raise ModuleNotFoundError("p2plib is not here. Put its wheel beside this notebook: docs/open_anywhere.md")
    source = wheels[0].as_uri()"""


def repository(root: Path = ROOT) -> str | None:
    """The project's address, or None as long as it has none."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository")


def links(name: str, address: str) -> tuple[str, str]:
    """What opens a notebook in Colab, and on Kaggle."""
    path = f"blob/{BRANCH}/notebooks/{name}.ipynb"
    colab = f"https://colab.research.google.com/github/{address.removeprefix('https://github.com/')}/{path}"
    return colab, f"https://kaggle.com/kernels/welcome?src={address}/{path}"


def notebook(text: str, name: str, address: str | None) -> str:
    """The text of a notebook's .py half with the links below its introduction, and the first cell."""
    text = re.sub(r"^# %%[^\n]*tags=\[\"setup\"\].*?(?=^# %%)", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^#\n# \[Open in Colab\]\[colab\].*\n#\n(# \[\w+\]: .*\n)+", "", text, flags=re.MULTILINE)
    before, parameters, after = text.partition('# %% tags=["parameters"]')
    shown = LINKS.format(*links(name, address)) if address else ""
    source = FROM_REPOSITORY.format(repository=address) if address else FROM_WHEEL
    extras = EXTRAS.get(name, FEATURES)
    requirement = f'f"p2plib{extras} @ {{source}}"' if extras else "source"
    cell = SETUP.format(source=source, requirement=requirement)
    return f"{before.rstrip()}\n{shown}\n{cell}{parameters}{after}"


def tutorials(text: str, address: str | None) -> str:
    """The text of docs/tutorials.md with the links in its table of notebooks."""

    def row(match: re.Match[str]) -> str:
        if not address:
            return f"{match[1]} |"
        colab, kaggle = links(match[2], address)
        return f"{match[1]} [Colab]({colab}) · [Kaggle]({kaggle}) |"

    return re.sub(r"^(\| \[(\w+)\]\(\.\./notebooks/\2\.ipynb\))(?: \[Colab\].*?)? \|", row, text, flags=re.MULTILINE)


def project(text: str, address: str | None) -> str:
    """The text of pyproject.toml with the address."""
    text = re.sub(r"^\[project\.urls\]\nRepository = .*\n\n", "", text, flags=re.MULTILINE)
    urls = f'[project.urls]\nRepository = "{address}"\n\n' if address else ""
    return text.replace("[project.optional-dependencies]", f"{urls}[project.optional-dependencies]", 1)


def apply(address: str | None, root: Path = ROOT) -> None:
    """Write the address to wherever it belongs."""
    for path, change in ((root / "pyproject.toml", project), (root / "docs" / "tutorials.md", tutorials)):
        path.write_text(change(path.read_text(encoding="utf-8"), address), encoding="utf-8")
    for path in sorted((root / "notebooks").glob("*.py")):
        path.write_text(notebook(path.read_text(encoding="utf-8"), path.stem, address), encoding="utf-8")
        build_notebooks.sync(path)


if __name__ == "__main__":
    wanted = sys.argv[1].removesuffix("/").removesuffix(".git") if sys.argv[1:] else repository()
    if wanted not in (None, "none") and not re.fullmatch(r"https://github\.com/[\w-]+/[\w.-]+", wanted):
        sys.exit(f"{wanted}: Colab and Kaggle open notebooks of public repositories: https://github.com/OWNER/NAME")
    apply(None if wanted == "none" else wanted)
    print(f"The project's address: {repository() or 'none'}")
