"""The stored notebooks as pages of the site: texts, code and outputs as they are, nothing executed."""

from __future__ import annotations

import base64
import re
from html import escape
from pathlib import Path
from typing import NamedTuple

import markdown
import nbformat
from nbformat import NotebookNode

KINDS = ("text/html", "image/jpeg", "image/png", "text/markdown", "text/plain")
"""Of an output in several forms, the first of these is shown."""
EXTENSIONS = ("tables", "fenced_code")


class Page(NamedTuple):
    """A page in Markdown."""

    text: str
    images: dict[str, bytes]
    """Its images, by the paths that the text names."""
    html: list[str]
    """What replaces `marker(i)` in the finished page: Markdown would change the scripts of sliders."""


def page(path: Path) -> Page:
    """The page of a notebook."""
    made = Page("", {}, [])
    parts = [_cell(cell, f"{path.stem}_files/{i}", made) for i, cell in enumerate(nbformat.read(path, 4).cells)]
    note = f"*The notebook `notebooks/{path.name}` with the outputs that it is stored with.*\n"
    title, *rest = [part for part in parts if part]
    return made._replace(text="\n".join([title, note, *rest]))


def marker(number: int) -> str:
    """A paragraph that stands for HTML, as Markdown writes it."""
    return f"<p>@html-{number}@</p>"


def _cell(cell: NotebookNode, name: str, made: Page) -> str:
    tags = cell.metadata.get("tags", [])
    if cell.cell_type == "markdown":
        return f"{cell.source}\n"
    if "setup" in tags or not cell.source:  # installs p2plib where it is missing
        return ""
    code = f"```python\n{cell.source}\n```\n"
    outputs = [text for i, output in enumerate(cell.outputs) if (text := _output(output, f"{name}-{i}", made))]
    if "solution" in tags:
        return _folded("Solution", "\n".join([code, *outputs]))
    if cell.metadata.get("jupyter", {}).get("source_hidden"):
        code = _folded("Code", code)
    return "\n".join([code, *outputs])


def _folded(title: str, text: str) -> str:
    return f'<details markdown="1"><summary>{title}</summary>\n\n{text}\n</details>\n'


def _output(output: NotebookNode, name: str, made: Page) -> str:
    if output.output_type == "stream":
        return _plain(output.text)
    kind = next(kind for kind in KINDS if kind in output.data)
    content = output.data[kind]
    if kind.startswith("image/"):
        path = f"{name}.{kind.removeprefix('image/')}"
        made.images[path] = base64.b64decode(content)
        alt = escape(output.data.get("text/plain", "").strip("<>") or "output", quote=True)
        return f"![{re.sub(r'[^ -~]|[][]', ' ', alt)}]({path})\n"
    if kind == "text/plain":
        return _plain(content)
    html = content if kind == "text/html" else markdown.markdown(content, extensions=EXTENSIONS)
    made.html.append(f'<div class="output">{html}</div>')
    return f"@html-{len(made.html) - 1}@\n"


def _plain(text: str) -> str:
    lines = [line.rpartition("\r")[2].rstrip() for line in text.rstrip().split("\n")]
    return "``` { .text .printed }\n" + "\n".join(lines) + "\n```\n" if any(lines) else ""
