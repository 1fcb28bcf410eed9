"""The numbers are those of the saved images, and every way out tells the same."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tolerance import rounding

pytest.importorskip("keras")
pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.data import toy  # noqa: E402
from p2plib.data.dataset import open_dataset  # noqa: E402
from p2plib.data.image import read_rgb, resize_image, save_image  # noqa: E402
from p2plib.errors import DataError  # noqa: E402
from p2plib.evaluation import metrics  # noqa: E402
from p2plib.evaluation.distances import Extractor, fid, kid, sliced_wasserstein  # noqa: E402
from p2plib.evaluation.evaluate import Evaluation, FewImagesWarning, opened  # noqa: E402
from p2plib.evaluation.metrics import score  # noqa: E402
from p2plib.evaluation.tally import CHUNK  # noqa: E402
from p2plib.inference.checkpoint import Checkpoint  # noqa: E402
from p2plib.models import features  # noqa: E402
from p2plib.registry import METRICS  # noqa: E402

COMMON = ["l1", "psnr", "ssim", "ms_ssim", *(["perceptual"] if features.available("lite2") else [])]
NAMES = ["val/10.png", "val/11.png", "val/12.png"]


@pytest.fixture(scope="module")
def model(tiny_run):
    return p2plib.load(tiny_run)


@pytest.fixture(scope="module")
def result(model) -> Evaluation:
    return p2plib.evaluate(model)


@pytest.fixture
def perfect() -> Evaluation:
    """Two images, the first generated exactly."""
    targets = np.stack([toy.city(i, 32)[1] for i in range(2)])
    generated = targets.copy()
    generated[1] = 255 - targets[1]
    return Evaluation({"step": 1}, ["a.png", "b.png"], score(targets, generated, targets), targets, generated, targets)


def strict(text: str) -> dict:
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_numbers_are_those_of_the_images(model, result, tiny_pairs):
    for row, name in zip(result.rows(), NAMES, strict=True):
        pair = read_rgb(tiny_pairs / name)
        source, target = (resize_image(half, 32, 32) for half in (pair[:, :40], pair[:, 40:]))
        generated = p2plib.translate(model, [source])[0]
        difference = target.astype(float) - generated
        assert row["picture"] == name
        # another batch size may round a few of the 3072 values the other way
        assert row["l1"] == pytest.approx(np.abs(difference).mean() / 127.5, rel=1e-3)
        assert row["psnr"] == pytest.approx(10 * math.log10(255**2 / (difference**2).mean()), rel=1e-3)
        assert row["ssim"] == pytest.approx(metrics.ssim(target[None], generated[None])[0], rel=1e-3)


MEAN_COLOR = Extractor("mean color", lambda images: images.mean((1, 2)))


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """Labels and photos, more than are in memory at a time, of which two are broken."""
    folder = tmp_path_factory.mktemp("many")
    for i in range(CHUNK + 9):
        save_image(folder / "val" / f"{i}.png", np.hstack(toy.city(i, 32)))
    for i in (3, CHUNK + 5):
        (folder / "val" / f"{i}.png").write_bytes(b"no image")
    return folder


def skipping(model: Checkpoint) -> Checkpoint:
    config = dataclasses.replace(model.info.config, skip_broken=True)
    return Checkpoint(model.generator, dataclasses.replace(model.info, config=config))


@pytest.mark.parametrize("noise", [None, 3])
def test_a_few_at_a_time_give_the_numbers_of_all_at_once(model, many, noise):
    more = {"extractor": MEAN_COLOR, "palette": toy.PALETTE, "keep": 0}
    found = p2plib.evaluate(skipping(model), str(many), noise=noise, **more)
    loaded = opened(skipping(model), str(many))["val"].load()
    generated = np.stack(p2plib.translate(model, list(loaded.sources), noise, fit=True))
    assert found.images == loaded.names and len(loaded.names) == CHUNK + 7
    np.testing.assert_array_equal(found.sources, loaded.sources)
    np.testing.assert_array_equal(found.generated, generated)
    np.testing.assert_array_equal(found.targets, loaded.targets)
    for name, values in score(loaded.targets, generated, loaded.sources, COMMON).items():
        np.testing.assert_allclose(found.scores[name], values, rtol=rounding(10))
    value, error = kid(MEAN_COLOR(loaded.targets), MEAN_COLOR(generated))
    swd = np.mean(list(sliced_wasserstein(loaded.targets, generated).values()))
    labels = metrics.label_scores(metrics.confusion(loaded.targets, generated, toy.PALETTE).sum(0))
    expected = {"swd": swd, "class_accuracy": labels["class_accuracy"], "mean_iou": labels["mean_iou"]}
    assert found.sets == expected | {"kid": value, "kid_se": error}
    assert found.mean["accuracy"] == pytest.approx(labels["pixel_accuracy"])


def test_of_many_images_some_are_kept(model, many):
    every = p2plib.evaluate(skipping(model), str(many), palette=None)
    some = p2plib.evaluate(skipping(model), str(many), palette=None, keep=4)
    assert every.shown == list(range(CHUNK + 7)) and some.shown == [0, 13, 25, 38]
    assert some.images == every.images and list(some.rows()) == list(every.rows()) and some.sets == every.sets
    for few, all_of_them in ((some.sources, every.sources), (some.generated, every.generated)):
        np.testing.assert_array_equal(few, all_of_them[some.shown])
    np.testing.assert_array_equal(some.targets, every.targets[some.shown])


def test_broken_pairs_are_all_named_before_anything_is_generated(model, many):
    with pytest.raises(DataError, match=rf"2 broken pair\(s\)(.|\n)*val/3.png(.|\n)*val/{CHUNK + 5}.png"):
        p2plib.evaluate(Checkpoint(None, model.info), str(many))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stderr", "shown"), [(Terminal, True), (io.StringIO, False)])
def test_a_terminal_gets_a_bar(model, monkeypatch, stderr, shown):
    monkeypatch.setattr("p2plib.evaluation.tally.DELAY", 0)
    monkeypatch.setattr("sys.stderr", stderr())
    p2plib.evaluate(model)
    assert ("evaluating:" in sys.stderr.getvalue()) == shown  # how far it gets is drawn ten times a second at most


def test_the_images_belong_to_the_numbers(result):
    assert result.sources.shape == result.generated.shape == result.targets.shape == (3, 32, 32, 3)
    for name, values in score(result.targets, result.generated, result.sources).items():
        np.testing.assert_array_equal(values, result.scores[name])


def test_the_mean_is_the_mean_of_the_rows(result):
    rows = list(result.rows())
    assert set(result.mean) == {*COMMON}
    for name, value in result.mean.items():
        assert value == pytest.approx(np.mean([row[name] for row in rows]), rel=1e-6)


def test_the_protocol_says_how(model, result, tiny_config):
    assert result.protocol == {
        "step": model.info.step,
        "data": tiny_config.data,
        "split": "val",
        "pictures": 3,
        "direction": "AtoB",
        "size": 32,
        "crops": "none",
        "noise": None,
        "dropout": "off",
        "ms_ssim_scales": 2,
    }


def of_crops(model: Checkpoint) -> Checkpoint:
    """The checkpoint as if it had been trained with `load` crop."""
    config = dataclasses.replace(model.info.config, load="crop")
    return Checkpoint(model.generator, dataclasses.replace(model.info, config=config))


def test_a_model_of_crops_is_scored_on_the_center(model, tiny_pairs):
    found = p2plib.evaluate(of_crops(model))
    assert (found.protocol["crops"], found.protocol["size"]) == ("center", 32)
    for name, source, target in zip(NAMES, found.sources, found.targets, strict=True):
        pair = read_rgb(tiny_pairs / name)
        np.testing.assert_array_equal(source, pair[4:36, 4:36])
        np.testing.assert_array_equal(target, pair[4:36, 44:76])


def test_larger_crops_are_translated_at_their_own_scale(model):
    found = p2plib.evaluate(of_crops(model), size=64)
    np.testing.assert_array_equal(found.generated, p2plib.translate(model, list(found.sources)))
    assert (found.generated != p2plib.translate(model, list(found.sources), fit=True)).any()


def test_the_sets_lie_apart(result):
    levels = sliced_wasserstein(result.targets, result.generated)
    assert result.sets == {"swd": pytest.approx(np.mean(list(levels.values())))}


def test_labels_are_scored_by_class(model, result):
    labels = p2plib.evaluate(model, palette=toy.PALETTE)
    colors = np.array(list(toy.PALETTE.values()), int)
    target, generated = (
        ((images[..., None, :] - colors) ** 2).sum(-1).argmin(-1)
        for images in (result.targets.astype(int), result.generated.astype(int))
    )
    np.testing.assert_allclose(labels.scores["accuracy"], (target == generated).mean((1, 2)))
    there = np.unique(target)
    accuracy = np.mean([(generated[target == c] == c).mean() for c in there])
    iou = [((target == c) & (generated == c)).sum() / ((target == c) | (generated == c)).sum() for c in there]
    assert labels.sets["class_accuracy"] == pytest.approx(accuracy)
    assert labels.sets["mean_iou"] == pytest.approx(np.mean(iou))
    assert labels.protocol["palette"] == "6 colors, given"


def test_a_palette_is_found_where_the_targets_are_labels(model, tmp_path):
    """At their own size: at that of the model, edges would blur."""
    for i in range(3):
        save_image(tmp_path / "val" / f"{i}.png", np.hstack(toy.city(i, 160)))
    found = p2plib.evaluate(model, str(tmp_path), limit=1)
    assert found.protocol["palette"] == "6 colors, found in the targets"
    assert {"class_accuracy", "mean_iou"} < set(found.sets)
    assert "accuracy" in found.scores
    assert "accuracy" not in p2plib.evaluate(model, str(tmp_path), palette=None).scores


def test_a_colorizer_is_scored_by_its_colors(tiny_colorizer):
    found = p2plib.evaluate(p2plib.load(tiny_colorizer), limit=3)
    np.testing.assert_allclose(found.scores["ab"], metrics.ab_error(found.targets, found.generated))
    np.testing.assert_allclose(found.scores["ab_grey"], metrics.ab_error(found.targets, found.sources))
    assert (found.sources == found.sources[..., :1]).all()
    assert found.sets["colourfulness"] == pytest.approx(metrics.colorfulness(found.generated).mean())
    assert found.sets["colourfulness_real"] == pytest.approx(metrics.colorfulness(found.targets).mean())
    assert {"ab", "ab_grey", "colourfulness", "colourfulness_real"} <= set(found.table().split())


@pytest.fixture
def redness() -> Iterator[None]:
    """A metric of one's own."""

    @METRICS.register("redness")
    def redness(targets, generated, sources):
        return np.abs(targets[..., 0].mean((1, 2)) - generated[..., 0].mean((1, 2)))

    yield
    del METRICS._things["redness"]


def test_a_metric_of_ones_own_is_reported(redness, model, result, tmp_path):
    found = p2plib.evaluate(model)
    red = [images[..., 0].mean((1, 2)) for images in (found.targets, found.generated)]
    np.testing.assert_allclose(found.scores["redness"], np.abs(red[0] - red[1]))
    assert set(found.scores) == {*result.scores, "redness"}
    assert found.table().splitlines()[0].split()[-1] == "redness"
    found.write_csv(tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text().splitlines()[0].split(",") == ["picture", *found.scores]


def test_few_images_get_kid_with_its_error_but_no_fid(model, result):
    found = p2plib.evaluate(model, extractor=MEAN_COLOR)
    value, error = kid(MEAN_COLOR(result.targets), MEAN_COLOR(result.generated))
    assert (found.sets["kid"], found.sets["kid_se"]) == (pytest.approx(value), pytest.approx(error))
    assert "fid" not in found.sets
    assert found.protocol["extractor"] == "mean color"
    assert found.protocol["fid"] == "left out: fewer than 2,048 images"


def test_fid_of_few_images_is_given_with_a_warning(model, result):
    with pytest.warns(FewImagesWarning, match="FID of 3 images is biased"):
        found = p2plib.evaluate(model, extractor=MEAN_COLOR, fid=True)
    expected = fid(MEAN_COLOR(result.targets), MEAN_COLOR(result.generated))
    assert found.sets["fid"] == pytest.approx(expected)
    assert found.protocol["fid"] == "biased: fewer than 2,048 images"
    assert found.table().splitlines()[-1].split() == ["fid", f"{expected:.4f}"]


def test_json_and_csv_hold_the_same(result, tmp_path):
    result.write_json(tmp_path / "out" / "scores.json")
    result.write_csv(tmp_path / "out" / "scores.csv")
    content = strict((tmp_path / "out" / "scores.json").read_text())
    whole = {"mean": result.mean, "sets": result.sets, "protocol": result.protocol}
    assert content == whole | {"pictures": list(result.rows())}
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").read_text().splitlines()))
    assert [{"picture": row.pop("picture")} | {k: float(v) for k, v in row.items()} for row in rows] == list(
        result.rows()
    )


def test_an_infinite_psnr_is_null_in_json(perfect, tmp_path):
    perfect.write_json(tmp_path / "scores.json")
    content = strict((tmp_path / "scores.json").read_text())
    assert [row["psnr"] is None for row in content["pictures"]] == [True, False]
    assert content["mean"]["psnr"] is None
    assert content["pictures"][0]["ssim"] == pytest.approx(1)
    assert content["mean"]["l1"] > 0


def test_an_infinite_psnr_is_inf_in_csv_and_table(perfect, tmp_path):
    perfect.write_csv(tmp_path / "scores.csv")
    first, second = csv.DictReader((tmp_path / "scores.csv").read_text().splitlines())
    assert float(first["psnr"]) == math.inf
    assert math.isfinite(float(second["psnr"]))
    assert "inf" in perfect.table()


def test_the_table_has_a_line_an_image_and_the_mean(result):
    head, *lines, swd = result.table().splitlines()
    assert swd.split() == ["swd", f"{result.sets['swd']:.4f}"]
    assert head.split() == ["image", *COMMON]
    assert [line.split()[0] for line in lines] == [*NAMES, "mean"]
    assert [float(value) for value in lines[-1].split()[1:]] == [round(value, 4) for value in result.mean.values()]
    assert len({len(line) for line in [head, *lines]}) == 1


def test_a_limit_takes_evenly_spaced_images(model, result):
    limited = p2plib.evaluate(model, limit=2)
    assert limited.images == [NAMES[0], NAMES[2]]
    assert limited.protocol["pictures"] == 2
    np.testing.assert_array_equal(limited.targets, result.targets[[0, 2]])
    assert p2plib.evaluate(model, limit=100).images == NAMES


def test_noise_is_repeatable_and_recorded(model, result):
    noisy = p2plib.evaluate(model, noise=1)
    assert noisy.protocol["noise"] == 1
    assert noisy.protocol["dropout"] == "on, seed 1"
    assert noisy.mean != result.mean
    assert noisy.mean == p2plib.evaluate(model, noise=1).mean


def test_other_data_and_another_split(model, tiny_pairs, tmp_path):
    save_image(tmp_path / "test" / "1.png", read_rgb(tiny_pairs / "train" / "1.png"))
    other = p2plib.evaluate(model, str(tmp_path), "test")
    assert other.images == ["test/1.png"]
    assert (other.protocol["data"], other.protocol["split"]) == (str(tmp_path), "test")
    scores = dict(zip((row["picture"] for row in p2plib.evaluate(model, split="train").rows()), range(10), strict=True))
    assert list(scores) == [f"train/{i}.png" for i in range(10)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "no split 'test'; it has train, val"),
        ({"data": "nowhere"}, "nowhere: neither a folder nor a data set of the catalog"),
    ],
)
def test_what_is_not_there_is_named(model, arguments, message):
    with pytest.raises(DataError, match=message):
        p2plib.evaluate(model, **arguments)


@pytest.mark.parametrize(("task", "classes"), [("pairs", toy.PALETTE), ("colorize", None), ("sketch", None)])
def test_photos_are_no_labels(task, classes):
    assert open_dataset(p2plib.TrainConfig(data="toy", task=task)).classes("target", "val") == classes
