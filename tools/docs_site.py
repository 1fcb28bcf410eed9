"""Builds of the documentation what is not in docs/ (a hook of MkDocs): `make docs`.

The home page is the README; the tutorials are the stored notebooks; the options are what the command line says about
itself; the reference of functions is a page for each package, filled by mkdocstrings. Links between files of the
repository become links between pages. At the end, no page may fetch anything from the network.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import docs_math  # noqa: E402
import docs_notebooks  # noqa: E402
import docs_options  # noqa: E402
from mkdocs.exceptions import PluginError  # noqa: E402
from mkdocs.structure.files import File  # noqa: E402

from p2plib.data.catalog import CATALOG, Entry  # noqa: E402

PACKAGES = ("data", "models", "training", "inference", "evaluation", "export", "hub", "show", "web", "kaggle", "cli")
PLACES = {
    r"README\.md": "index.md",
    r"CHANGELOG\.md": "changelog.md",
    r"notebooks": "tutorials.md",
    r"notebooks/(\w+)\.ipynb": r"tutorials/\1.md",
    r"p2plib/weights/([\w-]+)/README\.md": r"models/\1.md",
    r"p2plib/weights/([\w-]+)/sample\.jpg": r"models/\1.jpg",
    r"docs/(.+)": r"\1",
}
"""Where a file of the repository is on the site."""
OPTIONS_HERE, MODULES_HERE, CATALOG_HERE = (
    f"*`make docs` puts the {what} here.*" for what in ("commands", "modules", "data sets")
)
"""What options.md, api.md and datasets.md say in the repository."""
LINK = re.compile(r"(!?)\[((?:[^][]|\[[^][]*\])*)\]\(([^()\s#:]+)(#[^()\s]*)?\)")
"""A link or an image in Markdown, to a file: its mark, text, target and anchor."""
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link\b(?=[^>]*rel=["']?(?:stylesheet|icon|preload|preconnect|manifest|modulepreload))[^>]*href=["']?(?:https?:)?//"""
    r"""|@import\s+(?:url\()?["']?(?:https?:)?//|url\(["']?(?:https?:)?//""",
    re.IGNORECASE,
)
"""What a browser would fetch from the network when it opens a page."""

_notebooks: dict[str, docs_notebooks.Page] = {}
_sources: dict[str, str] = {}


def on_config(config: Any) -> Any:
    """Add formulas to Markdown, for pages and docstrings alike."""
    config.markdown_extensions.append(docs_math.Formulas())
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made of other files."""

    def add(where: str, content: str | bytes, source: str = "") -> None:
        files.append(File.generated(config, where, content=content))
        _sources[where] = source

    for source in ("README.md", "CHANGELOG.md", *_relative("p2plib/weights/*/README.md")):
        text = (ROOT / source).read_text(encoding="utf-8")
        add(place(source), re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL), source)
    for source in _relative("p2plib/weights/*/sample.jpg"):
        add(place(source), (ROOT / source).read_bytes())
    for source in _relative("notebooks/*.ipynb"):
        made = _notebooks[place(source)] = docs_notebooks.page(ROOT / source)
        add(place(source), made.text, source)
        for name, content in made.images.items():
            add(f"tutorials/{name}", content)
    for package in PACKAGES:
        add(f"api/{package}.md", api(package))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in the options, and lead links to where files are on the site."""
    where = page.file.src_uri
    if where == "options.md":
        markdown = markdown.replace(OPTIONS_HERE, docs_options.reference())
    if where == "api.md":
        markdown = markdown.replace(MODULES_HERE, ground())
    if where == "datasets.md":
        markdown = markdown.replace(CATALOG_HERE, catalog())
    source = _sources.get(where) or f"docs/{where}"
    return LINK.sub(lambda match: _link(match, source, where), markdown)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Put the outputs of notebooks in their places, and let wide tables be moved."""
    made = _notebooks.get(page.file.src_uri)
    for number, content in enumerate(made.html if made else ()):
        html = html.replace(docs_notebooks.marker(number), content)
    return html


def on_post_build(config: Any) -> None:
    """Fail if a page would fetch something from the network."""
    site = Path(config.site_dir)
    found = [f"{path.relative_to(site)}: {hit}" for path in sorted(site.rglob("*.html")) for hit in fetched(path)]
    if found:
        raise PluginError("Pages must be readable offline, and these fetch from the network:\n" + "\n".join(found))


def fetched(path: Path) -> list[str]:
    """What an HTML file fetches from the network."""
    text = re.sub(r"<code\b.*?</code>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [text[match.start() : match.end() + 60].split("\n")[0] for match in FETCHED.finditer(text)]


def place(source: str) -> str | None:
    """Where a file of the repository, or a folder, is on the site; None if it is not there."""
    for pattern, where in PLACES.items():
        if match := re.fullmatch(pattern, source):
            return match.expand(where)
    return None


def _link(match: re.Match[str], source: str, where: str) -> str:
    """A link of a file of the repository, as a link of a page; its text alone if there is no such page."""
    image, text, target, anchor = match.groups()
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    there = place(path)
    if there is None:
        return match[0] if not (ROOT / path).exists() else text
    return f"{image}[{text}]({posixpath.relpath(there, posixpath.dirname(where) or '.')}{anchor or ''})"


def _relative(pattern: str) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob(pattern))]


def modules(package: str = "") -> list[str]:
    """The public modules of a package, or those beside the packages, by their full names."""
    found = _relative(f"p2plib/{package}/**/*.py" if package else "p2plib/*.py")
    names = [path.removesuffix(".py").replace("/", ".") for path in found]
    return [name for name in names if not name.rpartition(".")[2].startswith("_")]


def api(package: str) -> str:
    """The page of a package: what it is for, and each of its modules."""
    summary = f"::: p2plib.{package}\n    options:\n      show_root_heading: false\n      show_root_toc_entry: false\n"
    return "\n".join([f"# p2plib.{package}\n", summary, *(f"::: {name}\n" for name in modules(package))])


def catalog() -> str:
    """A section for each data set of the catalog."""
    return "\n".join(map(_entry, CATALOG.values()))


def _entry(entry: Entry) -> str:
    sides = f"A is {entry.names[0]}, B is {entry.names[1]}; usually {entry.direction}"
    facts = {
        "pairs" if not entry.photos else "photos": ", ".join(
            f"{count:,} {name}" for name, count in entry.splits.items()
        ),
        "sides": "photos, for `--task colorize` and `--task sketch`" if entry.photos else sides,
        "size": f"{entry.size[0]}x{entry.size[1]} pixels (height, width)",
        "classes": ", ".join(entry.classes),
        "terms": entry.terms,
        "cite": entry.citation,
    }
    rows = "\n".join(f"| {name} | {fact} |" for name, fact in facts.items() if fact)
    return f"## {entry.name}\n\n{entry.title}.\n\n| | |\n|---|---|\n{rows}\n"


def ground() -> str:
    """The modules that stand beside the packages."""
    return "\n".join(f"::: {name}\n" for name in modules())
