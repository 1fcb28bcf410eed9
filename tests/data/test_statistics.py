from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from p2plib.data import toy
from p2plib.data.listing import list_pairs
from p2plib.data.statistics import channel_statistics, class_shares, label_palette, nearest, palette

RED, GREEN, GRAY = (250, 10, 10), (10, 250, 10), (128, 128, 128)


def stripes(*columns: tuple[tuple[int, int, int], int]) -> np.ndarray:
    """An image, 10 pixels high, of vertical stripes: their colors and widths."""
    return np.hstack([np.full((10, width, 3), color, np.uint8) for color, width in columns])


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


@pytest.fixture(scope="module")
def maps() -> list[np.ndarray]:
    return [toy.city(i, 128)[1] for i in range(20)]


def test_channel_statistics_are_those_of_all_pixels_together():
    images = [np.random.default_rng(side).integers(0, 256, (side, 7, 3), np.uint8) for side in (5, 20)]
    mean, deviation = channel_statistics(iter(images))
    pixels = np.concatenate([image.reshape(-1, 3) for image in images])
    np.testing.assert_allclose(mean, pixels.mean(axis=0))
    np.testing.assert_allclose(deviation, pixels.std(axis=0))


def test_one_color_has_no_deviation():
    assert channel_statistics([stripes((GRAY, 33))])[1].tolist() == [0, 0, 0]


def test_palette_starts_with_the_most_common_color():
    images = [stripes((GRAY, 3), (RED, 2)), stripes((GREEN, 4), (GRAY, 3))]
    assert list(palette(images).items()) == [("#808080", GRAY), ("#0afa0a", GREEN), ("#fa0a0a", RED)]
    assert list(palette(images, 2).values()) == [GRAY, GREEN]


def test_palette_leaves_out_colors_next_to_a_common_one():
    near, far = (128, 128, 147), (128, 128, 148)
    assert list(palette([stripes((GRAY, 9), (near, 5), (far, 2))]).values()) == [GRAY, far]


def test_palette_looks_at_all_of_many_pixels():
    late = np.full((1100, 1100, 3), RED, np.uint8)
    late[550:] = GRAY
    assert set(palette([late]).values()) == {RED, GRAY}


@pytest.mark.parametrize("quality", [None, 95])
def test_palette_finds_the_classes_of_the_toy_map(maps, quality):
    seen = maps if quality is None else [jpeg(image, quality) for image in maps]
    found, known = (np.array(sorted(colors.values())) for colors in (palette(seen, len(toy.PALETTE)), toy.PALETTE))
    np.testing.assert_allclose(found, known, atol=0 if quality is None else 2)


def test_palette_finds_classes_in_the_jpeg_files_of_facades(shared_data):
    labels = [pair.read()[1] for pair in list_pairs(shared_data / "facades").splits["train"][:40]]
    known = [(0, 0, 170), (0, 0, 222), (0, 48, 255), (0, 128, 255), (0, 207, 255), (32, 255, 224)]
    known += [(112, 255, 143), (192, 255, 63), (255, 159, 0), (255, 80, 0), (255, 0, 0), (174, 0, 0)]
    found = np.array(list(palette(labels, 10).values()))
    nearest = np.abs(found[:, None] - np.array(known)).max(axis=-1)
    assert nearest.min(axis=1).max() <= 8
    assert len(set(nearest.argmin(axis=1))) == 10


@pytest.mark.parametrize("quality", [None, 95, 75])
def test_the_toy_map_is_labels_of_its_own_classes(quality):
    maps = [toy.city(i, 256)[1] for i in range(10)]
    found = label_palette(maps if quality is None else [jpeg(image, quality) for image in maps])
    np.testing.assert_allclose(sorted(found.values()), sorted(toy.PALETTE.values()), atol=0 if quality is None else 4)


def test_aerial_images_are_no_labels():
    assert label_palette([toy.city(i, 256)[0] for i in range(10)]) is None


def test_noise_and_a_single_color_are_no_labels():
    assert label_palette([np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)]) is None
    assert label_palette([np.full((64, 64, 3), 255, np.uint8)]) is None


def test_a_product_on_white_is_no_labels():
    """Nearly all of it is flat, but not what is not white."""
    image = np.full((128, 128, 3), 255, np.uint8)
    image[48:80, 48:80] = np.random.default_rng(0).integers(0, 200, (32, 32, 3), np.uint8)
    image[:10, :30] = RED
    assert label_palette([image]) is None
    assert label_palette([np.where(image == 255, image, RED).astype(np.uint8)]) is not None


@pytest.mark.parametrize(("name", "classes"), [("facades", {12}), ("maps", {6, 7}), ("edges2shoes", {0})])
def test_which_real_images_are_labels(shared_data, name, classes):
    pairs = [pair.read() for pair in list_pairs(shared_data / name).splits["train"][:30]]
    sides = [label_palette([pair[side] for pair in pairs]) for side in (0, 1)]
    assert sides[0] is None
    assert len(sides[1] or ()) in classes


def test_nearest_keeps_the_shape():
    images = np.stack([stripes((RED, 2), (GREEN, 1)), stripes((GREEN, 3))])
    assert nearest(images, {"green": GREEN, "red": RED})[:, 0].tolist() == [[1, 1, 0], [0, 0, 0]]


def test_shares_count_every_pixel_for_its_nearest_class():
    image = stripes((RED, 5), ((240, 40, 0), 2), (GREEN, 2), ((20, 200, 60), 1))
    shares = class_shares([image], {"green": GREEN, "red": RED, "gray": GRAY})
    assert shares == {"green": 0.3, "red": 0.7, "gray": 0.0}


def test_shares_are_over_all_images_of_any_size():
    images = [stripes((RED, 3)), np.full((5, 2, 3), GREEN, np.uint8)]
    assert class_shares(iter(images), {"red": RED, "green": GREEN}) == {"red": 0.75, "green": 0.25}


def test_nearest_is_exact_also_between_bright_colors():
    palette = {"left": (254, 255, 255), "right": (255, 255, 254)}
    shares = class_shares([stripes(((254, 255, 255), 1), ((255, 255, 253), 3))], palette)
    assert shares == {"left": 0.25, "right": 0.75}
