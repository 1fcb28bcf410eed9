"""What version 0.1 wrote is still read: checkpoints, an export, and a run that goes on.

The files in version_0_1/ are of tiny networks that were trained on the toy data set for two epochs with that version;
NAME-expected.npz holds what its `translate(fit=True)` made of two images.
"""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

import p2plib
from p2plib.config import TrainConfig
from p2plib.inference.checkpoint import Checkpoint
from p2plib.models import build_discriminator, build_generator
from p2plib.show import report
from p2plib.training.discriminator import load_discriminator, patch_realness
from p2plib.training.run import read_log
from p2plib.training.state import read_progress

FILES = Path(__file__).parent / "version_0_1"


def assert_translates_as_then(model: Checkpoint, name: str) -> None:
    """To one of 255 levels: another backend may round the other way."""
    with np.load(FILES / f"{name}-expected.npz") as expected:
        sources, before = expected["sources"], expected["generated"]
    now = np.stack(p2plib.translate(model, list(sources), fit=True))
    assert (now.shape, now.dtype) == (before.shape, before.dtype)
    assert np.abs(now.astype(int) - before).max() <= 1


@pytest.mark.keras
@pytest.mark.parametrize(
    ("name", "names"), [("pairs", ("satellite", "map")), ("colorizer", ("grey", "colour"))], ids=["pairs", "colorizer"]
)
def test_a_checkpoint_gives_the_images_of_then(name, names):
    model = p2plib.load(FILES / name)
    assert (model.info.names, model.info.epoch, model.info.step) == (names, 2, 40)
    assert model.task.name == ("pairs" if name == "pairs" else "colorize")
    assert_translates_as_then(model, name)


def test_an_export_gives_the_images_of_then():
    pytest.importorskip("onnxruntime")
    assert_translates_as_then(p2plib.load(FILES / "onnx"), "pairs")


@pytest.mark.keras
def test_a_run_goes_on(tmp_path):
    run = shutil.copytree(FILES / "pairs", tmp_path / "run")
    before = (run / "log.csv").read_text().splitlines()
    assert not (run / "data.json").exists()
    config = TrainConfig.read(run / "config.json")
    assert p2plib.train(dataclasses.replace(config, epochs=3), resume=run) == run
    after = (run / "log.csv").read_text().splitlines()
    assert len(after) == 1 + 3
    assert list(csv.reader(after[:3])) == list(csv.reader(before))
    rows = read_log(run / "log.csv")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 20), (2, 40), (3, 60)]
    assert rows[2]["l1"] < rows[1]["l1"] < rows[0]["l1"]  # with the weights of then, not with new ones
    assert read_progress(run / "checkpoints" / "state.npz")["epoch"] == 3
    assert p2plib.load(run / "checkpoints" / "last.keras").info.step == 60
    assert (run / "data.json").exists()


@pytest.mark.keras
def test_a_state_of_a_half_done_epoch_has_its_means_in_this_order():
    """The file holds them by number; all have one shape, so that another order would not be noticed."""
    from p2plib.training.pix2pix import Pix2Pix

    config = TrainConfig.read(FILES / "pairs" / "config.json")
    model = Pix2Pix(build_generator(config), build_discriminator(config))
    assert [tracker.name for tracker in model.metrics] == ["l1", "gan", "discriminator"]


@pytest.mark.keras
def test_the_discriminator_and_a_report_of_a_run(tmp_path):
    run = shutil.copytree(FILES / "pairs", tmp_path / "run")
    discriminator = load_discriminator(run)
    images = np.zeros((2, 32, 32, 3), np.uint8)
    assert 0 < patch_realness(discriminator, images, images).mean() < 1
    assert report.write_report(run, limit=2).exists()
