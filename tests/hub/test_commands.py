"""Every command that takes a checkpoint takes the name of one on a hub; what is made of it has its own folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hub_servers import HuggingFace, Kaggle, Repo, listing
from webserver import LIMITS, form, generated, png

from p2plib.cli.main import main
from p2plib.config import TrainConfig
from p2plib.data import toy
from p2plib.data.image import read_rgb, save_image
from p2plib.inference.checkpoint import CheckpointInfo, read_info, save_generator

for package in ("huggingface_hub", "kagglehub", "keras"):
    pytest.importorskip(package)

pytestmark = [pytest.mark.keras, pytest.mark.once]
HF, KAGGLE = "hf://alice/maps", "kaggle://alice/maps"


def put(hf: HuggingFace, kaggle: Kaggle, checkpoint: Path, scratch: Path, repo: str = "alice/maps") -> None:
    """Publish a checkpoint on both hubs."""
    files = {"best.keras": checkpoint.read_bytes()}
    files |= {"manifest.json": listing(files, scratch)}
    hf.repos[repo] = Repo(private=True, commits=[files])
    kaggle.models[repo] = [files]


@pytest.fixture
def data(hf: HuggingFace, kaggle: Kaggle, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The option for the data of a model that is on both hubs; the working directory is empty."""
    info = read_info(tiny_run / "checkpoints" / "best.keras")
    put(hf, kaggle, tiny_run / "checkpoints" / "best.keras", tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return ["--data", info.config.data]


def made() -> set[str]:
    return {path.as_posix() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [HF, KAGGLE])
def test_translate(data, name, tmp_path):
    save_image(tmp_path / "a.png", toy.city(0, 32)[0])
    assert main(["translate", name, str(tmp_path / "a.png"), "--out", "out"]) == 0
    assert read_rgb("out/a.png").shape == (32, 32, 3)


def test_evaluate_and_grid(data):
    assert main(["evaluate", KAGGLE, *data]) == 0
    assert main(["grid", HF, *data, "--count", "1"]) == 0
    assert made() == {"maps/evaluation-val.csv", "maps/evaluation-val.json", "grid.png"}


def test_compare(data, hf, kaggle, tiny_run, tmp_path, capsys):
    """Two hubs may have models of one name, which are told apart then."""
    assert main(["compare", HF, KAGGLE, str(tiny_run), *data, "--count", "1"]) == 0
    names = list(json.loads(Path("comparison/comparison.json").read_text())["checkpoints"])
    assert names == [HF, KAGGLE, str(tiny_run)]
    assert made() == {"comparison/comparison.json", "comparison/sheet.png"}
    assert HF in capsys.readouterr().out


def test_report(data, capsys):
    assert main(["report", KAGGLE, *data]) == 0
    assert made() == {f"maps/{name}" for name in ("metrics.csv", "metrics.json", "result_grid.png", "results.html")}
    page = Path("maps/results.html").read_text()
    assert "Learning curves" not in page and "epochs done</th><td>2<" in page
    assert str(Path("maps/results.html")) in capsys.readouterr().out


def test_a_report_does_not_take_a_log_that_lies_there_for_the_models(data):
    Path("maps").mkdir()
    Path("maps/log.csv").write_text("epoch\n9\n")
    assert main(["report", HF, *data]) == 0
    assert "Learning curves" not in Path("maps/results.html").read_text()


def test_export(data):
    assert main(["export", HF, "--format", "savedmodel"]) == 0
    assert "maps/export/savedmodel/saved_model.pb" in made()
    save_image("a.png", toy.city(0, 32)[0])
    assert main(["translate", "maps/export/savedmodel", "a.png", "--out", "out"]) == 0


def test_video(data, tmp_path):
    av = pytest.importorskip("av")
    with av.open(tmp_path / "in.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        for i in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(toy.city(i, 32)[0], "rgb24")))
        container.mux(stream.encode())
    assert main(["video", KAGGLE, str(tmp_path / "in.mp4"), "out.mp4"]) == 0
    assert made() == {"out.mp4"}


def test_web(data, hf):
    """`web` serves until Ctrl-C; this is what it serves."""
    from p2plib.web import create_app

    app = create_app([Path(HF), Path(KAGGLE)], limits=LIMITS)
    try:
        client = app.test_client()
        assert [model["id"] for model in client.get("/api/models").json["models"]] == ["maps", "maps-2"]
        asked = len(hf.requests)
        answer = client.post("/api/translate", **form(png(toy.city(0, 32)[0]), model="maps"))
        assert generated(answer.json).shape == (32, 32, 3)
        assert len(hf.requests) == asked  # once is enough
    finally:
        app.extensions["p2plib"].queue.close()
    assert not made()


def test_fcn_score(hf, kaggle, tmp_path, monkeypatch, capsys):
    """Which needs labels, so these have a model of their own, untrained."""
    from p2plib.models import build_generator

    colors = np.array([(200, 0, 0), (0, 0, 200), (240, 240, 0)], np.uint8)
    for i in range(6):
        classes = np.kron(np.random.default_rng(i).integers(0, 3, (2, 2)), np.ones((16, 16), int))
        photo = np.repeat((60 + 60 * classes).astype(np.uint8)[..., None], 3, -1)
        save_image(
            tmp_path / "labels" / ("val" if i < 2 else "train") / f"{i}.png", np.hstack([colors[classes], photo])
        )
    config = TrainConfig(data="labels", direction="AtoB", image_size=32, base_filters=4, receptive_field=16)
    save_generator(
        tmp_path / "labels.keras", build_generator(config), CheckpointInfo(config, ("labels", "photo"), 1, 7, {})
    )
    put(hf, kaggle, tmp_path / "labels.keras", tmp_path, "alice/streets")
    monkeypatch.chdir(tmp_path)
    assert main(["fcn-score", "kaggle://alice/streets", "--epochs", "1"]) == 0
    assert "pixel_accuracy" in capsys.readouterr().out
    assert Path("streets/segmenter.keras").is_file()


def test_init(data, capsys):
    options = ["--image-size", "32", "--base-filters", "4", "--receptive-field", "16", "--batch-size", "2"]
    options += ["--epochs", "1", "--recipe", "paper"]
    assert main(["train", *data, *options, "--init", HF, "--run-dir", "run"]) == 0
    assert "starting from maps (unet of 4 filters" in capsys.readouterr().out
    assert read_info("run/checkpoints/best.keras").config.init == HF
    shutil.rmtree("run")
    assert not made()
