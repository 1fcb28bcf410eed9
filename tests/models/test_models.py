from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from p2plib.config import TrainConfig  # noqa: E402
from p2plib.models import DISCRIMINATORS, GENERATORS, build_discriminator, build_generator  # noqa: E402
from p2plib.models.layers import set_seeds  # noqa: E402
from p2plib.models.multiscale import multiscale  # noqa: E402
from p2plib.models.patchgan import STRIDED_LAYERS, logits_size, patch, patchgan  # noqa: E402
from p2plib.models.stages import stages, table  # noqa: E402
from p2plib.models.unet import unet  # noqa: E402


def images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, size, size, 3)).astype("float32")


def small(**values) -> TrainConfig:
    return TrainConfig(**{"image_size": 32, "base_filters": 4, **values})


def test_weights_of_the_paper():
    assert unet().count_params() == pytest.approx(54.4e6, rel=0.002)
    discriminator = patchgan()
    assert discriminator.count_params() == pytest.approx(2.77e6, rel=0.002)
    assert discriminator.output_shape == (None, 30, 30, 1)


@pytest.mark.parametrize("upsampling", ["transpose", "resize"])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_keeps_the_shape_and_the_range(name, norm, upsampling):
    generator = build_generator(small(generator=name, norm=norm, upsampling=upsampling))
    output = np.asarray(generator(images(2, 32)))
    assert output.shape == (2, 32, 32, 3)
    assert output.dtype == np.float32
    assert np.abs(output).max() <= 1
    assert output.std() > 0


@pytest.mark.parametrize("name", GENERATORS)
def test_gray_images_have_no_tint(name):
    color, gray = (build_generator(small(generator=name, target_channels=channels)) for channels in (3, 1))
    gray.set_weights(color.get_weights())
    output = np.asarray(gray(images(2, 32)))
    assert output.shape == (2, 32, 32, 3) and output.dtype == np.float32 and output.std() > 0
    np.testing.assert_array_equal(output, output[..., :1].repeat(3, -1))
    np.testing.assert_allclose(output[..., 0], np.asarray(color(images(2, 32))).mean(-1), atol=1e-6)


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512, 1024])
def test_unet_narrows_to_one_pixel_at_any_size(size):
    shapes = [layer.output.shape[1] for layer in unet(size, 1).layers if isinstance(layer, keras.layers.Conv2D)]
    assert min(shapes) == 1
    assert unet(size, 1).output_shape == (None, size, size, 3)


@pytest.mark.parametrize("name", GENERATORS)
def test_instance_norm_makes_a_image_independent_of_its_batch(name):
    generator, batch = build_generator(small(generator=name)), images(3, 32)
    alone = np.concatenate([np.asarray(generator(batch[i : i + 1])) for i in range(3)])
    np.testing.assert_allclose(np.asarray(generator(batch)), alone, atol=1e-5)


@pytest.mark.parametrize("name", GENERATORS)
def test_weights_are_drawn_from_n_002_and_differ_between_layers(name):
    generator = build_generator(small(generator=name, base_filters=16))
    kernels = [np.asarray(v) for v in generator.trainable_variables if v.path.endswith("kernel")]
    values = np.concatenate([kernel.ravel() for kernel in kernels])
    assert abs(values.mean()) < 1e-3
    assert values.std() == pytest.approx(0.02, rel=0.02)
    assert len({kernel.ravel()[0] for kernel in kernels}) == len(kernels)


@pytest.mark.parametrize("name", GENERATORS)
def test_dropout_is_off_in_use_and_repeatable_by_seed(name):
    generator, batch = build_generator(small(generator=name)), images(1, 32)

    def noisy(*entropy: int) -> np.ndarray:
        set_seeds(generator, *entropy)
        return np.asarray(generator(batch, training=True))

    np.testing.assert_array_equal(np.asarray(generator(batch)), np.asarray(generator(batch)))
    np.testing.assert_array_equal(noisy(1, 2), noisy(1, 2))
    assert np.abs(noisy(1, 2) - noisy(1, 3)).max() > 0


@pytest.mark.parametrize("receptive_field", STRIDED_LAYERS)
def test_receptive_field(receptive_field):
    """Change one pixel after another, and see how far from the middle logit a change is still felt."""
    size = {1: 32, 16: 32, 70: 128, 286: 512}[receptive_field]
    discriminator = patchgan(size, 1, "none", receptive_field)
    for variable in discriminator.trainable_variables:
        variable.assign(np.full(variable.shape, 0.1, "float32"))  # positive, so that no influence cancels out
    logits = logits_size(size, receptive_field)
    assert discriminator.output_shape[1:3] == (logits, logits)
    middle, blank = logits // 2, np.zeros((1, size, size, 3), "float32")
    before = np.asarray(discriminator([blank, blank]))[0, middle, middle, 0]
    columns = []
    for column in range(size):
        changed = blank.copy()
        changed[:, :, column] = 1
        columns.append(np.asarray(discriminator([blank, changed]))[0, middle, middle, 0] != before)
    felt = np.flatnonzero(columns)
    assert felt[-1] - felt[0] + 1 == receptive_field
    top, left, side = patch(discriminator, middle, middle)
    assert (top, left, side) == (felt[0], felt[0], receptive_field)


def test_the_second_scale_is_a_patchgan_of_the_image_at_half_size():
    both, one = multiscale(64, 4, "instance", 16), patchgan(32, 4, "instance", 16)
    assert [shape[1:] for shape in both.output_shape] == [(30, 30, 1), (14, 14, 1)]
    assert both.count_params() == 2 * one.count_params()
    assert patch(both, 3, 4) == patch(patchgan(64, 4, "instance", 16), 3, 4)
    half = {weight.path: weight for weight in both.weights}
    for weight in one.weights:
        weight.assign(half[f"half_{weight.path}"])
    source, target = images(2, 64)[:1], images(2, 64)[1:]
    small = [image.reshape(1, 32, 2, 32, 2, 3).mean((2, 4)) for image in (source, target)]
    np.testing.assert_allclose(np.asarray(both([source, target])[1]), np.asarray(one(small)), atol=1e-5)


def test_neighboring_logits_see_neighboring_patches():
    discriminator = patchgan(256, 1)
    one, right, below = patch(discriminator, 3, 4), patch(discriminator, 3, 5), patch(discriminator, 4, 4)
    assert (right.left - one.left, right.top - one.top) == (8, 0)
    assert (below.left - one.left, below.top - one.top) == (0, 8)


@pytest.mark.parametrize("norm", ["instance", "none"])
@pytest.mark.parametrize("name", [*GENERATORS, *DISCRIMINATORS])
def test_stages_account_for_every_parameter(name, norm):
    config = small(norm=norm, receptive_field=16)
    if name in DISCRIMINATORS:
        model = build_discriminator(replace(config, discriminator=name))
    else:
        model = build_generator(replace(config, generator=name))
    found = stages(model)
    assert sum(stage.parameters for stage in found) == model.count_params()
    assert len({stage.name for stage in found}) == len(found)
    assert found[-1].shape == model.outputs[-1].shape[1:]
    assert f"{model.count_params():,}" in table(model).splitlines()[-1]


def test_stages_tell_where_the_skips_of_the_unet_go():
    found = {stage.name: stage for stage in stages(unet(32, 4))}
    assert list(found) == [f"down{i}" for i in range(1, 6)] + [f"up{i}" for i in range(5, 0, -1)]
    assert {name: stage.skip for name, stage in found.items() if stage.skip} == {
        f"up{i}": f"down{i - 1}" for i in range(2, 6)
    }
    assert found["down5"].shape == (1, 1, 32) and found["up2"].shape == (16, 16, 8)


def test_no_discriminator_without_gan():
    assert build_discriminator(small(gan_weight=0)) is None


@pytest.mark.parametrize("name", GENERATORS)
def test_saved_generators_load_without_this_package(name, tmp_path):
    generator, batch = build_generator(small(generator=name)), images(1, 32)
    generator.save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras", custom_objects={}, safe_mode=True)
    np.testing.assert_allclose(np.asarray(loaded(batch)), np.asarray(generator(batch)), atol=1e-6)
