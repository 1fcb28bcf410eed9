"""Untrained models whose images are not 8-bit RGB, for the web app."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from p2plib.config import TrainConfig
from p2plib.data.kind import PLAIN, ImageKind

DEPTH = ImageKind("depth", channels=1, dtype="uint16", high=4095)
HEIGHT = ImageKind("height", channels=1, dtype="float32", low=-10, high=90, unit="m")
CLASSES = {"ground": (90, 90, 90), "roof": (200, 60, 60), "water": (40, 80, 220)}
NUMBERS = ImageKind("numbers", CLASSES, channels=1, low=0, high=7, form="ids", ids=(0, 3, 7))
MODELS = {"heights": (DEPTH, HEIGHT), "masks": (PLAIN[0], NUMBERS), "photos": (NUMBERS, PLAIN[1])}


def untrained(config: TrainConfig, folder: Path) -> dict[str, Path]:
    """A checkpoint of each of `MODELS`, by name."""
    import keras

    from p2plib.inference.checkpoint import CheckpointInfo, save_generator
    from p2plib.models import build_generator

    keras.utils.set_random_seed(0)
    config, found = replace(config, data="/nowhere", direction="AtoB"), {}
    for name, kinds in MODELS.items():
        found[name] = folder / f"{name}.keras"
        info = CheckpointInfo(config, (kinds[0].name, kinds[1].name), 1, 5, {}, kinds=kinds)
        save_generator(found[name], build_generator(config, kinds), info)
    return found
