"""Both halves of a pair are bent by the same field."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.keras

from coordinates import SIZE, config, coordinates  # noqa: E402

from p2plib.data import toy  # noqa: E402
from p2plib.data.batches import Batches  # noqa: E402
from p2plib.data.dataset import open_dataset  # noqa: E402
from p2plib.data.image import save_image, to_uint8  # noqa: E402

STEP = 5
"""Difference of neighboring pixels of `coordinates`."""


def warped(folder, **values) -> Batches:
    settings = config(folder, **{"warp": 0.08, "augment": "none", "batch_size": 1} | values)
    return Batches(open_dataset(settings), settings)


def take(data: Batches, count: int, *start: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(to_uint8(x), to_uint8(y)) for x, y in itertools.islice(data.start(*start), count)]


@pytest.fixture
def exact(tmp_path) -> Path:
    """Seven pairs at the size of the networks; B is A in other colors (255 - A)."""
    for split, count in (("train", 7), ("val", 1)):
        for i in range(count):
            a = coordinates(i)
            save_image(tmp_path / split / f"{i}.png", np.hstack([a, 255 - a]))
    return tmp_path


def test_pixels_move_a_little_smoothly_and_differently_each_time(exact):
    data = warped(exact)
    assert data.labels == [False, False]
    rows, columns = np.mgrid[:SIZE, :SIZE]
    inner, seen = slice(4, -4), set()
    for x, _ in take(data, 14):
        moved = x[0, inner, inner, :2] / STEP - np.stack([rows, columns], -1)[inner, inner]
        seen.add(moved.tobytes())
        assert 0.5 < np.abs(moved).max() <= 0.08 * SIZE + 0.2  # rounded to 1/5 pixel
        assert max(np.abs(np.diff(moved, axis=axis)).max() for axis in (0, 1)) < 1, "nothing tears or folds"
    assert len(seen) == 14, "in each of two epochs, too"


@pytest.mark.parametrize("values", [{}, {"augment": "jitter_flip"}, {"load": "crop", "memory_budget": 0.0}])
def test_both_halves_are_bent_alike(exact, values):
    plain = take(warped(exact, **values, warp=0.0), 7)
    for (x, y), (u, _) in zip(take(warped(exact, **values), 7), plain, strict=True):
        assert np.abs(x.astype(int) - (255 - y.astype(int))).max() <= 1
        assert (x != u).mean() > 0.3


def test_labels_keep_their_colors_and_photos_are_mixed(tmp_path):
    for split, count in (("train", 4), ("val", 1)):
        for i in range(count):
            labels = np.kron(np.random.default_rng(i).integers(0, 2, (8, 8, 3)) * 255, np.ones((8, 8, 1))).astype(
                "uint8"
            )
            save_image(tmp_path / split / f"{i}.png", np.hstack([labels, toy.city(i, 64)[0]]))
    settings = {"image_size": 64, "data": str(tmp_path)}
    data = warped(tmp_path, **settings)
    assert data.labels == [True, False]
    assert warped(tmp_path, **settings, direction="BtoA").labels == [False, True]
    plain = take(warped(tmp_path, **settings, warp=0.0), 4)
    for (x, y), (u, v) in zip(take(data, 4), plain, strict=True):
        assert set(np.unique(x)) == {0, 255}
        assert (x != u).any() and (y != v).any()


@pytest.mark.parametrize("start", [(0, 3), (1, 2)])
def test_starting_anywhere_bends_as_a_straight_run_does(exact, start):
    epoch, step = start
    straight = take(warped(exact, augment="jitter_flip"), 12)[epoch * 7 + step :]
    for one, two in zip(take(warped(exact, augment="jitter_flip"), len(straight), *start), straight, strict=True):
        np.testing.assert_array_equal(one, two)


def test_seeds_bend_differently(exact):
    one, two = ({x[0].tobytes() for x, _ in take(warped(exact, seed=seed), 7)} for seed in (0, 1))
    assert not one & two
