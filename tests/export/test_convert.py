"""An exported model gives the pixels of the Keras model, and an export that does not is never seen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deepmodels import untrained

pytest.importorskip("keras")

import p2plib
from p2plib.config import TrainConfig
from p2plib.data import toy
from p2plib.data.image import read_rgb
from p2plib.errors import CheckpointError, ConfigError, ExportError
from p2plib.export.convert import (
    FREE,
    Export,
    _beside,
    _convert_apart,
    convert,
    export_model,
    freed,
    multiple,
    parity,
    parity_images,
    runtime,
)
from p2plib.inference.checkpoint import INFO, find, read_info
from p2plib.inference.engines import FORMATS, format_of, open_engine
from p2plib.models import build_generator

VERSION_0_1 = Path(__file__).parents[1] / "version_0_1"


@pytest.fixture(scope="module")
def model(tiny_run):
    return p2plib.load(tiny_run)


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    """Exports by format, each made when it is first asked for."""
    root, made = tmp_path_factory.mktemp("exports"), {}

    def get(name: str) -> Export:
        if name not in made:
            made[name] = export_model(tiny_run, name, out=root / name)
        return made[name]

    return get


@pytest.fixture(scope="module")
def sources() -> np.ndarray:
    return np.stack([toy.city(i, 32)[0] for i in range(3)])


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_gives_the_images_of_keras(exported, model, tiny_run, name, capfd):
    done = exported(name)
    assert done.max_levels < 0.1
    assert done.mean_levels <= done.max_levels
    assert done.images == "3 validation images"
    assert (done.format, done.precision) == (name, "float32")
    assert format_of(done.folder) == name
    assert 200_000 < done.size < 700_000
    assert [entry.name for entry in done.folder.parent.iterdir() if entry.name.startswith(".")] == []
    record = json.loads((done.folder / INFO).read_text())["export"]
    assert (record["format"], record["max_levels"]) == (name, done.max_levels)
    assert set(record) == set(json.loads((VERSION_0_1 / "onnx" / INFO).read_text())["export"])
    assert record["pictures"] == done.images
    assert "Saved artifact" not in capfd.readouterr().out  # converters are silent
    card = (done.folder / "README.md").read_text()
    assert f"python -m p2plib translate {name} " in card
    assert "SSIM" in card
    assert read_rgb(done.folder / "sample.jpg").ndim == 3

    loaded = p2plib.load(done.folder)
    assert loaded.info == read_info(find(tiny_run))
    assert loaded.size == 32
    images = [toy.city(9, size)[0] for size in (32, 32, 40, 32, 70)]  # two full batches and a rest
    for one, two in zip(
        p2plib.translate(model, images, batch_size=2),
        p2plib.translate(loaded, images, batch_size=2),
        strict=True,
    ):
        assert one.shape == two.shape
        assert np.abs(one.astype(int) - two).max() <= 1


@pytest.mark.once
@pytest.mark.parametrize("name", FORMATS)
def test_any_batch_gives_the_same(exported, model, sources, name):
    engine = open_engine(exported(name).folder)
    floats = sources.astype(np.float32) / 127.5 - 1
    together = engine.predict_on_batch(floats)
    assert together.dtype == np.float32
    for i in (1, 2, 0):
        np.testing.assert_allclose(engine.predict_on_batch(floats[i : i + 1])[0], together[i], atol=1e-4)
    np.testing.assert_allclose(np.asarray(model.generator.predict_on_batch(floats)), together, atol=1e-4)
    assert np.abs(together[0] - together[1]).max() > 1e-3


@pytest.mark.keras
@pytest.mark.parametrize("name", FREE)
def test_height_and_width_are_free_where_the_format_can(exported, model, name):
    step, free = multiple(model.generator), freed(model.generator)
    engine = open_engine(exported(name).folder)
    for height, width in ((32, 32), (2 * step, step), (step, 3 * step)):
        noise = np.random.default_rng(0).uniform(-1, 1, (2, height, width, 3)).astype(np.float32)
        made = engine.predict_on_batch(noise)
        assert made.shape == noise.shape
        np.testing.assert_allclose(made, np.asarray(free.predict_on_batch(noise)), atol=1e-4)
    card = (exported(name).folder / "README.md").read_text()
    assert f"multiples of {step}; it was trained at 32 x 32" in card


@pytest.mark.keras
@pytest.mark.parametrize(("generator", "step"), [("lean", 8), ("unet", 64), ("resnet6", 4)])
def test_freed_generators_give_what_they_gave(generator, step):
    built = build_generator(TrainConfig(generator=generator, image_size=64, base_filters=4))
    free = freed(built)
    assert multiple(built) == step and free.input_shape == (None, None, None, 3)
    noise = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    one, two = (np.asarray(model.predict_on_batch(noise)) for model in (built, free))
    np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.keras
def test_a_generator_that_needs_its_size_keeps_it():
    import keras

    source = keras.Input((32, 32, 3))
    flat = keras.layers.Dense(12)(keras.layers.Flatten()(source))
    fixed = keras.Model(source, keras.layers.UpSampling2D(16)(keras.layers.Reshape((2, 2, 3))(flat)))
    assert freed(fixed) is fixed


@pytest.mark.once
def test_class_masks_are_exported(tiny_config, tmp_path):
    paths = untrained(tiny_config, tmp_path)
    done = export_model(paths["masks"], "onnx", out=tmp_path / "onnx")
    assert done.max_levels < 0.1
    one, two = (p2plib.translate(p2plib.load(path), [toy.city(3, 40)[0]])[0] for path in (paths["masks"], done.folder))
    assert one.shape == (40, 40, 1) and (one == two).mean() > 0.999
    assert "3 classes by number" in (done.folder / "README.md").read_text()


@pytest.mark.once
@pytest.mark.parametrize("name", FORMATS)
def test_half_is_half_as_large_and_nearly_the_same(exported, model, tiny_run, sources, name, tmp_path):
    if runtime.start().backend != "tensorflow":
        pytest.skip("converters run on TensorFlow; here in this process, which is quicker")
    convert(str(find(tiny_run)), str(tmp_path), name, half=True)
    weights = max(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    full = max(path.stat().st_size for path in exported(name).folder.rglob("*") if path.is_file())
    assert weights < 0.8 * full  # a tiny model has much graph beside its weights
    largest, mean = parity(model, open_engine(tmp_path), sources)
    assert 1e-3 < largest < 1  # weights were rounded
    assert 0 < mean < largest


def test_an_onnx_model_runs_without_keras_or_a_backend(exported, tmp_path):
    code = (
        "import sys, numpy as np, p2plib\n"
        "model = p2plib.load(sys.argv[1])\n"
        "[image] = p2plib.translate(model, [np.zeros((50, 40, 3), np.uint8)])\n"
        "print(image.shape, sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(exported("onnx").folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["(50, 40, 3) []"]


def test_noise_needs_the_checkpoint(exported):
    with pytest.raises(ConfigError, match="needs the Keras checkpoint"):
        p2plib.translate(p2plib.load(exported("onnx").folder), [np.zeros((32, 32, 3), np.uint8)], noise=1)


@pytest.mark.keras
def test_an_export_too_far_from_keras_replaces_nothing(exported, tiny_run, tmp_path):
    target = tmp_path / "out"
    if runtime.start().backend == "tensorflow":
        shutil.copytree(exported("savedmodel").folder, target)
    before = contents(tmp_path)
    with pytest.raises(ExportError, match=r"at most .* levels; that is more than -1, so nothing was exported"):
        export_model(tiny_run, "savedmodel", out=target, bound=-1)
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.once
def test_a_failed_conversion_is_told_in_one_sentence(tmp_path):
    (tmp_path / "bad.keras").write_bytes(b"no model")
    with pytest.raises(ExportError, match=r"bad\.keras: the conversion to onnx failed: .+"):
        _convert_apart(tmp_path / "bad.keras", tmp_path, "onnx", half=False)


def test_what_cannot_be_exported_is_refused_at_once(tiny_run, tmp_path, monkeypatch):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").touch()
    with pytest.raises(ExportError, match="thesis: holds something other than onnx"):
        export_model(tiny_run, "onnx", out=tmp_path / "thesis")
    with pytest.raises(ExportError, match=r"coreml: unknown export format.*savedmodel, onnx, litert, openvino"):
        export_model(tiny_run, "coreml", out=tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"missing\.keras: no such checkpoint"):
        export_model(tmp_path / "missing.keras", "onnx")
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ExportError, match=r"tf2onnx is not installed.*p2plib\[export\]"):
        export_model(tiny_run, "onnx", out=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["chapter1.txt", "thesis"]


def test_exports_go_beside_the_run_and_half_has_its_own_place(tmp_path):
    assert _beside(Path("run/checkpoints/best.keras")) == Path("run")
    assert _beside(Path("models/lone.keras")) == Path("models")


def test_toy_images_stand_in_for_data_that_are_gone(model, tmp_path):
    import dataclasses

    gone = dataclasses.replace(model.info.config, data=str(tmp_path / "gone"))
    other = dataclasses.replace(model, info=dataclasses.replace(model.info, config=gone))
    described, images = parity_images(other)
    assert described == "8 toy images"
    assert (images.shape, images.dtype) == ((8, 32, 32, 3), np.uint8)


@pytest.mark.once
def test_a_colorizer_is_exported_with_its_colors(tiny_colorizer, tmp_path):
    done = export_model(tiny_colorizer, "onnx", out=tmp_path / "onnx")
    assert done.max_levels < 0.1
    photo = toy.city(3, 75)[0]
    one, two = (p2plib.translate(p2plib.load(path), [photo])[0] for path in (tiny_colorizer, done.folder))
    assert np.abs(one.astype(int) - two).max() <= 1
