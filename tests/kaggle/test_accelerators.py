"""The table of what Kaggle lends, and where it is used."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from p2plib.cli import kaggle
from p2plib.config import TrainConfig
from p2plib.kaggle import preflight, session
from p2plib.kaggle.accelerators import ACCELERATORS, RETIRED
from p2plib.kaggle.kernel import CONFIG, Kernel, build

KERNEL = Kernel("alice/my-run", "My run", dataset_sources=("alice/pairs",))
SMALL = TrainConfig(data="alice/pairs", image_size=32, base_filters=4, receptive_field=16)


def test_the_command_line_offers_the_whole_table():
    [literal, _] = get_args(get_args(kaggle.Accelerator)[0])
    assert list(get_args(literal)) == list(ACCELERATORS)


def test_no_shape_is_retired_or_there_twice():
    shapes = [accelerator.shape for accelerator in ACCELERATORS.values()]
    assert len(set(shapes)) == len(shapes) and not RETIRED & set(shapes)


@pytest.mark.parametrize("name", ACCELERATORS)
def test_the_recipes_batch_fits_and_the_limits_of_time_are_kept(tmp_path, monkeypatch, name):
    monkeypatch.setattr(preflight, "count_weights", lambda config: (1, 1))
    monkeypatch.setattr(preflight, "credentials", lambda: iter(()))
    accelerator = ACCELERATORS[name]
    build(SMALL, replace(KERNEL, accelerator=name), tmp_path)
    assert preflight.check(tmp_path) == []
    assert TrainConfig.read(tmp_path / CONFIG).batch_size % (accelerator.devices or 1) == 0
    build(replace(SMALL, time_budget=f"{accelerator.hours}h"), replace(KERNEL, accelerator=name), tmp_path)
    [problem] = preflight.check(tmp_path)
    assert f"Kaggle's {accelerator.hours} hours" in problem
    assert accelerator.hours * 3600 > session.time_budget(accelerator.kind == "tpu")
