"""The command line, as people type it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fresh import run_and_list
from PIL import Image

from p2plib.cli.main import COMMANDS, GROUPS, main
from p2plib.config import TrainConfig
from p2plib.data import toy
from p2plib.data.catalog import CATALOG
from p2plib.data.image import read_rgb, save_image
from p2plib.inference import checkpoint

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


def test_without_words_a_page_says_what_is_here(capsys):
    assert main([]) == 0
    page = capsys.readouterr().out
    lines = page.splitlines()
    assert max(map(len, lines)) <= 120 and len(lines) < 40
    named = {line.split()[0] for line in lines[lines.index("All commands:") + 1 :] if line.startswith("  ")}
    assert named == {*COMMANDS, *GROUPS}
    examples = [line.split()[3:] for line in lines if line.startswith("  python -m p2plib")]
    assert {words[0] for words in examples} == {"web", "train", "data", "translate"}


def test_data_list_shows_the_catalog(capsys):
    out = succeeds(capsys, "data", "list")
    for name, entry in CATALOG.items():
        assert name in out
        assert entry.title in out


def test_data_get_names_what_there_is(capsys):
    assert "facades" in fails(capsys, "data", "get", "facade")


def test_a_terminal_shows_no_warnings_of_pillow(capsys, recwarn, tmp_path):
    damaged = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\1" * 20
    (tmp_path / "train").mkdir()
    Image.fromarray(np.hstack(toy.city(0, 32))).save(tmp_path / "train" / "0.jpg", exif=damaged)
    succeeds(capsys, "data", "check", tmp_path, "--sheet", tmp_path / "sheet.png")
    assert not recwarn


def test_data_check_of_good_pairs(capsys, tiny_pairs, tmp_path):
    sheet = tmp_path / "sheet.png"
    out = succeeds(capsys, "data", "check", tiny_pairs, "--sheet", sheet)
    assert "13 usable pairs, 0 broken" in out
    assert str(sheet) in out
    assert read_rgb(sheet).ndim == 3


def test_data_check_of_a_broken_pair(capsys, tiny_pairs, tmp_path):
    shutil.copytree(tiny_pairs, tmp_path / "pairs")
    (tmp_path / "pairs" / "train" / "3.png").write_bytes(b"no image")
    assert main(["data", "check", str(tmp_path / "pairs"), "--sheet", str(tmp_path / "sheet.png")]) == 1
    out = capsys.readouterr().out
    assert "12 usable pairs, 1 broken" in out
    assert "train/3.png" in out
    assert (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("task", ["colorize", "sketch"])
def test_data_check_of_photos(capsys, tmp_path, task):
    for i in range(3):
        save_image(tmp_path / "photos" / f"{i}.jpg", toy.city(i, 40)[0])
    out = succeeds(capsys, "data", "check", tmp_path / "photos", "--task", task, "--sheet", tmp_path / "sheet.png")
    assert "3 usable photos, 0 broken" in out
    assert read_rgb(tmp_path / "sheet.png").shape[1] > 2 * 160


@pytest.mark.keras
def test_photos_are_trained_on(capsys, tmp_path):
    for i in range(12):
        save_image(tmp_path / "photos" / f"{i}.jpg", toy.city(i, 40)[0])
    run = tmp_path / "run"
    out = succeeds(
        capsys, "train", "--data", tmp_path / "photos", "--task", "colorize", "--run-dir", run, *TINY.split()
    )
    assert "11 training pairs (in memory), 1 validation pairs" in out
    info = checkpoint.read_info(run / "checkpoints" / "last.keras")
    assert info.config.task == "colorize"
    assert f"ab {info.metrics['ab']:.2f}" in out
    assert f"{info.metrics['ab']}" in (run / "log.csv").read_text()


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
    assert (run / "checkpoints" / "evaluation-val.csv").read_text().startswith("picture,l1,psnr,ssim,ms_ssim")
    assert f"{content['sets']['swd']:.4f}" in out


@pytest.mark.keras
def test_fcn_score(run, capsys):
    """The sources of the run are photos; what is trained where they are labels is in test_segmentation."""
    assert "the sources (A) are not flat areas of few colors" in fails(capsys, "fcn-score", run)
    assert not (run / "checkpoints" / "segmenter.keras").exists()


@pytest.mark.keras
def test_translate(run, capsys, tiny_pairs, tmp_path):
    out = succeeds(
        capsys, "translate", run, tiny_pairs / "val", tiny_pairs / "train" / "0.png", "--out", tmp_path / "out"
    )
    written = [tmp_path / "out" / f"{name}.png" for name in (10, 11, 12, 0)]
    assert out.splitlines()[-4:] == [str(path) for path in written]
    assert {read_rgb(path).shape for path in written} == {(40, 80, 3)}


@pytest.mark.keras
def test_translate_goes_on_after_broken_files_and_after_a_break(run, capsys, tiny_pairs, tmp_path):
    shutil.copytree(tiny_pairs / "val", photos := tmp_path / "photos")
    (photos / "broken.png").write_bytes(b"no image")
    command = ["translate", str(run), str(photos), "--out", str(tmp_path / "out"), "--fit", "--compare"]
    assert main(command) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[-1] == "3 written, 0 skipped (done before), 1 failed"
    assert err[-2].startswith(f"failed: {photos / 'broken.png'}: cannot be read")
    assert read_rgb(tmp_path / "out" / "10.png").shape == (40, 160, 3)
    (photos / "broken.png").unlink()
    assert main(command) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "0 written, 3 skipped (done before), 0 failed"
    assert main([*command, "--force"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "3 written, 0 skipped (done before), 0 failed"


@pytest.mark.keras
def test_translate_says_which_files_hold_several_images(run, capsys, tiny_pairs, tmp_path):
    with Image.open(tiny_pairs / "val" / "10.png") as page:
        for i in range(7):
            page.save(tmp_path / f"{i}.tif", save_all=True, append_images=[page] * (i + 1))
    assert main(["translate", str(run), *map(str, sorted(tmp_path.glob("*.tif"))), "--out", str(tmp_path / "out")]) == 0
    named = ", ".join(f"{tmp_path / str(i)}.tif ({i + 2})" for i in range(5))
    said = f"7 file(s) hold several images, the first of each is used: {named}, ..."
    assert capsys.readouterr().err.splitlines()[-2:] == [said, "7 written, 0 skipped (done before), 0 failed"]


@pytest.mark.keras
def test_video(run, capsys, tmp_path):
    av = pytest.importorskip("av")
    source, out = tmp_path / "flight.mp4", tmp_path / "out.mkv"
    with av.open(source, "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 24, 32, "yuv420p"
        for i in range(5):
            image = np.ascontiguousarray(toy.city(0, 64)[0][i : i + 24, i : i + 32])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    lines = succeeds(capsys, "video", run, source, out, "--steady").splitlines()[-2:]
    assert lines[0] == f"{out}: 5 frames, 32x24, 10 frames per second"
    assert re.match(r"flicker \d+\.\d\d \(\d+\.\d\d without --steady\): change from frame to frame", lines[1])
    with av.open(out) as container:
        assert len(list(container.decode(video=0))) == 5


@pytest.mark.once
def test_export(run, capsys, tmp_path):
    out = succeeds(capsys, "export", run, "--format", "onnx", "--half").splitlines()
    folder = run / "export" / "onnx-half"
    assert "onnx, float16: " in out[-2]
    assert "difference from Keras on 3 validation images: at most" in out[-2]
    assert out[-1] == f"exported: {folder}"
    save_image(tmp_path / "a.png", np.zeros((40, 30, 3), np.uint8))
    succeeds(capsys, "translate", folder, tmp_path / "a.png", "--out", tmp_path / "out")
    assert "is already an export" in fails(capsys, "export", folder, "--format", "onnx")


@pytest.mark.keras
def test_grid(run, capsys, tmp_path):
    sheet = tmp_path / "grid.png"
    assert succeeds(capsys, "grid", run, "--count", 2, "--out", sheet).splitlines()[-1] == str(sheet)
    grid = read_rgb(sheet)
    assert grid.shape[1] > 3 * 256
    assert 2 * 256 < grid.shape[0] < 3 * 256
    assert len(np.unique(grid)) > 100


@pytest.mark.keras
def test_compare(run, capsys, tmp_path):
    last = run / "checkpoints" / "last.keras"
    out = succeeds(capsys, "compare", run, last, "--out", tmp_path / "out", "--count", 2)
    assert "run/last" in out
    assert "bootstrap over images" in out
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["protocol"]["pictures"] == 3
    assert read_rgb(tmp_path / "out" / "sheet.png").shape[1] == 4 * 264 - 8


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
        ("train --init missing.keras", "missing.keras: no such checkpoint"),
        ("train --task colorize --direction BtoA", "task colorize knows only one"),
        ("data check coco-sample", "coco-sample holds photos, not pairs; add --task colorize or --task sketch"),
        ("data check maps --task sketch", "maps holds pairs, not photos"),
        ("data check nowhere", "nowhere"),
        ("evaluate missing.keras", "missing.keras: no such checkpoint"),
        ("translate missing.keras a.png --out out", "missing.keras: no such checkpoint"),
        ("video missing.keras in.mp4 out.mp4", "missing.keras: no such checkpoint"),
        ("export missing.keras --format onnx", "missing.keras: no such checkpoint"),
        ("fcn-score missing.keras", "missing.keras: no such checkpoint"),
        ("compare missing.keras", "missing.keras: no such checkpoint"),
        ("compare", "name checkpoints"),
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


@pytest.mark.parametrize("command", ["train --no-such-option 1", "no-such-command", "train --epochs many"])
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


@pytest.mark.parametrize(
    ("options", "rate"),
    [("", 4e-4), ("--init a.keras", 2e-4), ("--init=a.keras --learning-rate 3e-4", 3e-4), ("--init None", 4e-4)],
)
def test_a_trained_model_lowers_the_learning_rate(monkeypatch, options, rate):
    given = []
    monkeypatch.setattr("p2plib.train", lambda config, resume: given.append(config))
    monkeypatch.setattr("p2plib.cli.evaluate.report", lambda run: None)
    assert main(["train", *options.split()]) == 0
    assert given[0].learning_rate == rate


def test_help_imports_no_backend():
    code = "from p2plib.cli.main import main\nmain(['--help'])"
    printed, imported = run_and_list(code, "keras", "tensorflow", "jax", "matplotlib")
    assert imported == []
    for command in COMMANDS:
        assert command in printed


def test_the_package_is_a_command():
    command = [sys.executable, "-m", "p2plib", "data", "list"]
    assert "toy" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
