"""The house stands on its foundations: imports point one way, and heavy things stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "p2plib"

ORDER = [
    "p2plib.errors",
    "p2plib.files",
    "p2plib.data",
    "p2plib.data.image",
    "p2plib.data.color",
    "p2plib.data.toy",
    "p2plib.data.vase",
    "p2plib.data.catalog",
    "p2plib.data.download",
    "p2plib.data.sketch",
    "p2plib.data.pairs",
    "p2plib.data.combine",
    "p2plib.data.photos",
    "p2plib.data.check",
    "p2plib.data.statistics",
    "p2plib.data.pipeline",
    "p2plib.models.layers",
    "p2plib.models.colorizer",
    "p2plib.models.unet",
    "p2plib.models.resnet",
    "p2plib.models.patchgan",
    "p2plib.models.stages",
    "p2plib.models",
    "p2plib.config",
    "p2plib.runtime",
    "p2plib.training.terms",
    "p2plib.evaluation.metrics",
    "p2plib.evaluation.distances",
    "p2plib.inference.engines",
    "p2plib.training.pix2pix",
    "p2plib.inference.checkpoint",
    "p2plib.inference.tiling",
    "p2plib.inference.translate",
    "p2plib.inference.folders",
    "p2plib.inference.video",
    "p2plib.evaluation.evaluate",
    "p2plib.evaluation.fcn_score",
    "p2plib.evaluation.compare",
    "p2plib.export.card",
    "p2plib.export.convert",
    "p2plib.training.callbacks",
    "p2plib.training.loop",
    "p2plib",
    "p2plib.show.figures.common",
    "p2plib.show.figures.data",
    "p2plib.show.figures.networks",
    "p2plib.show.figures.results",
    "p2plib.show.figures",
    "p2plib.show.widgets",
    "p2plib.show.report",
    "p2plib.web.limits",
    "p2plib.web.uploads",
    "p2plib.web.queue",
    "p2plib.web.examples",
    "p2plib.web.models",
    "p2plib.web.app",
    "p2plib.web.serve",
    "p2plib.web",
    "p2plib.kaggle",
    "p2plib.kaggle.manifest",
    "p2plib.kaggle.mirrors",
    "p2plib.kaggle.session",
    "p2plib.kaggle.kernel",
    "p2plib.kaggle.preflight",
    "p2plib.kaggle.client",
    "p2plib.__main__",
]
"""Every module, from the ground up: each imports only from those before it."""

PRESENTATION = {"matplotlib", "ipywidgets", "IPython", "flask", "waitress", "kaggle", "tyro"} | set(
    ORDER[ORDER.index("p2plib") + 1 :]
)
"""What the core, all before `p2plib` in the order, does without: it runs on a server, and inside another program."""


def modules() -> dict[str, Path]:
    names = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def imports(path: Path, name: str) -> Iterator[str]:
    """Every module that a file imports, at any depth; for type checkers only does not count."""
    known = modules()
    for node in nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively, which this test does not read"
            for alias in node.names:  # `from package import module` is an import of that module alone
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk the tree, past the bodies of `if TYPE_CHECKING:`."""
    yield node
    skipped = node.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" else ()
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from nodes(child)


def test_every_module_has_its_place():
    assert sorted(modules()) == sorted(ORDER)
    assert len(ORDER) == len(set(ORDER))


def test_imports_point_one_way():
    found = [(name, other) for name, path in modules().items() for other in imports(path, name) if other in ORDER]
    assert len(found) > 50
    assert [(name, other) for name, other in found if ORDER.index(other) >= ORDER.index(name)] == []


@pytest.mark.parametrize("name", ORDER[: ORDER.index("p2plib")])
def test_the_core_knows_nothing_of_its_presentation(name):
    found = set(imports(modules()[name], name))
    assert not {other for other in found for banned in PRESENTATION if f"{other}.".startswith(f"{banned}.")}


@pytest.mark.parametrize("name", [name for name in ORDER if name.startswith("p2plib.data")])
def test_data_does_without_a_network(name):
    banned = {"tensorflow", "keras", "jax"} if name != "p2plib.data.pipeline" else {"jax"}
    assert not {other.partition(".")[0] for other in imports(modules()[name], name)} & banned


def test_what_is_for_type_checkers_does_not_count():
    tree = ast.parse("if TYPE_CHECKING:\n import a\nelse:\n import b\ndef f():\n  import c")
    names = [alias.name for node in nodes(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert names == ["b", "c"]


@pytest.mark.parametrize(
    "name",
    ["p2plib", "p2plib.config", "p2plib.inference.checkpoint", "p2plib.training.loop", "p2plib.evaluation.evaluate"],
)
def test_importing_chooses_no_backend(name):
    code = f"import sys, {name}; print(sorted({{'keras', 'tensorflow', 'jax', 'matplotlib'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
