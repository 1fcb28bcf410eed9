"""What grows with a data set: `python benchmarks/scale.py start|loader|formats|machines|evaluate|duplicates`.

`start` prints how long it takes from the settings to the first batch, and how much memory, by number of pairs of 64x64:
links to a few files, or a pack whose description names one shard again and again. With what a run records about its
pairs, without Keras. Each number has a process of its own.

`loader` prints how many made pairs of 256x256 a second training has as batches, decoded in memory or read in every
epoch, from files or from a pack, and how long the first batch takes to come.

`formats` reads pairs of 256x256 in random order, as bytes: from a shard of a pack, and from an ArrayRecord file. It
needs `pip install array_record`.

`machines` trains as processes on this computer that JAX connects, each with the same number of pairs in a batch, and
prints what a step takes and what each process sends, by their number. They share the computer's cores, so the time of a
processor tells more than that of a clock.

`evaluate` scores a generator with random weights on made pairs of 64x64, and prints how much more memory it takes than
for as many pairs as are in memory at a time anyway. Each number of pairs has a process of its own. `duplicates` looks
among random hashes of pairs for copies in another split, of which a hundredth are there, and compares with the search
that compares all with all, on a few of them.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

PAIRS = (500, 5000)
LISTED = (1000, 10_000, 100_000)
PACKED = (100_000, 1_000_000, 10_000_000)
IN_SHARD = 5000
HASHES = (1000, 10_000, 100_000)
SIDE = 64
WARM = 32
"""Pairs of the evaluation before, after which networks and libraries are there."""
FILES, BATCHES = 64, 200
"""Pairs on disk, and batches of 4 of them."""
MACHINES = (1, 2, 4)
EACH, STEPS, SKIPPED = 4, 12, 3
"""Pairs of a machine in a batch, steps, and how many of them come before the clock starts."""
ASKED = 200
"""How many hashes are compared with all others."""


def apart(section: str, count: int) -> tuple[float, float]:
    """What `evaluate_one` or `start_one` returns, in a process of its own."""
    command = [sys.executable, __file__, section, str(count)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    memory, seconds = json.loads(output.splitlines()[-1])
    return memory, seconds


def evaluate() -> None:
    """Print memory and time by number of pairs."""
    print(f"{'pairs':>8}{'more memory':>14}{'seconds':>10}{'images/s':>10}")
    for count in PAIRS:
        memory, seconds = apart("--evaluate", count)
        print(f"{count:8}{memory:11.0f} MB{seconds:10.1f}{count / seconds:10.1f}")


def evaluate_one(count: int) -> tuple[float, float]:
    """Memory in MB above that of the model, and seconds, of an evaluation of so many pairs."""
    import p2plib
    from p2plib import runtime
    from p2plib.config import TrainConfig
    from p2plib.data import toy
    from p2plib.data.image import save_image
    from p2plib.inference.checkpoint import Checkpoint, CheckpointInfo
    from p2plib.models import build_generator

    cities = [np.hstack(toy.city(i, SIDE)) for i in range(50)]
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            save_image(Path(folder, "val", f"{i}.png"), np.roll(cities[i % 50], i // 50, axis=0))
        config = TrainConfig(data=folder, recipe="paper", image_size=SIDE, base_filters=8, direction="AtoB")
        runtime.start(config)
        model = Checkpoint(build_generator(config), CheckpointInfo(config, ("A", "B"), 0, 0, {}))
        p2plib.evaluate(model, limit=WARM, palette=None)
        before, start = most_memory(), time.perf_counter()
        p2plib.evaluate(model, palette=None)
        return most_memory() - before, time.perf_counter() - start


def most_memory() -> float:
    """The most memory that this process has taken so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def duplicates() -> None:
    """Print the time of both searches by number of hashes."""
    from p2plib.data.check import NEAR_DUPLICATE
    from p2plib.data.duplicates import Hashes

    print(f"{'hashes':>8}{'index':>10}{'all with all':>15}")
    rng = np.random.default_rng(0)
    for count in HASHES:
        known, asked = rng.integers(0, 256, (2, count // 2, 64), np.uint8)
        asked[::100] = known[::100] ^ (rng.random(known[::100].shape) < 0.2)  # one bit of some of the bytes
        start = time.perf_counter()
        found = list(Hashes(known, NEAR_DUPLICATE).nearest(asked))
        seconds, start = time.perf_counter() - start, time.perf_counter()
        expected = [all_with_all(known, one, NEAR_DUPLICATE) for one in asked[:ASKED]]
        slow = (time.perf_counter() - start) * len(asked) / len(expected)
        if found[:ASKED] != expected:
            raise SystemExit("The index found something else.")
        print(f"{count:8}{seconds:8.2f} s{slow:13.1f} s")


def all_with_all(known: np.ndarray, asked: np.ndarray, most: int) -> int | None:
    """The search without an index."""
    distances = np.bitwise_count(known ^ asked).sum(axis=1)
    return int(distances.argmin()) if distances.min() <= most else None


def loader() -> None:
    """Print pairs a second by where they are."""
    from p2plib.config import TrainConfig
    from p2plib.data import toy
    from p2plib.data.batches import Batches
    from p2plib.data.dataset import open_dataset
    from p2plib.data.image import save_image
    from p2plib.data.pack import pack

    print(f"{'from':>8}{'first batch':>13}{'pairs/s':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("png", "jpg"):
            for i in range(FILES):
                save_image(Path(folder, suffix, "train", f"{i}.{suffix}"), np.hstack(toy.city(i, 256)))
            pack(str(Path(folder, suffix)), Path(folder, f"{suffix} pack"))
        for name in ("memory", "png", "png pack", "jpg", "jpg pack"):
            data, budget = ("png", 4.0) if name == "memory" else (name, 0.0)
            config = TrainConfig(data=str(Path(folder, data)), batch_size=4, memory_budget=budget)
            start = time.perf_counter()
            batches = Batches(open_dataset(config), config).start()
            next(batches)
            first, start = time.perf_counter() - start, time.perf_counter()
            for _ in range(BATCHES):
                next(batches)
            print(f"{name:>8}{first:11.2f} s{4 * BATCHES / (time.perf_counter() - start):10.0f}")


def formats() -> None:
    """Print how many pairs a second each format gives in random order."""
    from array_record.python import array_record_module

    from p2plib.data import toy
    from p2plib.data.image import save_image
    from p2plib.data.pack import pack
    from p2plib.data.shards import Place, offsets, rows

    with tempfile.TemporaryDirectory() as folder:
        root, record = Path(folder), str(Path(folder, "pairs.array_record"))
        for i in range(FILES):
            save_image(root / "seed" / f"{i}.png", np.hstack(toy.city(i, 256)))
        (root / "data/train").mkdir(parents=True)
        writer = array_record_module.ArrayRecordWriter(record, "group_size:1")
        for i in range(IN_SHARD):
            os.link(root / "seed" / f"{i % FILES}.png", root / "data/train" / f"{i}.png")
            writer.write((root / "seed" / f"{i % FILES}.png").read_bytes())
        writer.close()
        pack(str(root / "data"), root / "pack", shard_size=1e6)
        index = np.fromfile(root / "pack/train-00000.index", rows(1))
        place, reader = Place(root / "pack"), array_record_module.ArrayRecordReader(record)
        order = np.random.default_rng(0).permutation(IN_SHARD).tolist()
        ends = {i: int(index[i]["start"]) + offsets(index[i]["sizes"].tolist())[-1] for i in order}

        def shard(i: int) -> bytes:
            return place.read("train-00000.tar", int(index[i]["start"]), ends[i])

        for name, read in (("shard", shard), ("ArrayRecord", lambda i: reader.read([i]))) * 2:
            start = time.perf_counter()
            for i in order:
                read(i)
            print(f"{name:12}{IN_SHARD / (time.perf_counter() - start):8.0f} pairs/s")


def machines() -> None:
    """Print what a step takes and sends by number of machines."""
    from p2plib.data import toy
    from p2plib.data.image import save_image

    print(f"{'machines':>9}{'s/step':>9}{'processor':>12}{'sent/step':>12}{'weights':>11}")
    for count in MACHINES:
        with tempfile.TemporaryDirectory() as folder:
            for i in range(STEPS * EACH * count):
                save_image(Path(folder, "train", f"{i}.png"), np.hstack(toy.city(i, SIDE)))
            save_image(Path(folder, "val", "0.png"), np.hstack(toy.city(0, SIDE)))
            clock, processor, sent, weights = joined(folder, count)
            print(f"{count:9}{clock:9.2f}{processor:10.2f} s{sent:9.1f} MB{weights:8.1f} MB", flush=True)


def joined(folder: str, count: int) -> list[float]:
    """What `machine_one` returns on the first of so many machines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = []
    for i in range(count):
        known = {"JOB_ADDRESSES": address, "NUM_PROCESSES": str(count), "PROCESS_ID": str(i)}
        environment = os.environ | {f"KERAS_DISTRIBUTION_{name}": value for name, value in known.items()}
        command = [sys.executable, __file__, "--machine", folder, str(count)]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in processes]
    return json.loads(outputs[0].splitlines()[-1])


def machine_one(folder: str, count: int) -> list[float]:
    """Seconds of a step by the clock and of the processor, MB that are written for it, and MB of all weights."""
    import p2plib
    from p2plib import runtime

    config = p2plib.TrainConfig(
        data=folder,
        recipe="paper",
        image_size=SIDE,
        base_filters=32,
        batch_size=EACH * count,
        epochs=1,
        decay_epochs=0,
        precision="float32",
        backend="jax",
        distributed=count > 1,
        run_dir=str(Path(folder, "run")),
    )
    runtime.start(config)
    import keras

    seen: list[tuple[float, float, int]] = []

    def look(batch: int, logs: dict) -> None:
        written = int(Path("/proc/self/io").read_text().split()[3])  # by all calls of write, as Gloo's
        seen.append((time.perf_counter(), time.process_time(), written))

    meter = keras.callbacks.LambdaCallback(on_train_batch_end=look)
    p2plib.train(config, callbacks=[meter])
    clock, processor, written = np.subtract(seen[-1], seen[SKIPPED - 1]) / (STEPS - SKIPPED)
    weights = sum(4 * int(np.prod(weight.shape)) for weight in meter.model.trainable_weights)
    return [clock, processor, written / 1e6, weights / 1e6]


def start() -> None:
    """Print time and memory by number of pairs."""
    print(f"{'':>6}{'pairs':>10}{'seconds':>10}{'memory':>11}")
    for what, counts in (("files", LISTED), ("pack", PACKED)):
        for count in counts:
            memory, seconds = apart(f"--start-{what}", count)
            print(f"{what:6}{count:10}{seconds:10.1f}{memory:8.0f} MB")


def start_one(count: int, packed: bool) -> tuple[float, float]:
    """Memory in MB and seconds until the first batch of so many pairs, files or in a pack."""
    from p2plib.config import TrainConfig
    from p2plib.data import record, toy
    from p2plib.data.batches import Batches
    from p2plib.data.dataset import open_dataset
    from p2plib.data.image import save_image
    from p2plib.data.pack import pack

    with tempfile.TemporaryDirectory() as folder:
        for i in range(FILES):
            save_image(Path(folder, "seed", f"{i}.png"), np.hstack(toy.city(i, SIDE)))
        train = Path(folder, "data", "train")
        train.mkdir(parents=True)
        for i in range(IN_SHARD if packed else count):
            os.link(Path(folder, "seed", f"{i % FILES}.png"), train / f"{i}.png")
        data = train.parent
        if packed:
            data = Path(folder, "pack")
            pack(str(train.parent), data, shard_size=1e6)
            description = json.loads((data / "pack.json").read_text())
            description["shards"]["train"] *= count // IN_SHARD
            (data / "pack.json").write_text(json.dumps(description))
        config = TrainConfig(data=str(data), image_size=SIDE)
        before, begun = most_memory(), time.perf_counter()
        dataset = open_dataset(config)
        batches = Batches(dataset, config)
        record.record_of(dataset, {})
        next(batches.start())
        return most_memory() - before, time.perf_counter() - begun


SECTIONS: dict[str, Callable[[], None]] = {
    "start": start,
    "loader": loader,
    "formats": formats,
    "machines": machines,
    "evaluate": evaluate,
    "duplicates": duplicates,
}


def main() -> None:
    """Run the section that is named."""
    match sys.argv[1:]:
        case ["--start-files" | "--start-pack" as what, count]:
            print(json.dumps(start_one(int(count), what == "--start-pack")))
        case ["--machine", folder, count]:
            print(json.dumps(machine_one(folder, int(count))))
        case ["--evaluate", count]:
            print(json.dumps(evaluate_one(int(count))))
        case [name] if name in SECTIONS:
            SECTIONS[name]()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
