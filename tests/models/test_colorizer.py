from __future__ import annotations

import numpy as np
import pytest
from skimage.color import lab2rgb, rgb2lab

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from gradients import gradients  # noqa: E402
from tolerance import RGB, rounding  # noqa: E402

from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data import color, toy  # noqa: E402
from p2plib.data.image import to_float  # noqa: E402
from p2plib.models import GENERATORS, build_generator  # noqa: E402
from p2plib.models.colorizer import CHROMA, colored, lightness  # noqa: E402
from p2plib.models.stages import stages  # noqa: E402
from p2plib.runtime import dtype_policy  # noqa: E402


def small(**values) -> TrainConfig:
    return TrainConfig(task="colorize", **{"image_size": 32, "base_filters": 4, **values})


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return np.stack([toy.city(i, 32)[0] for i in range(2)])


def assert_same_lightness(source: np.ndarray, output: np.ndarray) -> None:
    """Where the color was not clipped, that is nearly everywhere: untrained networks choose little chroma."""
    one, two = (rgb2lab((x + 1) / 2)[..., 0] for x in (source, output))
    inside = np.abs(output).max(axis=-1) < 1
    assert inside.mean() > 0.5
    assert np.abs(one - two)[inside].max() < 0.01


@pytest.mark.parametrize("name", GENERATORS)
def test_a_colorizer_is_a_generator_that_keeps_the_lightness(name, photos):
    generator, source = build_generator(small(generator=name)), to_float(photos)
    output = np.asarray(generator(source))
    assert output.shape == source.shape and output.dtype == np.float32
    assert np.abs(output).max() <= 1
    assert_same_lightness(source, output)
    assert output.std(axis=-1).max() > 0
    assert "lightness" in [layer.name for layer in generator.layers]
    assert stages(generator)[-1].shape == (32, 32, 2)


def test_it_knows_nothing_of_the_source_s_colors(photos):
    generator = build_generator(small())
    seen, gray = (np.asarray(generator(to_float(x))) for x in (photos, np.stack(list(map(color.gray, photos)))))
    assert np.abs(seen - gray).mean() < 0.005  # gray is rounded to 8 bits


def test_lightness_and_chroma_make_the_image(photos):
    source = to_float(photos)
    lab = rgb2lab(photos)
    seen = lightness(source)
    np.testing.assert_allclose(np.asarray(seen)[..., 0], lab[..., 0] / 50 - 1, atol=rounding(12, 116 / 50))
    again = np.asarray(colored(seen, np.float32(lab[..., 1:] / CHROMA)))
    np.testing.assert_allclose(again, source, atol=2 * RGB)


def test_impossible_colors_are_clipped_but_find_their_way_back():
    chroma = keras.Variable(np.full((1, 1, 2, 2), [0.9, -0.9], np.float32))
    seen = keras.ops.convert_to_tensor(np.float32([[[[0.5], [-1]]]]))
    result = np.asarray(colored(seen, chroma))
    np.testing.assert_allclose((result + 1) / 2, lab2rgb([[[[75.0, 99, -99], [0, 99, -99]]]]), atol=1e-3)
    assert np.abs(result).max() == 1
    (found,) = gradients(lambda: keras.ops.sum(keras.ops.square(colored(seen, chroma))), [chroma])
    assert np.isfinite(found).all() and np.abs(found[0, 0, 0]).min() > 0


def test_colors_are_computed_in_float32_in_any_precision(photos, half_precision):
    with dtype_policy("mixed_bfloat16"):
        generator = build_generator(small())
    source = to_float(photos)
    assert generator.output.dtype == "float32"
    assert_same_lightness(source, np.asarray(generator(source)))
    assert {layer.compute_dtype for layer in generator.layers if layer.name in ("lightness", "colored")} == {"float32"}


def test_saved_colorizers_load_with_keras_and_this_package(photos, tmp_path):
    generator, source = build_generator(small()), to_float(photos)
    generator.save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras", safe_mode=True)
    np.testing.assert_allclose(np.asarray(loaded(source)), np.asarray(generator(source)), atol=1e-6)
