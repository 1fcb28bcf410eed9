"""Models go to the hubs, by their unmodified packages: what was listed and nothing else, or nothing at all."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hub_servers import HF_TOKEN, KAGGLE_TOKEN, Fault, HuggingFace, Kaggle, Server

import p2plib
from p2plib.cli.main import main
from p2plib.config import TrainConfig
from p2plib.errors import CheckpointError, ConfigError, HubError
from p2plib.export import card
from p2plib.export.publish import publish
from p2plib.hub.manifest import MANIFEST
from p2plib.inference.checkpoint import INFO, CheckpointInfo, find, read_info

for package in ("huggingface_hub", "kagglehub"):
    pytest.importorskip(package, reason="the extra 'hub' is not installed")

TO = {"hf": "hf://alice/maps", "kaggle": "kaggle://alice/maps"}
LICENSE = {"hf": "mit", "kaggle": "MIT"}
UPLOAD = {"hf": "^PUT /lfs/", "kaggle": "^PUT /upload/"}
COMMIT = {"hf": "/commit/main$", "kaggle": "/CreateModelInstance$"}


@pytest.fixture(params=["hf", "kaggle"])
def hub(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(hub: str, request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(hub)


def info_of(step: int) -> CheckpointInfo:
    config = TrainConfig(
        data="/home/alice/secret plans/maps of b", init="/home/alice/runs/old", run_dir="/home/alice/r"
    )
    return CheckpointInfo(config, ("satellite", "map"), 3, step, {"ssim": 0.5})


def fill(checkpoint: Path, step: int = 120) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(checkpoint, "w") as archive:
        archive.writestr("weights", np.random.default_rng(step).bytes(100_000))
        archive.writestr(INFO, info_of(step).to_json())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder with what belongs to its model, and with what does not; its data are not here."""
    monkeypatch.setattr(card, "evaluated", lambda path: None)
    run = tmp_path / "runs" / "maps"
    fill(run / "checkpoints" / "best.keras")
    fill(run / "checkpoints" / "last.keras", step=200)
    for name, step in (("onnx", 120), ("litert", 200)):
        folder = run / "export" / name
        folder.mkdir(parents=True)
        (folder / {"onnx": "model.onnx", "litert": "model.tflite"}[name]).write_bytes(b"exported" * 1000)
        (folder / INFO).write_text(info_of(step).to_json())
        (folder / ".DS_Store").touch()
    (run / "export" / "notes").mkdir()
    (run / "export" / "notes" / "diary.txt").write_text("private")
    (run / "checkpoints" / "state.npz").write_bytes(b"state")
    (run / "config.json").write_text(json.dumps(info_of(120).config.to_dict()))
    (run / "result_grid.png").write_bytes(b"png")
    (run / ".env").write_text(HF_TOKEN)
    return run


def there(server: Server) -> dict[str, bytes]:
    """The files of the newest version."""
    if isinstance(server, HuggingFace):
        return {name: data for name, data in server.repos["alice/maps"].files.items() if name != ".gitattributes"}
    assert isinstance(server, Kaggle)
    return server.models["alice/maps"][-1]


EXPECTED = {
    *("best.keras", "README.md", "metrics.json", "result_grid.png", MANIFEST),
    *("export/onnx/model.onnx", "export/onnx/p2plib.json"),
}


def test_what_was_listed_leaves_and_nothing_else(hub, server, run, capfd):
    lines: list[str] = []
    address = publish(run, TO[hub], LICENSE[hub], say=lines.append)
    assert address == (f"{server.url}/alice/maps" if hub == "hf" else "https://www.kaggle.com/models/alice/maps")
    files = there(server)
    assert set(files) == EXPECTED
    listed = dict(re.findall(r"^ *([\d.]+) MB  ([\w./]+)", line)[0][::-1] for line in lines[1 : len(files) + 1])
    assert {name: float(size) for name, size in listed.items()} == {k: round(len(v) / 1e6, 3) for k, v in files.items()}
    assert f"private{', unless it is public there already' if hub == 'kaggle' else ''}; license" in lines[0]
    assert lines[-2].endswith(f"in {len(files)} files")
    assert lines[-1] == "stays here: export/litert, made of step 200, not of this step 120"
    assert capfd.readouterr().out == ""


def test_no_path_of_this_computer_leaves(hub, server, run):
    publish(run, TO[hub], LICENSE[hub])
    files = there(server)
    with zipfile.ZipFile(find(TO[hub])) as archive:
        texts = [archive.read(INFO)] + [files[name] for name in files if name.endswith((".json", ".md"))]
    assert not [text for text in texts if b"alice/" in text.replace(b"://alice/", b"")]
    config = read_info(find(TO[hub])).config
    assert (config.data, config.init, config.run_dir) == ("maps of b", "old", None)


def test_the_card_and_the_metrics(hub, server, run):
    publish(run, TO[hub], LICENSE[hub])
    text = there(server)["README.md"].decode()
    assert text.startswith(
        f'---\nlicense: "{LICENSE[hub]}"\nlibrary_name: keras\npipeline_tag: image-to-image\ntags:\n'
    )
    assert f'p2plib.load("{TO[hub]}")' in text
    [sha] = re.findall(r"SHA-256 \| (\w{64})", text)
    entries = {entry["name"]: entry["sha256"] for entry in json.loads(there(server)[MANIFEST])["files"]}
    assert entries["best.keras"] == sha
    assert json.loads(there(server)["metrics.json"])["mean"] == {"ssim": 0.5}


def test_a_second_time_makes_a_version(hub, server, run):
    publish(run, TO[hub], LICENSE[hub])
    shutil.rmtree(run / "export" / "onnx")
    fill(run / "checkpoints" / "best.keras", step=300)
    publish(run, TO[hub], LICENSE[hub])
    assert set(there(server)) == {name for name in EXPECTED if "onnx" not in name}
    assert read_info(find(TO[hub])).step == 300
    notes = server.repos["alice/maps"].notes if isinstance(server, HuggingFace) else server.notes
    assert notes[-1] == "Step 300, epoch 3, by p2plib"


def test_another_checkpoint_takes_its_own_exports(hub, server, run):
    publish(run, TO[hub], LICENSE[hub], file="last.keras")
    assert {"last.keras", "export/litert/model.tflite"} <= set(there(server))
    assert read_info(find(TO[hub])).step == 200


def test_a_dry_run_asks_nobody(hub, server, run, capsys):
    assert main(["publish", str(run), "--to", TO[hub], "--license", "mit", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "Would leave this computer" in out and "best.keras" in out and out.endswith("nothing was sent (--dry-run)\n")
    assert server.requests == []


def test_the_license_is_asked_for(hub, server, run, capsys):
    assert main(["publish", str(run), "--to", TO[hub]]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Name the license") and line.endswith(
        "the terms of the training data are not known here."
    )
    fill(run / "checkpoints" / "best.keras")
    assert server.requests == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"to": "alice/maps"}, "is no place for a model; give hf://OWNER/NAME"),
        ({"to": "hf://alice/maps@v1"}, "is no place for a model"),
        ({"to": "hf://alice"}, "is no name of a model"),
        ({"to": "kaggle://alice/maps", "public": True}, "leave --public out"),
        ({"run": "hf://alice/maps"}, "is on a hub already"),
        ({"file": "third.keras"}, "third.keras: no such checkpoint"),
    ],
)
def test_what_cannot_be_meant(run, change, message):
    values = {"run": run, "to": "hf://alice/maps", "license": "mit"} | change
    with pytest.raises((ConfigError, CheckpointError, HubError), match=message):
        publish(**values)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"takes no token from here, or an expired one; (run: hf auth login|set KAGGLE_API_TOKEN)"),
        (403, "denies you this; check the owner, and that your token may write"),
        (429, "too many requests"),
        (500, r"cannot answer now \(HTTP status 500\), the fault is on its side"),
    ],
)
@pytest.mark.parametrize("when", ["first", "upload", "commit"])
def test_a_hub_that_refuses(hub, server, run, status, message, when):
    publish(run, TO[hub], LICENSE[hub])
    before = there(server)
    fill(run / "checkpoints" / "best.keras", step=300)
    match = {"first": "^POST", "upload": UPLOAD[hub], "commit": COMMIT[hub]}[when]
    server.faults.append(Fault(match, status=status, body=json.dumps({"error": f"{HF_TOKEN} {KAGGLE_TOKEN}"}).encode()))
    with pytest.raises(HubError, match=message) as caught:
        publish(run, TO[hub], LICENSE[hub])
    text = str(caught.value)
    assert text.startswith(TO[hub]) and "\n" not in text and HF_TOKEN not in text and KAGGLE_TOKEN not in text
    assert there(server) == before
    server.faults.clear()
    publish(run, TO[hub], LICENSE[hub])
    assert read_info(find(TO[hub])).step == 300


def test_an_answer_of_something_in_between(hub, server, run):
    page = {"body": b"<html>Log in to the hotel's network</html>", "kind": "application/json"}
    server.faults.append(Fault("^POST", status=200, **page))
    with pytest.raises(HubError, match="perhaps that of a proxy or a login page"):
        publish(run, TO[hub], LICENSE[hub])


def test_without_a_token(hub, server, run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN" if hub == "hf" else "KAGGLE_API_TOKEN")
    with pytest.raises(HubError, match="takes no token from here"):
        publish(run, TO[hub], LICENSE[hub])


def test_somebody_elses_name(hub, server, run):
    with pytest.raises(HubError, match=r"check the owner|create a model under this namespace|denied"):
        publish(run, TO[hub].replace("alice", "bob"), LICENSE[hub])


@pytest.mark.parametrize("share", [tenth / 10 for tenth in range(10)])
def test_an_upload_that_breaks_off_goes_on(hub, server, run, share):
    server.faults.append(Fault(UPLOAD[hub], cut=share, times=2))
    publish(run, TO[hub], LICENSE[hub])
    assert set(there(server)) == EXPECTED
    assert read_info(find(TO[hub])).step == 120


def test_without_the_hub(hub, server, run):
    server.stop()
    with pytest.raises(HubError, match=r"the connection to .* failed or broke; check it and run the same again"):
        publish(run, TO[hub], LICENSE[hub])


def test_an_upload_that_always_breaks_off(hf, run):
    hf.faults.append(Fault(UPLOAD["hf"], cut=0.5))
    with pytest.raises(HubError, match=r"the connection to Hugging Face failed or broke"):
        publish(run, TO["hf"], "mit")
    assert set(hf.repos["alice/maps"].files) == {".gitattributes"}


def test_a_license_that_kaggle_does_not_know(kaggle, run):
    with pytest.raises(HubError, match=r"Kaggle refused it .*Invalid license: mine\); mend that"):
        publish(run, TO["kaggle"], "mine")


def test_on_hugging_face_public_is_said(hf, run):
    publish(run, TO["hf"], "mit")
    assert hf.repos["alice/maps"].private
    publish(run, TO["hf"], "mit", public=True)
    assert not hf.repos["alice/maps"].private
    before = len(hf.repos["alice/maps"].commits)
    with pytest.raises(HubError, match="is public, and so would this be; add --public"):
        publish(run, TO["hf"], "mit")
    assert len(hf.repos["alice/maps"].commits) == before


def test_another_model_is_not_overwritten(hf, run):
    publish(run, TO["hf"], "mit")
    files = hf.repos["alice/maps"].files
    files["model.safetensors"] = files.pop(MANIFEST)
    with pytest.raises(HubError, match=r"holds something else .*choose another name"):
        publish(run, TO["hf"], "mit")


@pytest.mark.keras
def test_a_trained_run_comes_back_as_it_was(hub, server, tiny_run, tmp_path, monkeypatch):
    publish(tiny_run, TO[hub], LICENSE[hub])
    assert {"sample.jpg", "README.md", "metrics.json", "best.keras"} <= set(there(server))
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    expected = p2plib.translate(p2plib.load(tiny_run), [image])
    np.testing.assert_array_equal(p2plib.translate(p2plib.load(TO[hub]), [image]), expected)
    monkeypatch.chdir(tmp_path)
    data = ["--data", read_info(tiny_run / "checkpoints" / "best.keras").config.data]
    assert main(["evaluate", TO[hub], *data]) == 0
    assert sorted(path.name for path in Path("maps").iterdir()) == ["evaluation-val.csv", "evaluation-val.json"]
