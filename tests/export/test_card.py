"""The model card says what the records say, calls the rest unknown, and tells nothing of the machine's folders."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import p2plib
from p2plib.config import TrainConfig
from p2plib.data import toy
from p2plib.errors import CheckpointError, ConfigError
from p2plib.evaluation.evaluate import Evaluation
from p2plib.evaluation.metrics import score
from p2plib.export import card
from p2plib.inference.checkpoint import INFO, CheckpointInfo


def stored(folder: Path, name: str = "model.keras", **changes: object) -> Path:
    """A checkpoint without weights: enough for a card."""
    config = TrainConfig(**{"data": "maps", "direction": "AtoB", "image_size": 32, **changes})
    info = CheckpointInfo(config, ("satellite", "map"), 3, 120, {"l1": 0.25, "psnr": 15.5, "ssim": 0.5})
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr(INFO, info.to_json())
    return folder / name


def evaluation(**protocol: object) -> Evaluation:
    """Four images of 32 pixels."""
    targets, sources = (np.stack([toy.city(i, 32)[side] for i in range(4)]) for side in (1, 0))
    facts = {"step": 120, "data": "maps", "split": "val", "pictures": 4, "size": 32, "noise": None}
    return Evaluation(
        facts | protocol, list("abcd"), score(targets, sources, sources), sources, np.flip(targets, 1), targets
    )


def rows(text: str) -> dict[str, str]:
    """All rows of the card's tables."""
    return dict(re.findall(r"^\| (.*?) \| (.*) \|$", text, re.M))


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("card") / "tiny"))


@pytest.mark.keras
def test_card_of_a_run(run, tmp_path, tiny_pairs):
    path = card.write_card(tmp_path, run)
    assert path == tmp_path / "README.md"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["README.md", "sample.jpg"]
    text, best = path.read_text(encoding="utf-8"), run / "checkpoints" / "best.keras"
    table, info = rows(text), p2plib.inference.checkpoint.read_info(best)
    found = p2plib.evaluate(p2plib.load(run)).mean
    assert table["name"].replace("\\", "") == tiny_pairs.name
    assert (table["training pairs"], table["validation pairs"]) == ("10", "3")
    assert [f"{value:.4f}" in text for value in found.values()] == [True] * len(found)
    assert "split val, images 3" in text
    assert table["this checkpoint"] == f"epoch {info.epoch}, step {info.step}"
    environment = json.loads((run / "environment.json").read_text())
    assert environment["processor"].split()[0] in table["processor"]
    assert f"keras {environment['versions']['keras']}" in table["versions"]
    assert (table["`base_filters`"], table["`dropout`"]) == ("4", "0.5")
    assert table["SHA-256"] == hashlib.sha256(best.read_bytes()).hexdigest()
    assert 'p2plib.load("best.keras")' in text
    assert "of 10 training pairs. These are few" in text


@pytest.mark.keras
def test_card_tells_nothing_of_folders_and_is_repeatable(run, tmp_path, tiny_pairs):
    first = card.write_card(tmp_path / "a", run)
    again = card.write_card(tmp_path / "b", run)
    for name in ("README.md", "sample.jpg"):
        assert (first.parent / name).read_bytes() == (again.parent / name).read_bytes()
    text = first.read_text(encoding="utf-8")
    for folder in (run, tiny_pairs.parent, Path.home(), Path.cwd(), tmp_path):
        assert str(folder) not in text
    assert "run_dir" not in text


def test_scores_of_crops_are_called_so(tmp_path):
    assert "resized to that size" in card._scores(evaluation(crops="none"))
    assert "at their own scale" in card._scores(evaluation(crops="center"))
    text = card.model_card(stored(tmp_path, load="crop"))
    assert "the center 32 x 32 pixels at the images' own scale, dropout off" in text


@pytest.mark.keras
def test_sample_shows_source_generated_expected(run, tmp_path):
    card.write_card(tmp_path, run)
    with Image.open(tmp_path / "sample.jpg") as image:
        assert image.size == (3 * 128 + 2 * 4, 3 * 128 + 2 * 4)  # 32 pixels, enlarged four times
        shown = np.asarray(image).astype(int)
    found = p2plib.evaluate(p2plib.load(run))
    for column, images in enumerate((found.sources, found.generated, found.targets)):
        part = shown[:128, 132 * column :][:, :128]
        assert np.abs(part - images[0].repeat(4, 0).repeat(4, 1)).mean() < 6


@pytest.mark.keras
def test_a_lone_checkpoint_says_what_it_knows(run, tmp_path):
    lone = Path(shutil.copy(run / "checkpoints" / "best.keras", tmp_path / "lone.keras"))
    info = p2plib.inference.checkpoint.read_info(lone)
    with zipfile.ZipFile(lone) as old, zipfile.ZipFile(tmp_path / "moved.keras", "w") as new:
        for name in old.namelist():
            moved = CheckpointInfo(
                dataclasses.replace(info.config, data="/home/someone/pairs"), *list(vars(info).values())[1:]
            )
            new.writestr(name, moved.to_json() if name == INFO else old.read(name))
    (tmp_path / "sample.jpg").touch()  # of an earlier card
    text = card.write_card(tmp_path, tmp_path / "moved.keras").read_text(encoding="utf-8")
    assert not (tmp_path / "sample.jpg").exists()
    assert "sample.jpg" not in text
    assert "someone" not in text
    table = rows(text)
    assert table["name"] == "pairs"
    assert {table[name] for name in ("terms", "training pairs", "time, hardware, versions")} == {"unknown"}
    assert f"{info.metrics['ssim']:.4f}" in text
    assert "an unknown number of training pairs" in text


def test_catalog_data_have_title_terms_and_citation(tmp_path, monkeypatch):
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "nothing here"))
    text = card.model_card(stored(tmp_path))
    entry = p2plib.data.catalog.CATALOG["maps"]
    assert entry.title in text and entry.citation in text and text.count(entry.terms) == 2
    assert rows(text)["training pairs"] == str(entry.splits["train"])
    assert "0.2500" in text and "computed during training" in text
    assert "These are few" not in text


def test_limits_follow_from_the_records(tmp_path):
    def limits(name: str = "model.keras", found: Evaluation | None = None, **changes: object) -> str:
        return card.model_card(stored(tmp_path, name, **changes), found).partition("## Limits")[2]

    assert "too smooth" in limits(gan_weight=0.0) and "too smooth" not in limits()
    assert "flatter" in limits("best.keras") and "flatter" not in limits()
    assert "epoch 3 of 200" in limits() and "planned" not in limits(epochs=3, decay_epochs=0)
    assert "planned" not in limits(train_time="1h", decay_epochs=None)
    assert "from the val split" in limits(found=evaluation())
    assert "on a test split" not in limits(found=evaluation(split="test"))


def test_a_colorizer_is_described_as_one(tmp_path):
    text = card.model_card(stored(tmp_path, data="toy", task="colorize"))
    assert "colorizes a black-and-white photo" in text and "trained with p2plib on photos" in text
    assert "Its colors have 32 x 32 pixels" in text and "finer detail" not in text


def test_settings_that_differ_come_first(tmp_path):
    chosen, _, everything = card.model_card(stored(tmp_path)).partition("## Settings")[2].partition("<details>")
    assert set(rows(chosen)) == {"`data`", "`direction`", "`image_size`"}
    names = {f"`{field.name}`" for field in dataclasses.fields(TrainConfig)} - {"`run_dir`"}
    assert names <= set(rows(everything))


def test_protocol_tells_everything_but_folders(tmp_path):
    text = card.model_card(stored(tmp_path), evaluation(data="/home/someone/faces", dropout="on", extractor="x|y"))
    assert "data faces" in text and "dropout on" in text and r"extractor x\|y" in text
    assert "someone" not in text


def test_numbers_of_the_whole_set_are_shown(tmp_path):
    found = dataclasses.replace(evaluation(), sets={"kid": 0.125, "other": 0.5})
    table = rows(card.model_card(stored(tmp_path), found))
    assert (table["KID, lower is better"], table["other"]) == ("0.1250", "0.5000")


def test_only_the_keras_file_is_said_to_have_noise(tmp_path):
    assert "--noise 1" in card.model_card(stored(tmp_path))
    assert "--noise 1" not in card.model_card(stored(tmp_path), name="onnx")


def test_names_are_text_whatever_they_hold(tmp_path):
    text = card.model_card(stored(tmp_path, data=r"C:\Users\someone\a|b <script>_x_"))
    assert "<script>" not in text and "someone" not in text
    assert r"| name | a\|b \<script\>\_x\_ |" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3


def test_the_example_loads_what_it_is_told_to(tmp_path):
    text = card.model_card(stored(tmp_path), name="my model")
    assert 'p2plib.load("my model")' in text and "translate 'my model' image.png" in text


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"missing\.keras: no such checkpoint"):
        card.write_card(tmp_path / "out", tmp_path / "missing.keras")
    assert not (tmp_path / "out").exists()


def test_a_damaged_record_of_the_machine_is_named(tmp_path):
    (tmp_path / "environment.json").write_text("{")
    with pytest.raises(ConfigError, match=r"environment.json: cannot be read \(.*; restore it, or remove it"):
        card.training_facts(tmp_path, [])
