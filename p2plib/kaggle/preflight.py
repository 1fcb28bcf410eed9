"""Preflight checks: finds problems before a kernel is pushed, without contacting Kaggle."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from p2plib import runtime
from p2plib.config import TrainConfig
from p2plib.data.catalog import CATALOG, entry_of
from p2plib.errors import ConfigError, DataError, KaggleError, P2PError
from p2plib.files import read_json, user_path
from p2plib.kaggle.accelerators import ACCELERATORS
from p2plib.kaggle.kernel import CODE_FILE, CONFIG, METADATA, Kernel, notebook
from p2plib.kaggle.mirrors import MIRRORS
from p2plib.kaggle.session import MARGIN
from p2plib.registry import TASKS

MAX_NOTEBOOK = 900_000
"""Largest notebook in bytes; Kaggle rejects 1 MB or more."""
MAX_DISK = 20e9
"""Size of Kaggle's working directory in bytes."""
SMALL_FILES = 1e9
"""Generous reserve in bytes for sample grids, report, log and Kaggle's own files."""

PLACEHOLDER = re.compile(r"INSERT_|YOUR[-_ ]?(USER)?NAME", re.IGNORECASE)
"""What a file has where a name is still to be filled in."""


def check(folder: str | Path) -> list[str]:
    """Find problems in a folder made by `kernel.build`.

    Returns:
        The problems and how to fix them, a sentence or two each; empty if there are none.
    """
    folder, found = Path(folder), list(credentials())
    try:
        kernel, config = Kernel.read(folder / METADATA), TrainConfig.read(folder / CONFIG)
        found += [*_names(kernel), *_chain(kernel), *_data(kernel, config), *_settings(kernel, config)]
        found += _notebook(folder / CODE_FILE, kernel, config)
        found += _disk(config)
    except P2PError as error:  # further checks are impossible
        found.append(str(error))
    return found


def slug(title: str) -> str:
    """Kaggle's slug for a title: lowercase letters and digits, with hyphens for everything between."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", re.sub(r"(?<=\d),(?=\d)", "", plain)))


def _notebook(path: Path, kernel: Kernel, config: TrainConfig) -> Iterator[str]:
    try:
        content = read_json(path)
        sources = ["".join(cell["source"]) for cell in content["cells"]]
        name = content.get("metadata", {}).get("kernelspec", {}).get("name")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"{path}: cannot be read as a notebook ({error!r}); build it again."
        return
    if not name:
        yield f"{path}: has no metadata.kernelspec.name and would fail at startup; build it again."
    size = len(json.dumps(_as_pushed(content)))
    if size >= MAX_NOTEBOOK:
        yield f"{path}: has {size:,} bytes, but Kaggle takes less than {MAX_NOTEBOOK:,}; remove what was added to it."
    if not {"".join(cell["source"]) for cell in notebook(config, kernel)["cells"]} <= set(sources):
        yield f"{path}: does not match {METADATA}, {CONFIG} and this version of p2plib; build it again."


def _as_pushed(content: dict[str, Any]) -> dict[str, Any]:
    """The notebook without outputs, as Kaggle's command sends it."""
    return content | {"cells": [cell | {"outputs": []} for cell in content["cells"]]}


def _names(kernel: Kernel) -> Iterator[str]:
    name = kernel.id.partition("/")[2]
    if placeholders := [x for x in (kernel.id, kernel.title, *kernel.dataset_sources) if PLACEHOLDER.search(x)]:
        yield f"{METADATA}: {', '.join(map(repr, placeholders))} is a placeholder; replace it by your own value."
    if len(kernel.title) < 5 or len(name) < 5:
        yield f"{METADATA}: title {kernel.title!r} and slug {name!r} need at least 5 characters each; lengthen them."
    if slug(kernel.title) != name:
        yield (
            f"{METADATA}: Kaggle derives {slug(kernel.title)!r} from the title {kernel.title!r}, but the id ends in "
            f"{name!r}; change one of them."
        )


def _chain(kernel: Kernel) -> Iterator[str]:
    if kernel.id in kernel.kernel_sources:
        yield f"{METADATA}: a kernel cannot name itself in kernel_sources; continue in a new part with kaggle resume."


def _data(kernel: Kernel, config: TrainConfig) -> Iterator[str]:
    data, attached = config.data, kernel.dataset_sources
    try:
        TASKS[config.task]().check(entry_of(data))
    except DataError as error:
        yield f"{CONFIG}: {error}"
    if data not in CATALOG:
        if not any(lies_in(data, source) for source in attached):
            yield (
                f"{CONFIG}: data is {data!r}, neither a catalog name nor in an attached data set; upload the "
                "pairs as a Kaggle data set, attach it (dataset_sources), and write data as OWNER/SLUG or "
                "OWNER/SLUG/FOLDER, or let kaggle push send a folder of yours."
            )
    elif CATALOG[data].url and not kernel.internet:
        mirrors = [mirror.slug for mirror in MIRRORS.get(data, ())]
        others = {mirror.slug for entry in MIRRORS.values() for mirror in entry} - set(mirrors)
        if set(attached) <= others:  # an unknown data set may have a folder of that name
            what = " or ".join(mirrors) or f"a data set with a folder {data} (no public one is known)"
            yield f"{METADATA}: {data} is not attached; add {what} to dataset_sources, or set enable_internet to true."


def lies_in(data: str, source: str) -> bool:
    """Whether `data` is the data set `source` or a folder in it: OWNER/SLUG, or a path below Kaggle's input."""
    below = re.sub(r"^(/kaggle|\.\.)/input/(datasets/)?", "", data)
    names = (source, source.partition("/")[2]) if below != data else (source,)
    return any(f"{below}/".startswith(f"{name}/") for name in names)


def _settings(kernel: Kernel, config: TrainConfig) -> Iterator[str]:
    accelerator, hours = ACCELERATORS[kernel.accelerator], ACCELERATORS[kernel.accelerator].hours
    try:
        config.for_devices(accelerator.devices or 1)
    except ConfigError as error:
        yield f"{CONFIG}: {error}"
    if accelerator.kind == "tpu" and config.backend == "tensorflow":
        yield f"{CONFIG}: TensorFlow cannot use Kaggle's TPU; set backend to auto or jax."
    if (config.time_budget_seconds or 0) > hours * 3600 - MARGIN:
        yield (
            f"{CONFIG}: time_budget {config.time_budget} leaves less than {MARGIN // 60} minutes of Kaggle's {hours} "
            "hours to save everything; lower it, or leave it out."
        )
    if config.run_dir is not None:
        yield f"{CONFIG}: run_dir {config.run_dir!r} has no effect on Kaggle; leave it out."


def _disk(config: TrainConfig) -> Iterator[str]:
    needed = disk_bytes(config)
    if needed > MAX_DISK:
        keep = "all of them" if config.keep == 0 else config.keep
        yield (
            f"{CONFIG}: the outputs would take {needed / 1e9:.1f} GB, but Kaggle has {MAX_DISK / 1e9:.0f} GB for them; "
            f"keep fewer checkpoints (now {keep}), or lower base_filters ({config.base_filters})."
        )


def disk_bytes(config: TrainConfig) -> float:
    """Peak size of the working directory in bytes, when a new training state is written next to the old one.

    The state holds all weights, Adam's two moments and the moving averages in float32; a generator file holds its
    weights and, in float16, those of the discriminator. `best`, `last` and `keep` numbered generators are kept.

    Raises:
        P2PError: the weights cannot be counted on this machine.
    """
    # Only the fields that determine the architecture, so that counts are reused.
    generator, discriminator = count_weights(
        TrainConfig(
            **{name: getattr(config, name) for name in ("task", "image_size", "base_filters", "generator", "norm")},
            **{name: getattr(config, name) for name in ("upsampling", "discriminator", "receptive_field")},
            **{name: getattr(config, name) for name in ("discriminator_filters", "discriminator_norm")},
            gan_weight=float(config.gan_weight > 0),
        )
    )
    named = math.ceil(config.epochs / config.checkpoint_every)
    generators = 2 + (min(config.keep, named) if config.keep else named)
    copies = 4 if config.ema else 3
    file = 4 * generator + 2 * discriminator
    return 2 * 4 * copies * (generator + discriminator) + file * generators + SMALL_FILES


_COUNT = """
import json, sys, keras
from p2plib.config import TrainConfig
from p2plib.models import build_discriminator, build_generator

config = TrainConfig.from_dict(json.loads(sys.argv[1]))
with keras.StatelessScope(initialize_variables=False):  # without allocating weights
    networks = build_generator(config), build_discriminator(config)
    print(json.dumps([network.count_params() if network else 0 for network in networks]))
"""


@functools.cache
def count_weights(config: TrainConfig) -> tuple[int, int]:
    """Count the weights of generator and discriminator.

    The networks are built without weights in another process, so that this one need not choose a backend.

    Raises:
        ConfigError: no backend is installed.
        KaggleError: the networks cannot be built.
    """
    plan = runtime.decide(replace(runtime.detect(), gpus=(), tpu_cores=0), os.environ.get("KERAS_BACKEND"))
    quiet = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", _COUNT, json.dumps(config.to_dict())]
    environment = os.environ | quiet | {"KERAS_BACKEND": plan.backend}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)  # noqa: S603
    if result.returncode:
        why = result.stderr.strip().rpartition("\n")[2]
        raise KaggleError(f"The networks cannot be built to count their weights ({why}).")
    generator, discriminator = json.loads(result.stdout.splitlines()[-1])
    return generator, discriminator


def credentials() -> Iterator[str]:
    """Problems of the kaggle package, if it is not installed or can find no credentials, which are not shown."""
    try:
        metadata.version("kaggle")
    except metadata.PackageNotFoundError:
        yield "The kaggle package is not installed; run: pip install 'p2plib[kaggle]'"
    if not (_has_token() or _has_key()):
        yield (
            "No credentials for Kaggle; make an API token in your settings at kaggle.com, and save it as "
            "~/.kaggle/access_token or set KAGGLE_API_TOKEN to it (or use ~/.kaggle/kaggle.json, or KAGGLE_USERNAME "
            "with KAGGLE_KEY)."
        )


def _has_token() -> bool:
    """Whether there is an access token in the environment, a file, or from `kaggle auth login`."""
    names = ("access_token", "access_token.txt", "credentials.json")
    paths = [user_path("~/.kaggle") / name for name in names]
    return bool(os.environ.get("KAGGLE_API_TOKEN")) or any(path.is_file() and path.stat().st_size for path in paths)


def _has_key() -> bool:
    """Whether there is a user name with a key (legacy), in the environment or else `kaggle.json`."""
    try:
        saved = read_json(_config_folder() / "kaggle.json")
    except (OSError, ValueError):
        saved = {}
    saved = saved if isinstance(saved, dict) else {}
    return all(os.environ.get(f"KAGGLE_{name.upper()}") or saved.get(name) for name in ("username", "key"))


def _config_folder() -> Path:
    """Where the kaggle package looks for `kaggle.json`."""
    if folder := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(folder)
    usual = user_path("~/.kaggle")
    if usual.exists() or not sys.platform.startswith("linux"):
        return usual
    return Path(os.environ.get("XDG_CONFIG_HOME") or user_path("~/.config")) / "kaggle"
