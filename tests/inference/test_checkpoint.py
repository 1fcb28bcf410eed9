"""What is written can be read again, and what cannot be read is refused by name."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.errors import CheckpointError  # noqa: E402
from p2plib.inference import checkpoint  # noqa: E402
from p2plib.inference.checkpoint import INFO, CheckpointInfo, read_info  # noqa: E402
from p2plib.models import build_generator  # noqa: E402
from p2plib.training.loop import train  # noqa: E402


@pytest.fixture(scope="module")
def info(tiny_config) -> CheckpointInfo:
    config = dataclasses.replace(tiny_config, direction="BtoA", time_budget="1h30m", gan_weight=0.5)
    return CheckpointInfo(config, ("photo", "map"), epoch=3, step=15, metrics={"l1": 0.25, "psnr": 12.5, "ssim": 0.125})


@pytest.fixture(scope="module")
def generator(tiny_config):
    return build_generator(tiny_config)


@pytest.fixture(scope="module")
def saved(generator, info, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "generator.keras"
    checkpoint.save_generator(path, generator, info)
    return path


def outputs(generator) -> np.ndarray:
    source = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    return generator.predict_on_batch(source)


def rewrite(source, target, change) -> None:
    """Copy a zip file; `change` gives each member's new content from its name and content, None to leave it out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)


def test_info_survives_json(info):
    assert CheckpointInfo.from_json(info.to_json()) == info


def test_a_loaded_generator_is_the_saved_one(saved, generator, info):
    loaded = p2plib.load(saved)
    assert loaded.info == info
    assert loaded.size == 32
    np.testing.assert_array_equal(outputs(loaded.generator), outputs(generator))


def test_any_keras_opens_it(saved, generator):
    np.testing.assert_array_equal(outputs(keras.saving.load_model(saved)), outputs(generator))


def test_it_computes_in_float32_whatever_training_used(tiny_config, tmp_path, half_precision):
    config = dataclasses.replace(tiny_config, epochs=1, decay_epochs=0, precision="mixed_bfloat16")
    run = train(dataclasses.replace(config, run_dir=str(tmp_path / "run")))
    loaded = p2plib.load(run)
    assert loaded.info.config.precision == "mixed_bfloat16"
    assert {layer.compute_dtype for layer in loaded.generator.layers} == {"float32"}
    assert outputs(loaded.generator).dtype == np.float32


def test_info_is_read_without_keras(saved):
    code = "import sys; from p2plib.inference.checkpoint import read_info; "
    code += "print(read_info(sys.argv[1]).step, 'keras' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["15", "False"]


def test_a_run_folder_stands_for_its_best_generator(tiny_run):
    best = tiny_run / "checkpoints" / "best.keras"
    assert checkpoint.find(tiny_run) == checkpoint.find(best) == best
    assert p2plib.load(tiny_run).info == read_info(best)


def missing(path, saved):
    pass


def web_page(path, saved):
    path.write_text("\n<!DOCTYPE html><html><body>Sign in</body></html>")


def empty(path, saved):
    path.touch()


def truncated(path, saved):
    path.write_bytes(saved.read_bytes()[:-100])


def plain_keras(path, saved):
    rewrite(saved, path, lambda name, content: None if name == INFO else content)


def newer_version(path, saved):
    def add(name, content):
        if name != INFO:
            return content
        values = json.loads(content)
        values["config"]["invented_later"] = 1
        return json.dumps(values)

    rewrite(saved, path, add)


def without_weights(path, saved):
    rewrite(saved, path, lambda name, content: None if name.endswith(".h5") else content)


def damaged_weights(path, saved):
    rewrite(saved, path, lambda name, content: content[: len(content) // 2] if name.endswith(".h5") else content)


def flipped_bytes(path, saved):
    content = bytearray(saved.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(255 - byte for byte in content[middle : middle + 8])
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (missing, "no such checkpoint"),
        (web_page, "a web page"),
        (empty, "damaged"),
        (truncated, "damaged"),
        (plain_keras, "not made by p2plib"),
        (newer_version, "invented_later"),
        (without_weights, "damaged"),
        (damaged_weights, "damaged"),
        (flipped_bytes, "damaged"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_name(saved, tmp_path, spoil, reason):
    path = tmp_path / "given.keras"
    spoil(path, saved)
    with pytest.raises(CheckpointError, match=rf"given\.keras: .*{reason}"):
        p2plib.load(path)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"best\.keras: no such checkpoint"):
        p2plib.load(tmp_path)


@pytest.mark.parametrize("name", ["generator", "generator.zip", "generator.KERAS", "generator.keras.bin", "写真 (1)"])
def test_a_checkpoint_loads_by_any_name(saved, generator, tmp_path, name):
    path = shutil.copy(saved, tmp_path / name)
    np.testing.assert_array_equal(outputs(p2plib.load(path).generator), outputs(generator))


def test_the_folder_of_the_checkpoints_is_a_checkpoint(saved, tmp_path):
    shutil.copy(saved, tmp_path / "best.keras")
    assert checkpoint.find(tmp_path) == tmp_path / "best.keras"


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.keras", b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS.*git lfs pull"),
        ("a.weights.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("a.onnx", b"\x08\x08", "ONNX.*the folder"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "an image"),
        ("a.zip", zipped("run/best.keras"), "holds run/best.keras.*unpack"),
        ("a.pt", zipped("archive/data.pkl"), "PyTorch"),
        ("a.docx", zipped("word"), "another kind of zip"),
        ("a", b"abc", "another kind of file"),
    ],
)
def test_another_file_is_called_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}: not a checkpoint \(.*{message}"):
        p2plib.load(tmp_path / name)


def test_a_path_may_start_where_jupyter_did(saved, tmp_path, monkeypatch):
    best = tmp_path / "root" / "runs" / "mine" / "checkpoints" / "best.keras"
    best.parent.mkdir(parents=True)
    shutil.copy(saved, best)
    (tmp_path / "root" / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "root" / "notebooks")
    monkeypatch.setenv("PWD", str(tmp_path))  # kernels run in the notebook's folder, and $PWD stays that of the shell
    for path in ("../runs/mine", "root/runs/mine", "runs/mine", str(tmp_path / "root" / "runs" / "mine")):
        assert checkpoint.find(path).resolve() == best.resolve()
