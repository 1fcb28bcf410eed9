"""The house stands on its foundations: imports point one way, and heavy things stay in their rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from fresh import run_and_list

PACKAGE = Path(__file__).resolve().parents[1] / "p2plib"

ORDER = ["", "data", "hub", "models", "inference", "evaluation", "training", "export", "show", "web", "kaggle", "cli"]
"""The packages, from the ground up; "" are the modules beside them. Each imports from those before it, and itself."""

GROUND = {"__init__", "checks", "config", "durations", "errors", "files", "hosts", "quiet", "recipes", "registry"}
GROUND |= {"runtime"}
"""The modules beside the packages; `__main__` starts the command line and belongs to it."""

PRESENTATION = {"matplotlib", "ipywidgets", "IPython", "flask", "waitress", "kaggle", "tyro"}
"""What all below `show` does without: it runs on a server, and inside another program."""


def modules() -> dict[str, Path]:
    names = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def package(module: str) -> str:
    """The package of a module: "data" of p2plib.data.image, "" of p2plib.config."""
    parts = module.split(".")
    if parts[1:2] == ["__main__"]:
        return "cli"
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ""


def imports(path: Path, name: str, deep: bool = True) -> Iterator[str]:
    """Every module that a file imports; inside functions, too, if `deep`; for type checkers only does not count."""
    known = modules()
    for node in nodes(ast.parse(path.read_text(encoding="utf-8")), deep):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively, which this test does not read"
            for alias in node.names:  # `from package import module` is an import of that module alone
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module


def nodes(node: ast.AST, deep: bool = True) -> Iterator[ast.AST]:
    """Walk the tree, past the bodies of `if TYPE_CHECKING:` and, unless `deep`, of functions."""
    yield node
    if not deep and isinstance(node, ast.FunctionDef):
        return
    skipped = node.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" else ()
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from nodes(child, deep)


def ours(deep: bool = True) -> list[tuple[str, str]]:
    """Every import of one of our modules by another."""
    known = modules()
    found = [(name, other) for name, path in known.items() for other in imports(path, name, deep)]
    return [(name, other) for name, other in found if other in known]


def test_every_package_has_its_place():
    assert {package(name) for name in modules()} == set(ORDER)
    assert {path.stem for path in PACKAGE.glob("*.py")} == GROUND | {"__main__"}


def test_imports_point_one_way():
    found = ours()
    assert len(found) > 100
    wrong = [(a, b) for a, b in found if ORDER.index(package(b)) > ORDER.index(package(a))]
    assert wrong == []


def test_there_is_no_circle_of_imports():
    graph: dict[str, set[str]] = {}
    for name, other in ours():
        if name != "p2plib":  # which hands names on when they are first used
            graph.setdefault(name, set()).add(other)
    assert len(list(TopologicalSorter(graph).static_order())) > 50


@pytest.mark.parametrize("name", [name for name in modules() if ORDER.index(package(name)) < ORDER.index("show")])
def test_the_core_knows_nothing_of_its_presentation(name):
    found = {other.partition(".")[0] for other in imports(modules()[name], name)}
    assert not found & PRESENTATION


@pytest.mark.parametrize("name", [name for name in modules() if package(name) == "data"])
def test_data_does_without_a_network(name):
    banned = {"tensorflow", "keras", "jax"} if name != "p2plib.data.batches" else {"jax"}
    assert not {other.partition(".")[0] for other in imports(modules()[name], name)} & banned


def test_what_is_for_type_checkers_does_not_count():
    tree = ast.parse("if TYPE_CHECKING:\n import a\nelse:\n import b\ndef f():\n  import c")
    names = [alias.name for node in nodes(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert names == ["b", "c"]
    names = [alias.name for node in nodes(tree, deep=False) if isinstance(node, ast.Import) for alias in node.names]
    assert names == ["b"]


@pytest.mark.parametrize(
    "name",
    ["p2plib", "p2plib.config", "p2plib.inference.checkpoint", "p2plib.training.loop", "p2plib.evaluation.evaluate"],
)
def test_importing_chooses_no_backend(name):
    assert run_and_list(f"import {name}", "keras", "tensorflow", "jax", "matplotlib") == ("", [])


def test_files_and_functions_can_be_read_at_one_sitting():
    """The habit of the codebases that we learn from: files under 350 lines, functions under 40."""
    long = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 350, path
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
        assert max(lengths.values(), default=0) <= 50, (path, lengths)
        long += [f"{path.stem}.{name}" for name, length in lengths.items() if length > 40]
    assert len(long) <= 5, long
