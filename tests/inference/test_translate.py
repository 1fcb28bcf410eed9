"""One engine: the same image gives the same result, alone or in company, at its own size."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from skimage.color import rgb2lab

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.data import color, toy  # noqa: E402
from p2plib.data.image import resize_image, to_float  # noqa: E402
from p2plib.data.scale import Scale  # noqa: E402
from p2plib.errors import ConfigError  # noqa: E402
from p2plib.inference.checkpoint import Checkpoint, CheckpointInfo  # noqa: E402
from p2plib.inference.tiling import tiled  # noqa: E402
from p2plib.inference.translate import tiled_at  # noqa: E402
from p2plib.models import build_generator  # noqa: E402


@pytest.fixture(scope="module")
def model(tiny_run) -> Checkpoint:
    return p2plib.load(tiny_run)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [toy.city(i, 32)[0] for i in range(5)]


@pytest.fixture(scope="module")
def alone(model, images) -> list[np.ndarray]:
    return [p2plib.translate(model, [image])[0] for image in images]


def assert_close(one, two) -> None:
    """Equal but for rounding: a library may add in another order at another batch size, and 0.5 rounds either way."""
    assert one.shape == two.shape
    assert np.abs(one.astype(int) - two).max() <= 1


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_company_and_batch_size_do_not_matter(model, images, alone, batch_size):
    for one, two in zip(alone, p2plib.translate(model, images, batch_size=batch_size), strict=True):
        assert_close(one, two)
    assert_close(alone[0], p2plib.translate(model, [*images[3:], images[0]], batch_size=batch_size)[-1])
    assert np.abs(alone[0].astype(int) - alone[1]).max() > 1


def test_results_have_the_size_of_their_sources(model):
    sizes = [(32, 32), (20, 50), (70, 33), (64, 200), (1, 1)]
    results = p2plib.translate(model, [np.zeros((*size, 3), np.uint8) for size in sizes])
    assert [result.shape for result in results] == [(*size, 3) for size in sizes]
    assert all(result.dtype == np.uint8 for result in results)


def test_without_noise_the_result_never_changes(model, images):
    np.testing.assert_array_equal(p2plib.translate(model, images), p2plib.translate(model, images))


def test_noise_follows_from_its_seed(model, images):
    def result(noise):
        return np.stack(p2plib.translate(model, images[:2], noise))

    np.testing.assert_array_equal(result(1), result(1))
    assert (result(1) != result(2)).any()
    assert (result(1) != result(None)).any()
    assert (result(0) != result(None)).any()


def test_noise_does_not_depend_on_company(model, images):
    among = p2plib.translate(model, images, noise=1, batch_size=2)
    for image, result in zip(images, among, strict=True):
        np.testing.assert_array_equal(p2plib.translate(model, [image], noise=1)[0], result)


def test_without_dropout_noise_changes_nothing(model, images, tiny_config):
    generator = build_generator(dataclasses.replace(tiny_config, dropout=0.0))
    plain = Checkpoint(generator, model.info)
    for one, two in zip(p2plib.translate(plain, images), p2plib.translate(plain, images, noise=1), strict=True):
        assert_close(one, two)


def test_the_identity_returns_the_image(tiny_config):
    """Nothing is lost on the way to the network and back: all 256 values, in all three channels."""
    inputs = keras.Input((32, 32, 3))
    identity = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    checkpoint = Checkpoint(identity, CheckpointInfo(tiny_config, ("A", "B"), 0, 0, {}))
    images = np.arange(2 * 32 * 32 * 3, dtype=np.uint32).reshape(2, 32, 32, 3).astype(np.uint8)
    assert len(np.unique(images)) == 256
    np.testing.assert_array_equal(p2plib.translate(checkpoint, images), images)


def test_large_images_are_translated_at_their_own_scale(model):
    """In tiles: what the network makes of a piece of the image, it makes of that piece alone."""
    model = Checkpoint(model.generator, dataclasses.replace(model.info, scale=None))  # as of earlier versions
    city = toy.city(3, 32)[0]
    large = np.tile(city, (1, 3, 1))
    assert_close(p2plib.translate(model, [large])[0], tiled(network(model), large, 32))
    assert (p2plib.translate(model, [large])[0] != p2plib.translate(model, [large], fit=True)[0]).any()


def scaled(model, median, largest) -> Checkpoint:
    return Checkpoint(model.generator, dataclasses.replace(model.info, scale=Scale(median, largest)))


def test_images_up_to_the_size_of_training_images_are_seen_as_a_whole_as_in_evaluation(model):
    """The scale of a training image is that of training, so `translate` is as good as `evaluate`."""
    checkpoint = scaled(model, (64, 64), (80, 64))
    for size in ((64, 64), (80, 50), (33, 64)):
        image = resize_image(toy.city(3, 64)[0], *size)
        assert_close(p2plib.translate(checkpoint, [image])[0], p2plib.translate(checkpoint, [image], fit=True)[0])


def test_larger_images_are_brought_to_the_scale_of_training_and_back(model):
    checkpoint = scaled(model, (64, 128), (64, 128))
    large = resize_image(toy.city(3, 64)[0], 192, 256)
    expected = resize_image(tiled(network(model), resize_image(large, 96, 64), 32), 192, 256)
    assert_close(p2plib.translate(checkpoint, [large])[0], expected)


def test_training_images_smaller_than_the_network_enlarge_others_alike(model):
    checkpoint = scaled(model, (16, 16), (16, 16))
    assert tiled_at(checkpoint, 40, 20) == (80, 40)
    assert tiled_at(checkpoint, 32, 32) is None


def network(model):
    return lambda tiles: model.generator.predict_on_batch(to_float(tiles))


def test_fitted_images_are_resized_there_and_back(model):
    for size in ((70, 33), (20, 30)):
        image = resize_image(toy.city(3, 64)[0], *size)
        [small] = p2plib.translate(model, [resize_image(image, 32, 32)])
        [fitted] = p2plib.translate(model, [image], fit=True)
        assert_close(fitted, resize_image(small, *size))


def test_images_of_all_sizes_keep_their_order(model, images):
    large = [toy.city(9, 50)[0], toy.city(8, 70)[0]]
    mixed = [images[0], large[0], images[1][:20], large[1], images[2]]
    for image, result in zip(mixed, p2plib.translate(model, mixed, batch_size=2), strict=True):
        assert_close(result, p2plib.translate(model, [image])[0])


def test_tiles_with_noise_are_repeatable(model):
    large = toy.city(9, 50)[0]
    [once], [again] = (p2plib.translate(model, [large], noise=1, batch_size=size) for size in (1, 8))
    np.testing.assert_array_equal(once, again)
    assert (once != p2plib.translate(model, [large], noise=2)[0]).any()
    np.testing.assert_array_equal(once, p2plib.translate(model, [toy.city(1, 40)[0], large], noise=1)[1])


def test_only_large_images_show_progress(model, images, capsys, monkeypatch):
    monkeypatch.setattr("p2plib.inference.tiling.DELAY", 0)
    p2plib.translate(model, images, progress=True)
    assert capsys.readouterr().err == ""
    p2plib.translate(model, [toy.city(9, 50)[0]], progress=True)
    assert "tiles" in capsys.readouterr().err


@pytest.fixture(scope="module")
def colorizer(tiny_colorizer) -> Checkpoint:
    return p2plib.load(tiny_colorizer)


def test_a_colorizer_keeps_the_lightness_at_any_size(colorizer):
    photos = [toy.city(i, size)[0] for i, size in enumerate((32, 20, 75))]
    photos.append(np.ascontiguousarray(photos[2][:40]))
    results = p2plib.translate(colorizer, photos, batch_size=2)
    for photo, result in zip(photos, results, strict=True):
        assert np.abs(rgb2lab(result) - rgb2lab(photo))[..., 0].max() < 0.5
        assert np.hypot(*rgb2lab(result)[..., 1:].reshape(-1, 2).T).mean() > 3


def test_a_colorizer_makes_the_same_of_a_photo_and_of_its_gray(colorizer):
    photo = toy.city(3, 32)[0]
    one, two = p2plib.translate(colorizer, [photo, color.gray(photo)])
    assert np.abs(one.astype(int) - two).mean() < 2  # the gray is rounded


def test_a_colorizer_s_colors_are_the_network_s_enlarged(colorizer):
    photo = toy.city(3, 75)[0]
    [result], [fitted] = (p2plib.translate(colorizer, [photo], fit=fit) for fit in (False, True))
    np.testing.assert_array_equal(result, fitted)
    generated = colorizer.generator.predict_on_batch(to_float(resize_image(photo, 32, 32))[None])[0]
    np.testing.assert_array_equal(result, color.recolor(photo, color.rgb_to_lab((generated + 1) / 2)[..., 1:]))
    with_noise = p2plib.translate(colorizer, [photo], noise=1)[0]
    assert (with_noise != result).any()
    np.testing.assert_array_equal(with_noise, p2plib.translate(colorizer, [photo, photo], noise=1)[1])


class Exported:
    """The least that an exported model can do."""

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        assert x.dtype == np.float32
        return -x


def test_an_exported_model_is_used_alike(model):
    checkpoint = Checkpoint(Exported(), dataclasses.replace(model.info, scale=None))
    for image in (toy.city(1, 32)[0], toy.city(1, 75)[0]):
        np.testing.assert_array_equal(p2plib.translate(checkpoint, [image])[0], 255 - image)


def test_noise_needs_keras(model):
    with pytest.raises(ConfigError, match="needs the Keras checkpoint"):
        p2plib.translate(Checkpoint(Exported(), model.info), [toy.city(1, 32)[0]], noise=0)
