from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

pytestmark = pytest.mark.keras

from tolerance import rounding  # noqa: E402

from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data import color, pipeline, toy  # noqa: E402
from p2plib.data.image import resize_image, save_image, to_uint8  # noqa: E402
from p2plib.errors import DataError  # noqa: E402

SIZE = 32


def coordinates(index: int, size: int = SIZE) -> np.ndarray:
    """An image whose pixels tell their place (red, green) and their pair (blue)."""
    rows, columns = np.mgrid[:size, :size] * 5
    return np.stack([rows, columns, np.full_like(rows, index)], -1).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Seven pairs at load size; B is A in other colors (255 - A)."""
    for split, count in (("train", 7), ("val", 3)):
        for i in range(count):
            a = coordinates(i, 36)
            save_image(tmp_path / split / f"{i}.png", np.hstack([a, 255 - a]))
    return tmp_path


def config(folder, **values) -> TrainConfig:
    return TrainConfig(**{"data": str(folder), "image_size": SIZE, "batch_size": 2, "seed": 5, **values})


def take(data: pipeline.TrainingData, count: int, *start: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x.numpy(), y.numpy()) for x, y in data.batches(*start).take(count)]


def pair_numbers(batches) -> list[int]:
    return [int(image[0, 0, 2]) for x, _ in batches for image in to_uint8(x)]


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_both_halves_move_together(folder, memory_budget):
    data = pipeline.TrainingData(config(folder, memory_budget=memory_budget))
    assert data.in_memory == bool(memory_budget)
    assert data.steps_per_epoch == 3
    for x, y in take(data, 9):
        assert x.shape == y.shape == (2, SIZE, SIZE, 3)
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, -y, atol=rounding(2, 2))  # divided, and 1 taken off


def test_from_memory_and_from_disk_are_equal(folder):
    memory, disk = (pipeline.TrainingData(config(folder, memory_budget=budget)) for budget in (1.0, 0.0))
    for one, two in zip(take(memory, 5), take(disk, 5), strict=True):
        np.testing.assert_array_equal(one, two)


def test_direction_chooses_the_source(folder):
    to_b, to_a = (pipeline.TrainingData(config(folder, direction=name)) for name in ("AtoB", "BtoA"))
    for (x, y), (u, v) in zip(take(to_b, 3), take(to_a, 3), strict=True):
        np.testing.assert_array_equal(x, v)
        np.testing.assert_array_equal(y, u)


def test_an_epoch_shows_each_pair_once_in_a_new_order(folder):
    numbers = pair_numbers(take(pipeline.TrainingData(config(folder, batch_size=1)), 14))
    assert sorted(numbers[:7]) == sorted(numbers[7:]) == list(range(7))
    assert numbers[:7] != numbers[7:]


def test_crops_and_flips_are_fresh_in_every_epoch(folder):
    batches = take(pipeline.TrainingData(config(folder, batch_size=1)), 140)
    images = [x[0] for x, _ in batches if to_uint8(x)[0, 0, 0, 2] == 3]
    assert len({image.tobytes() for image in images}) > 12  # of 20 epochs
    corners = [(*sorted((p[0, 0, 1], p[0, -1, 1])), p[0, 0, 0]) for p in map(to_uint8, images)]
    assert {corner[2] for corner in corners} == {0, 5, 10, 15, 20}, "every row offset occurs, the last one included"
    assert 3 < sum(p[0, 0, 1] > p[0, -1, 1] for p in map(to_uint8, images)) < 17, "about half are flipped"


def test_jitter_alone_never_flips_and_none_shows_the_image(folder):
    jittered = take(pipeline.TrainingData(config(folder, augment="jitter")), 12)
    assert all((x[:, 0, 0, 1] < x[:, 0, -1, 1]).all() for x, _ in jittered)
    plain = pipeline.TrainingData(config(folder, augment="none", batch_size=1))
    expected = [resize_image(coordinates(i, 36), SIZE, SIZE) for i in range(7)]
    for x, _ in take(plain, 7):
        shown = to_uint8(x)[0]
        np.testing.assert_array_equal(shown, expected[shown[0, 0, 2]])


@pytest.mark.parametrize("start", [(1, 0), (1, 2), (2, 1)])
def test_starting_anywhere_gives_what_a_straight_run_gives(folder, start):
    data = pipeline.TrainingData(config(folder))
    epoch, step = start
    straight = take(data, 9)[epoch * 3 + step :]
    for one, two in zip(take(data, len(straight), *start), straight, strict=True):
        np.testing.assert_array_equal(one, two)


def test_seeds_differ(folder):
    one, two = (take(pipeline.TrainingData(config(folder, seed=seed)), 3) for seed in (0, 1))
    assert pair_numbers(one) != pair_numbers(two)


def test_validation_pairs_are_only_resized(folder):
    both, pairs, left_out = pipeline.load_split(config(folder), "val")
    assert [pair.name for pair in pairs] == ["val/0.png", "val/1.png", "val/2.png"]
    assert left_out == []
    for i, (source, target) in enumerate(both):
        np.testing.assert_array_equal(source, resize_image(coordinates(i, 36), SIZE, SIZE))
        np.testing.assert_array_equal(target, resize_image(255 - coordinates(i, 36), SIZE, SIZE))


@pytest.mark.parametrize(("image_size", "drawn"), [(32, 64), (64, 128), (128, 256), (256, 256)])
def test_toy_cities_are_drawn_no_larger_than_needed(image_size, drawn):
    pairs, _ = pipeline.pairs_of(TrainConfig(data="toy", image_size=image_size), "val")
    assert {pair.size for pair in pairs} == {drawn}


def test_without_val_some_training_pairs_are_held_out(folder):
    for path in (folder / "val").iterdir():
        path.unlink()
    for i in range(7, 20):
        save_image(folder / "train" / f"{i}.png", np.hstack([coordinates(i), coordinates(i)]))
    settings = config(folder)
    train, val = (pipeline.pairs_of(settings, split)[0] for split in ("train", "val"))
    assert (len(train), len(val)) == (18, 2)
    assert not {pair.name for pair in train} & {pair.name for pair in val}
    assert val == pipeline.pairs_of(settings, "val")[0]
    assert val != pipeline.pairs_of(dataclasses.replace(settings, seed=6), "val")[0]


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_broken_pairs_are_refused_by_name_or_counted(folder, memory_budget):
    (folder / "train" / "2.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"1 broken pair.*--skip-broken(.|\n)*train/2\.png"):
        pipeline.TrainingData(config(folder, memory_budget=memory_budget))
    data = pipeline.TrainingData(config(folder, memory_budget=memory_budget, skip_broken=True, batch_size=1))
    assert data.count == 6
    assert "train/2.png" in str(data.skipped[0])
    assert sorted(pair_numbers(take(data, 6))) == [0, 1, 3, 4, 5, 6]


def test_files_without_partner_are_refused_by_name_or_counted(tmp_path):
    for name in ("trainA/1", "trainB/1", "trainA/2", "trainB/2", "trainA/3", "valA/1", "valB/1"):
        save_image(tmp_path / f"{name}.png", coordinates(1))
    with pytest.raises(DataError, match=r"trainA/3\.png"):
        pipeline.TrainingData(config(tmp_path))
    data = pipeline.TrainingData(config(tmp_path, skip_broken=True))
    assert data.count == 2
    assert "trainA/3.png" in str(data.skipped[0])


def test_a_pair_that_breaks_during_training_is_named(folder):
    data = pipeline.TrainingData(config(folder, memory_budget=0))
    (folder / "train" / "2.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"train/2\.png"), data.plain_errors():
        take(data, 6)


def test_fewer_pairs_than_a_batch(folder):
    with pytest.raises(DataError, match="7 training pairs do not fill a batch of 8"):
        pipeline.TrainingData(config(folder, batch_size=8))


def test_names_of_both_sides_come_from_the_catalog(folder):
    assert pipeline.side_names(TrainConfig(data="maps")) == ("satellite", "map")
    assert pipeline.side_names(TrainConfig(data="maps", direction="BtoA")) == ("map", "satellite")
    assert pipeline.side_names(TrainConfig(data="facades")) == ("labels", "photo")
    assert pipeline.side_names(config(folder)) == ("A", "B")


def test_spread_keeps_the_ends():
    assert pipeline.spread(range(10), 4) == [0, 3, 6, 9]
    assert pipeline.spread(range(3), 0) == pipeline.spread(range(3), 5) == [0, 1, 2]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Seven photos to train on, one of them gray, and three to validate on."""
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))
    for split, start, count in (("train", 0, 7), ("val", 7, 3)):
        for i in range(start, start + count):
            save_image(tmp_path / "photos" / split / f"{i}.png", toy.city(i, 48)[0])
    save_image(tmp_path / "photos" / "train" / "2.png", color.gray(toy.city(2, 48)[0]))
    return tmp_path / "photos"


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_colorizers_see_the_light_and_shall_give_the_colors(photos, memory_budget):
    data = pipeline.TrainingData(config(photos, task="colorize", memory_budget=memory_budget))
    assert data.in_memory == bool(memory_budget)
    for x, y in take(data, 6):
        np.testing.assert_array_equal(x, x[..., :1].repeat(3, -1))
        light = [color.lightness(images / 2 + 0.5) for images in (x, y)]
        assert np.abs(light[0] - light[1]).mean() < 0.5  # crops of both, resized apart
        assert np.ptp(y, axis=-1).max() > 0.1


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_gray_photos_are_left_out_counted_and_no_error(photos, memory_budget):
    data = pipeline.TrainingData(config(photos, task="colorize", memory_budget=memory_budget))
    assert data.count == 6
    assert pipeline.left_out(data.skipped) == (
        "1 pair(s) are left out (1 gray):\n  train/2.png: has no colors to learn from; it is left out."
    )
    assert pipeline.TrainingData(config(photos, task="sketch")).count == 7


def test_only_gray_photos_are_an_error(photos):
    for i in (7, 8, 9):
        save_image(photos / "val" / f"{i}.png", color.gray(toy.city(i, 48)[0]))
    with pytest.raises(DataError, match=r"No pair can be used; 3 pair\(s\) are left out \(3 gray\)"):
        pipeline.load_split(config(photos, task="colorize"), "val")


def test_photos_without_val_are_split_by_the_seed(photos):
    shutil.rmtree(photos / "val")
    both = [pipeline.pairs_of(config(photos, task="colorize"), split)[0] for split in ("train", "val")]
    assert [len(pairs) for pairs in both] == [6, 1]
    assert not set(both[0]) & set(both[1])


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_sketches_are_redrawn_in_every_epoch_and_photos_are_not(photos, memory_budget):
    data = pipeline.TrainingData(config(photos, task="sketch", batch_size=1, memory_budget=memory_budget))
    jittered = pipeline.TrainingData(config(photos, task="colorize", batch_size=1))
    assert data.count == jittered.count + 1
    straight = take(data, 21)
    assert len({x.tobytes() for x, _ in straight}) == 21
    for one, two in zip(take(data, 11, 1, 3), straight[10:], strict=True):
        np.testing.assert_array_equal(one, two)


def test_strokes_alone_change_the_sketch(photos, monkeypatch):
    redrawn = take(pipeline.TrainingData(config(photos, task="sketch")), 6)
    monkeypatch.setattr(pipeline.TrainingData, "_redraw", lambda self, both, draw: both)
    plain = take(pipeline.TrainingData(config(photos, task="sketch")), 6)
    assert all((x != u).any() for (x, _), (u, _) in zip(redrawn, plain, strict=True))
    for (_, y), (_, v) in zip(redrawn, plain, strict=True):
        np.testing.assert_array_equal(y, v)


def test_without_augmentation_sketches_are_as_computed(photos):
    data = pipeline.TrainingData(config(photos, task="sketch", augment="none", batch_size=7))
    ((x, _),) = take(data, 1)
    expected, _, _ = pipeline.load_split(config(photos, task="sketch"), "train")
    assert {image.tobytes() for image in to_uint8(x)} == {source.tobytes() for source in expected[:, 0]}


@pytest.mark.parametrize(("task", "names"), [("colorize", ("gray", "color")), ("sketch", ("sketch", "photo"))])
def test_the_task_names_both_sides(task, names):
    for data in ("toy", "coco-sample", "my/photos"):
        settings = TrainConfig(data=data, task=task)
        assert pipeline.side_names(settings) == names
        assert pipeline.direction(settings) == "AtoB"
