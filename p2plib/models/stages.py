"""Summarizes a built network as a table: stages, shapes, parameters and skip connections."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import keras


class Stage(NamedTuple):
    """Layers that share the first part of their name: a convolution with its activation and normalization."""

    name: str
    shape: tuple[int, int, int]
    """Height, width and channels of the output."""
    parameters: int
    skip: str
    """The stage at the start of its skip connection; empty if there is none."""


def stages(model: keras.Model) -> list[Stage]:
    """List the stages of a generator or discriminator in order.

    Args:
        model: from `models.build_generator` or `models.build_discriminator`.
    """
    found = []
    made_by = {id(layer.output): layer for layer in model.layers}
    groups = defaultdict(list)  # two scales of a discriminator take turns in the list of layers
    for layer in model.layers:
        groups[_stage_name(layer)].append(layer)
    for name, members in groups.items():
        parameters = sum(layer.count_params() for layer in members)
        joined = [_stage_name(made_by[id(x)]) for x in _inputs(members[-1])]
        if parameters:
            shape = tuple(members[-1].output.shape[1:])
            found.append(Stage(name, shape, parameters, next((other for other in joined if other != name), "")))
    return found


def table(model: keras.Model) -> str:
    """Format the stages as text, with the total number of parameters."""
    lines = [f"{'stage':10}{'output':>16}{'parameters':>14}  joined with"]
    for name, shape, parameters, skip in stages(model):
        lines.append(f"{name:10}{' x '.join(map(str, shape)):>16}{parameters:>14,}  {skip}".rstrip())
    return "\n".join([*lines, f"{'all':10}{model.count_params():>30,}"])


def _inputs(layer: keras.Layer) -> list[keras.KerasTensor]:
    """The inputs of a merging layer; empty for a layer with one input."""
    return layer.input if isinstance(layer.input, list) else []


def _stage_name(layer: keras.Layer) -> str:
    return layer.name.rpartition("_")[0] or layer.name
