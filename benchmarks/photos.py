"""How fast photos become pairs on this machine: `python benchmarks/photos.py [FOLDER]`.

"first" reads every photo, makes its pair and resizes it for training at 256x256, as training does before the first
epoch. "again" is the same as in an epoch from disk, for pairs that do not fit into memory: sketches then come from the
cache. "batch" is random crops, flips and strokes of pairs in memory. Without a folder, the photos are toy cities,
enlarged to 640x480 and saved as JPEG.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from p2plib.config import TrainConfig
from p2plib.data import toy
from p2plib.data.batches import Batches
from p2plib.data.dataset import open_dataset
from p2plib.data.image import resize_image, save_image

COUNT = 200


def make(folder: Path) -> Path:
    """Write the photos."""
    for i in range(COUNT):
        save_image(folder / f"{i}.jpg", resize_image(toy.city(i, 128)[0], 480, 640))
    return folder


def measure(config: TrainConfig) -> tuple[float, float, float]:
    """Photos per second: first, again, batch."""
    dataset = open_dataset(config)
    split = dataset["train"]
    rates = []
    for _ in range(2):
        start = time.perf_counter()
        split.load(size=config.load_shape)
        rates.append(len(split) / (time.perf_counter() - start))
    data = Batches(dataset, config)
    steps = 2000 // config.batch_size
    start = time.perf_counter()
    for _ in data.start().take(steps):
        pass
    return rates[0], rates[1], steps * config.batch_size / (time.perf_counter() - start)


def main() -> None:
    """Measure both tasks and print a table."""
    from p2plib.runtime import describe

    machine = describe()
    print(f"{machine['processor']}, {machine['cores']} cores; photos per second at 256x256")
    print(f"{'task':10}{'first':>8}{'again':>8}{'batch':>8}")
    with tempfile.TemporaryDirectory() as work:
        os.environ["P2PLIB_CACHE"] = work
        folder = Path(sys.argv[1]) if sys.argv[1:] else make(Path(work, "photos"))
        for task in ("colorize", "sketch"):
            config = TrainConfig(data=str(folder), task=task, batch_size=4, skip_broken=True)
            print(f"{task:10}" + "".join(f"{rate:8.0f}" for rate in measure(config)))


if __name__ == "__main__":
    main()
