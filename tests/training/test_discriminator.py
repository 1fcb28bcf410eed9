"""A run's discriminator comes back from its training state, and judges patches."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("keras")
pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.data.image import to_float  # noqa: E402
from p2plib.errors import CheckpointError  # noqa: E402
from p2plib.models.patchgan import logits_size  # noqa: E402
from p2plib.training.discriminator import load_discriminator, patch_realness  # noqa: E402


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
