from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2plib.data import sketch, toy
from p2plib.data.download import cache_dir
from p2plib.data.image import read_rgb, resize_image, save_image
from p2plib.data.sketch import EDGES, PENCIL, Style, augment_strokes, cached_sketch
from p2plib.errors import DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def square():
    """A dark square on light ground; its edges are known."""
    image = np.full((64, 64, 3), 230, np.uint8)
    image[16:48, 16:48] = 40
    return image


@pytest.fixture
def photo(tmp_path, square):
    save_image(tmp_path / "photo.png", square)
    return tmp_path / "photo.png"


def test_edges_are_thin_dark_lines_where_the_photo_has_edges(square):
    drawn = sketch.sketch(square)
    assert drawn.shape == square.shape and drawn.dtype == np.uint8
    assert set(np.unique(drawn)) == {0, 255}
    ink = drawn[..., 0] == 0
    assert 0.9 * 4 * 32 < ink.sum() < 1.5 * 4 * 32  # one pixel thick (two at corners), all round
    assert not ink[20:44, 20:44].any() and not ink[:13].any()


def test_a_pencil_darkens_the_dark_side_of_an_edge(square):
    drawn = sketch.sketch(square, PENCIL)[..., 0]
    assert drawn[32, 17] < 128 < drawn[32, 13]
    assert drawn[0, 0] > 240 and drawn[32, 32] > 240


@pytest.mark.parametrize("style", [EDGES, PENCIL])
@pytest.mark.parametrize("value", [0, 127, 255])
def test_an_empty_photo_is_an_empty_sheet(style, value):
    assert (sketch.sketch(np.full((20, 30, 3), value, np.uint8), style) > 240).all()


def test_lines_are_thicker_on_demand_and_small_pieces_go(square):
    thin, thick = sketch.sketch(square), sketch.sketch(square, Style(thickness=3))
    assert (thick <= thin).all() and (thick == 0).sum() > 2 * (thin == 0).sum()
    assert (sketch.sketch(square, Style(smallest=1000)) == 255).all()


def test_faint_photos_have_lines_too():
    image = np.full((64, 64, 3), 120, np.uint8)
    image[16:48, 16:48] = 105
    assert (sketch.sketch(image) == 0).any()


def test_lines_of_a_large_photo_look_like_those_of_a_small_one():
    large = np.full((1024, 1024, 3), 230, np.uint8)
    large[256:768, 256:768] = 40
    small = sketch.sketch(resize_image(large, 256, 256))
    again = resize_image(sketch.sketch(large), 256, 256)
    assert (small == 0).any() and np.abs(small.astype(int) - again).max() < 128


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([EDGES, PENCIL]), st.integers(0, 99))
def test_any_image_of_any_size_can_be_drawn(height, width, style, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    drawn = sketch.sketch(image, style)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (drawn == drawn[..., :1]).all()
    assert (drawn == sketch.sketch(image, style)).all()


def test_overlaps_the_edges_that_edges2shoes_has(shared_data):
    from benchmarks.sketches import overlap

    files = sorted((shared_data / "edges2shoes" / "val").glob("*.jpg"))[:8]
    pairs = [np.split(read_rgb(file), 2, axis=1) for file in files]
    precision, recall = np.mean([overlap(sketch.sketch(photo), edges, 2) for edges, photo in pairs], axis=0)
    assert precision > 0.7 and recall > 0.7


def test_a_sketch_is_drawn_once(photo, monkeypatch):
    first = cached_sketch(photo)
    assert (first == sketch.sketch(read_rgb(photo))).all()
    monkeypatch.setattr(sketch, "_draw", lambda *_: pytest.fail("drawn again"))
    assert (cached_sketch(photo) == first).all()
    copy = photo.with_name("copy.png")
    copy.write_bytes(photo.read_bytes())
    assert (cached_sketch(copy) == first).all()
    assert len([path for path in cache_dir().rglob("*") if path.is_file()]) == 1


def test_another_style_or_another_photo_is_drawn_anew(photo, square):
    first = cached_sketch(photo)
    assert (cached_sketch(photo, PENCIL) == sketch.sketch(square, PENCIL)).all()
    save_image(photo, 255 - square[::-1, :40])
    assert cached_sketch(photo).shape == (64, 40, 3)
    save_image(photo, square)
    assert (cached_sketch(photo) == first).all()


def test_large_photos_are_kept_small_and_given_whole(tmp_path):
    image = toy.city(1, 256)[1].repeat(2, axis=0).repeat(3, axis=1)
    save_image(tmp_path / "large.png", image)
    first, second = cached_sketch(tmp_path / "large.png"), cached_sketch(tmp_path / "large.png")
    assert first.shape == image.shape and (first == second).all()
    [kept] = (cache_dir() / "sketches").rglob("*.png")
    assert max(Image.open(kept).size) == EDGES.size


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_a_damaged_cache_is_mended(photo, content):
    first = cached_sketch(photo)
    [kept] = (cache_dir() / "sketches").rglob("*.png")
    kept.write_bytes(kept.read_bytes()[:-30] if content is None else content)
    assert (cached_sketch(photo) == first).all()
    assert Image.open(kept).convert("RGB").size == (64, 64)


def test_a_cache_that_cannot_be_written_is_done_without(photo, square):
    cache_dir().mkdir()
    (cache_dir() / "sketches").write_text("in the way")
    assert (cached_sketch(photo) == sketch.sketch(square)).all()


@pytest.mark.parametrize("content", [b"not an image", None])
def test_a_photo_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "broken.jpg"
    if content:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.jpg: cannot be read as an image"):
        cached_sketch(path)


def test_without_scikit_image_it_says_what_to_install(square, monkeypatch):
    monkeypatch.setattr(sketch, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"pip install 'p2plib\[sketch\]'"):
        sketch.sketch(square)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**63 - 1), st.booleans())
def test_strokes_are_a_pure_function_of_sketch_and_seed(height, width, seed, empty):
    drawn = np.full((height, width, 3), 255, np.uint8)
    if not empty:
        drawn[height // 2] = 0
    before = drawn.copy()
    result = augment_strokes(drawn, seed)
    assert result.shape == drawn.shape and result.dtype == np.uint8
    assert (result == augment_strokes(drawn, seed)).all()
    assert (drawn == before).all()
    assert not empty or (result == 255).all()


def test_strokes_move_a_little_break_and_thicken():
    drawn = np.full((128, 128, 3), 255, np.uint8)
    drawn[64, 10:118] = 0
    results = [augment_strokes(drawn, seed)[..., 0] < 128 for seed in range(40)]
    rows = np.array([np.nonzero(ink)[0].mean() for ink in results])
    assert 0.3 < rows.std() < 5 and abs(rows.mean() - 64) < 2
    thickness = [ink.sum() / ink.any(axis=0).sum() for ink in results]
    assert min(thickness) < 1.3 and max(thickness) > 2.5
    covered = [ink.any(axis=0).sum() for ink in results]
    assert min(covered) < 100 < max(covered)
