"""Latency of one image on this machine: `make bench`, or `python benchmarks/latency.py [NAME ...]`.

The full-size U-Net (256x256, 64 filters, random weights) translates one image again and again, in Keras and in every
export, each in a process of its own: 3 seconds of warm-up, then 10 seconds, of which the median and the 90th
percentile are given. "levels" is the largest difference to Keras, in 8-bit levels. "floor" is the share of the time
that the multiplications would take at the rate of one large matrix product in float32.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from floor import forward, matmul_rate, save_random_model

from p2plib import runtime
from p2plib.inference import checkpoint
from p2plib.inference.engines import FORMATS

CALLS = ("keras-call", "keras-predict")
CASES = (*CALLS, *FORMATS, *(f"{name}-half" for name in FORMATS))
WARM_UP, SECONDS = 3, 10


def make_checkpoint(_: str, folder: Path) -> dict[str, float]:
    """Write a generator with random weights; returns the seconds that its multiplications take at best."""
    return {"floor_s": forward(save_random_model(folder / "model.keras")) / matmul_rate("float32")}


def make(case: str, folder: Path) -> dict[str, float]:
    """Export where the case is an export; returns the size in MB and the largest difference to Keras in levels."""
    file = folder / "model.keras"
    if case in CALLS:
        return {"MB": file.stat().st_size / 1e6, "levels": 0.0}
    from p2plib.export.convert import export_model

    done = export_model(file, case.removesuffix("-half"), case.endswith("-half"), folder / case)
    return {"MB": done.size / 1e6, "levels": done.max_levels}


def latency(case: str, folder: Path) -> dict[str, float]:
    """Median and 90th percentile in seconds of one image."""
    model = checkpoint.load(folder / ("model.keras" if case in CALLS else case))
    run = model.generator.predict_on_batch
    if case == "keras-call":

        def run(source):
            return np.asarray(model.generator(source))

    source = np.random.default_rng(0).uniform(-1, 1, (1, 256, 256, 3)).astype(np.float32)
    times = []
    start = time.perf_counter()
    while (now := time.perf_counter()) < start + WARM_UP + SECONDS:
        run(source)
        if now > start + WARM_UP:
            times.append(time.perf_counter() - now)
    return {"median_s": float(np.median(times)), "p90_s": float(np.quantile(times, 0.9))}


def apart(step: str, case: str, folder: Path) -> dict[str, float]:
    """Run a step of a case in a process of its own."""
    command = [sys.executable, __file__, f"--{step}", case, str(folder)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """Run every case, or those named, and print a table."""
    steps = {"--checkpoint": make_checkpoint, "--make": make, "--latency": latency}
    if sys.argv[1:2] and sys.argv[1] in steps:
        print(json.dumps(steps[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))))
        return
    machine = runtime.describe()
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['gpus'] or 'no GPU'}; {machine['versions']}")
    print(f"{'case':18}{'median ms':>10}{'p90 ms':>8}{'MB':>8}{'levels':>9}{'floor':>7}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = apart("checkpoint", "", folder)
        for case in sys.argv[1:] or CASES:
            row = apart("make", case, folder) | apart("latency", case, folder)
            share = known["floor_s"] / row["median_s"]
            times = f"{1000 * row['median_s']:10.0f}{1000 * row['p90_s']:8.0f}"
            print(f"{case:18}{times}{row['MB']:8.1f}{row['levels']:9.2g}{share:7.0%}", flush=True)


if __name__ == "__main__":
    main()
