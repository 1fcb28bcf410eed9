"""What the discriminator sees of a small data set."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from gradients import gradients  # noqa: E402
from keras import ops  # noqa: E402

from p2plib.training.diff_augment import CUTOUT, SHIFT, DiffAugment, RandomShift  # noqa: E402

SIDE = 16


def batch(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (3, SIDE, SIDE, 3)).astype("float32")


def test_all_images_of_a_pair_are_changed_alike_and_pairs_differently():
    one, two = map(np.asarray, DiffAugment()([batch(), batch()]))
    np.testing.assert_array_equal(one, two)
    same = np.tile(batch()[:1], (3, 1, 1, 1))
    [first, second, third] = np.asarray(DiffAugment()([same])[0])
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_each_call_draws_anew_and_a_state_repeats_it():
    layer, images = DiffAugment(), [batch()]
    state = np.asarray(layer.seeds.state)
    first, second = np.asarray(layer(images)[0]), np.asarray(layer(images)[0])
    assert not np.array_equal(first, second)
    layer.seeds.state.assign(state)
    np.testing.assert_array_equal(np.asarray(layer(images)[0]), first)


def test_a_square_is_covered_and_the_rest_moves_a_little():
    layer = DiffAugment()
    coordinates = 1 + np.arange(SIDE * SIDE, dtype="float32").reshape(1, SIDE, SIDE, 1)  # 0 is nothing
    limit, covered = round(SIDE * SHIFT), round(SIDE * CUTOUT) ** 2
    for _ in range(20):
        moved = np.asarray(layer([coordinates])[0])[0, :, :, 0]
        rows, columns = np.nonzero(moved)
        came_from = moved[rows, columns].astype(int) - 1
        shifts = set(zip(came_from // SIDE - rows, came_from % SIDE - columns, strict=True))
        assert len(shifts) == 1, "all pixels move alike"
        assert max(map(abs, next(iter(shifts)))) <= limit
        lost = SIDE * SIDE - (SIDE - limit) ** 2  # at the borders, at most
        assert 0 < SIDE * SIDE - len(rows) <= covered + lost


def test_gradients_flow_to_the_images():
    layer, image = DiffAugment(), keras.Variable(batch()[..., :2])  # contrast of colors mixes all pixels

    def scalar():
        layer.seeds.state.assign(np.array([1, 0], np.uint32))
        return ops.sum(layer([image])[0])

    [gradient] = gradients(scalar, [image])
    shown = np.abs(gradient).sum(-1) > 0
    assert 0.25 < shown.mean() < 1  # what is covered or moved out has none


def test_images_are_shifted_alike_and_nothing_is_lost():
    layer, image = RandomShift(), batch()
    seen = set()
    for _ in range(20):
        one, two = map(np.asarray, layer([image, image + 2]))
        np.testing.assert_array_equal(two, one + 2)
        [shift] = [places for places in np.ndindex(8, 8) if (one == np.roll(image, places, (1, 2))).all()]
        seen.add(shift)
    assert len(seen) > 10


def test_measured_values_move_and_keep_their_values():
    layer = DiffAugment((True, False))
    source, target, generated = (np.asarray(images) for images in layer([batch(1), batch(2), batch(3)]))
    for changed, seed in ((target, 2), (generated, 3)):
        known = set(batch(seed).ravel().tolist()) | {0.0}
        assert set(changed.ravel().tolist()) <= known
    assert not set(source.ravel().tolist()) <= set(batch(1).ravel().tolist()) | {0.0}
