"""Every command with names, outputs and places as people have them: never a traceback, and nothing gets lost."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from p2plib.cli.main import COMMANDS, GROUPS, main
from p2plib.config import TrainConfig
from p2plib.data import toy
from p2plib.data.image import save_image
from p2plib.errors import ExportError
from p2plib.export import convert
from p2plib.inference import checkpoint
from p2plib.kaggle import kernel
from p2plib.models import build_generator, features

resource = pytest.importorskip("resource", reason="limits of Unix stand for a full disk")

COMBINATIONS = 300
NAMES = [
    *("plain", "Åse", "A\u030ase", "写真", "👩\u200d👩\u200d👧", "צילום", "a\u202egnp", "a\nb", "a\tb", "\x1b[31mred"),
    *("it's", 'say "x"', "100%", "%s%(x)d", "-v", "--help", "a,b;c", "=1+1", "<script>alert(1)", "$x$y$", "~nobody1"),
    *("~", "a b ", "dots..", "{x}", "a*?[b]", "back\\slash", "#&|;`id`", "x" * 240, "写" * 80),
    *(os.fsdecode(b"caf\xe9"), os.fsdecode(b"\xff\xfe\x80")),
]
ENCODINGS = ("utf-8", "ascii", "cp1252", None)
"""Outputs that take all that is printed; None is one that the shell has closed."""
OUTPUTS = (*ENCODINGS, "head", "full")
PLACES = ("there", "missing", "a file", "read-only", "full")


class Case(NamedTuple):
    """What a command is given."""

    data: Path
    """A folder of two pairs, and a/ and b/ with one image each."""
    image: Path
    model: Path
    """A checkpoint of the run, under another name."""
    run: Path
    out: Path
    """The folder to write to."""


class Command(NamedTuple):
    """A command, the arguments that a case gives it, and whether it can end well."""

    words: str
    arguments: Callable[[Case], list[object]]
    good: bool = True


ALL = (
    Command("data check", lambda case: [case.data / "pairs", "--sheet", case.out / "sheet.png"]),
    Command("data combine", lambda case: [case.data / "a", case.data / "b", case.out / "new"]),
    Command("data slices", lambda case: [case.data / "volumes", case.out / "new"]),
    Command("data pack", lambda case: [case.data / "pairs", case.out / "new"]),
    Command("data split", lambda case: [case.data / "pairs", "--val", "0.5", "--out", case.out / "new"]),
    Command(
        "evaluate",
        lambda case: [case.run, *pairs(case), "--csv", case.out / "e.csv", "--json", case.out / "e.json"],
    ),
    Command("compare", lambda case: [case.run, case.model, *pairs(case), "--out", case.out]),
    Command("translate", lambda case: [case.run, case.image, "--out", case.out]),
    Command("grid", lambda case: [case.model, *pairs(case), "--out", case.out / "g.png"]),
    Command("video", lambda case: [case.run, case.data / "v.mp4", case.out / f"{case.image.stem}.mp4"]),
    Command("kaggle build", lambda case: [*kernel_of(case), "--out", case.out]),
    Command("data get", lambda case: [case.image.name], False),
    Command("data list", lambda case: ["--", case.image.name], False),
    Command(
        "train",
        lambda case: ["--data", case.data / "pairs", "--batch-size", 99, "--run-dir", case.out / "run"],
        False,
    ),
    Command("train", lambda case: ["--resume", case.data], False),
    Command("train", lambda case: ["--init", case.image, "--run-dir", case.out / "run"], False),
    Command("evaluate", lambda case: [case.image, "--data", case.data], False),
    Command("fcn-score", lambda case: [case.run, *pairs(case), "--segmenter", case.out / "s.keras"], False),
    Command("export", lambda case: [case.model, "--format", "onnx", "--out", case.out / "onnx"], False),
    Command("report", lambda case: [case.data], False),
    Command("web", lambda case: [case.run, "--port", 99999, "--examples", case.data], False),
    Command("kaggle check", lambda case: ["--out", case.out], False),
    Command("kaggle push", lambda case: [*kernel_of(case), "--out", case.out], False),
    Command("kaggle status", lambda case: [case.image.name], False),
    Command("kaggle pull", lambda case: [case.image.name, "--run", case.out / "run"], False),
    Command("kaggle resume", lambda case: ["--out", case.out], False),
    Command("publish", lambda case: [case.image, "--to", "hf://me/model", "--license", "mit"], False),
)


def pairs(case: Case) -> list[object]:
    return ["--data", case.data / "pairs", "--split", "train"]


def kernel_of(case: Case) -> list[object]:
    return ["--metadata", case.data / "kernel.json", "--data", case.image]


def test_no_command_is_forgotten():
    names = set(COMMANDS) | {f"{group} {name}" for group, (_, commands) in GROUPS.items() for name in commands}
    assert names == {command.words for command in ALL}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Path]:
    """A folder for all, with a run of a generator that never trained; what is slow is left out."""
    folder = tmp_path_factory.mktemp("fuzz")
    config = TrainConfig(recipe="paper", data="toy", image_size=32, base_filters=4, receptive_field=16)
    info = checkpoint.CheckpointInfo(config, ("photo", "map"), 1, 1, {})
    checkpoint.save_generator(folder / "run" / "checkpoints" / "best.keras", build_generator(config), info)
    make_video(folder / "v.mp4")
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 2), np.int16), np.eye(4)), folder / "volume.nii")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "load_generator", functools.cache(checkpoint.load_generator))
        patch.setattr(features, "available", lambda name: False)
        patch.setattr(kernel, "wheel", lambda: b"PK\5\6" + bytes(18))  # an archive without files
        patch.setattr(convert, "_convert_apart", refuse)
        patch.chdir(folder)
        for name in ("HOME", "P2PLIB_CACHE"):
            patch.setenv(name, str(folder / name))
        for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
            patch.delenv(name, raising=False)
        yield folder


def make_video(path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 24, 32, "yuv420p"
        for i in range(2):
            image = np.ascontiguousarray(toy.city(i, 32)[0][:24])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())


def refuse(*arguments: object) -> None:
    raise ExportError("The conversion takes too long for this test.")


def combinations() -> list[tuple[Command, str, str | None, str]]:
    """Command, name, output and place: each command in turn, with the rest at random, always the same."""
    random = np.random.default_rng(1)

    def name() -> str:
        if random.random() < 0.6:
            return NAMES[random.integers(len(NAMES))]
        return "".join(NAMES[i][:2] for i in random.integers(len(NAMES), size=random.integers(1, 5)))

    def pick(choices: tuple) -> str:
        return choices[random.integers(len(choices))]

    return [(ALL[i % len(ALL)], name(), pick(OUTPUTS), pick(PLACES)) for i in range(COMBINATIONS)]


def make_case(folder: Path, name: str, place: str) -> Case:
    """The files of a combination."""
    data = folder / f"case{name[:100]}"
    for i in range(2):
        save_image(data / "pairs" / "train" / f"{name[: 100 - i]}{i}.png", np.hstack(toy.city(i, 32)))
    for side in "ab":
        save_image(data / side / f"{name[:100]}.png", toy.city(0, 32)[side == "b"])
    (data / "kernel.json").write_text('{"id": "me/run", "title": "run", "enable_gpu": true}')
    shutil.copy(folder / "v.mp4", data)
    (data / "volumes").mkdir()
    shutil.copy(folder / "volume.nii", data / "volumes" / f"{name[:100]}.nii")
    shutil.copy(folder / "run" / "checkpoints" / "best.keras", model := data / f"{name[:100]}.model")
    save_image(image := data / f"{name[:240]}.png", toy.city(0, 32)[0])
    out = Path("/sys/kernel") if place == "read-only" else folder / "out"
    if place in ("there", "full"):
        out.mkdir()
        (out / "earlier.png").write_bytes(b"earlier")
    elif place == "a file":
        out.write_bytes(b"earlier")
    return Case(data, image, model, folder / "run", out)


@contextmanager
def output(kind: str | None) -> Iterator[io.TextIOBase | None]:
    """A `sys.stdout` of this kind. When it is closed, as at the end of Python, nothing must be left that fails."""
    if kind == "head":
        reader, writer = os.pipe()
        os.close(reader)
        stream = os.fdopen(writer, "w", encoding="utf-8")
    elif kind == "full":
        stream = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", encoding="utf-8")
    else:
        stream = kind and io.TextIOWrapper(io.BytesIO(), kind)
    yield stream
    if stream:
        stream.close()


@contextmanager
def disk(place: str) -> Iterator[None]:
    """Files may have a few bytes only, if the place is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if place == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def call(arguments: list[str], kind: str | None, place: str) -> tuple[int, str]:
    """Run a command; returns its exit status and what it wrote to stderr."""
    errors = io.TextIOWrapper(io.BytesIO(), "ascii", "backslashreplace")
    with pytest.MonkeyPatch.context() as patch, output(kind) as stream:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", errors)
        try:
            with disk(place):
                status = main(arguments)
        except SystemExit as stopped:
            status = stopped.code
        except BaseException:  # what Python would print
            status = -1
            traceback.print_exc(file=errors)
    errors.flush()
    return status, errors.buffer.getvalue().decode()


def contents(folder: Path) -> dict[Path, str]:
    """A digest of each file."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def right(command: Command, kind: str | None, place: str) -> set[int]:
    """The exit statuses that a combination may have."""
    if not command.good:
        return {1, 2}
    return {0} if kind in ENCODINGS and place in ("there", "missing") else {1}


@pytest.mark.skipif(not Path("/dev/full").exists() or not Path("/sys/kernel").is_dir(), reason="needs Linux")
def test_no_combination_ends_in_a_traceback(home):
    wrong = []
    for command, name, kind, place in combinations():
        case = make_case(home, name, place)
        before = contents(home)
        status, errors = call([*command.words.split(), *map(str, command.arguments(case))], kind, place)
        after = contents(home)
        lost = [str(path) for path, digest in before.items() if after.get(path) != digest]
        left = [str(path) for path in after if ".part" in path.name]
        if "Traceback" in errors or status not in right(command, kind, place) or lost or left:
            found = f"exit status {status}, lost {lost}, left {left}, stderr:\n{errors[-1500:]}"
            wrong.append(f"{command.words} {name!r}, output {kind}, place {place}: {found}")
        for path in (case.data, home / "out", home / "HOME"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    print(*map(ascii, wrong), sep="\n")
    assert not wrong
