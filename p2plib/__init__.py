"""Pix2Pix for people who work in notebooks: paired image-to-image translation with Keras 3.

    >>> import p2plib
    >>> run = p2plib.train(p2plib.TrainConfig(data="maps"))
    >>> model = p2plib.load(run)
    >>> [generated] = p2plib.translate(model, [image])

Importing this package is fast: Keras and its backend are imported on first use, after `p2plib.runtime` has chosen the
backend.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2plib.config import TrainConfig
    from p2plib.errors import P2PError
    from p2plib.evaluation.evaluate import evaluate
    from p2plib.inference.checkpoint import Checkpoint, load
    from p2plib.inference.folders import translate_files
    from p2plib.inference.translate import translate
    from p2plib.training.loop import train

__version__ = "0.2.0"

_HOMES = {
    "Checkpoint": "inference.checkpoint",
    "P2PError": "errors",
    "TrainConfig": "config",
    "evaluate": "evaluation.evaluate",
    "load": "inference.checkpoint",
    "train": "training.loop",
    "translate": "inference.translate",
    "translate_files": "inference.folders",
}

__all__ = ["Checkpoint", "P2PError", "TrainConfig", "evaluate", "load", "train", "translate", "translate_files"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'p2plib' has no attribute {name!r}")
    return getattr(import_module(f"p2plib.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
