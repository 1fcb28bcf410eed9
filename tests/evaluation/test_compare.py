"""Several checkpoints, one table: the same images for all, intervals that hold what they promise."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from tolerance import rounding

pytest.importorskip("keras")

import p2plib
from p2plib.data import toy
from p2plib.data.image import save_image
from p2plib.errors import ConfigError, DataError
from p2plib.evaluation.compare import Comparison, bootstrap, compare, load_all, objective
from p2plib.evaluation.evaluate import Evaluation
from p2plib.inference.checkpoint import Checkpoint, CheckpointInfo, short_name
from p2plib.models import build_generator
from p2plib.registry import TERMS


@pytest.fixture(scope="module")
def model(tiny_run) -> Checkpoint:
    return p2plib.load(tiny_run)


def changed(model: Checkpoint, generator=None, **fields) -> Checkpoint:
    """The checkpoint as if it had been trained otherwise."""
    config = dataclasses.replace(model.info.config, **fields)
    return Checkpoint(generator or model.generator, dataclasses.replace(model.info, config=config))


@pytest.fixture(scope="module")
def control(model) -> Checkpoint:
    """An untrained generator that claims to be the L1-only control."""
    return changed(model, build_generator(model.info.config), gan_weight=0.0)


@pytest.fixture(scope="module")
def comparison(model, control) -> Comparison:
    return compare({"gan": model, "l1": control})


def test_the_interval_is_scipys():
    values = np.random.default_rng(1).gamma(2.0, size=40)
    expected = scipy_bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, random_state=2)
    assert bootstrap(values, 20_000) == pytest.approx(tuple(expected.confidence_interval), abs=0.02)


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [bootstrap(rng.normal(3.0, 1.0, 60), 400) for _ in range(400)]
    covered = np.mean([low <= 3.0 <= high for low, high in intervals])
    assert 0.91 <= covered <= 0.98


def test_the_interval_repeats_and_takes_infinity():
    values = np.array([20.0, 30.0, 25.0, np.inf])
    low, high = bootstrap(values)
    assert (low, high) == bootstrap(values)
    assert 20 <= low < high == np.inf
    assert bootstrap(np.full(5, 0.25)) == (0.25, 0.25)


def test_samples_are_drawn_one_at_a_time_as_if_all_at_once():
    values = np.random.default_rng(1).normal(size=37)
    means = values[np.random.default_rng(0).integers(0, 37, (2000, 37))].mean(axis=1)
    tail = (1 - 0.95) / 2
    expected = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    np.testing.assert_allclose(bootstrap(values), expected, rtol=rounding(10))


@pytest.mark.keras
def test_every_checkpoint_has_the_numbers_of_its_evaluation(comparison, model, control):
    for name, checkpoint in {"gan": model, "l1": control}.items():
        alone = p2plib.evaluate(checkpoint)
        means = {row["metric"]: row["mean"] for row in comparison.rows() if row["checkpoint"] == name}
        assert means == alone.mean
        for row in comparison.rows():
            assert row["low"] <= row["mean"] <= row["high"]


@pytest.mark.keras
def test_differences_are_to_the_first_image_by_image(comparison):
    rows = {(row["checkpoint"], row["metric"]): row for row in comparison.rows()}
    assert "difference" not in rows["gan", "l1"]
    row = rows["l1", "ssim"]
    gains = comparison.evaluations["l1"].scores["ssim"] - comparison.evaluations["gan"].scores["ssim"]
    assert row["difference"] == pytest.approx(gains.mean())
    assert (row["difference_low"], row["difference_high"]) == bootstrap(gains)


@pytest.mark.keras
def test_the_table_says_objective_numbers_and_protocol(comparison):
    head, objectives, *lines, swd, protocol = comparison.table().splitlines()
    assert head.split() == ["gan", "l1"]
    assert objectives.split("  ")[0] == "objective"
    assert "vanilla GAN + 100 L1" in objectives and objectives.endswith("L1 only")
    assert [line.split()[0] for line in lines] == list(comparison.evaluations["gan"].scores)
    for row in comparison.rows():
        [line] = [line for line in lines if line.startswith(f"{row['metric']} ")]
        assert f"{row['mean']:.4f} [{row['low']:.4f}, {row['high']:.4f}]" in line
    assert swd.split() == ["swd", *(f"{evaluation.sets['swd']:.4f}" for evaluation in comparison.evaluations.values())]
    for part in ("split val", "images 3", "size 32", "95%, bootstrap over images", "* differs from gan"):
        assert part in protocol


def test_a_star_marks_what_differs_from_the_first():
    targets = np.zeros((30, 32, 32, 3), np.uint8)
    noise = np.random.default_rng(0).normal(size=30)

    def scored(values) -> Evaluation:
        return Evaluation({"step": 1}, list("abc") * 10, {"l1": values}, targets, targets, targets)

    evaluations = {"first": scored(noise), "same": scored(noise[::-1].copy()), "worse": scored(noise + 0.01)}
    table = Comparison(evaluations, dict.fromkeys(evaluations, "L1 only"), ("A", "B")).table()
    assert [cell.count("*") for cell in table.splitlines()[2].split("]")] == [0, 0, 0, 1]


@pytest.mark.keras
def test_json_holds_the_rows(comparison, tmp_path):
    comparison.write_json(tmp_path / "out" / "comparison.json")
    content = json.loads((tmp_path / "out" / "comparison.json").read_text(), parse_constant=pytest.fail)
    assert list(content["checkpoints"]) == ["gan", "l1"]
    assert content["checkpoints"]["l1"]["objective"] == "L1 only"
    assert content["rows"] == list(comparison.rows())


@pytest.mark.keras
def test_the_sheet_has_source_every_checkpoint_and_target(comparison):
    columns = comparison.columns(2)
    assert list(columns) == ["A", "gan", "l1", "expected B"]
    assert all(images.shape == (2, 32, 32, 3) for images in columns.values())
    np.testing.assert_array_equal(columns["l1"], comparison.evaluations["l1"].generated[[0, 2]])


@pytest.mark.keras
def test_models_of_different_sizes_are_judged_at_the_larger_one(model):
    larger = changed(model, build_generator(dataclasses.replace(model.info.config, image_size=64)), image_size=64)
    small, large = compare({"32": model, "64": larger}).evaluations.values()
    assert small.protocol["size"] == large.protocol["size"] == 64
    assert small.generated.shape == large.generated.shape == (3, 64, 64, 3)
    np.testing.assert_array_equal(small.targets, large.targets)
    np.testing.assert_array_equal(large.generated, p2plib.evaluate(larger).generated)


@pytest.mark.keras
def test_directions_must_agree(model):
    with pytest.raises(ConfigError, match=r"different directions.*AtoB.*BtoA"):
        compare({"there": model, "back": changed(model, direction="BtoA")})


@pytest.mark.keras
def test_tasks_must_agree(model, tiny_colorizer):
    with pytest.raises(ConfigError, match="different tasks"):
        compare({"pairs": model, "colorize": p2plib.load(tiny_colorizer)})


@pytest.mark.keras
def test_crops_and_whole_images_are_not_compared(model):
    with pytest.raises(ConfigError, match=r"different loads.*resize.*crop"):
        compare({"whole": model, "crops": changed(model, load="crop")})


def test_other_held_out_pairs_are_refused(model, tmp_path):
    for i in range(20):
        save_image(tmp_path / "train" / f"{i}.png", np.hstack(toy.city(i, 32)))
    with pytest.raises(DataError, match="held out other pairs"):
        compare({"a": model, "b": changed(model, seed=5)}, str(tmp_path))


@pytest.mark.keras
def test_names_are_short_and_told_apart(tiny_run, tmp_path):
    one, two = tmp_path / "a" / "run", tmp_path / "b" / "run"
    for folder in (one, two):
        shutil.copytree(tiny_run / "checkpoints", folder / "checkpoints")
    best, last = one / "checkpoints" / "best.keras", one / "checkpoints" / "last.keras"
    assert list(load_all([one, last])) == ["run", "run/last"]
    assert list(load_all([one, two])) == [str(one), str(two)]
    assert short_name(tmp_path / "toy-0.5") == "toy-0.5"
    assert short_name(one / "export" / "onnx-half") == "run/onnx-half"
    assert short_name("models/lone.keras") == "lone"
    with pytest.raises(ConfigError, match="named twice"):
        load_all([one, best])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "vanilla GAN + 100 L1"),
        ({"gan_weight": 0.0}, "L1 only"),
        ({"gan_loss": "hinge", "gan_weight": 0.5, "l1_weight": 10.0}, "0.5 hinge GAN + 10 L1"),
        ({"terms": {"style": 3.0}}, "vanilla GAN + 100 L1 + 3 style"),
        ({"gan_weight": 0.0, "terms": {"style": 3.0}}, "100 L1 + 3 style"),
    ],
)
def test_the_objective_in_words(tiny_config, fields, words):
    TERMS.reserve("style")
    info = CheckpointInfo(dataclasses.replace(tiny_config, **fields), ("A", "B"), 0, 0, {})
    assert objective(Checkpoint(None, info)) == words
