"""A 12-bit target from files: `python benchmarks/depth.py OUT` writes landscapes as TIFF and 16-bit PNG, and trains.

The heights fill 12 bits: 4,800 m are 4,095. Training reads a folder, as that of anybody. Printed are the mean error of
the trained model on 50 held-out pairs, in stored levels, and that of the mean height everywhere.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from p2plib.data.terrain import terrain
from p2plib.data.values import read_values, write_values

TRAIN, VAL, SIDE = 400, 50, 128
HIGHEST = 4800.0
SETTINGS = "--recipe measured --augment jitter --image-size 64 --base-filters 16 --epochs 100"


def main(out: Path) -> None:
    """Write the data, train, and print both errors."""
    data, run = out / "data", out / "run"
    for i in range(TRAIN + VAL):
        image, height = terrain(i, SIDE)
        levels = np.clip(np.rint(height * (4095 / HIGHEST)), 0, 4095).astype(np.uint16)
        split = data / ("train" if i < TRAIN else "val")
        write_values(split / "A" / f"{i}.tif", image)
        write_values(split / "B" / f"{i}.png", levels)
    p2plib = [sys.executable, "-m", "p2plib"]
    train = [*p2plib, "train", "--data", str(data), "--run-dir", str(run), *SETTINGS.split()]
    subprocess.run(train, check=True)
    subprocess.run([*p2plib, "evaluate", str(run / "checkpoints" / "last.keras")], check=True)
    known, asked = (
        np.stack([read_values(path) for path in sorted((data / split / "B").iterdir())]).astype(np.float64)
        for split in ("train", "val")
    )
    print(f"the mean of the training heights everywhere: {np.abs(asked - known.mean()).mean():.1f} levels off")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
