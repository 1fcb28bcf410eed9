"""Make what `p2plib.show.lessons` keeps: `python tools/lesson_runs.py [NAME ...]`.

Short trainings on the toy set, from map to satellite photo. Those of `ill` have 64x64 pixels; all others have 128x128.
Everything takes about 15 minutes on two CPU cores that do nothing else.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import p2plib
from p2plib import TrainConfig, evaluate, load, train, translate
from p2plib.data.dataset import open_dataset
from p2plib.data.image import save_image, tile_images
from p2plib.recipes import RECIPES
from p2plib.registry import GENERATORS
from p2plib.show.report import read_log

LESSONS = Path(p2plib.__file__).parent / "show" / "lessons"
SHARED = {"data": "toy", "direction": "BtoA", "base_filters": 16, "batch_size": 4, "learning_rate": 4e-4}
PAPER = SHARED | {"recipe": "paper", "image_size": 128, "epochs": 6, "validation_pairs": 10}
SMALL = SHARED | {"recipe": "paper", "image_size": 64, "receptive_field": 16, "epochs": 20}
GROWING = ("ema", "upsampling", "generator", "terms", "l1_weight", "gan_weight")
MODERN = {name: RECIPES["modern"][name] for name in GROWING}
FEW = 8
KEPT = {"epoch", "step", "l1", "gan", "discriminator", "val_l1", "val_perceptual", "val_ssim"}
"""Columns of the log."""

RUNS: dict[str, dict[str, dict[str, Any]]] = {
    "lambda": {
        "L1 alone": {"gan_weight": 0.0},
        "lambda 1000": {"l1_weight": 1000.0},
        "lambda 100": {},
        "lambda 10": {"l1_weight": 10.0},
        "lambda 1": {"l1_weight": 1.0},
        "GAN alone": {"l1_weight": 0.0},
    },
    "skips": {"with skips": {}, "without skips": {"generator": "no_skips"}},
    "patch": {f"{side}x{side}": {"receptive_field": side} for side in (1, 16, 70, 286)},
    "recipe": {
        "paper": {},
        "+ moving average": {name: MODERN[name] for name in GROWING[:1]},
        "+ resize-convolutions": {name: MODERN[name] for name in GROWING[:2]},
        "+ lean": {name: MODERN[name] for name in GROWING[:3]},
        "+ perceptual loss": MODERN,
    },
    "ill": {
        "healthy": {},
        "D too strong": {"few": FEW, "l1_weight": 1.0, "receptive_field": 70, "discriminator_filters": 64},
        "D lost": {"discriminator_filters": 1, "receptive_field": 1},
        "learned by heart": {"few": FEW, "epochs": 30},
        "collapsed": {"l1_weight": 0.0, "generator": "no_skips"},
        "checkerboards": {"l1_weight": 1.0, "epochs": 4},
    },
}
"""The settings of each run, besides those that its lesson shares. `few`: train on so many different pairs only."""


@GENERATORS.register("no_skips")
def no_skips(image_size: int, base_filters: int, norm: str, upsampling: str, dropout: float) -> Any:
    """The paper's encoder-decoder: the U-Net without its skips."""
    import keras

    from p2plib.models import layers, unet

    filters = [base_filters * min(2**level, 8) for level in range(image_size.bit_length() - 1)]
    source = keras.Input((image_size, image_size, 3), name="source")
    x = unet.encode(source, filters, norm)[-1]
    for level in reversed(range(len(filters) - 1)):
        x = layers.upsample(keras.layers.ReLU()(x), f"up{level + 2}", filters[level], upsampling, use_bias=False)
        x = layers.normalize(x, f"up{level + 2}", norm)
        if level >= len(filters) - 4:
            x = keras.layers.Dropout(dropout)(x)
    x = keras.layers.ReLU()(x)
    return keras.Model(source, layers.upsample(x, "up1", 3, upsampling, activation="tanh", dtype="float32"))


def few_pairs(folder: Path, count: int) -> str:
    """The toy set with fewer different training pairs: copies of them fill an epoch."""
    dataset = open_dataset(TrainConfig(data="toy", direction="AtoB", image_size=256))
    for split, different in (("train", count), ("val", 50)):
        loaded = dataset[split].load(different)
        images = list(zip(loaded.sources, loaded.targets, strict=True))
        for i in range(len(dataset[split])):
            save_image(folder / split / f"{i}.png", tile_images([list(images[i % different])], gap=0))
    return str(folder)


def trained(config: TrainConfig) -> tuple[list[dict[str, float]], dict[str, float], np.ndarray]:
    """Train; the log, the scores and the images of the last generator."""
    run = train(config)
    model = load(run / "checkpoints" / "last.keras")
    means = evaluate(model).mean
    scores = {name: round(means[name], 3) for name in ("perceptual", "l1")}
    images = translate(model, list(shown(config.shape[0])[0]))
    rows = [{name: round(value, 4) for name, value in row.items() if name in KEPT} for row in read_log(run / "log.csv")]
    return rows, scores, np.hstack(images)


def shown(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sources and targets of three validation pairs, uint8 (3, S, S, 3) each."""
    loaded = open_dataset(TrainConfig(data="toy", direction="BtoA", image_size=size))["val"].load(3)
    return loaded.sources, loaded.targets


def make(name: str, work: Path, done: dict[str, Any]) -> None:
    """Train the runs of a lesson, or take them from `done`, and write it."""
    base = SMALL if name == "ill" else PAPER
    kept, images = [], []
    for title, changes in RUNS[name].items():
        settings = dict(changes)
        few = settings.pop("few", None)
        data = {"data": few_pairs(work / f"few-{few}", few)} if few else {}
        config = TrainConfig(**base | settings | data, run_dir=str(work / f"{name}-{len(kept)}"))
        key = json.dumps(base | changes, sort_keys=True)
        if key not in done:
            done[key] = trained(config)
        rows, scores, image = done[key]
        kept.append({"title": title, "settings": changes, "scores": scores, "rows": rows if name == "ill" else []})
        images.append(image)
    sources, targets = (np.hstack(list(shown(base["image_size"])[:, side])) for side in (0, 1))
    (LESSONS / f"{name}.json").write_text(json.dumps(kept) + "\n", encoding="utf-8")
    Image.fromarray(np.vstack([sources, targets, *images])).save(LESSONS / f"{name}.jpg", quality=85, subsampling=0)


if __name__ == "__main__":
    finished: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for lesson in sys.argv[1:] or RUNS:
            make(lesson, Path(folder), finished)
