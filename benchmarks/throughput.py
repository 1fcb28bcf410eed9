"""Training throughput on this machine: `make bench`, or `python benchmarks/throughput.py [NAME ...]`.

Each case is trained in a process of its own on random images that are in memory already, so that only the step is
timed: a warm-up, then steps for half a minute, of which the median is given. "floor" is what the multiplications of a
step would take at the rate that this machine reaches in one large matrix product of the same precision.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np
from floor import forward, matmul_rate

from p2plib.config import TrainConfig

SMALL = {"image_size": 128, "base_filters": 32, "batch_size": 4}
CASES = {
    "paper-small": TrainConfig(recipe="paper", **SMALL),
    "modern-small": TrainConfig(**SMALL),
    "paper": TrainConfig(recipe="paper"),
    "paper-float32": TrainConfig(recipe="paper", precision="float32"),
    "paper-batch-4": TrainConfig(recipe="paper", batch_size=4),
    "modern": TrainConfig(),
    "modern-batch-4": TrainConfig(batch_size=4),
}
SECONDS = 30


def multiplications(config: TrainConfig) -> float:
    """Multiply-adds of one training step on one pair.

    Forward G once, forward D twice (real, generated); backward costs twice the forward; and once more through D to its
    input, for the generator. A frozen network sees both images, and is passed once to its input.
    """
    from p2plib.models import build_discriminator, build_generator, features

    generator, discriminator = build_generator(config), build_discriminator(config)
    frozen = 3 * forward(features.network("lite0", config.image_size)) if config.terms else 0
    return 3 * forward(generator) + 6 * forward(discriminator) + forward(discriminator) + frozen


def measure(config: TrainConfig) -> dict[str, float | str]:
    """Time training steps of one configuration."""
    from p2plib import runtime

    plan = runtime.start(config)
    from p2plib.training.loop import build

    rng = np.random.default_rng(0)
    shape = (config.batch_size, config.image_size, config.image_size, 3)
    source, target = (rng.uniform(-1, 1, shape).astype("float32") for _ in range(2))
    with runtime.distributed(plan) as scope:
        model = build(config, plan, scope)[-1]
        times = []
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            start = time.perf_counter()
            model.train_on_batch(source, target)
            times.append(time.perf_counter() - start)
    step = float(np.median(times[3:]))
    result = {"plan": str(plan), "step_s": step, "images_per_s": config.batch_size / step}
    result["peak_GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if plan.backend == "tensorflow":
        work = multiplications(config) * config.batch_size
        result["gigamultiplications"] = work / 1e9
        result["share_of_floor"] = work / matmul_rate(plan.precision) / step
    return result


def main() -> None:
    """Run every case, or those named, each in its own process, and print a table."""
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(CASES[sys.argv[2]])))
        return
    from p2plib.runtime import describe

    machine = describe()
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['gpus'] or 'no GPU'}; {machine['versions']}")
    print(f"{'case':20}{'s/step':>8}{'images/s':>12}{'peak GB':>9}{'floor':>7}  plan")
    for name in sys.argv[1:] or CASES:
        command = [sys.executable, __file__, "--measure", name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        row = json.loads(output.splitlines()[-1])
        floor = f"{row['share_of_floor']:7.0%}" if "share_of_floor" in row else "      -"
        print(f"{name:20}{row['step_s']:8.3f}{row['images_per_s']:12.1f}{row['peak_GB']:9.2f}{floor}  {row['plan']}")


if __name__ == "__main__":
    main()
