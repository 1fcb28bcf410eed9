"""From the command line to Kaggle and back: push, run what was pushed as Kaggle would, pull, and go on.

What is pushed is captured by a server of the tests, run by papermill in a Python that has no p2plib and in a folder
laid out like /kaggle, and its output is handed to the next part. Three parts give the weights of one long run.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from p2plib.cli.main import main
from p2plib.data import toy
from p2plib.data.image import save_image
from p2plib.inference.checkpoint import read_info
from p2plib.kaggle.manifest import MANIFEST
from p2plib.training.state import read_progress

pytest.importorskip("papermill")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = (
    "--data maps --direction BtoA --image-size 32 --base-filters 4 --receptive-field 16 --epochs 1 --decay-epochs 0"
)
DEVICES = {"tensorflow": 1, "jax": 8}  # eight virtual devices stand in for the cores of a TPU v5e-8
STEPS = 3


@pytest.fixture(scope="module")
def mirror(tmp_path_factory) -> Path:
    """The data set that mirrors "maps", with few and tiny images."""
    folder = tmp_path_factory.mktemp("mirror")
    for split, start, count in (("train", 0, 8 * STEPS), ("val", 100, 3)):
        for i in range(start, start + count):
            save_image(folder / "maps" / "maps" / split / f"{i}.jpg", np.hstack(toy.city(i, 40)))
    return folder


class Session:
    """Kaggle's side: runs the kernel that was pushed last."""

    def __init__(self, server, python: Path, mirror: Path, folder: Path, backend: str) -> None:
        self.server, self.python, self.mirror, self.folder, self.backend = server, python, mirror, folder, backend
        self.outputs: dict[str, Path] = {}

    def run(self) -> Path:
        """Lay out a session, run the pushed notebook in it; returns the run folder that it leaves."""
        pushed = [call.body for call in self.server.calls if call.name == "SaveKernel"][-1]
        root = self.folder / pushed["slug"].replace("/", "-")
        datasets = {"vikramtiwari/pix2pix-dataset": self.mirror}
        for name in pushed.get("datasetDataSources", []):
            self._mount(root / "input" / "datasets" / name, datasets.get(name) or self._unpack(name))
        for name in pushed.get("kernelDataSources", []):
            self._mount(root / "input" / "notebooks" / name, self.outputs[name])
        (root / "working").mkdir(parents=True)
        (root / "kernel.ipynb").write_text(pushed["text"])
        command = [self.python, "-m", "papermill", "--cwd", "working", "--no-progress-bar", "kernel.ipynb", "out.ipynb"]
        result = subprocess.run(command, cwd=root, env=self._environment(root), capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
        self.outputs[pushed["slug"]] = root / "working"
        files = {path.relative_to(root / "working").as_posix(): path for path in (root / "working").rglob("*")}
        self.server.files = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
        return root / "working" / "run"

    def _unpack(self, name: str) -> Path:
        """What Kaggle makes of the newest version of a data set that was sent: archives become folders."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in self.server.datasets[name][-1].items():
            if file.endswith(".zip"):
                zipfile.ZipFile(io.BytesIO(content)).extractall(folder / file.removesuffix(".zip"))
            else:
                (folder / file).write_bytes(content)
        return folder

    def _mount(self, place: Path, content: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(content, target_is_directory=True)

    def _environment(self, root: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TMPDIR")}
        flags = f"{kept.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES[self.backend]}"
        return kept | {"P2PLIB_KAGGLE_ROOT": str(root), "KERAS_BACKEND": self.backend, "XLA_FLAGS": flags}


@pytest.fixture
def session(server, clean_python, mirror, tmp_path, monkeypatch, request) -> Session:
    monkeypatch.chdir(tmp_path)
    metadata = {"id": "alice/p2p-maps", "title": "P2P maps", "enable_gpu": True, "is_private": True}
    Path("kernel-metadata.json").write_text(json.dumps(metadata))
    return Session(server, clean_python, mirror, tmp_path / "kaggle", request.param)


def weights(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "checkpoints" / "state.npz") as state:
        return {name: state[name] for name in state.files if name != "progress"}


def succeeds(capsys, *arguments: str) -> str:
    assert main(["kaggle", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.on_kaggle
@pytest.mark.parametrize("session", DEVICES, indirect=True)
def test_three_parts_give_the_weights_of_one_run(session, capsys):
    options = [*OPTIONS.split(), "--batch-size", "8", "--xla", "on"]
    out = succeeds(capsys, "push", *options, "--time-budget", "1s")
    assert "pushed: https://www.kaggle.com/code/alice/p2p-maps" in out
    pushed = session.server.calls[-1].body
    assert (pushed["machineShape"], pushed["enableInternet"]) == ("NvidiaTeslaT4", False)
    first = session.run()
    assert read_progress(first / "checkpoints" / "state.npz")["step"] < STEPS
    assert read_info(first / "checkpoints" / "best.keras").names == ("map", "satellite")

    for part in (2, 3):
        assert f"alice/p2p-maps-part-{part}" in succeeds(capsys, "resume")
        last = session.run()
    assert read_progress(last / "checkpoints" / "state.npz")["epoch"] == 1

    assert "COMPLETE" in succeeds(capsys, "status")
    run = Path(succeeds(capsys, "pull").strip().splitlines()[-1])
    assert run == Path("runs/p2p-maps-part-3")
    for path in (last / name for name in ("checkpoints/last.keras", "results.html", "log.csv", MANIFEST)):
        assert (run / path.relative_to(last)).read_bytes() == path.read_bytes()

    Path("kernel-metadata.json").write_text(json.dumps({"id": "alice/p2p-whole", "title": "P2P whole"}))
    succeeds(capsys, "push", *options)
    whole, chain = weights(session.run()), weights(run)
    assert whole.keys() == chain.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], chain[name], name)


def test_the_plain_command_pushes_what_was_built(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    metadata = json.loads((ROOT / "kernel-metadata.json").read_text())
    Path("kernel-metadata.json").write_text(json.dumps(metadata | {"id": "alice/p2plib-training"}))
    succeeds(capsys, "build", *OPTIONS.split(), "--batch-size", "8")
    for folder in ("build/kaggle", "."):
        command = [sys.executable, "-m", "kaggle", "kernels", "push", "-p", folder]
        assert "successfully pushed" in subprocess.run(command, capture_output=True, text=True).stdout
    built, top = (call.body for call in server.calls if call.name == "SaveKernel")
    assert built["text"] == top["text"]
    assert built.pop("datasetDataSources") == ["vikramtiwari/pix2pix-dataset"]  # attached since the data is "maps"
    assert "datasetDataSources" not in top
    assert built == top


@pytest.mark.parametrize("session", ["tensorflow"], indirect=True)
def test_a_folder_of_ones_own_trains_there_and_is_judged_here(session, capsys):
    for i in range(12):
        for side, image in zip("AB", toy.city(i, 60), strict=True):
            save_image(Path("my pairs", f"train{side}", f"{i}.png"), image)
    options = ["--data", "my pairs", *OPTIONS.split()[4:], "--batch-size", "2"]
    succeeds(capsys, "push", *options)
    there = session.run()
    assert read_progress(there / "checkpoints" / "state.npz")["epoch"] == 1
    assert json.loads((there / MANIFEST).read_text())["complete"]
    succeeds(capsys, "resume", "--sessions", "2")  # there is nothing left to do
    assert [call.name for call in session.server.calls].count("SaveKernel") == 1
    run = Path(succeeds(capsys, "pull").strip().splitlines()[-1])
    assert main(["evaluate", str(run), "--data", "my pairs", "--split", "val"]) == 0
    assert "l1" in capsys.readouterr().out


@pytest.mark.parametrize("session", ["tensorflow"], indirect=True)
def test_a_damaged_output_neither_replaces_a_good_one_nor_is_gone_on_from(session, capsys):
    succeeds(capsys, "push", *OPTIONS.split(), "--batch-size", "8")
    run = session.run()
    succeeds(capsys, "pull", "--only", "best")
    good = {path: path.read_bytes() for path in Path("runs").rglob("*.keras")}
    session.server.files["run/checkpoints/last.keras"] = b"<html>403</html>"
    assert main(["kaggle", "pull"]) == 1
    error = capsys.readouterr().err
    assert "last.keras" in error and error.count("\n") == 1
    assert good == {path: path.read_bytes() for path in Path("runs").rglob("*.keras")}

    damaged = bytearray((run / "checkpoints" / "state.npz").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (run / "checkpoints" / "state.npz").write_bytes(damaged)
    succeeds(capsys, "resume")
    with pytest.raises(AssertionError, match=r"state\.npz is damaged"):
        session.run()
