"""The slider over frames."""

from __future__ import annotations

import re

import numpy as np
import pytest

from p2plib.data.image import save_image, tile_images
from p2plib.errors import CheckpointError, ConfigError
from p2plib.show.frames import frames, over_time, runs
from p2plib.show.lessons import lesson


def plain(level: int, size: int = 8) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def test_every_image_has_its_label_and_the_slider_begins_where_it_is_told():
    text = frames([plain(0), plain(99), plain(255)], ["none", "a < b", "all"], "weight", start=1).text
    assert re.findall(r"<figcaption>(.*?)</figcaption>", text) == ["none", "a &lt; b", "all"]
    assert re.findall(r'alt="(.*?)"', text) == ["weight: none", "weight: a &lt; b", "weight: all"]
    assert 'max="2" value="1"' in text and 'style="--i:1"' in text and 'aria-valuetext="a &lt; b"' in text
    assert "<script" not in text and "http" not in text


@pytest.mark.parametrize("count", [0, 2])
def test_one_label_for_each_image(count):
    with pytest.raises(ConfigError, match=f"{count} images and 1 labels"):
        frames([plain(0)] * count, ["one"], "weight")


def test_over_time_shows_the_first_rows_of_every_sample_grid_in_order(tmp_path):
    for step in (200, 40, 1000):
        grid = tile_images([[plain(row * 50)] * 3 for row in range(4)])
        save_image(tmp_path / "samples" / f"{step:07d}.png", grid)
    text = over_time(tmp_path, rows=2).text
    assert re.findall(r"<figcaption>(.*?)</figcaption>", text) == [
        "after 40 steps",
        "after 200 steps",
        "after 1,000 steps",
    ]
    width, height = (int(value) for value in re.search(r'width="(\d+)" height="(\d+)"', text).groups())
    assert height / width == pytest.approx((2 * 8 + 4) / (3 * 8 + 2 * 4))


def test_a_run_without_samples_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no samples"):
        over_time(tmp_path)


def test_the_runs_of_a_lesson_stand_between_their_sources_and_what_was_expected():
    kept = lesson("skips")
    labels = re.findall(r"<figcaption>(.*?)</figcaption>", runs(kept, "skips").text)
    assert labels == ["source", *(run.label for run in kept.runs), "expected"]
