"""A run's discriminator comes back from its training state, and judges patches."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("keras")
pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.data import toy  # noqa: E402
from p2plib.data.image import resize_image, to_float  # noqa: E402
from p2plib.errors import CheckpointError  # noqa: E402
from p2plib.inference.checkpoint import save_generator  # noqa: E402
from p2plib.models.patchgan import logits_size  # noqa: E402
from p2plib.training.discriminator import load_discriminator, patch_realness, wishes  # noqa: E402


def test_the_discriminator_of_a_run_is_that_of_its_training_state(tiny_run):
    discriminator = load_discriminator(tiny_run)
    with np.load(tiny_run / "checkpoints" / "state.npz") as file:
        trained = [file[name] for name in sorted(file.files) if name.startswith("model/")]
    weights = [np.asarray(weight) for weight in discriminator.model.weights]
    assert weights and {weight.dtype.name for weight in weights} == {"float32"}
    for weight, saved in zip(reversed(weights), reversed(trained), strict=False):
        np.testing.assert_array_equal(weight, saved)


def test_a_run_without_a_discriminator_says_so(tiny_run, tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, gan_weight=0)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    with pytest.raises(CheckpointError, match="without a GAN"):
        load_discriminator(tmp_path)
    (tmp_path / "config.json").write_text((tiny_run / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"state\.npz"):
        load_discriminator(tmp_path)


def test_the_discriminator_judges_patches(tiny_run):
    result = p2plib.evaluate(p2plib.load(tiny_run))
    discriminator = load_discriminator(tiny_run)
    realness = patch_realness(discriminator, result.sources, result.targets)
    size = logits_size(32, 16)
    assert realness.shape == (3, size, size)
    assert 0 <= realness.min() < realness.max() <= 1
    alone = patch_realness(discriminator, result.sources[1:2], result.targets[1:2])
    np.testing.assert_allclose(alone[0], realness[1], atol=1e-6)
    logits = discriminator.model([to_float(image[:1]) for image in (result.sources, result.targets)])
    np.testing.assert_allclose(realness[0], 1 / (1 + np.exp(-np.asarray(logits)[0, ..., 0])), atol=1e-6)


def test_two_scales_train_and_the_finer_one_judges(tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, discriminator="multiscale", epochs=1, decay_epochs=0)
    run = p2plib.train(dataclasses.replace(config, run_dir=str(tmp_path)))
    result = p2plib.evaluate(p2plib.load(run))
    discriminator = load_discriminator(run)
    realness = patch_realness(discriminator, result.sources, result.targets)
    finest = discriminator.model([to_float(image[:1]) for image in (result.sources, result.targets)])[0]
    assert realness.shape == (3, 14, 14)
    np.testing.assert_allclose(realness[0], 1 / (1 + np.exp(-np.asarray(finest)[0, ..., 0])), atol=1e-6)


def test_the_file_of_a_generator_has_the_discriminator_beside_it(tiny_run):
    beside = load_discriminator(tiny_run / "checkpoints" / "last.keras")
    assert beside.config.base_filters == 4
    for weight, trained in zip(beside.model.weights, load_discriminator(tiny_run).model.weights, strict=True):
        np.testing.assert_allclose(weight, trained, rtol=1e-3, atol=1e-6)  # half precision


def test_a_shipped_discriminator_tells_sharp_from_blurred():
    discriminator = load_discriminator("toy-satellite")
    photo, drawing = (resize_image(side, 128, 128)[None] for side in toy.city(100_000, 256))
    blurred = resize_image(resize_image(photo[0], 32, 32), 128, 128)[None]
    sharp, soft = (patch_realness(discriminator, drawing, image).mean() for image in (np.roll(photo, 2, 2), blurred))
    assert sharp > 0.5 > soft


def test_a_file_without_a_discriminator_says_so(tiny_run, tmp_path):
    model = p2plib.load(tiny_run)
    save_generator(tmp_path / "old.keras", model.generator, model.info)
    with pytest.raises(CheckpointError, match=r"old\.keras: has no discriminator"):
        load_discriminator(tmp_path / "old.keras")


def test_wishes_are_the_negative_gradients_of_the_terms(tiny_run):
    result = p2plib.evaluate(p2plib.load(tiny_run))
    discriminator = load_discriminator(tiny_run)
    one = [images[:1] for images in (result.sources, result.targets, result.generated)]
    found = wishes(discriminator, *one)
    source, target, made = map(to_float, one)
    apart = target != made  # where they are equal, the backends choose a slope
    np.testing.assert_allclose(found["l1"][apart], np.sign(target - made)[apart] / made.size, atol=1e-7)

    def loss(image: np.ndarray) -> float:
        logits = np.asarray(discriminator.model([source, image.astype(np.float32)]), np.float64)
        return np.log1p(np.exp(-logits)).mean()

    direction = found["gan"] / np.abs(found["gan"]).max()
    slope = (loss(made + 1e-3 * direction) - loss(made - 1e-3 * direction)) / 2e-3
    assert slope == pytest.approx(-(found["gan"] * direction).sum(), rel=0.02)
    assert slope < 0
