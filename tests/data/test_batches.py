from __future__ import annotations

import itertools

import numpy as np
import pytest

pytestmark = pytest.mark.keras

from coordinates import SIZE, config, coordinates  # noqa: E402
from tolerance import rounding  # noqa: E402

from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data import color  # noqa: E402
from p2plib.data.batches import Batches  # noqa: E402
from p2plib.data.dataset import open_dataset  # noqa: E402
from p2plib.data.image import resize_image, save_image, to_uint8  # noqa: E402
from p2plib.data.problems import say_left_out  # noqa: E402
from p2plib.errors import DataError  # noqa: E402


def batches(config: TrainConfig) -> Batches:
    return Batches(open_dataset(config), config)


def take(data: Batches, count: int, *start: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(itertools.islice(data.start(*start), count))


def pair_numbers(taken) -> list[int]:
    return [int(image[0, 0, 2]) for x, _ in taken for image in to_uint8(x)]


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_both_halves_move_together(folder, memory_budget):
    data = batches(config(folder, memory_budget=memory_budget))
    assert data.in_memory == bool(memory_budget)
    assert data.steps_per_epoch == 3
    for x, y in take(data, 9):
        assert x.shape == y.shape == (2, SIZE, SIZE, 3)
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, -y, atol=rounding(2, 2))  # divided, and 1 taken off


def test_from_memory_and_from_disk_are_equal(folder):
    memory, disk = (batches(config(folder, memory_budget=budget)) for budget in (1.0, 0.0))
    for one, two in zip(take(memory, 5), take(disk, 5), strict=True):
        np.testing.assert_array_equal(one, two)


def test_direction_chooses_the_source(folder):
    to_b, to_a = (batches(config(folder, direction=name)) for name in ("AtoB", "BtoA"))
    for (x, y), (u, v) in zip(take(to_b, 3), take(to_a, 3), strict=True):
        np.testing.assert_array_equal(x, v)
        np.testing.assert_array_equal(y, u)


def test_an_epoch_shows_each_pair_once_in_a_new_order(folder):
    numbers = pair_numbers(take(batches(config(folder, batch_size=1)), 14))
    assert sorted(numbers[:7]) == sorted(numbers[7:]) == list(range(7))
    assert numbers[:7] != numbers[7:]


def test_crops_and_flips_are_fresh_in_every_epoch(folder):
    taken = take(batches(config(folder, batch_size=1)), 140)
    images = [x[0] for x, _ in taken if to_uint8(x)[0, 0, 0, 2] == 3]
    assert len({image.tobytes() for image in images}) > 12  # of 20 epochs
    corners = [(*sorted((p[0, 0, 1], p[0, -1, 1])), p[0, 0, 0]) for p in map(to_uint8, images)]
    assert {corner[2] for corner in corners} == {0, 5, 10, 15, 20}, "every row offset occurs, the last one included"
    assert 3 < sum(p[0, 0, 1] > p[0, -1, 1] for p in map(to_uint8, images)) < 17, "about half are flipped"


def test_jitter_alone_never_flips_and_none_shows_the_image(folder):
    jittered = take(batches(config(folder, augment="jitter")), 12)
    assert all((x[:, 0, 0, 1] < x[:, 0, -1, 1]).all() for x, _ in jittered)
    plain = batches(config(folder, augment="none", batch_size=1))
    expected = [resize_image(coordinates(i, 36), SIZE, SIZE) for i in range(7)]
    for x, _ in take(plain, 7):
        shown = to_uint8(x)[0]
        np.testing.assert_array_equal(shown, expected[shown[0, 0, 2]])


@pytest.mark.parametrize("start", [(1, 0), (1, 2), (2, 1)])
def test_starting_anywhere_gives_what_a_straight_run_gives(folder, start):
    data = batches(config(folder))
    epoch, step = start
    straight = take(data, 9)[epoch * 3 + step :]
    for one, two in zip(take(data, len(straight), *start), straight, strict=True):
        np.testing.assert_array_equal(one, two)


def test_seeds_differ(folder):
    one, two = (take(batches(config(folder, seed=seed)), 3) for seed in (0, 1))
    assert pair_numbers(one) != pair_numbers(two)


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_broken_pairs_are_refused_by_name_or_counted(folder, memory_budget):
    (folder / "train" / "2.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"1 broken pair.*--skip-broken(.|\n)*train/2\.png"):
        batches(config(folder, memory_budget=memory_budget))
    data = batches(config(folder, memory_budget=memory_budget, skip_broken=True, batch_size=1))
    assert data.count == 6
    assert "train/2.png" in str(data.left_out[0])
    assert sorted(pair_numbers(take(data, 6))) == [0, 1, 3, 4, 5, 6]


def test_files_without_partner_are_refused_by_name_or_counted(tmp_path):
    for name in ("trainA/1", "trainB/1", "trainA/2", "trainB/2", "trainA/3", "valA/1", "valB/1"):
        save_image(tmp_path / f"{name}.png", coordinates(1))
    with pytest.raises(DataError, match=r"trainA/3\.png"):
        batches(config(tmp_path))
    data = batches(config(tmp_path, skip_broken=True))
    assert data.count == 2
    assert "trainA/3.png" in str(data.left_out[0])


def test_a_pair_that_breaks_during_training_is_named(folder):
    data = batches(config(folder, memory_budget=0))
    (folder / "train" / "2.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"train/2\.png"), data.plain_errors():
        take(data, 6)


def test_fewer_pairs_than_a_batch(folder):
    with pytest.raises(DataError, match="7 training pairs do not fill a batch of 8"):
        batches(config(folder, batch_size=8))


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_colorizers_see_the_light_and_shall_give_the_colors(photos, memory_budget):
    data = batches(config(photos, task="colorize", memory_budget=memory_budget))
    assert data.in_memory == bool(memory_budget)
    for x, y in take(data, 6):
        np.testing.assert_array_equal(x, x[..., :1].repeat(3, -1))
        light = [color.lightness(images / 2 + 0.5) for images in (x, y)]
        assert np.abs(light[0] - light[1]).mean() < 0.5  # crops of both, resized apart
        assert np.ptp(y, axis=-1).max() > 0.1


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_gray_photos_are_left_out_counted_and_no_error(photos, memory_budget):
    data = batches(config(photos, task="colorize", memory_budget=memory_budget))
    assert data.count == 6
    assert say_left_out(data.left_out) == (
        "1 pair(s) are left out (1 grey):\n  train/2.png: has no colors to learn from; it is left out."
    )
    assert batches(config(photos, task="sketch")).count == 7


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_sketches_are_redrawn_in_every_epoch_and_photos_are_not(photos, memory_budget):
    data = batches(config(photos, task="sketch", batch_size=1, memory_budget=memory_budget))
    jittered = batches(config(photos, task="colorize", batch_size=1))
    assert data.count == jittered.count + 1
    straight = take(data, 21)
    assert len({x.tobytes() for x, _ in straight}) == 21
    for one, two in zip(take(data, 11, 1, 3), straight[10:], strict=True):
        np.testing.assert_array_equal(one, two)


def test_strokes_alone_change_the_sketch(photos, monkeypatch):
    redrawn = take(batches(config(photos, task="sketch")), 6)
    monkeypatch.setattr(Batches, "_redraw", lambda self, both, draw: both)
    plain = take(batches(config(photos, task="sketch")), 6)
    assert all((x != u).any() for (x, _), (u, _) in zip(redrawn, plain, strict=True))
    for (_, y), (_, v) in zip(redrawn, plain, strict=True):
        np.testing.assert_array_equal(y, v)


def test_without_augmentation_sketches_are_as_computed(photos):
    data = batches(config(photos, task="sketch", augment="none", batch_size=7))
    ((x, _),) = take(data, 1)
    expected = open_dataset(config(photos, task="sketch"))["train"].load().sources
    assert {image.tobytes() for image in to_uint8(x)} == {source.tobytes() for source in expected}


def test_a_task_of_ones_own_can_be_trained_on(invert, photos):
    data = batches(config(photos, task="invert"))
    assert data.count == 7 and isinstance(data.task, invert)
    for x, y in take(data, 6):
        assert np.abs(x + y).max() < 0.02, "a negative, up to rounding in the resizing"
