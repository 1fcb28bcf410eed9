"""Masks as targets: a class for each pixel is learned, judged and written."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data.batches import Batches  # noqa: E402
from p2plib.data.dataset import open_dataset  # noqa: E402
from p2plib.errors import ConfigError, DataError  # noqa: E402
from p2plib.inference.folders import translate_files  # noqa: E402
from p2plib.training.objective import objective  # noqa: E402
from p2plib.training.run import read_log  # noqa: E402

IDS = np.array([0, 3, 7], np.uint8)
COLORS = np.array([(90, 90, 90), (200, 60, 60), (40, 80, 220)], np.uint8)
TABLE = "id,color,name\n0,#5a5a5a,ground\n3,#c83c3c,roof\n7,#2850dc,water\n"


def scene(i: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy photo of rectangles, and the place of each pixel's class in `IDS`."""
    rng = np.random.default_rng(i)
    places = np.zeros((40, 40), np.int64)
    for place in (1, 2, 1, 2):
        top, left, height, width = rng.integers(0, 28, 2).tolist() + rng.integers(8, 20, 2).tolist()
        places[top : top + height, left : left + width] = place
    noise = rng.normal(0, 12, (40, 40, 3))
    return np.clip(COLORS[places] + noise, 0, 255).astype(np.uint8), places


def write(root: Path, masks) -> Path:
    for split, start, count in (("train", 0, 16), ("val", 50, 4)):
        for side in "AB":
            (root / split / side).mkdir(parents=True)
        for i in range(count):
            photo, places = scene(start + i)
            Image.fromarray(photo).save(root / split / "A" / f"{i}.png")
            Image.fromarray(masks[places]).save(root / split / "B" / f"{i}.png")
    (root / "classes.csv").write_text(TABLE)
    return root


def config(data: Path, **fields) -> TrainConfig:
    small = {"image_size": 32, "base_filters": 8, "receptive_field": 16, "batch_size": 4, "epochs": 8, "ema": 0.0}
    return TrainConfig(data=str(data), **small | {"precision": "float32", "learning_rate": 2e-3} | fields)


@pytest.fixture(scope="module")
def by_number(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("numbers"), IDS)


@pytest.fixture(scope="module")
def run(by_number, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "numbers"
    return p2plib.train(config(by_number, target="classes", warp=0.03, run_dir=str(folder)))


@pytest.fixture(scope="module")
def model(run):
    return p2plib.load(run)


def test_batches_give_a_channel_for_each_class(by_number):
    settings = config(by_number, target="classes", warp=0.05)
    for more in ({}, {"memory_budget": 0.0}, {"load": "crop"}):
        batches = Batches(open_dataset(settings), TrainConfig(**settings.to_dict() | more))
        assert batches.target_channels is None
        source, target = next(batches.start())
        assert source.shape == (4, 32, 32, 3) and target.shape == (4, 32, 32, 3)
        assert set(np.unique(target)) == {-1, 1} and (target.sum(-1) == -1).all(), "one class for each pixel"


def test_classes_are_learned(model, run):
    assert model.kinds[1].describe() == "B: 3 classes by number (0 ground, 3 roof, 7 water)"
    saved = TrainConfig.read(run / "config.json")
    assert (saved.source, saved.target, saved.target_channels) == ("auto", "classes", None)
    evaluation = p2plib.evaluate(model)
    places = np.stack([scene(50 + i)[1] for i in range(4)])
    most_common = np.bincount(places.ravel()).max() / places.size
    assert evaluation.mean["accuracy"] > most_common + 0.1
    assert {"mean_iou", "iou ground", "iou roof", "iou water"} <= set(evaluation.sets)
    assert "iou water" in evaluation.table() and evaluation.protocol["palette"] == "3 colors, of the model"
    assert {tuple(color) for color in evaluation.generated.reshape(-1, 3)} <= set(map(tuple, COLORS.tolist()))


def test_the_best_is_that_of_the_mean_iou(run, model, by_number, tmp_path, capsys):
    rows = read_log(run / "log.csv")
    best = max(rows, key=lambda row: row["val_mean_iou"])
    assert (model.info.epoch, model.info.metrics["mean_iou"]) == (best["epoch"], best["val_mean_iou"])
    assert p2plib.evaluate(model).sets["mean_iou"] == pytest.approx(best["val_mean_iou"], abs=1e-3)
    p2plib.train(config(by_number, target="classes", epochs=1, run_dir=str(tmp_path / "run")))
    said = capsys.readouterr().out
    assert "best.keras is chosen by the mean IoU of the validation images" in said and "  mean IoU 0." in said


def test_the_generator_gives_probabilities(model):
    seen = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    made = (np.asarray(model.generator.predict_on_batch(seen)) + 1) / 2
    assert made.min() >= 0
    np.testing.assert_allclose(made.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("size", [32, 90])
def test_translation_gives_class_numbers(model, size):
    photo = np.asarray(Image.fromarray(scene(60)[0]).resize((size, size)))
    [made] = p2plib.translate(model, [photo])
    assert made.shape == (size, size, 1) and made.dtype == np.uint8 and set(np.unique(made)) <= set(IDS)


def test_files_are_palette_pngs_with_names(model, by_number, tmp_path):
    done = translate_files(model, [by_number / "val" / "A"], tmp_path)
    assert [path.suffix for path in done.written] == [".png"] * 4 and not done.failed
    with Image.open(done.written[0]) as opened:
        assert opened.mode == "P" and set(np.unique(opened)) <= set(IDS)
        assert json.loads(opened.text["classes"]) == {"ground": 0, "roof": 3, "water": 7}
        colors = np.asarray(opened.convert("RGB")).reshape(-1, 3)
    assert {tuple(color) for color in colors} <= set(map(tuple, COLORS.tolist()))
    assert translate_files(model, [by_number / "val" / "A"], tmp_path).skipped == done.written
    compared = translate_files(model, [by_number / "val" / "A" / "0.png"], tmp_path / "both", compare=True)
    with Image.open(compared.written[0]) as opened:
        assert opened.mode == "RGB" and opened.size == (80, 40)


def test_a_run_goes_on_with_its_classes(by_number, tmp_path, capsys):
    first = config(by_number, target="classes", epochs=1, decay_epochs=0, run_dir=str(tmp_path / "run"))
    folder = p2plib.train(first)
    said = capsys.readouterr().out
    assert "classes are trained by cross-entropy (weight 10); left out: l1, perceptual" in said
    p2plib.train(config(by_number, epochs=2, decay_epochs=0), resume=folder)
    assert p2plib.load(folder / "checkpoints" / "last.keras").info.epoch == 2
    with pytest.raises(ConfigError, match="cannot change target"):
        p2plib.train(config(by_number, target="image", epochs=3, decay_epochs=0), resume=folder)


def test_masks_as_sources_are_found_said_and_checked(by_number, tmp_path, capsys):
    settings = config(by_number, direction="BtoA", epochs=1, terms={}, run_dir=str(tmp_path / "run"))
    model = p2plib.load(p2plib.train(settings))
    assert "the sources hold class numbers, so they are taken as classes" in capsys.readouterr().out
    assert model.generator.input_shape == (None, 32, 32, 3) and model.info.config.source == "classes"
    done = translate_files(model, [by_number / "val" / "B"], tmp_path / "out")
    assert len(done.written) == 4 and Image.open(done.written[0]).mode == "RGB"
    Image.fromarray(np.full((40, 40), 5, np.uint8)).save(tmp_path / "odd.png")
    failed = translate_files(model, [tmp_path / "odd.png"], tmp_path / "out").failed
    assert failed[tmp_path / "odd.png"].startswith(
        f"{tmp_path / 'odd.png'}: holds class 5, and the known ones are 0, 3, 7"
    )
    with pytest.raises(DataError, match="holds class 5, and the known ones are 0, 3, 7"):
        p2plib.translate(model, [np.full((32, 32, 1), 5, np.uint8)])


def test_color_masks_are_written_in_their_colors(tmp_path):
    data = write(tmp_path / "colors", COLORS)
    run = p2plib.train(config(data, target="classes", epochs=1, gan_weight=0.0, run_dir=str(tmp_path / "run")))
    done = translate_files(p2plib.load(run), [data / "val" / "A" / "0.png"], tmp_path / "out")
    with Image.open(done.written[0]) as opened:
        assert opened.mode == "RGB"
        assert {tuple(color) for color in np.asarray(opened).reshape(-1, 3)} <= set(map(tuple, COLORS.tolist()))


def test_the_objective_of_classes():
    classes = {"target": "classes"}
    assert objective(TrainConfig(**classes)) == {"cross_entropy": 10, "gan": 1}
    assert objective(TrainConfig(**classes, l1_weight=50, recipe="maps")) == {"l1": 50, "gan": 1}
    assert objective(TrainConfig(**classes, terms={"cross_entropy": 3.0})) == {"cross_entropy": 3, "gan": 1}
    with pytest.raises(ConfigError, match="The term cross_entropy is for classes"):
        objective(TrainConfig(terms={"cross_entropy": 3.0}))
