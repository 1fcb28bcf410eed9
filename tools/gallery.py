"""The pictures of the README's gallery, in docs/images: `python tools/gallery.py`.

Every picture shows images that p2plib makes itself. The generators are those that come with p2plib, and one that is
trained here: the heights of the land from a satellite's four bands, about ten minutes on two CPU cores. The images
are of the validation split, which no training saw, evenly spaced, not chosen by their looks.

To keep that training, so that a second call is quick: `python tools/gallery.py RUN-FOLDER`.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

import p2plib
from p2plib.data.image import resize_image, tile_images
from p2plib.evaluation.evaluate import Evaluation

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
NAMES = ("toy-map", "toy-satellite", "toy-colors", "vases")
COUNT = 6
"""Validation images of each model; a gallery picture has a row for every third one."""
HEIGHTS = p2plib.TrainConfig(
    data="terrain",
    recipe="measured",
    augment="jitter",
    image_size=64,
    base_filters=16,
    epochs=60,
    sample_every=60,
    precision="float32",
    deterministic=True,
)
"""As in docs/results.md."""


def heights(run: Path) -> Path:
    """The run that learned heights; trained now unless it is there."""
    return run if (run / "config.json").exists() else p2plib.train(dataclasses.replace(HEIGHTS, run_dir=str(run)))


def colored(grays: np.ndarray) -> np.ndarray:
    """Gray previews (N, H, W, 3) in colors, from dark blue for low land to yellow for high."""
    return np.rint(matplotlib.colormaps["viridis"](grays[..., 0])[..., :3] * 255).astype(np.uint8)


def stretched(generated: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    """Grays (N, H, W, 3), pair by pair: the lowest of the expected heights becomes 0, the highest 255."""
    low, high = (limit(targets, axis=(1, 2, 3), keepdims=True).astype(float) for limit in (np.min, np.max))
    return [np.clip((grays - low) / (high - low) * 255, 0, 255).astype(np.uint8) for grays in (generated, targets)]


def enlarged(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W, 3) as large as those of the other models."""
    return np.stack([resize_image(image, 128, 128) for image in images])


def columns(result: Evaluation) -> list[np.ndarray]:
    """Sources, generated and expected images of an evaluation."""
    return [result.sources, result.generated, result.targets]


def save(name: str, rows: list[list[np.ndarray]]) -> None:
    """Write a picture of rows of images."""
    path = IMAGES / f"{name}.jpg"
    Image.fromarray(tile_images(rows)).save(path, quality=88, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main(run: Path) -> None:
    """Write a picture of each model, and one of all of them."""
    IMAGES.mkdir(exist_ok=True)
    pictures = {name: columns(p2plib.evaluate(p2plib.load(name), limit=COUNT)) for name in NAMES}
    sources, *grays = columns(p2plib.evaluate(p2plib.load(heights(run)), limit=COUNT))
    pictures["heights"] = [enlarged(images) for images in (sources, *map(colored, stretched(*grays)))]
    for name, (sources, generated, targets) in pictures.items():
        save(name, [list(row) for row in list(zip(sources, generated, targets, strict=True))[::3]])
    save("overview", [[images[half][i] for i, images in enumerate(pictures.values())] for half in (0, 1)])


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder, "heights"))
