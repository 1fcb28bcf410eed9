"""The documentation site: what is made of other files is complete, and nothing is fetched from the network."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from pathlib import Path

import pytest

from p2plib.config import TrainConfig
from p2plib.data.catalog import CATALOG

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

markdown = pytest.importorskip("markdown")
nbformat = pytest.importorskip("nbformat")
mkdocs_yaml = pytest.importorskip("mkdocs.utils.yaml")
docs_math, docs_notebooks, docs_options, docs_site = (
    importlib.import_module(f"docs_{name}") for name in ("math", "notebooks", "options", "site")
)

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def reference() -> str:
    return docs_options.reference()


def test_every_command_and_every_setting_is_in_the_reference(reference):
    for command in docs_options.commands():
        assert f"\n## {' '.join(command)}\n" in f"\n{reference}"
    assert ("data", "get") in docs_options.commands() and ("kaggle", "push") in docs_options.commands()
    for field in dataclasses.fields(TrainConfig):
        assert f"{{ #train-{field.name.replace('_', '-')} }}" in reference


def test_an_option_is_said_as_the_command_line_says_it(reference):
    wanted = "`--image-size INT|STR`{ #train-image-size }, default `256`\n:   Height and width of the networks' images"
    assert wanted in reference
    assert "`CHECKPOINT`{ #translate-checkpoint }, required\n:   A .keras file" in reference
    assert "`--fit, --no-fit`{ #translate-fit }, default `off`" in reference
    assert "`--resume PATH`{ #train-resume }, default `None`" in reference
    assert "`--epochs INT`{ #fcn-score-epochs }, default `None`\n:   Epochs to train it (default: 20)." in reference
    push = reference.partition("## kaggle push")[2].partition("\n## ")[0]
    assert "#kaggle-push-dry-run" in push and "All options of [train](#train) can follow." in push
    assert "#kaggle-push-image-size" not in push


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_shown_whole(path):
    cells = nbformat.read(path, as_version=4).cells
    page = docs_notebooks.page(path)
    for cell in cells:
        hidden = "setup" in cell.metadata.get("tags", [])
        assert hidden or cell.source in page.text
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    kinds = [next((k for k in docs_notebooks.KINDS if k in output.get("data", {})), "text") for output in outputs]
    assert len(page.images) == sum(kind.startswith("image/") for kind in kinds)
    assert len(page.html) == sum(kind in ("text/html", "text/markdown") for kind in kinds)
    assert all(f"]({name})" in page.text for name in page.images)
    assert all(f"\n@html-{i}@\n" in page.text for i in range(len(page.html)))


def test_every_public_module_has_its_place():
    found = {name for package in docs_site.PACKAGES for name in docs_site.modules(package)} | set(docs_site.modules())
    files = (path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / "p2plib").rglob("*.py"))
    assert found == {".".join(parts) for parts in files if not parts[-1].startswith("_")}
    assert "::: p2plib.data.toy\n" in docs_site.api("data")
    assert "::: p2plib.config\n" in docs_site.ground()


def test_the_generated_parts_have_their_places():
    assert docs_site.OPTIONS_HERE in (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert docs_site.MODULES_HERE in (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert docs_site.CATALOG_HERE in (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")


def test_every_data_set_is_there_with_its_terms():
    text = docs_site.catalog()
    for entry in CATALOG.values():
        assert f"## {entry.name}\n" in text and f"| terms | {entry.terms} |" in text


def test_every_page_is_in_the_navigation():
    text = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = str(mkdocs_yaml.yaml_load(text)["nav"])
    pages = [path.name for path in (ROOT / "docs").glob("*.md")]
    pages += [docs_site.place(f"notebooks/{path.name}") for path in NOTEBOOKS]
    assert [page for page in pages if f"'{page}'" not in listed] == []


@pytest.mark.parametrize(
    ("link", "source", "where", "becomes"),
    [
        ("[a](docs/train.md#say-how-long)", "README.md", "index.md", "[a](train.md#say-how-long)"),
        ("[a](../notebooks/01_eda.ipynb)", "docs/train.md", "train.md", "[a](tutorials/01_eda.md)"),
        ("[a](../docs/bands.md)", "notebooks/01_eda.ipynb", "tutorials/01_eda.md", "[a](../bands.md)"),
        ("![a](docs/images/x.jpg)", "README.md", "index.md", "![a](images/x.jpg)"),
        ("[a](CITATION.cff)", "README.md", "index.md", "a"),
        ("[a](nowhere.md)", "docs/train.md", "train.md", "[a](nowhere.md)"),
        ("[a](https://example.org/x)", "README.md", "index.md", "[a](https://example.org/x)"),
        ("[a](#here)", "README.md", "index.md", "[a](#here)"),
    ],
)
def test_links_lead_to_where_files_are_on_the_site(link, source, where, becomes):
    assert docs_site.LINK.sub(lambda match: docs_site._link(match, source, where), link) == becomes


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://example.org/x.js"></script>',
        '<img alt="" src=//example.org/x.png>',
        '<link rel="stylesheet" href="https://example.org/x.css">',
        "<style>@import url(https://example.org/x.css)</style>",
        "<style>a { background: url('http://example.org/x.png') }</style>",
    ],
)
def test_what_would_be_fetched_is_found(html, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(html)
    assert docs_site.fetched(page)


def test_what_is_only_a_link_or_code_is_not_fetched(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<a href="https://example.org">x</a><code>&lt;img <b src="https://example.org"></b></code><img src="a.png">'
    )
    assert docs_site.fetched(page) == []


def test_formulas_are_drawings_that_need_no_script_and_no_font():
    text = "A $D_1$ costs $5, $x$.\n\n$$\\frac{a}\n{b}$$\n\n`$y$` and :math:`z`"
    html = markdown.markdown(text, extensions=[docs_math.Formulas()])
    assert html.count("<svg ") == 4 and html.count("formula-block") == 1
    assert 'aria-label="D_1"' in html and "<code>$y$</code>" in html and "costs $5" in html


def test_a_formula_that_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match="unheardof"):
        docs_math.draw(r"\unheardof{x}", "formula-inline")
