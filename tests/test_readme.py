"""The commands of the README and of the tour, pasted in order into a fresh shell, and the README's Python.

What needs a network, an account or an installation is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from p2plib.data import toy
from p2plib.data.image import save_image

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "docs/tour.md", "docs/tutorials.md")
NOT_HERE = {
    "make ": "CI runs these",
    "source ": "the tests run in it",
    "pip install ": "the network",
    "jupyter lab ": "tests/browser opens it",
    "python -m p2plib data get ": "the network",
    "python -m p2plib kaggle ": "an account",
}
"""The first words of commands that are not run, and what they need."""
QUICK = "--image-size 32 --base-filters 4 --receptive-field 16 --batch-size 2 --validation-pairs 2"
"""Added to commands that start a training; of an option given twice, the last counts."""


def commands() -> list[str]:
    """The lines of the pages' blocks without a language."""
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in PAGES)
    lines = [line for block in blocks(text, "") for line in block.splitlines()]
    return [line for line in lines if not line.startswith(tuple(NOT_HERE))]


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code in a language."""
    found = re.findall(r"^```(.*?)\n(.*?)^```$", text, re.M | re.S)
    return [block for name, block in found if name == language]


@pytest.fixture(scope="module")
def shell(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A folder with what the commands name, and the environment of an activated shell."""
    here = tmp_path_factory.mktemp("readme")
    for name in ("facades", "maps"):
        for split, count in (("train", 6), ("val", 2), ("test", 2)):
            for i in range(count):
                pair = np.hstack(toy.city(i, 40))
                save_image(here / "cache" / "datasets" / name / split / f"{i}.png", pair)
    for i in range(6):
        photo, drawing = toy.city(i, 40)
        for folder, image in {
            "drawings": drawing,
            "new-drawings": drawing,
            "photos": photo,
            "my/photos": photo,
        }.items():
            save_image(here / folder / f"{i}.png", image)
    save_image(here / "photo.png", toy.city(7, 40)[1])
    shutil.copytree(ROOT / "notebooks", here / "notebooks")
    video(here / "drawing.mp4")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return here, os.environ | {"PATH": path, "P2PLIB_CACHE": str(here / "cache"), "PYTHONPATH": str(ROOT)}


def video(path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", 5)
        stream.width = stream.height = 40
        stream.pix_fmt = "yuv420p"
        for i in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(toy.city(i, 40)[1])))
        file.mux(stream.encode())


@pytest.mark.once
def test_every_command_succeeds(shell):
    here, environment = shell
    found = commands()
    assert sum(" train " in command for command in found) >= 5
    for command in found:
        if re.search(r"p2plib web\b", command):
            serves(command, here, environment)
            continue
        starts = " train " in command and "--resume" not in command
        quick = f" {QUICK} {'--train-time 1s' if '--train-time' in command else '--epochs 1'}"
        line = re.sub(r" *#.*", "", command) + quick * starts
        result = subprocess.run(["bash", "-c", line], cwd=here, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
    for made in ("my/pairs", "my/pairs-split", "runs/facades/results.html", "val.json", "translated/photo.png"):
        assert (here / made).exists(), made
    for made in ("pairs-split", "runs/mine/export/onnx", "results"):
        assert (here / made).exists(), made
    for made in ("house.mp4", "runs/facades/export/onnx", "grid.png", "notebooks/05_results.html"):
        assert (here / made).exists(), made


def serves(command: str, here: Path, environment: dict[str, str]) -> None:
    """The web app starts, says where it is, and ends on Ctrl-C."""
    line = "exec " + re.sub(r" *#.*", "", command) + " --port 0"
    process = subprocess.Popen(
        ["bash", "-c", line], cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    try:
        assert any("http://127.0.0.1:" in said for said in process.stdout), command
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130)  # as the server was just running, or only about to
    finally:
        process.kill()


SMALLER = {
    'train_time="3m"': 'train_time="1s"',
    "image_size=128, base_filters=32": "image_size=32, base_filters=4, receptive_field=16, validation_pairs=2",
    "range(40)": "range(4)",
    "128": "32",
    "epochs=10": "epochs=1",
}
"""What is changed in the README's Python to have it run quickly."""


@pytest.mark.once
@pytest.mark.parametrize("number", range(2))
def test_the_python_runs(number, tmp_path):
    code = blocks(README, "python")[number]
    for words, fewer in SMALLER.items():
        code = code.replace(words, fewer)
    environment = {name: value for name, value in os.environ.items() if name != "TF_DETERMINISTIC_OPS"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'ms_ssim': " in done.stdout or "l1: " in done.stdout


def test_it_can_be_finished():
    assert len(README.split()) <= 900
    assert len(blocks(README, "python")) == 2
    first = blocks(README, "python")[1]
    assert len([line for line in first.splitlines() if line]) <= 10


def test_its_pictures_and_pages_are_here():
    targets = re.findall(r"\]\(([^():#]+)\)", README)
    assert len(targets) > 30
    assert [name for name in targets if not (ROOT / name).exists()] == []
