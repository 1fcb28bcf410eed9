"""How good images are after equal time on this machine: `python benchmarks/quality.py --data FOLDER --seconds 150`.

Trains each variant of the objective for the same time, one after the other, and judges them on a split that no training
saw: a table with 95 % intervals, and a sheet of images. `perceptual` and `kid` are computed with EfficientNet-Lite2,
which no training uses; features are standardized by the real images before KID. `color` and `contrast` are the
colorfulness, and the spread of lightness, of the generated images relative to the real ones': 1 is as vivid as real.

Images of another program stand beside with `--outputs peer=FOLDER`: one PNG for each pair, named like it (`7.png` for
`val/7.jpg`), at the size of the comparison.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from p2plib.config import TrainConfig
from p2plib.data import color
from p2plib.data.dataset import open_dataset
from p2plib.data.image import read_rgb, resize_image
from p2plib.errors import DataError
from p2plib.evaluation import distances, evaluate, metrics
from p2plib.evaluation.compare import Comparison, bootstrap, objective
from p2plib.inference.translate import translate

VARIANTS: dict[str, dict[str, Any]] = {
    "modern": {},
    "gan-weight-2": {"gan_weight": 2.0},
    "maps": {"recipe": "maps"},
    "maps-batch-norm": {"recipe": "maps", "norm": "batch", "discriminator_norm": "instance"},
    "paper": {"recipe": "paper"},
    "L1-alone": {"recipe": "paper", "gan_weight": 0.0},
    "without-perceptual": {"terms": {}},
    "feature-matching": {"terms": {"feature_matching": 10.0}},
    "without-gan": {"gan_weight": 0.0},
    "without-ema": {"ema": 0.0},
    "transpose": {"upsampling": "transpose"},
    "unet": {"generator": "unet"},
    "diff-augment": {"diff_augment": True},
    "warp": {"warp": 0.05},
    "both": {"diff_augment": True, "warp": 0.05},
}
"""Settings beside the recipe `modern`."""


def standardized(extractor: distances.Extractor, real: np.ndarray) -> distances.Extractor:
    """The extractor, with features scaled to mean 0 and deviation 1 over the real images."""
    found = extractor(real).astype(np.float64)
    mean, deviation = found.mean(0), found.std(0) + 1e-6
    return distances.Extractor(f"{extractor.name}, standardized", lambda images: (extractor(images) - mean) / deviation)


def vividness(real: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """Colorfulness and spread of lightness, relative to the real images."""

    def contrast(images: np.ndarray) -> float:
        return float(np.mean([color.lightness(image / 255.0, np).std() for image in images]))

    colors = metrics.colorfulness(generated).mean() / metrics.colorfulness(real).mean()
    return {"color": float(colors), "contrast": contrast(generated) / contrast(real)}


def outputs(folder: Path, names: list[str], size: int) -> np.ndarray:
    """Another program's images, in the order of the pairs."""
    found = []
    for name in names:
        path = folder / f"{Path(name).stem}.png"
        if not path.exists():
            raise DataError(f"{path}: missing; there must be one image for each pair.")
        found.append(resize_image(read_rgb(path), size, size))
    return np.stack(found)


def trained(config: TrainConfig, folder: Path) -> Any:
    """The last generator of a training."""
    import p2plib

    run = p2plib.train(dataclasses.replace(config, run_dir=str(folder)), show=lambda snapshot: None)
    return p2plib.load(run / "checkpoints" / "last.keras")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="toy")
    parser.add_argument("--direction", default="auto")
    parser.add_argument("--task", default="pairs")
    parser.add_argument("--load", default="resize")
    parser.add_argument("--split", default="val")
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--epochs", type=int, help="instead of --seconds, for machines that are busy")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=1, help="train each variant with the seeds 0, 1, ...")
    parser.add_argument("--variants", nargs="*", default=["modern", "paper"], choices=VARIANTS)
    parser.add_argument("--outputs", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path, default=Path("quality"))
    return parser.parse_args()


def main() -> None:
    """Train, judge, and write quality.json and sheet.png."""
    from p2plib.evaluation.perceptual import lite2
    from p2plib.show import figures

    asked = arguments()
    shared: dict[str, Any] = {"data": asked.data, "direction": asked.direction, "task": asked.task, "load": asked.load}
    shared |= {"image_size": asked.size, "base_filters": asked.filters, "batch_size": 4, "validation_pairs": 1}
    shared |= {"epochs": asked.epochs} if asked.epochs else {"train_time": f"{asked.seconds}s"}
    shared |= {"checkpoint_every": 10**6, "sample_every": 10**6}
    dataset = open_dataset(TrainConfig(**shared))
    loaded = dataset[asked.split].load()
    extractor = standardized(lite2(), loaded.targets)
    generated, steps, objectives = {}, {}, {}
    with tempfile.TemporaryDirectory() as work:
        for variant in asked.variants:
            for seed in range(asked.seeds):
                name = f"{variant}-{seed}" if asked.seeds > 1 else variant
                model = trained(TrainConfig(**shared | VARIANTS[variant] | {"seed": seed}), Path(work, name))
                images = translate(model, list(loaded.sources), fit=not dataset.crop)
                generated[name], steps[name], objectives[name] = np.stack(images), model.info.step, objective(model)
    for name, _, folder in (text.partition("=") for text in asked.outputs):
        generated[name] = outputs(Path(folder), loaded.names, asked.size)
        steps[name], objectives[name] = 0, "another program"
    found = {}
    for name, images in generated.items():
        protocol = evaluate.conditions(steps[name], dataset, asked.split, len(images))
        protocol |= {"epochs": asked.epochs} if asked.epochs else {"seconds": asked.seconds}
        made = [(loaded, images)]
        result = evaluate.judge(dataset, asked.split, len(images), made, protocol, extractor, palette=None)
        found[name] = dataclasses.replace(
            result, sets=result.sets | vividness(loaded.targets, images) | {"steps": steps[name]}
        )
    comparison = Comparison(found, objectives, dataset.names)
    comparison.write_json(asked.out / "quality.json")
    figures.save(figures.image_grid(comparison.columns(6)), asked.out / "sheet.png")
    print(comparison.table())
    print(f"saved: {asked.out / 'quality.json'}, {asked.out / 'sheet.png'}")
    if asked.seeds > 1:
        print(json.dumps(seeds(found, asked.variants), indent=1))


def seeds(found: dict[str, Any], variants: list[str]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Mean and 95 % interval over the seeds, of each variant's means."""
    table: dict[str, dict[str, tuple[float, float, float]]] = {}
    for variant in variants:
        runs = [result.mean | result.sets for name, result in found.items() if name.rpartition("-")[0] == variant]
        for metric in runs[0]:
            values = np.array([run[metric] for run in runs])
            table.setdefault(variant, {})[metric] = (float(values.mean()), *bootstrap(values))
    return table


if __name__ == "__main__":
    main()
