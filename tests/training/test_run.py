"""A run has its folder for itself, and goes on with the data it began with."""

from __future__ import annotations

import codecs
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import p2plib
from p2plib.config import TrainConfig
from p2plib.data import toy
from p2plib.data.image import save_image
from p2plib.errors import ConfigError, DataError
from p2plib.show.report import write_report
from p2plib.training import run as runs
from p2plib.training.loop import train
from p2plib.training.run import claimed, read_log
from p2plib.training.state import read_progress

HOLDER = """
import sys
import p2plib
from p2plib.training.run import claimed

with claimed(p2plib.TrainConfig(), sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()  # until it is closed
"""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Another process trains in the folder during this block."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_runs_of_one_second_get_two_folders(tmp_path, monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 5, 4, 3, 2, 1)

    monkeypatch.setattr(runs, "datetime", Clock)
    monkeypatch.setenv("P2PLIB_RUNS", str(tmp_path / "runs"))
    config = TrainConfig(data="toy", direction="AtoB")
    with claimed(config, None) as first, claimed(config, None) as second, claimed(config, None) as third:
        assert len({first, second, third}) == 3
        assert first == tmp_path / "runs" / "toy-AtoB-20260504-030201"
        assert [path.parent for path in (second, third)] == [first.parent] * 2
        assert all(path.is_dir() for path in (first, second, third))


@pytest.mark.keras
def test_a_new_folder_that_another_process_trains_in_is_refused(tiny_config, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with held(folder), pytest.raises(ConfigError, match=r"/run: another process is training in this folder"):
        train(dataclasses.replace(tiny_config, run_dir=str(folder)))
    assert list(folder.iterdir()) == []


@pytest.mark.keras
def test_a_run_that_another_process_goes_on_with_is_refused(tiny_config, tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before, config = contents(run), dataclasses.replace(tiny_config, epochs=3, decay_epochs=0)
    with held(run), pytest.raises(ConfigError, match=r"/run: another process is training in this folder"):
        train(config, resume=run)
    assert contents(run) == before
    train(config, resume=run)
    assert read_progress(run / "checkpoints" / "state.npz")["epoch"] == 3


def another_size(pairs: Path) -> None:
    """Replace a training pair by one of as many pixels, but another number of bytes."""
    path = pairs / "train" / "3.png"
    before = path.stat().st_size
    save_image(path, np.hstack(toy.city(77, 40)))
    assert path.stat().st_size != before


def one_more(pairs: Path) -> None:
    """An epoch of eleven pairs has as many steps of two as one of ten."""
    save_image(pairs / "train" / "99.png", np.hstack(toy.city(99, 40)))


def other_validation(pairs: Path) -> None:
    save_image(pairs / "val" / "99.png", np.hstack(toy.city(99, 40)))


def other_content(pairs: Path) -> None:
    """Of the same size in bytes."""
    content = bytearray((pairs / "train" / "4.png").read_bytes())
    content[-1] ^= 1
    (pairs / "train" / "4.png").write_bytes(bytes(content))


def one_gone(pairs: Path) -> None:
    (pairs / "train" / "5.png").unlink()


@pytest.fixture
def copied(tiny_pairs, tiny_run, tmp_path) -> tuple[Path, Path]:
    """The tiny run and its images, each to be changed: the same images, so the run goes on with them."""
    pairs = shutil.copytree(tiny_pairs, tmp_path / "pairs")
    run = shutil.copytree(tiny_run, tmp_path / "run")
    values = json.loads((run / "config.json").read_text()) | {"data": str(pairs), "epochs": 3}
    (run / "config.json").write_text(json.dumps(values))
    return run, pairs


@pytest.mark.keras
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (another_size, r"1 changed \(train/3.png\)"),
        (other_content, r"1 changed \(train/4.png\)"),
        (one_gone, r"1 missing \(train/5.png\)"),
    ],
)
def test_a_run_does_not_go_on_with_other_images(copied, change, said):
    run, pairs = copied
    record = json.loads((run / "data.json").read_text())
    assert (record["train"], record["val"]) == (10, 3)
    change(pairs)
    before = contents(run)
    with pytest.raises(ConfigError, match=rf"training data changed: .*/pairs holds other images .*{said}.*--data"):
        train(resume=run)
    assert contents(run) == before


@pytest.mark.keras
def test_an_evaluation_names_validation_pairs_that_are_gone(copied):
    run, pairs = copied
    model = p2plib.load(run)
    assert len(p2plib.evaluate(model, str(pairs)).images) == 3
    one_gone(pairs)  # of the training pairs, which no evaluation of the validation split needs
    assert len(p2plib.evaluate(model, str(pairs)).images) == 3
    (run / "data.json").write_text((run / "data.json").read_text().replace("val/11.png", "val/gone.png"))
    model = p2plib.load(run)
    with pytest.raises(DataError, match=r"1 of the 3 validation pairs of this run are missing \(val/gone.png\)"):
        p2plib.evaluate(model)


@pytest.mark.keras
@pytest.mark.parametrize("change", [one_more, other_validation])
def test_pairs_that_are_new_wait_for_a_new_run(copied, change, capsys):
    run, pairs = copied
    before = json.loads((run / "data.json").read_text())["pairs"]
    change(pairs)
    train(resume=run)
    assert "1 pair(s) are new and not part of this run" in capsys.readouterr().out
    assert json.loads((run / "data.json").read_text())["pairs"] == before


@pytest.mark.keras
def test_held_out_pairs_stay_held_out_when_pairs_are_added(tiny_pairs, tiny_config, tmp_path):
    """A tenth of `train` validates: with more pairs, another tenth would be drawn, and trained pairs would score."""
    pairs = tmp_path / "pairs"
    shutil.copytree(tiny_pairs / "train", pairs / "train")
    config = dataclasses.replace(tiny_config, data=str(pairs), epochs=1, decay_epochs=0, run_dir=str(tmp_path / "run"))
    run = train(config)
    recorded = json.loads((run / "data.json").read_text())["pairs"]
    for i in range(20):
        shutil.copy(pairs / "train" / "3.png", pairs / "train" / f"9{i}.png")
    evaluated = p2plib.evaluate(p2plib.load(run)).images
    assert evaluated == list(recorded["val"])
    shutil.copytree(pairs, tmp_path / "moved")
    assert p2plib.evaluate(p2plib.load(run), str(tmp_path / "moved")).images == evaluated
    train(dataclasses.replace(config, epochs=2, run_dir=None), resume=run)
    assert json.loads((run / "data.json").read_text())["pairs"] == recorded


@pytest.mark.keras
def test_the_same_images_elsewhere_are_the_same_data(copied, tmp_path, monkeypatch):
    run, pairs = copied
    pairs.rename(tmp_path / "moved")
    config = dataclasses.replace(TrainConfig.read(run / "config.json"), data=str(tmp_path / "moved"))
    train(config, resume=run)
    assert TrainConfig.read(run / "config.json").data == str(tmp_path / "moved")


@pytest.mark.keras
def test_images_that_are_gone_can_be_named_where_they_are(tiny_pairs, tiny_config, tmp_path):
    pairs = shutil.copytree(tiny_pairs, tmp_path / "pairs")
    config = dataclasses.replace(tiny_config, data=str(pairs), epochs=1, decay_epochs=0, run_dir=str(tmp_path / "run"))
    run = train(config)
    best = (run / "checkpoints" / "best.keras").read_bytes()
    moved = str(pairs.rename(tmp_path / "moved"))
    said = f"{pairs}: the folder of this run's images is not here; name where it is now with --data"
    for use in (lambda: train(resume=run), lambda: p2plib.evaluate(p2plib.load(run)), lambda: write_report(run)):
        with pytest.raises(DataError, match=re.escape(said)):
            use()
    assert write_report(run, data=moved).exists()
    train(dataclasses.replace(config, data=moved, epochs=2, run_dir=None), resume=run)
    (run / "checkpoints" / "best.keras").write_bytes(best)  # as if it were still the best: it names the old folder
    assert len(p2plib.evaluate(p2plib.load(run)).images) == 3


@pytest.mark.keras
def test_names_in_another_unicode_form_are_the_same(copied):
    """As macOS, network disks and archives copy them."""
    run, pairs = copied
    record = json.loads((run / "data.json").read_text())
    for split, number in (("train", 4), ("val", 11)):
        record["pairs"][split] = {
            name.replace(f"{number}.png", "\u00e9.png"): digest for name, digest in record["pairs"][split].items()
        }
        (pairs / split / f"{number}.png").rename(pairs / split / "e\u0301.png")
    (run / "data.json").write_text(json.dumps(record))
    assert "val/e\u0301.png" in p2plib.evaluate(p2plib.load(run), str(pairs)).images
    train(resume=run)
    (pairs / "train" / "e\u0301.png").unlink()
    with pytest.raises(ConfigError, match="1 missing"):
        train(resume=run)


@pytest.mark.keras
def test_relative_folders_are_understood_from_where_the_run_was_started(tiny_pairs, tiny_config, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    shutil.copytree(tiny_pairs, tmp_path / "here" / "pairs")
    monkeypatch.chdir(tmp_path / "here")
    config = dataclasses.replace(tiny_config, data="pairs", epochs=1, decay_epochs=0, run_dir=str(tmp_path / "run"))
    run = train(config)
    monkeypatch.chdir(tmp_path / "there")
    assert len(p2plib.evaluate(p2plib.load(run)).images) == 3
    train(resume=run)


@pytest.mark.keras
def test_a_run_goes_on_once_its_images_are_back(copied, tiny_pairs):
    run, pairs = copied
    another_size(pairs)
    with pytest.raises(ConfigError, match="training data changed"):
        train(resume=run)
    shutil.copy(tiny_pairs / "train" / "3.png", pairs / "train")
    train(resume=run)
    assert read_progress(run / "checkpoints" / "state.npz")["epoch"] == 3


@pytest.mark.keras
def test_a_refusal_leaves_no_record_of_the_other_images(copied):
    """A run of version 0.1 has no record of its images; only the number of steps tells that they changed."""
    run, pairs = copied
    (run / "data.json").unlink()
    for i in range(2):
        (pairs / "train" / f"{i}.png").unlink()
    with pytest.raises(ConfigError, match="had 5 steps and now has 4"):
        train(resume=run)
    assert not (run / "data.json").exists()


@pytest.mark.keras
def test_read_log_gives_numbers(tiny_run):
    rows = read_log(tiny_run / "log.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(isinstance(value, float) for row in rows for value in row.values())


def test_read_log_of_an_unstarted_run_is_empty(tmp_path):
    assert read_log(tmp_path / "log.csv") == []


@pytest.mark.keras
def test_files_of_a_run_may_begin_with_the_mark_of_some_editors(copied):
    run, _ = copied
    for name in ("config.json", "data.json", "environment.json"):
        (run / name).write_bytes(codecs.BOM_UTF8 + (run / name).read_bytes().replace(b"\n", b"\r\n"))
    p2plib.load(run)
    train(resume=run)
    assert read_progress(run / "checkpoints" / "state.npz")["epoch"] == 3


@pytest.mark.keras
@pytest.mark.parametrize("damage", [b"{", b"[1]", "{}".encode("utf-16")])
def test_a_damaged_record_is_named(copied, damage):
    run, _ = copied
    (run / "data.json").write_bytes(damage)
    for use in (lambda: train(resume=run), lambda: p2plib.load(run)):
        with pytest.raises(
            ConfigError, match=r"data.json: cannot be read as the record of a run's images \(.*; restore"
        ):
            use()


@pytest.mark.keras
def test_a_checkpoint_outside_a_run_reads_no_record(tiny_run, tmp_path):
    (tmp_path / "data.json").write_text("[1, 2]")  # of something else
    (tmp_path / "models").mkdir()
    shutil.copy(tiny_run / "checkpoints" / "best.keras", tmp_path / "models")
    assert p2plib.load(tmp_path / "models" / "best.keras").record == {}
