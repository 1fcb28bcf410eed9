"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

# Tiny images gain nothing from threads, and two test processes would fight over the cores.
os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
# Runs repeat to the bit, also on TensorFlow without XLA.
os.environ["TF_DETERMINISTIC_OPS"] = "1"
# Tests compile often and run briefly: let XLA not optimize, and JAX keep what it compiled. One's own flags stay: of two
# values of a flag, the last counts.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true " + os.environ.get("XLA_FLAGS", "")
)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"p2plib-jax-cache-{os.getuid()}"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# The tests' own hub takes uploads by Git LFS. The package reads this once, and Keras imports it.
os.environ["HF_HUB_DISABLE_XET"] = "1"

import numpy as np
import pytest

from p2plib.config import TrainConfig
from p2plib.data import toy
from p2plib.data.image import save_image

LONG = ("test_killed", "test_chain", "test_training", "test_session", "test_devices_agree", "test_devices", "test_lab")
LONG += ("test_serving", "test_hostile")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, so that no process of several is left with one at the end."""
    rank = {name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell that starts a job in the background lets it, and its children, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def half_precision() -> None:
    """For tests of it. TensorFlow asks the processor what oneDNN can do, so that one which is kept to AVX2 fails."""
    import keras

    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if keras.backend.backend() == "tensorflow" and (limit.startswith(("SSE", "AVX2")) or limit == "AVX"):
        pytest.skip(f"ONEDNN_MAX_CPU_ISA={limit}: oneDNN has no half precision then, and TensorFlow does not know")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pairs beside the repository; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("there is no ../shared/data: real pairs are not part of the repository")
    return folder


@pytest.fixture(scope="session")
def tiny_pairs(tmp_path_factory) -> Path:
    """A folder of ten training and three validation pairs, 40 pixels high, as side-by-side files."""
    folder = tmp_path_factory.mktemp("tiny_pairs")
    for split, start, count in (("train", 0, 10), ("val", 10, 3)):
        for i in range(start, start + count):
            save_image(folder / split / f"{i}.png", np.hstack(toy.city(i, 40)))
    return folder


@pytest.fixture(scope="session")
def tiny_config(tiny_pairs) -> TrainConfig:
    """The smallest training by the paper's recipe that has all parts: dropout, GAN, decay, several steps an epoch."""
    return TrainConfig(
        recipe="paper",
        data=str(tiny_pairs),
        image_size=32,
        base_filters=4,
        receptive_field=16,
        batch_size=2,
        epochs=4,
        decay_epochs=2,
        checkpoint_every=2,
        sample_every=2,
    )


@pytest.fixture(scope="session")
def modern_config(tiny_config) -> TrainConfig:
    """The same by the default recipe, with what may be added to it: DiffAugment and feature matching."""
    same = ("data", "image_size", "base_filters", "receptive_field", "batch_size", "epochs", "decay_epochs")
    values = {name: getattr(tiny_config, name) for name in (*same, "checkpoint_every", "sample_every")}
    return TrainConfig(**values, terms={"perceptual": 30.0, "feature_matching": 1.0}, diff_augment=True)


@pytest.fixture(scope="session")
def tiny_run(tiny_config, tmp_path_factory) -> Path:
    """The run folder of `tiny_config`, trained for two epochs. Copy it before changing anything in it."""
    from dataclasses import replace

    from p2plib.training.loop import train

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return train(replace(tiny_config, epochs=2, decay_epochs=0, run_dir=str(folder)))


@pytest.fixture(scope="session")
def tiny_colorizer(tiny_config, tmp_path_factory) -> Path:
    """The checkpoint of an untrained colorizer of toy cities whose colors are easy to see."""
    from dataclasses import replace

    import keras

    from p2plib.inference.checkpoint import CheckpointInfo, save_generator
    from p2plib.models import build_generator

    config = replace(tiny_config, data="toy", task="colorize", direction="AtoB")
    keras.utils.set_random_seed(0)
    generator = build_generator(config)
    last = generator.get_layer("up1_conv")
    last.kernel.assign(last.kernel * 15)
    path = tmp_path_factory.mktemp("colorizer") / "colorizer.keras"
    save_generator(path, generator, CheckpointInfo(config, ("gray", "color"), 1, 5, {}))
    return path
