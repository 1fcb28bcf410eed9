"""Runs inside a Kaggle session: finds attached data, trains, and seals the run folder with a manifest.

A session looks like this (`root` is /kaggle):

    input/datasets/OWNER/SLUG     an attached data set, or input/SLUG in the older layout
    input/notebooks/OWNER/SLUG    the output of an attached notebook, or input/SLUG
    working/run                   the run folder, which is downloaded
    temp/p2plib                   links to the data, downloads
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from p2plib import files, runtime
from p2plib.config import TrainConfig
from p2plib.data import download
from p2plib.data.catalog import CATALOG
from p2plib.errors import CheckpointError, DataError, KaggleError
from p2plib.kaggle import manifest, pack
from p2plib.kaggle.accelerators import HOURS, TPU_HOURS
from p2plib.kaggle.mirrors import MIRRORS
from p2plib.registry import TASKS
from p2plib.show.report import write_report
from p2plib.training import loop
from p2plib.training.loop import say
from p2plib.training.run import Progress
from p2plib.training.state import read_progress, state_file

# The margin covers startup, an unexpectedly long first validation, the report, hashing about 2 GB, and Kaggle's own
# saving. All of it takes minutes, but a session that runs out of time may lose everything.
MARGIN = 30 * 60
"""Seconds of the session that are not used for training."""
SAMPLE_GRIDS = 10
"""Approximate number of sample grids per run; few, because Kaggle serves output file by file."""

CPU_WARNING = """\
+----------------------------------------------------------------------------+
|  WARNING: this session has no GPU and no TPU, so it trains on the CPU.     |
|  Real training takes DAYS on a CPU, longer than a session. Stop it, and    |
|  choose the accelerator "GPU T4 x2" or "TPU v5e-8" in Kaggle's settings.   |
+----------------------------------------------------------------------------+"""


def root() -> Path:
    """The folder with `input` and `working`: $P2PLIB_KAGGLE_ROOT, or /kaggle."""
    return Path(os.environ.get("P2PLIB_KAGGLE_ROOT") or "/kaggle")


def find_source(slug: str) -> Path | None:
    """The folder of the attached data set or notebook output `slug` ("owner/slug"), or None."""
    inputs = root() / "input"
    places = (inputs / "datasets" / slug, inputs / "notebooks" / slug, inputs / Path(slug).name)
    return next((place for place in places if place.is_dir()), None)


def attach_data(config: TrainConfig, sources: Sequence[str] = ()) -> TrainConfig:
    """Make the pairs of `config.data` available where p2plib looks for them.

    For a data set of the catalog, an attached mirror (or a folder of that name in one of `sources`) is linked into
    $P2PLIB_CACHE, which this function sets. So it keeps the names of its sides and its usual direction. If none is
    attached, it is downloaded. A folder is used as is, or looked up below `input` and in `sources` and linked, so that
    all parts of a chain use the same path wherever Kaggle mounts it.

    Args:
        config: the settings.
        sources: attached data sets, "owner/slug".

    Returns:
        `config`, with a different `data` if necessary.

    Raises:
        KaggleError: the pairs are not attached and cannot be downloaded; the message says what to attach.
    """
    data = config.data
    entry = CATALOG.get(data)
    if (entry and entry.url is None) or (not entry and Path(data).is_dir() and _below_input(data) is None):
        return config
    cache = root() / "temp" / "p2plib"
    os.environ["P2PLIB_CACHE"] = str(cache)
    folder = next((place for place in _places(data, sources) if _suits(place, config)), None)
    if data in CATALOG:
        if folder is None:
            _download(data)
        else:
            _link(download.dataset_dir(data), folder)
        return config
    if folder is None:
        noun = TASKS[config.task]().noun
        raise KaggleError(
            f"{data}: no such folder with {noun} is attached; attach the Kaggle data set that holds it "
            "(in kernel-metadata.json: dataset_sources)."
        )
    return dataclasses.replace(config, data=str(_link(cache / "data" / Path(data).name, folder)))


def train(config: TrainConfig, sources: Sequence[str] = (), resume: str | None = None) -> Path:
    """Train in a Kaggle session with `p2plib.train`, then write the report and, last, the manifest.

    Without a time budget in `config`, training ends early enough to save everything. If the previous part has already
    completed all epochs, its run is passed on unchanged.

    Args:
        config: the settings; `run_dir` is overwritten, and `sample_every` is raised if it would make many files.
        sources: attached data sets, "owner/slug".
        resume: the notebook of the previous part, "owner/slug", whose output is attached.

    Returns:
        The run folder, `working/run`. It is sealed with a manifest even when training fails.

    Raises:
        KaggleError: something is not attached, the previous part is damaged, or `working/run` is in use.
        P2PError: see `p2plib.train`.
    """
    run = root() / "working" / "run"
    if run.exists():
        raise KaggleError(f"{run} already exists; rename or remove it, or restart the session.")
    config = attach_data(config, sources)
    if resume is not None:
        _bring(resume, run)
    try:
        if resume is not None and _finished(run, config):
            say(f"{resume} has completed the training; there is nothing left to train")
        else:
            _train(config, run, resume is not None)
        say(f"report: {write_report(run)}")
    finally:
        if run.is_dir():
            files.remove_leftovers(run)
            say(f"manifest: {manifest.write(run, _finished(run, config))}")
    return run


def time_budget(tpu: bool) -> float:
    """Seconds left for training: the session's limit minus the margin and the age of this process."""
    return max((TPU_HOURS if tpu else HOURS) * 3600 - MARGIN - _age(), 1.0)


def _train(config: TrainConfig, run: Path, resume: bool) -> None:
    plan = runtime.start(config)
    if plan.device == "cpu":
        say(CPU_WARNING)
    budget = config.time_budget or f"{time_budget(runtime.detect().tpu_cores > 0):.0f}s"
    sample_every = max(config.sample_every, math.ceil(config.epochs / SAMPLE_GRIDS))
    config = dataclasses.replace(config, run_dir=str(run), time_budget=budget, sample_every=sample_every)
    say(f"time budget: {budget}" + (f", training time: {config.train_time}" if config.train_time else ""))
    loop.train(config, resume=run if resume else None, callbacks=[_say_grids(run)])


def _say_grids(run: Path) -> Any:
    """A Keras callback that says which sample grid is new: whoever follows the log can fetch it."""
    import keras  # after the backend is chosen

    known = set(run.glob("samples/*.png"))

    def look(*_: object) -> None:
        for grid in sorted(set(run.glob("samples/*.png")) - known):
            known.add(grid)
            say(f"sample grid: {grid.relative_to(run).as_posix()}")

    return keras.callbacks.LambdaCallback(on_epoch_end=look)


def _age() -> float:
    """Seconds since this process, and thus roughly the session, started; 0 if unknown."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # in clock ticks since boot
        return max(time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK"), 0.0)
    except (OSError, AttributeError, ValueError, IndexError):
        return 0.0


# Data.


def _places(data: str, sources: Sequence[str]) -> Iterator[Path]:
    """Possible locations of the pairs of `data`, most likely first."""
    yield from _packed(data)
    for mirror in MIRRORS.get(data, ()):
        if source := find_source(mirror.slug):
            yield source / mirror.folder
            yield source / data
    below = Path(data) if data in CATALOG else _below_input(data)
    if below is None:
        return
    yield root() / "input" / below
    for source in map(find_source, sources):
        if source:
            yield source / below
            yield source.parent / below  # `below` starts with the source's own name
    if len(below.parts) > 1 and (source := find_source("/".join(below.parts[:2]))):
        yield source.joinpath(*below.parts[2:])


def _packed(data: str) -> Iterator[Path]:
    """The images of a data set "owner/slug" that `kaggle push` made, which Kaggle unpacks into a folder, or not."""
    source = find_source(data) if re.fullmatch(r"[\w-]+/[\w-]+", data) else None
    if source is None or not (source / pack.RECORD).is_file():
        return
    yield source / pack.FOLDER
    if (source / pack.ARCHIVE).is_file():
        unpacked = root() / "temp" / "p2plib" / "unpacked" / data
        try:
            with zipfile.ZipFile(source / pack.ARCHIVE) as archive:
                archive.extractall(unpacked)
        except zipfile.BadZipFile as error:
            raise KaggleError(f"{data}: its {pack.ARCHIVE} is damaged ({error}); push the folder again.") from error
        yield unpacked


def _below_input(data: str) -> Path | None:
    """`data` as a path below `input`, without parts specific to the newer layout; None if it is elsewhere."""
    inputs, path = (root() / "input").resolve(), Path(data).resolve()  # "../input/SLUG" is common on Kaggle
    if path.is_relative_to(inputs):
        below = path.relative_to(inputs)
        return Path(*below.parts[1:]) if below.parts[:1] in (("datasets",), ("notebooks",)) else below
    return None if Path(data).exists() or Path(data).is_absolute() else Path(data)


def _download(data: str) -> None:
    say(f"{data} is not attached; downloading it")
    try:
        download.get(data, progress=False)
    except DataError as error:
        mirrors = " or ".join(mirror.slug for mirror in MIRRORS.get(data, ()))
        what = mirrors or f"a Kaggle data set with a folder {data} that holds train/ and val/"
        raise KaggleError(
            f"{data}: it is not attached and could not be downloaded; attach {what} (in kernel-metadata.json: "
            "dataset_sources), or turn on the internet (enable_internet)."
        ) from error


def _suits(folder: Path, config: TrainConfig) -> bool:
    """Whether a folder holds what the task needs: pairs or photos."""
    with suppress(DataError):
        return "train" in TASKS[config.task]().list(folder, sources=config.sources).splits
    return False


def _link(link: Path, folder: Path) -> Path:
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    link.symlink_to(folder.resolve(), target_is_directory=True)
    return link


# Chains.


def _bring(resume: str, run: Path) -> None:
    """Copy the run folder of the previous part to `run`, verified and all or nothing."""
    source = find_source(resume)
    if source is None:
        raise KaggleError(
            f"{resume}: its output is not attached; attach that notebook (in kernel-metadata.json: kernel_sources)."
        )
    before = source / "run"
    try:
        for entry in manifest.read(before / manifest.MANIFEST):
            target = run / entry.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                shutil.copyfile(before / entry.name, target)
            manifest.check(target, entry)
    except (KaggleError, OSError) as error:
        shutil.rmtree(run, ignore_errors=True)
        raise KaggleError(f"{resume}: its output cannot be used. {error}") from error
    say(f"resuming from {resume}")


def _finished(run: Path, config: TrainConfig) -> bool:
    with suppress(CheckpointError):  # training gives a better message
        return Progress(**read_progress(state_file(run))).complete(config)
    return False
