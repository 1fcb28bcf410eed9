"""Of many pairs, some are checked at the start; the others are decoded, named or skipped when they come up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytestmark = pytest.mark.keras

from coordinates import config, coordinates  # noqa: E402

from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data import decoded, record  # noqa: E402
from p2plib.data.batches import Batches  # noqa: E402
from p2plib.data.dataset import open_dataset  # noqa: E402
from p2plib.data.image import save_image, to_uint8  # noqa: E402
from p2plib.errors import DataError  # noqa: E402


def batches(config: TrainConfig) -> Batches:
    return Batches(open_dataset(config), config)


def take(data: Batches, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    with data.plain_errors():
        return list(itertools.islice(data.start(), count))


@pytest.fixture
def few(monkeypatch) -> None:
    monkeypatch.setattr(decoded, "CHECKED", 3)


@pytest.mark.parametrize("settings", [{}, {"load": "crop"}, {"memory_budget": 0.0}, {"memory_budget": 2e-5}], ids=str)
def test_batches_are_the_same_however_many_are_checked(folder, settings, monkeypatch):
    whole = batches(config(folder, **settings))
    monkeypatch.setattr(decoded, "CHECKED", 3)
    part = batches(config(folder, **settings))
    assert whole.pairs.all_checked and not part.pairs.all_checked and part.pairs.checked == 3
    assert part.in_memory == whole.in_memory == ("memory_budget" not in settings)
    for one, two in zip(take(whole, 9), take(part, 9), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_broken_pair_ends_the_training_when_it_comes_up(folder, few):
    (folder / "train" / "2.png").write_bytes(b"<html>")  # 0, 3 and 6 are checked
    data = batches(config(folder))
    with pytest.raises(DataError, match=r"train/2\.png: cannot be read"):
        take(data, 9)


@pytest.mark.parametrize("memory_budget", [1.0, 0.0])
def test_or_the_next_one_takes_its_place_and_it_is_named_once(folder, few, memory_budget, capsys):
    for name in ("1", "3"):  # of which 3 is checked
        (folder / "train" / f"{name}.png").write_bytes(b"<html>")
    data = batches(config(folder, skip_broken=True, batch_size=1, memory_budget=memory_budget))
    assert data.count == 7 and [problem.name for problem in data.left_out] == ["train/3.png"]
    numbers = [int(to_uint8(x)[0, 0, 0, 2]) for x, _ in take(data, 14)]
    assert sorted(numbers[:7]) == sorted(numbers[7:]) == [0, 2, 2, 4, 4, 5, 6]
    said = capsys.readouterr().out.splitlines()
    assert sorted(line.partition("png")[0] for line in said) == [
        "left out from now on: train/1.",
        "left out from now on: train/3.",
    ]


def test_it_ends_if_no_pair_is_left(folder, few):
    data = batches(config(folder, skip_broken=True, memory_budget=0.0))
    for path in (folder / "train").iterdir():
        path.write_bytes(b"<html>")
    with pytest.raises(DataError, match="No pair can be used any more"):
        take(data, 1)


def test_colors_that_come_up_late_are_refused_and_never_lost(folder, few):
    for i in range(7):
        a = coordinates(i)
        save_image(folder / "train" / f"{i}.png", np.hstack([a, a if i == 2 else a[..., :1].repeat(3, -1)]))
    data = batches(config(folder))
    assert data.target_channels == 1
    with pytest.raises(DataError, match=r"train/2\.png: its target has colors, and 3 checked ones have none; set"):
        take(data, 9)
    assert len(take(batches(config(folder, target_channels=3)), 9)) == 9


def test_sizes_stand_for_the_hashes_of_many_files(folder, monkeypatch):
    dataset = open_dataset(config(folder))
    hashed = record.record_of(dataset, {})
    monkeypatch.setattr(record, "HASHED", 3)
    known = record.record_of(dataset, {})
    size = (folder / "train" / "2.png").stat().st_size
    assert known["pairs"]["train"]["train/2.png"] == f"size {size}"
    assert record.same_pairs(dataset, known, print) == record.same_pairs(dataset, hashed, print)
    assert record.holds_same(dataset, known) and record.holds_same(dataset, hashed)
    save_image(folder / "train" / "2.png", np.zeros((8, 16, 3), np.uint8))
    for before in (known, hashed):
        with pytest.raises(Exception, match=r"1 changed \(train/2\.png\)"):
            record.same_pairs(dataset, before, print)
