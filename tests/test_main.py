"""The command line, as people type it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from p2plib import checkpoint
from p2plib.__main__ import main
from p2plib.config import TrainConfig
from p2plib.data import images
from p2plib.data.catalog import CATALOG

TINY = "--image-size 32 --base-filters 4 --receptive-field 16 --batch-size 5 --epochs 1 --decay-epochs 0 --xla off"


def fails(capsys, *arguments: object) -> str:
    """Run a command that must end with one line of explanation; returns that line."""
    assert main([str(argument) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


def succeeds(capsys, *arguments: object) -> str:
    """Run a command that must go well; returns what it printed."""
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def trained(tiny_pairs, tmp_path_factory) -> SimpleNamespace:
    """What `train` wrote and printed."""
    run = tmp_path_factory.mktemp("main") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["train", "--data", str(tiny_pairs), "--run-dir", str(run), *TINY.split()]) == 0
    return SimpleNamespace(run=run, out=out.getvalue())


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the trained run."""
    return Path(shutil.copytree(trained.run, tmp_path / "run"))


def test_data_list_shows_the_catalog(capsys):
    out = succeeds(capsys, "data", "list")
    for name, entry in CATALOG.items():
        assert name in out
        assert entry.title in out


def test_data_get_names_what_there_is(capsys):
    assert "facades" in fails(capsys, "data", "get", "facade")


def test_data_check_of_good_pairs(capsys, tiny_pairs, tmp_path):
    sheet = tmp_path / "sheet.png"
    out = succeeds(capsys, "data", "check", tiny_pairs, "--sheet", sheet)
    assert "13 usable pairs, 0 broken" in out
    assert str(sheet) in out
    assert images.read_rgb(sheet).ndim == 3


def test_data_check_of_a_broken_pair(capsys, tiny_pairs, tmp_path):
    shutil.copytree(tiny_pairs, tmp_path / "pairs")
    (tmp_path / "pairs" / "train" / "3.png").write_bytes(b"no picture")
    assert main(["data", "check", str(tmp_path / "pairs"), "--sheet", str(tmp_path / "sheet.png")]) == 1
    out = capsys.readouterr().out
    assert "12 usable pairs, 1 broken" in out
    assert "train/3.png" in out
    assert (tmp_path / "sheet.png").exists()


@pytest.mark.keras
def test_train_trains_and_reports(trained, tiny_pairs):
    assert f"run folder: {trained.run}" in trained.out
    assert trained.out.endswith(f"results: {trained.run / 'results.html'}\n")
    assert (trained.run / "results.html").exists()
    config = TrainConfig.read(trained.run / "config.json")
    assert (config.data, config.image_size, config.batch_size, config.xla) == (str(tiny_pairs), 32, 5, "off")
    assert checkpoint.read_info(trained.run / "checkpoints" / "last.keras").step == 2


@pytest.mark.keras
def test_train_goes_on_with_the_settings_of_the_run(run, capsys):
    before = TrainConfig.read(run / "config.json")
    out = succeeds(capsys, "train", "--resume", run, "--epochs", 2)
    assert "epoch 2/2" in out
    assert "epoch 1/2" not in out
    assert TrainConfig.read(run / "config.json") == dataclasses.replace(before, epochs=2)
    assert checkpoint.read_info(run / "checkpoints" / "last.keras").step == 4


@pytest.mark.keras
def test_evaluate(run, capsys, tmp_path):
    scores = tmp_path / "scores.json"
    out = succeeds(capsys, "evaluate", run, "--json", scores)
    content = json.loads(scores.read_text())
    assert [row["picture"] for row in content["pictures"]] == ["val/10.png", "val/11.png", "val/12.png"]
    assert content["protocol"]["step"] == 2
    assert f"{content['mean']['ssim']:.4f}" in out
    assert all(row["picture"] in out for row in content["pictures"])
    assert (run / "checkpoints" / "evaluation-val.csv").read_text().startswith("picture,l1,psnr,ssim\n")


@pytest.mark.keras
def test_translate(run, capsys, tiny_pairs, tmp_path):
    out = succeeds(
        capsys, "translate", run, tiny_pairs / "val", tiny_pairs / "train" / "0.png", "--out", tmp_path / "out"
    )
    written = [tmp_path / "out" / f"{name}.png" for name in (10, 11, 12, 0)]
    assert out.splitlines()[-4:] == [str(path) for path in written]
    assert {images.read_rgb(path).shape for path in written} == {(40, 80, 3)}


@pytest.mark.keras
def test_grid(run, capsys, tmp_path):
    sheet = tmp_path / "grid.png"
    assert succeeds(capsys, "grid", run, "--count", 2, "--out", sheet).splitlines()[-1] == str(sheet)
    grid = images.read_rgb(sheet)
    assert grid.shape[1] > 3 * 256
    assert 2 * 256 < grid.shape[0] < 3 * 256
    assert len(np.unique(grid)) > 100


@pytest.mark.keras
def test_report(run, capsys):
    (run / "results.html").unlink()
    assert succeeds(capsys, "report", run).splitlines()[-1] == f"results: {run / 'results.html'}"
    assert (run / "results.html").exists()
    with Image.open(run / "result_grid.png") as grid:
        assert grid.width > 3 * 256


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train --data nowhere", "nowhere"),
        ("train --batch-size 0", "batch_size is 0"),
        ("train --resume nowhere", "config.json"),
        ("data check nowhere", "nowhere"),
        ("evaluate missing.keras", "missing.keras: no such checkpoint"),
        ("translate missing.keras a.png --out out", "missing.keras: no such checkpoint"),
        ("grid missing.keras", "missing.keras: no such checkpoint"),
        ("report nowhere", "nowhere: not a run folder"),
    ],
)
def test_errors_are_one_line(capsys, tmp_path, monkeypatch, command, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, *command.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.keras
def test_a_resumed_run_cannot_become_another(run, capsys):
    assert "base_filters" in fails(capsys, "train", "--resume", run, "--base-filters", 8)


@pytest.mark.parametrize("command", ["train --no-such-option 1", "no-such-command", "train --image-size large"])
def test_what_is_no_command_is_refused(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_help_of_train_names_every_setting(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--help"])
    assert stopped.value.code == 0
    words = capsys.readouterr().out.replace(",", " ").split()
    for field in dataclasses.fields(TrainConfig):
        name = field.name.replace("_", "-")
        assert {f"--{name}", f"--{name}|--no-{name}"} & set(words), name


def test_help_imports_no_backend():
    code = (
        "import sys; from p2plib.__main__ import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted({'keras', 'tensorflow', 'jax', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    for command in ("data", "train", "evaluate", "translate", "grid", "report"):
        assert command in result.stdout


def test_the_package_is_a_command():
    command = [sys.executable, "-m", "p2plib", "data", "list"]
    assert "toy" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
