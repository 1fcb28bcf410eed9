"""The report of a tiny run, and of a run folder that lacks things."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from markup import Tags
from PIL import Image

import p2plib
from p2plib.config import TrainConfig
from p2plib.data.image import save_image
from p2plib.errors import CheckpointError
from p2plib.evaluation.evaluate import Evaluation
from p2plib.evaluation.metrics import score
from p2plib.inference.checkpoint import CheckpointInfo
from p2plib.show import report

VOID = {"meta", "img", "input", "link", "br"}


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory) -> Path:
    """A copy of the tiny run with a report."""
    folder = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(tiny_run, folder)
    assert report.write_report(folder) == folder / "results.html"
    return folder


@pytest.fixture(scope="module")
def page(run) -> Tags:
    return Tags((run / "results.html").read_text(encoding="utf-8"))


@pytest.mark.keras
def test_every_validation_image_has_a_slider(page, tiny_pairs):
    names = [file.name for file in (tiny_pairs / "val").iterdir()]
    assert len(page.named("input")) == len(names)
    assert all(f"val/{name}" in page.text for name in names)
    assert f"{len(names)} of the {len(names)} images" in page.text


@pytest.mark.keras
def test_page_needs_nothing_from_outside(run, page):
    for _, attrs in page.tags:
        for name in ("src", "href"):
            assert attrs.get(name, "data:").startswith(("data:", "#"))
    assert not re.search(r"https?:|url\(|@import", (run / "results.html").read_text(encoding="utf-8"))


@pytest.mark.keras
def test_page_is_well_formed(run, page):
    html = (run / "results.html").read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>")
    assert page.named("html") == [{"lang": "en"}]
    assert all(img["alt"] for img in page.named("img"))
    for tag in {tag for tag, _ in page.tags} - VOID:
        assert len(page.named(tag)) == html.count(f"</{tag}>"), tag
    targets = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {a["href"] for a in page.named("a")} == {f"#{target}" for target in targets}


@pytest.mark.keras
def test_page_tells_settings_machine_and_time(page):
    for text in ("image_size", "training time", "processor", "keras ", "XLA"):
        assert text in page.text


@pytest.mark.keras
def test_metrics_are_those_of_an_evaluation(run):
    evaluation = p2plib.evaluate(p2plib.load(run))
    stored = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert stored["mean"] == pytest.approx(evaluation.mean)
    with open(run / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == evaluation.images
    assert [float(row["ssim"]) for row in rows] == pytest.approx(evaluation.scores["ssim"])


@pytest.mark.keras
def test_images_open(run):
    with Image.open(run / "result_grid.png") as grid, Image.open(run / "learning_curves.png") as curves:
        assert grid.width > 3 * 256 and grid.height > 3 * 256
        assert curves.width > 600
        assert np.ptp(np.array(curves.convert("L"))) > 100


@pytest.mark.keras
def test_a_second_report_is_the_same(run):
    names = ["metrics.json", "metrics.csv", "results.html", "result_grid.png", "learning_curves.png"]
    before = {name: (run / name).read_bytes() for name in names}
    report.write_report(run)
    assert {name: (run / name).read_bytes() for name in names} == before
    assert not list(run.rglob("*.part*"))


@pytest.mark.keras
def test_limit_takes_images_evenly_and_says_so(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    page = Tags(report.write_report(folder, limit=2).read_text(encoding="utf-8"))
    assert len(page.named("input")) == 2
    assert "2 of the 3 images of the validation split (evenly spaced)" in page.text
    assert "val/10.png" in page.text and "val/12.png" in page.text and "val/11.png" not in page.text


@pytest.mark.parametrize(("crops", "said"), [("none", "resized to 32 x 32 pixels"), ("center", "the center 32 x 32")])
def test_the_page_says_how_images_came_to_their_size(crops, said):
    images = np.zeros((3, 2, 32, 32, 3), np.uint8)
    evaluation = Evaluation({"size": 32, "crops": crops}, ["a", "b"], score(*images), *images)
    assert said in report._protocol(evaluation, 2, 0)


@pytest.mark.keras
def test_a_run_without_log_and_record_has_a_report(tiny_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    (folder / "log.csv").unlink()
    (folder / "environment.json").unlink()
    page = Tags(report.write_report(folder).read_text(encoding="utf-8"))
    assert not (folder / "learning_curves.png").exists()
    assert len(page.named("input")) == 3


def test_images_that_are_kept_stand_beside_their_own_numbers(tmp_path):
    random = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32, 3), np.uint8)
    scores, kept = score(random[2], random[1], random[0]), random[:, [0, 2]]
    evaluation = Evaluation({"size": 32}, ["a", "b", "c"], scores, *kept, total=3)
    save_image(tmp_path / "result_grid.png", random[0, 0])
    info = CheckpointInfo(TrainConfig(data=str(tmp_path), image_size=32), ("A", "B"), 1, 10, {})
    page = Tags(report._page(tmp_path, info, evaluation, {}, False, 0))
    assert "Means over 3 of the 3 images" in page.text and "2 of 3 validation images" in page.text
    for name, i in {"a": 0, "c": 2}.items():
        assert f"{name} L1 {scores['l1'][i]:.3f}, PSNR" in page.text
    assert len(page.named("input")) == 2


def test_names_are_text_whatever_they_hold(tmp_path):
    data, name = tmp_path / "<b>&amp;$title", "val/$x <script>alert(1)</script>&lt;.png"
    random = np.random.default_rng(0).integers(0, 256, (3, 2, 32, 32, 3), np.uint8)
    for i, (source, target) in enumerate(zip(random[0], random[2], strict=True)):
        save_image(data / "val" / f"{i}.png", np.hstack([source, target]))
    evaluation = Evaluation({"size": 32}, [name, "x"], score(random[2], random[1], random[0]), *random)
    info = CheckpointInfo(TrainConfig(data=str(data), image_size=32), ("<b>A", "B&B"), 1, 10, {})
    save_image(tmp_path / "result_grid.png", random[0, 0])
    page = Tags(report._page(tmp_path, info, evaluation, {}, False, 0))
    assert not page.named("script")
    assert len(page.named("b")) == 2  # the names of the two images
    for text in (name, f"{data.name}: <b>A → B&B", "generated B&B"):
        assert text in page.text


@pytest.mark.parametrize("name", ["missing", "file.keras"])
def test_what_is_no_run_folder_is_refused_by_name(tmp_path, name):
    (tmp_path / "file.keras").touch()
    with pytest.raises(CheckpointError, match=name):
        report.write_report(tmp_path / name)
