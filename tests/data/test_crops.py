"""With `load` crop, pairs are seen through windows at their own scale."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.keras

from coordinates import SIZE, config, coordinates  # noqa: E402

from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data import toy  # noqa: E402
from p2plib.data.batches import Batches  # noqa: E402
from p2plib.data.dataset import Split, open_dataset  # noqa: E402
from p2plib.data.image import enlarge_image, resize_image, save_image, to_uint8, window  # noqa: E402
from p2plib.errors import DataError  # noqa: E402

SIZES = [(40, 50), (50, 36), (32, 32), (48, 48), (33, 51), (51, 34), (40, 40)]
BYTES = sum(2 * height * width * 3 for height, width in SIZES)
BUDGETS = (BYTES / 2**30, (BYTES - 1) / 2**30)
"""Just enough for all, and just too little."""


def original(i: int) -> np.ndarray:
    height, width = SIZES[i]
    return coordinates(i, 51)[:height, :width]


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Seven pairs of different sizes, and three to validate on; B is A in other colors (255 - A)."""
    for split, count in (("train", 7), ("val", 3)):
        for i in range(count):
            save_image(tmp_path / f"{split}A" / f"{i}.png", original(i))
            save_image(tmp_path / f"{split}B" / f"{i}.png", 255 - original(i))
    return tmp_path


def cropped(data, **values) -> TrainConfig:
    return config(data, **{"load": "crop", "batch_size": 1, **values})


def batches(config: TrainConfig) -> Batches:
    return Batches(open_dataset(config), config)


def take(data: Batches, count: int, *start: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sources and targets, uint8."""
    return [(to_uint8(x), to_uint8(y)) for x, y in itertools.islice(data.start(*start), count)]


def windows(data: Batches, count: int) -> list[tuple[int, int, int, bool]]:
    """Which pair each batch shows, from which row and column on, and whether flipped; each is a true window of it."""
    found = []
    for x, y in take(data, count):
        source = x[0]
        flipped = bool(source[0, 0, 1] > source[0, -1, 1])
        if flipped:
            source = source[:, ::-1]
        top, left, i = (int(value) for value in source[0, 0] // (5, 5, 1))
        assert source.shape == (SIZE, SIZE, 3)
        np.testing.assert_array_equal(source, original(i)[top : top + SIZE, left : left + SIZE])
        np.testing.assert_array_equal(y, 255 - x)
        found.append((i, top, left, flipped))
    return found


@pytest.mark.parametrize("memory_budget", BUDGETS)
def test_both_halves_show_one_window_at_their_own_scale(mixed, memory_budget):
    data = batches(cropped(mixed, memory_budget=memory_budget))
    assert data.in_memory == (memory_budget == BUDGETS[0])
    assert (data.count, data.pairs.enlarged) == (7, 0)
    assert sorted(i for i, *_ in windows(data, 7)) == list(range(7))


def test_every_epoch_has_its_own_windows(mixed):
    found = [place for i, *place in windows(batches(cropped(mixed)), 420) if i == 0]
    assert {top for top, *_ in found} == set(range(9)), "every row, the first and the last included"
    assert len({left for _, left, _ in found}) > 14  # of 19 columns, in 60 epochs
    assert 15 < sum(flipped for *_, flipped in found) < 45


@pytest.mark.parametrize("augment", ["jitter", "none"])
def test_windows_are_random_whatever_else_varies(mixed, augment):
    found = windows(batches(cropped(mixed, augment=augment)), 70)
    assert len({(top, left) for i, top, left, _ in found if i == 0}) > 5
    assert not any(flipped for *_, flipped in found)


def test_from_memory_and_from_disk_are_equal_and_the_seed_decides(mixed):
    memory, disk, again, other = (
        windows(batches(cropped(mixed, memory_budget=budget, seed=seed)), 14)
        for budget, seed in ((1, 5), (0, 5), (1, 5), (1, 6))
    )
    assert memory == disk == again != other


@pytest.mark.parametrize("start", [(1, 0), (1, 2), (2, 1)])
def test_starting_anywhere_gives_what_a_straight_run_gives(mixed, start):
    data = batches(cropped(mixed, batch_size=2))
    epoch, step = start
    straight = take(data, 9)[epoch * 3 + step :]
    for one, two in zip(take(data, len(straight), *start), straight, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_small_pairs_are_enlarged_and_counted(mixed, memory_budget):
    small = coordinates(9, 51)[:20, :30]
    for side, image in (("A", small), ("B", 255 - small)):
        save_image(mixed / f"train{side}" / "9.png", image)
    data = batches(cropped(mixed, memory_budget=memory_budget, augment="none"))
    assert (data.count, data.pairs.enlarged) == (8, 1)
    [shown] = [x[0] for x, _ in take(data, 8) if (x[..., 2] == 9).all()]
    large = resize_image(small, 32, 48)
    assert any((shown == large[:, left : left + SIZE]).all() for left in range(17))


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_broken_pairs_are_refused_by_name_or_counted(mixed, memory_budget):
    """Sides of different size do not fit each other at any scale."""
    save_image(mixed / "trainB" / "2.png", coordinates(2, 40))
    with pytest.raises(
        DataError, match=r"1 broken pair(.|\n)*trainA/2\.png \| trainB/2\.png: A is 32x32 and B is 40x40"
    ):
        batches(cropped(mixed, memory_budget=memory_budget))
    data = batches(cropped(mixed, memory_budget=memory_budget, skip_broken=True))
    assert sorted(i for i, *_ in windows(data, 6)) == [0, 1, 3, 4, 5, 6]


def test_a_pair_that_breaks_during_training_is_named(mixed):
    data = batches(cropped(mixed, memory_budget=0))
    (mixed / "trainA" / "2.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"trainA/2\.png"), data.plain_errors():
        take(data, 7)


# Tasks of photos.


def inside(image: np.ndarray, larger: np.ndarray) -> bool:
    """Whether an image is a window of a larger one."""
    views = np.lib.stride_tricks.sliding_window_view(larger, image.shape)
    return bool((views == image).all((-1, -2, -3)).any())


@pytest.fixture
def large_photos(photos) -> Path:
    """Photos of more than twice the image size, which `resize` shrinks when they are read."""
    shutil.rmtree(photos)
    for i in range(4):
        save_image(photos / ("val" if i == 3 else "train") / f"{i}.png", toy.city(i, 96)[0])
    return photos


@pytest.mark.parametrize("task", ["colorize", "sketch"])
@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_pairs_of_photos_are_seen_at_the_photos_scale(large_photos, task, memory_budget):
    data = batches(cropped(large_photos, task=task, augment="none", memory_budget=memory_budget))
    wholes = [np.concatenate(data.pairs.split.read(i), axis=-1) for i in range(3)]
    assert wholes[0].shape == (96, 96, 6)
    for x, y in take(data, 6):
        assert any(inside(np.concatenate([x[0], y[0]], axis=-1), whole) for whole in wholes)


def test_strokes_vary_on_the_window(large_photos, monkeypatch):
    straight = take(batches(cropped(large_photos, task="sketch")), 9)
    again = take(batches(cropped(large_photos, task="sketch")), 5, 1, 1)
    np.testing.assert_array_equal(again, straight[4:])
    monkeypatch.setattr(Batches, "_redraw", lambda self, both, draw: both)
    plain = take(batches(cropped(large_photos, task="sketch")), 9)
    assert any((x != u).any() for (x, _), (u, _) in zip(straight, plain, strict=True))
    assert all((y == v).all() for (_, y), (_, v) in zip(straight, plain, strict=True))


# Validation.


def test_validation_sees_the_center(mixed):
    split = open_dataset(cropped(mixed))["val"]
    sources, targets, names, _ = split.load()
    assert len(names) == 3
    centers = [original(0)[4:36, 9:41], original(1)[9:41, 2:34], original(2)]
    for i, center in enumerate(centers):
        np.testing.assert_array_equal([sources[i], targets[i]], [center, 255 - center])
        np.testing.assert_array_equal(split.resized(i), [center, 255 - center])
    np.testing.assert_array_equal(split.resized(0, 40)[0], original(0)[:, 5:45])
    np.testing.assert_array_equal(split.resized(2, 48)[0], resize_image(original(2), 48, 48))
    assert isinstance(split.spread(2), Split) and split.spread(2).crop


def test_a_window_can_lie_everywhere_and_never_outside():
    image = coordinates(0, 36)
    corners = {tuple(window(image, SIZE, (part, 0.0))[0, 0, :2]) for part in np.linspace(0, 1, 50, endpoint=False)}
    assert corners == {(row, 0) for row in (0, 5, 10, 15, 20)}
    np.testing.assert_array_equal(window(image, 36, (0.99, 0.99)), image)
    last = np.nextafter(np.float32(1), np.float32(0))  # the highest draw
    assert window(coordinates(0, 51), SIZE, (last, last)).shape == (SIZE, SIZE, 3)
    np.testing.assert_array_equal(window(image, SIZE), image[2:34, 2:34])


@pytest.mark.parametrize(("height", "width", "expected"), [(20, 30, (32, 48)), (31, 99, (32, 102)), (32, 7, (146, 32))])
def test_enlarging_keeps_the_shape(height, width, expected):
    assert enlarge_image(np.zeros((height, width, 3), np.uint8), 32).shape[:2] == expected
    assert enlarge_image(np.zeros((40, 32, 3), np.uint8), 32).shape[:2] == (40, 32)
