"""The notebook that is pushed, and the wheel in it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import p2plib
from p2plib.config import TrainConfig
from p2plib.errors import KaggleError
from p2plib.kaggle.kernel import ACCELERATORS, CODE_FILE, CONFIG, METADATA, Kernel, build, notebook, wheel
from p2plib.kaggle.preflight import MAX_NOTEBOOK, slug

pytestmark = pytest.mark.once
KERNEL = Kernel("alice/my-run", "My run", dataset_sources=("alice/tiny-pairs",))
ON_CPU = Kernel("alice/my-run", "My run", "cpu")
SETTINGS = TrainConfig(data="maps", batch_size=8, learning_rate=1e-4, skip_broken=True, time_budget="8h")


def source(content: dict, name: str) -> str:
    return next("".join(cell["source"]) for cell in content["cells"] if cell["id"] == name)


def run(command: list, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ | environment)


def succeeds(command: list, folder: Path, **environment: str) -> str:
    result = run(command, folder, **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


# The wheel.


def test_a_wheel_holds_the_package_and_nothing_else():
    package = Path(p2plib.__file__).parent
    with zipfile.ZipFile(io.BytesIO(wheel())) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert {"p2plib/show/report.html", "p2plib/web/static/app.js", "p2plib/models/unet.py"} <= set(names)
        features = "p2plib/models/lite0.npz"  # the weights of the perceptual loss
        assert len(archive.read(features)) < 120_000
        names.remove(features)
        assert {Path(name).suffix for name in names} == {".py", ".html", ".css", ".js", ".svg"}
        here = {path.relative_to(package.parent).as_posix() for path in package.rglob("*.*") if path.suffix != ".pyc"}
        looked_at = re.compile(r"p2plib/(weights/|show/lessons/.*\.j)")  # not needed on Kaggle
        assert set(names) == {name for name in here if not looked_at.match(name)}
        for name in names:
            assert archive.read(name) == (package.parent / name).read_bytes(), name


def test_a_wheel_has_the_same_bytes_every_time(tmp_path):
    """Also from a copy whose files are newer, were run, and lie beside an editor's leftovers."""
    copy = Path(shutil.copytree(Path(p2plib.__file__).parent, tmp_path / "p2plib"))
    for leftover in (copy / ".errors.py.swp", copy / "data" / "__pycache__" / "images.cpython-311.pyc"):
        leftover.parent.mkdir(exist_ok=True)
        leftover.touch()
    for path in copy.rglob("*.py"):
        os.utime(path, (2e9, 2e9))
    code = "import sys, p2plib; from p2plib.kaggle.kernel import wheel; sys.stdout.buffer.write(wheel()); "
    code += "print(p2plib.__file__, file=sys.stderr)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    other = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path, env=environment)
    assert other.stderr.decode().strip() == str(copy / "__init__.py")
    assert other.stdout == wheel() == wheel()


def test_the_record_of_a_wheel_is_true():
    with zipfile.ZipFile(io.BytesIO(wheel())) as archive:
        [record] = [name for name in archive.namelist() if name.endswith("/RECORD")]
        rows = [row.split(",") for row in archive.read(record).decode().splitlines()]
        assert [row[0] for row in rows] == archive.namelist()
        for name, digest, size in rows[:-1]:
            content = archive.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            assert (digest, int(size)) == (f"sha256={expected}", len(content))


def test_pip_takes_the_wheel(tmp_path):
    path = tmp_path / f"p2plib-{p2plib.__version__}-py3-none-any.whl"
    path.write_bytes(wheel())
    options = ["--no-deps", "--no-index", "--disable-pip-version-check", "--target", tmp_path / "target"]
    succeeds([sys.executable, "-m", "pip", "install", *options, path], tmp_path)
    assert (tmp_path / "target" / "p2plib" / "show" / "report.html").is_file()
    code = "import p2plib, importlib.metadata as m; print(p2plib.__file__, m.version('p2plib'))"
    there = succeeds([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(tmp_path / "target")).split()
    assert there == [str(tmp_path / "target" / "p2plib" / "__init__.py"), p2plib.__version__]


# The notebook.


def test_build_writes_a_valid_notebook_with_a_kernel(tmp_path):
    assert build(SETTINGS, KERNEL, tmp_path / "out") == tmp_path / "out"
    content = nbformat.read(tmp_path / "out" / CODE_FILE, as_version=nbformat.NO_CONVERT)
    nbformat.validate(content)
    assert content.metadata.kernelspec.name == "python3"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([CODE_FILE, METADATA, CONFIG])
    assert TrainConfig.read(tmp_path / "out" / CONFIG) == SETTINGS
    assert Kernel.read(tmp_path / "out" / METADATA) == KERNEL


def test_build_repeats_to_the_byte_and_is_far_from_the_limit(tmp_path):
    first, second = (build(SETTINGS, KERNEL, tmp_path / name) for name in ("one", "two"))
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
    assert (first / CODE_FILE).stat().st_size < MAX_NOTEBOOK * 0.75


def test_the_title_cell_says_what_it_is():
    text = source(notebook(SETTINGS, KERNEL.next_part()), "title")
    assert all(word in text for word in ("# My run part 2", p2plib.__version__, "`alice/my-run`"))


@settings(deadline=None)
@given(
    st.builds(
        TrainConfig,
        data=st.text(min_size=1),
        l1_weight=st.floats(0, 1e6),
        image_size=st.sampled_from([32, 256]),
        run_dir=st.none() | st.text(),
        tensorboard=st.booleans(),
    )
)
def test_the_config_cell_makes_the_config(config):
    namespace: dict = {}
    exec(source(_without_wheel(config), "config"), namespace)
    assert namespace["config"] == config


def _without_wheel(config: TrainConfig) -> dict:
    with pytest.MonkeyPatch.context() as patch:  # it takes longer than all the rest
        patch.setattr("p2plib.kaggle.kernel.wheel", bytes)
        patch.setattr("p2plib.kaggle.kernel._unpack", lambda content: "")
        return notebook(config, KERNEL)


def test_the_config_cell_says_only_what_differs():
    text = source(notebook(SETTINGS, KERNEL), "config")
    assert text.count("=") == 1 + 5
    assert "TrainConfig()" in source(notebook(TrainConfig(), KERNEL), "config")


def test_the_training_cell_attaches_and_resumes():
    assert "session.train(config, sources=['alice/tiny-pairs'], resume=None)" in source(
        notebook(SETTINGS, KERNEL), "train"
    )
    assert "resume='alice/my-run')" in source(notebook(SETTINGS, KERNEL.next_part()), "train")


def test_no_cell_chooses_a_backend_or_reads_the_environment():
    text = "".join(source(notebook(SETTINGS, KERNEL), cell) for cell in ("config", "train", "grid", "compare"))
    assert "KERAS_BACKEND" not in text
    assert "environ" not in text


def test_the_wheel_cell_brings_p2plib_to_a_python_without_it(clean_python, tmp_path):
    content = notebook(SETTINGS, KERNEL)
    script = tmp_path / "cells.py"
    look = """
import importlib.metadata, importlib.resources, p2plib
print(p2plib.__file__)
print(importlib.metadata.version("p2plib"), importlib.metadata.distribution("p2plib").locate_file(""))
print(importlib.resources.files("p2plib").joinpath("show/report.html").is_file(), "keras" in sys.modules)
print(config.to_dict())
"""
    script.write_text(source(content, "wheel") + "\n" + source(content, "config") + look)
    lines = succeeds([clean_python, "-I", script], tmp_path, TMPDIR=str(tmp_path)).splitlines()
    folder = Path(lines[0]).parents[1]
    assert folder.parent == tmp_path
    assert lines[1:] == [f"{p2plib.__version__} {folder}", "True False", str(SETTINGS.to_dict())]


@pytest.mark.keras
def test_every_cell_runs_in_a_session(clean_python, tiny_pairs, tiny_config, tmp_path):
    attached = tmp_path / "kaggle" / "input" / "datasets" / "alice" / "tiny-pairs"
    shutil.copytree(tiny_pairs, attached)
    (tmp_path / "kaggle" / "working").mkdir()
    config = replace(tiny_config, data="alice/tiny-pairs", epochs=1, decay_epochs=0)
    content = notebook(config, KERNEL)
    script = tmp_path / "cells.py"
    script.write_text("\n".join("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"))
    out = succeeds([clean_python, "-s", script], tmp_path, P2PLIB_KAGGLE_ROOT=str(tmp_path / "kaggle"), PYTHONPATH="")
    run_folder = tmp_path / "kaggle" / "working" / "run"
    assert {"manifest.json", "results.html", "result_grid.png"} <= {path.name for path in run_folder.iterdir()}
    assert "epoch 1/1" in out


# The metadata.


@pytest.mark.parametrize("name", ACCELERATORS)
def test_metadata_are_complete_and_come_back(tmp_path, name):
    more = {"model_sources": ("bob/unet/keras/small/3",), "competition_sources": ("city-maps",)}
    kernel = replace(KERNEL, accelerator=name, internet=True, private=False, kernel_sources=("bob/a", "bob/b"), **more)
    values = kernel.to_dict()
    assert set(values) == {
        *("id", "title", "code_file", "language", "kernel_type", "is_private", "machine_shape", "keywords"),
        *("enable_gpu", "enable_tpu", "enable_internet"),
        *("dataset_sources", "kernel_sources", "model_sources", "competition_sources"),
    }
    assert (values["enable_gpu"], values["enable_tpu"]) == (
        name in ("t4x2", "l4", "a100", "h100"),
        name.startswith("tpu"),
    )
    assert write(tmp_path, values) == kernel


def write(folder: Path, values: object) -> Kernel:
    (folder / METADATA).write_text(json.dumps(values))
    return Kernel.read(folder / METADATA)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ON_CPU),
        ({"enable_gpu": "true", "machine_shape": ""}, Kernel("alice/my-run", "My run", "t4x2")),
        ({"enable_tpu": True}, Kernel("alice/my-run", "My run", "tpu")),
        ({"enable_gpu": True, "machine_shape": "TpuV5E8"}, Kernel("alice/my-run", "My run", "tpu")),
        ({"is_private": "False", "enable_internet": True}, replace(ON_CPU, internet=True, private=False)),
        ({"code_file": "build/kaggle/p2plib-training.ipynb", "keywords": []}, ON_CPU),
    ],
)
def test_what_people_write_is_understood(tmp_path, values, expected):
    assert write(tmp_path, {"id": "alice/my-run", "title": "My run"} | values) == expected


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"machine_shape": "NvidiaRtx"}, r"NvidiaRtx.*NvidiaTeslaT4 \(t4x2\), TpuV5E8 \(tpu\)"),
        ({"machine_shape": "NvidiaTeslaP100"}, "NvidiaTeslaP100', which Kaggle has retired; set NvidiaTeslaT4"),
        ({"model_sources": ["bob/unet"]}, "'bob/unet' is not a model; write OWNER/MODEL/FRAMEWORK"),
        ({"competition_sources": ["a/b"]}, "'a/b' is not a competition"),
        ({"enable_internet": "yes"}, "enable_internet is 'yes'"),
        ({"title": None}, "id and title"),
        ({"id": "my-run"}, "'my-run' is not an id"),
        ({"dataset_sources": "alice/pairs"}, "dataset_sources is 'alice/pairs'; it must be a list"),
        ({"dataset_sources": ["pairs"]}, "'pairs' is not an id"),
        ({"kernel_sources": [7]}, "7 is not an id"),
        ({"docker_image": "gcr.io/kaggle", "language": "r"}, "docker_image, language"),
        ({"enable_internt": True}, "enable_internt"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, values, reason):
    with pytest.raises(KaggleError, match=rf"kernel-metadata\.json: .*{reason}"):
        write(tmp_path, {"id": "alice/my-run", "title": "My run"} | values)


@pytest.mark.parametrize("content", [None, "", "[]", "<html>", '{"id": "a/b"}'])
def test_what_is_no_metadata_is_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / METADATA).write_text(content)
    with pytest.raises(KaggleError, match=r"kernel-metadata\.json: .*docs/kaggle\.md"):
        Kernel.read(tmp_path / METADATA)


def test_an_unknown_accelerator_is_refused():
    with pytest.raises(KaggleError, match="'p100'; it must be one of t4x2, tpu, tpu-v6e-8, l4, a100, h100, cpu"):
        Kernel("alice/my-run", "My run", "p100")


def test_a_chain_of_parts():
    second = KERNEL.next_part()
    third = second.next_part()
    assert (second.id, second.title) == ("alice/my-run-part-2", "My run part 2")
    assert (third.id, third.title) == ("alice/my-run-part-3", "My run part 3")
    assert (second.kernel_sources, third.kernel_sources) == (("alice/my-run",), ("alice/my-run-part-2",))
    assert third.dataset_sources == KERNEL.dataset_sources


def test_the_parts_of_a_chain_keep_what_else_is_attached():
    kernel = replace(KERNEL, kernel_sources=("bob/first", "bob/notes"), model_sources=("bob/unet/keras/small/3",))
    third = kernel.next_part().next_part()
    assert third.kernel_sources == ("alice/my-run-part-2", "bob/notes")
    assert third.model_sources == kernel.model_sources


TITLES = st.lists(st.sampled_from(["part", "Part", "(part", "2", "9", "1,000", "My run", "no. 7"]), min_size=1)


@settings(deadline=None)
@given(TITLES.map(" ".join))
def test_the_titles_of_a_chain_agree_with_its_ids(title):
    kernel = Kernel(f"alice/{slug(title)}", title)
    seen = {kernel.id}
    for _ in range(3):
        before, kernel = kernel, kernel.next_part()
        assert kernel.id == f"alice/{slug(kernel.title)}"
        assert kernel.kernel_sources == (before.id,)
        assert kernel.id not in seen
        seen.add(kernel.id)


@pytest.mark.parametrize(("accelerator", "size"), [("t4x2", 4), ("tpu", 8), ("tpu-v6e-8", 8), ("a100", 4), ("cpu", 4)])
def test_the_recipes_batch_divides_by_the_devices(tmp_path, accelerator, size):
    kernel = replace(KERNEL, accelerator=accelerator)
    build(TrainConfig(data="maps"), kernel, tmp_path)
    settings = TrainConfig.read(tmp_path / CONFIG)
    assert settings.batch_size == size
    again = build(settings, kernel, tmp_path / "next")  # as `kaggle resume` does
    assert TrainConfig.read(again / CONFIG) == settings
    chosen = build(TrainConfig(data="maps", batch_size=3), kernel, tmp_path / "chosen")
    assert TrainConfig.read(chosen / CONFIG).batch_size == 3
