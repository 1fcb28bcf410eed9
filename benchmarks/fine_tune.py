"""What `--init` saves: `python benchmarks/fine_tune.py --data SHOES --few 20 --epochs 60`.

Trains on a few pairs twice, from scratch and from a trained model, and says after how many steps the second is as good
as the first ever becomes, by the perceptual distance of the validation images. The trained model is `--init`, or it is
trained first, on the other pairs of the train split.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import p2plib
from p2plib.config import TrainConfig
from p2plib.show.report import read_log


def parts(data: Path, few: int, folder: Path) -> dict[str, Path]:
    """Two data sets with the same validation images: `few` evenly spaced training pairs, and the others."""
    images = sorted((data / "train").iterdir())
    chosen = set(images[:: max(1, len(images) // few)][:few])
    for name, kept in {"few": chosen, "others": set(images) - chosen}.items():
        (folder / name / "train").mkdir(parents=True)
        shutil.copytree(data / "val", folder / name / "val")
        for image in kept:
            shutil.copy(image, folder / name / "train")
    return {name: folder / name for name in ("few", "others")}


def main() -> None:
    """Train, and print the curves of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train/ and val/")
    parser.add_argument("--direction", default="AtoB")
    parser.add_argument("--load", default="resize")
    parser.add_argument("--recipe", default="modern")
    parser.add_argument("--few", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60, help="of the few pairs")
    parser.add_argument("--seconds", type=float, default=100, help="of training on the others, without --init")
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--init", help="a run, a .keras file, or the name of a generator that comes with p2plib")
    asked = parser.parse_args()
    shared: dict[str, Any] = {"direction": asked.direction, "load": asked.load, "recipe": asked.recipe}
    shared |= {"image_size": 128, "base_filters": asked.filters, "sample_every": 10**6, "checkpoint_every": 10**6}
    with tempfile.TemporaryDirectory() as work:
        data = parts(asked.data, asked.few, Path(work))

        def run(name: str, pairs: str, **more: Any) -> Path:
            config = TrainConfig(data=str(data[pairs]), run_dir=str(Path(work, "runs", name)), **shared | more)
            return p2plib.train(config, show=lambda snapshot: None)

        origin = asked.init or str(run("others", "others", train_time=f"{asked.seconds}s"))
        logs = {
            "from scratch": read_log(run("scratch", "few", epochs=asked.epochs) / "log.csv"),
            "from a trained model": read_log(run("init", "few", epochs=asked.epochs, init=origin) / "log.csv"),
        }
    best = min(row["val_perceptual"] for row in logs["from scratch"])
    for name, rows in logs.items():
        values = [row["val_perceptual"] for row in rows]
        print(
            f"{name}: perceptual {values[0]:.3f} after the first epoch, best {min(values):.3f}, last {values[-1]:.3f}"
        )
        reached = next((int(row["step"]) for row in rows if row["val_perceptual"] <= best), None)
        print(f"  {best:.3f} after {reached} steps" if reached else f"  {best:.3f} not reached")


if __name__ == "__main__":
    main()
