"""A small network learns to label photos, and what it says of generated ones means something."""

from __future__ import annotations

import dataclasses
import io
from contextlib import redirect_stdout

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = [pytest.mark.keras, pytest.mark.once]

from p2plib.cli.main import main  # noqa: E402
from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data import statistics  # noqa: E402
from p2plib.data.dataset import open_dataset  # noqa: E402
from p2plib.data.image import save_image, to_float  # noqa: E402
from p2plib.errors import CheckpointError, DataError  # noqa: E402
from p2plib.evaluation.fcn_score import Segmenter, fcn_score, load, prepare, save, train_segmenter  # noqa: E402
from p2plib.inference.checkpoint import Checkpoint, CheckpointInfo, save_generator  # noqa: E402
from p2plib.models import build_generator  # noqa: E402

COLORS = np.array([(200, 0, 0), (0, 0, 200), (240, 240, 0)], np.uint8)
GRAYS = np.array([60, 130, 200])  # of a class in photos


def pair(seed: int) -> np.ndarray:
    """Labels | photo, 40 pixels high: blocks of three classes, and a noisy gray for each."""
    rng = np.random.default_rng(seed)
    classes = np.kron(rng.integers(0, 3, (3, 3)), np.ones((14, 14), int))[:40, :40]
    photo = np.clip(GRAYS[classes] + rng.normal(0, 8, classes.shape), 0, 255).astype(np.uint8)
    return np.hstack([COLORS[classes], np.repeat(photo[..., None], 3, -1)])


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("labels")
    for i in range(20):
        save_image(folder / ("val" if i < 4 else "train") / f"{i}.png", pair(i))
    return TrainConfig(data=str(folder), direction="AtoB", image_size=32, base_filters=4, receptive_field=16)


@pytest.fixture(scope="module")
def segmenter(config) -> Segmenter:
    return train_segmenter(config, epochs=12)


def checkpoint(config: TrainConfig, paint: bool) -> Checkpoint:
    """A generator that paints each class in its gray, or everything in one."""
    inputs = keras.layers.Input((32, 32, 3))
    centers = to_float(COLORS)
    nearness = keras.ops.matmul(inputs, centers.T) - (centers**2).sum(1) / 2
    grays = keras.ops.take(to_float(GRAYS if paint else GRAYS[[1, 1, 1]]), keras.ops.argmax(nearness, -1))
    outputs = keras.ops.repeat(keras.ops.expand_dims(grays, -1), 3, -1)
    return Checkpoint(keras.Model(inputs, outputs), CheckpointInfo(config, ("labels", "photo"), 1, 7, {}))


def test_real_photos_are_recognized_well_above_chance(segmenter, config):
    score = fcn_score(checkpoint(config, True), segmenter)
    assert set(segmenter.palette.values()) == {tuple(map(int, color)) for color in COLORS}
    assert score.protocol["most_common_class"] < 0.6
    assert score.real["pixel_accuracy"] > score.protocol["most_common_class"] + 0.2
    assert score.real["mean_iou"] > 0.5


def test_good_photos_score_as_real_ones_and_meaningless_ones_do_not(segmenter, config):
    good, bad = (fcn_score(checkpoint(config, paint), segmenter) for paint in (True, False))
    assert good.real == bad.real
    assert good.generated["mean_iou"] > 0.8 * good.real["mean_iou"]
    assert bad.generated["mean_iou"] < 0.5 * good.real["mean_iou"]


def test_the_numbers_are_those_of_the_labels(segmenter, config):
    loaded = open_dataset(config)["val"].load()
    truth, said = statistics.nearest(loaded.sources, segmenter.palette), segmenter.label(loaded.targets)
    score = fcn_score(checkpoint(config, True), segmenter)
    assert score.real["pixel_accuracy"] == pytest.approx((truth == said).mean())
    limited = fcn_score(checkpoint(config, True), segmenter, limit=1)
    assert limited.real["pixel_accuracy"] == pytest.approx((truth[0] == said[0]).mean())
    assert limited.protocol["pictures"] == 1


def test_the_table_and_its_protocol(segmenter, config):
    score = fcn_score(checkpoint(config, True), segmenter)
    head, generated, real = score.table().splitlines()
    assert head.split() == ["photos", "pixel_accuracy", "class_accuracy", "mean_iou"]
    assert generated.split() == ["generated", *(f"{value:.4f}" for value in score.generated.values())]
    assert real.split() == ["real", *(f"{value:.4f}" for value in score.real.values())]
    assert (score.protocol["step"], score.protocol["split"], score.protocol["classes"]) == (7, "val", 3)
    assert "12 epochs" in score.protocol["segmenter"]


def test_a_file_brings_the_segmenter_back(segmenter, config, tmp_path):
    save(tmp_path / "segmenter.keras", segmenter)
    again = load(tmp_path / "segmenter.keras")
    assert again.description == segmenter.description
    photos = open_dataset(config)["val"].load().targets
    np.testing.assert_array_equal(again.label(photos), segmenter.label(photos))
    assert [path.name for path in tmp_path.iterdir()] == ["segmenter.keras"]


def test_the_seed_decides(config):
    """TensorFlow without XLA may differ in last bits."""
    first, again = (train_segmenter(config, 1, 1).model.get_weights() for _ in range(2))
    assert max(np.abs(a - b).max() for a, b in zip(first, again, strict=True)) < 1e-3
    start, other = (train_segmenter(config, 0, seed).model.get_weights() for seed in (1, 2))
    assert max(np.abs(a - b).max() for a, b in zip(start, other, strict=True)) > 1e-2


def test_a_segmenter_of_whole_images_does_not_judge_crops(segmenter, config, tmp_path):
    crops = dataclasses.replace(config, load="crop")
    with pytest.raises(CheckpointError, match="made with load resize"):
        fcn_score(checkpoint(crops, True), segmenter)
    save(tmp_path / "segmenter.keras", segmenter)
    with pytest.raises(CheckpointError, match="made with load resize; name another file"):
        prepare(tmp_path / "segmenter.keras", crops)
    of_crops = train_segmenter(crops, epochs=1)
    score = fcn_score(checkpoint(crops, True), of_crops)
    assert (of_crops.load, score.protocol["crops"]) == ("crop", "center")


def test_a_fitting_file_is_used_and_another_is_refused(segmenter, config, tmp_path):
    path = tmp_path / "segmenter.keras"
    save(path, segmenter)
    before = path.read_bytes()
    assert prepare(path, config).description == prepare(path, config, epochs=12).description == segmenter.description
    with pytest.raises(CheckpointError, match="made with epochs 12; name another file"):
        prepare(path, config, epochs=3)
    with pytest.raises(CheckpointError, match="made with size 32"):
        prepare(path, dataclasses.replace(config, image_size=64))
    path.write_bytes(before[:1000])
    with pytest.raises(CheckpointError, match="not a segmenter made by fcn-score"):
        prepare(path, config)


def test_another_size_is_refused(segmenter, config):
    model = checkpoint(config, True)
    larger = Checkpoint(
        model.generator, dataclasses.replace(model.info, config=dataclasses.replace(config, image_size=64))
    )
    with pytest.raises(CheckpointError, match="works at 32 pixels, the generator at 64"):
        fcn_score(larger, segmenter)


def test_photos_as_sources_are_refused(config):
    with pytest.raises(DataError, match=r"the sources \(B\) are not flat areas of few colors; if the targets"):
        train_segmenter(dataclasses.replace(config, direction="BtoA"), 1)


def test_the_command_trains_once_and_prints_two_rows(config, tmp_path):
    path = tmp_path / "run" / "generator.keras"
    save_generator(path, build_generator(config), CheckpointInfo(config, ("labels", "photo"), 0, 0, {}))
    outputs = []
    for command in (["fcn-score", str(path), "--epochs", "1"], ["fcn-score", str(path), "--limit", "4"]):
        with redirect_stdout(io.StringIO()) as out:
            assert main(command) == 0
        outputs.append([line for line in out.getvalue().splitlines() if not line.startswith("runtime:")])
    assert outputs[0] == outputs[1]
    assert [line.split()[0] for line in outputs[0][:3]] == ["photos", "generated", "real"]
    assert "most_common_class" in outputs[0][3]
    assert sorted(file.name for file in path.parent.iterdir()) == ["generator.keras", "segmenter.keras"]
