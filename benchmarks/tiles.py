"""Cut large side-by-side pairs into tiles: `python benchmarks/tiles.py MAPS TILES`.

Each pair becomes N x N pairs (`--across`, 3), in the same splits, for programs that take small pairs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from p2plib.data.image import read_rgb


def main() -> None:
    """Cut all pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of splits, such as train/ and val/, with pairs")
    parser.add_argument("out", type=Path)
    parser.add_argument("--across", type=int, default=3)
    asked = parser.parse_args()
    for path in sorted(asked.data.glob("*/*.*")):
        folder = asked.out / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        sides = (tiles(half, asked.across) for half in np.split(read_rgb(path), 2, axis=1))
        for i, pair in enumerate(zip(*sides, strict=True)):
            name = f"{path.stem}_{i // asked.across}{i % asked.across}.jpg"
            Image.fromarray(np.hstack(pair)).save(folder / name, quality=97)


def tiles(image: np.ndarray, across: int) -> list[np.ndarray]:
    """The tiles of an image, row by row; what remains at the right and below is left out."""
    height, width = (length // across for length in image.shape[:2])
    return [
        image[row * height : (row + 1) * height, column * width : (column + 1) * width]
        for row in range(across)
        for column in range(across)
    ]


if __name__ == "__main__":
    main()
