"""Formulas in Markdown as drawings: no script and no font, so nothing is fetched, and every browser shows them."""

from __future__ import annotations

import re
from html import escape

import matplotlib
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from matplotlib.mathtext import MathTextParser
from matplotlib.path import Path
from matplotlib.textpath import TextPath

PRIORITY = 185
"""After code (190), before escapes (180), which would take the backslashes."""
SPELLED = {r"\lVert": r"\Vert", r"\rVert": r"\Vert", r"\max_": r"\,\max_"}
"""TeX that matplotlib spells otherwise."""
UNITS = 100
"""Of a drawing, for the height of the letters around it."""
STEPS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


def draw(tex: str, kind: str) -> str:
    """A formula as a span with an SVG drawing in the color of the text around it, and the TeX for those who listen."""
    spelled = f"${' '.join(tex.split())}$"
    for tex_name, name in SPELLED.items():
        spelled = spelled.replace(tex_name, name)
    with matplotlib.rc_context({"mathtext.fontset": "stix"}):
        outline = TextPath((0, 0), spelled, size=UNITS)
        width, height, depth, *_ = MathTextParser("path").parse(spelled, dpi=72)
    # The parser measures at its own size of letters: 10 points.
    width, height, depth = (length * UNITS / 10 for length in (width, height, depth))
    box = f"0 {-(height - depth):.0f} {width:.0f} {height:.0f}"
    size = f"height: {height / UNITS:.3f}em; width: {width / UNITS:.3f}em; vertical-align: {-depth / UNITS:.3f}em"
    label = escape(tex, quote=True)
    return (
        f'<span class="formula {kind}" role="img" aria-label="{label}"><svg viewBox="{box}" style="{size}">'
        f'<path fill="currentColor" d="{_steps(outline)}"/></svg></span>'
    )


def _steps(outline: Path) -> str:
    """The outline in SVG's words; there, down is positive."""
    said = []
    for points, code in outline.iter_segments(curves=True, simplify=False):
        places = " ".join(f"{x:.0f} {-y:.0f}" for x, y in points.reshape(-1, 2)) if code != Path.CLOSEPOLY else ""
        said.append(STEPS[code] + places)
    return "".join(said)


class Formula(InlineProcessor):
    """Replaces TeX by a drawing."""

    def __init__(self, pattern: str, kind: str, md: Markdown) -> None:
        super().__init__(pattern, md)
        self.kind = kind

    def handleMatch(self, match: re.Match[str], data: str) -> tuple[str, int, int]:  # type: ignore[override]  # noqa: N802
        """The formula, out of the reach of other patterns."""
        return self.md.htmlStash.store(draw(match[1], self.kind)), *match.span()


class Formulas(Extension):
    r"""Reads `$$...$$`, `$...$` and, in docstrings, :math:`...`."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Markdown's own name
        """Register the three forms."""
        block, within = r"\$\$(.+?)\$\$", r"(?<![\w$\\])\$(?![\s$])([^$]+?)(?<![\s\\])\$(?![\w$])"
        md.inlinePatterns.register(Formula(block, "formula-block", md), "formula-block", PRIORITY)
        md.inlinePatterns.register(Formula(within, "formula-inline", md), "formula-inline", PRIORITY)
        md.inlinePatterns.register(Formula(r":math:`([^`]+)`", "formula-inline", md), "formula-role", 195)
