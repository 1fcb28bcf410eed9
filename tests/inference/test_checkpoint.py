"""What is written can be read again, and what cannot be read is refused by name."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.errors import CheckpointError  # noqa: E402
from p2plib.inference import checkpoint  # noqa: E402
from p2plib.inference.checkpoint import INFO, Info, load_state, read_info, read_progress, save_state  # noqa: E402
from p2plib.models import build_generator  # noqa: E402
from p2plib.training.loop import train  # noqa: E402


@pytest.fixture(scope="module")
def info(tiny_config) -> Info:
    config = dataclasses.replace(tiny_config, direction="BtoA", time_budget="1h30m", gan_weight=0.5)
    return Info(config, ("photo", "map"), epoch=3, step=15, metrics={"l1": 0.25, "psnr": 12.5, "ssim": 0.125})


@pytest.fixture(scope="module")
def generator(tiny_config):
    return build_generator(tiny_config)


@pytest.fixture(scope="module")
def saved(generator, info, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "generator.keras"
    checkpoint.save_generator(path, generator, info)
    return path


def outputs(generator) -> np.ndarray:
    source = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    return generator.predict_on_batch(source)


def rewrite(source, target, change) -> None:
    """Copy a zip file; `change` gives each member's new content from its name and content, None to leave it out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)


def test_info_survives_json(info):
    assert Info.from_json(info.to_json()) == info


def test_a_loaded_generator_is_the_saved_one(saved, generator, info):
    loaded = p2plib.load(saved)
    assert loaded.info == info
    assert loaded.size == 32
    np.testing.assert_array_equal(outputs(loaded.generator), outputs(generator))


def test_any_keras_opens_it(saved, generator):
    np.testing.assert_array_equal(outputs(keras.saving.load_model(saved)), outputs(generator))


def test_it_computes_in_float32_whatever_training_used(tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, epochs=1, decay_epochs=0, precision="mixed_bfloat16")
    run = train(dataclasses.replace(config, run_dir=str(tmp_path / "run")))
    loaded = p2plib.load(run)
    assert loaded.info.config.precision == "mixed_bfloat16"
    assert {layer.compute_dtype for layer in loaded.generator.layers} == {"float32"}
    assert outputs(loaded.generator).dtype == np.float32


def test_info_is_read_without_keras(saved):
    code = "import sys; from p2plib.checkpoint import read_info; "
    code += "print(read_info(sys.argv[1]).step, 'keras' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["15", "False"]


def test_a_run_folder_stands_for_its_best_generator(tiny_run):
    best = tiny_run / "checkpoints" / "best.keras"
    assert checkpoint.find(tiny_run) == checkpoint.find(best) == best
    assert p2plib.load(tiny_run).info == read_info(best)


def missing(path, saved):
    pass


def web_page(path, saved):
    path.write_text("\n<!DOCTYPE html><html><body>Sign in</body></html>")


def empty(path, saved):
    path.touch()


def truncated(path, saved):
    path.write_bytes(saved.read_bytes()[:-100])


def plain_keras(path, saved):
    rewrite(saved, path, lambda name, content: None if name == INFO else content)


def newer_version(path, saved):
    def add(name, content):
        if name != INFO:
            return content
        values = json.loads(content)
        values["config"]["invented_later"] = 1
        return json.dumps(values)

    rewrite(saved, path, add)


def without_weights(path, saved):
    rewrite(saved, path, lambda name, content: None if name.endswith(".h5") else content)


def damaged_weights(path, saved):
    rewrite(saved, path, lambda name, content: content[: len(content) // 2] if name.endswith(".h5") else content)


def flipped_bytes(path, saved):
    content = bytearray(saved.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(255 - byte for byte in content[middle : middle + 8])
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (missing, "no such checkpoint"),
        (web_page, "a web page"),
        (empty, "damaged"),
        (truncated, "damaged"),
        (plain_keras, "not made by p2plib"),
        (newer_version, "invented_later"),
        (without_weights, "damaged"),
        (damaged_weights, "damaged"),
        (flipped_bytes, "damaged"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_name(saved, tmp_path, spoil, reason):
    path = tmp_path / "given.keras"
    spoil(path, saved)
    with pytest.raises(CheckpointError, match=rf"given\.keras: .*{reason}"):
        p2plib.load(path)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"best\.keras: no such checkpoint"):
        p2plib.load(tmp_path)


def filled(value: int, parts=("model", "optimizer")) -> dict[str, list]:
    """Twelve of every part, so that the order of names matters, and the last one a random state."""
    shapes = [(i + 1, 2) for i in range(11)]
    return {
        part: [
            *(keras.Variable(np.full(shape, value + i, np.float32)) for i, shape in enumerate(shapes)),
            keras.Variable(np.array([value, 0]), dtype="uint32", trainable=False),
        ]
        for part in parts
    }


def values(variables) -> list[np.ndarray]:
    return [np.asarray(variable) for members in variables.values() for variable in members]


def assert_all(variables, value) -> None:
    for one, two in zip(values(variables), values(filled(value, variables)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_discriminator_of_a_run_is_that_of_its_training_state(tiny_run):
    discriminator = checkpoint.load_discriminator(tiny_run)
    with np.load(tiny_run / "checkpoints" / "state.npz") as file:
        trained = [file[name] for name in sorted(file.files) if name.startswith("model/")]
    weights = [np.asarray(weight) for weight in discriminator.model.weights]
    assert weights and {weight.dtype.name for weight in weights} == {"float32"}
    for weight, saved in zip(reversed(weights), reversed(trained), strict=False):
        np.testing.assert_array_equal(weight, saved)


def test_a_run_without_a_discriminator_says_so(tiny_run, tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, gan_weight=0)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    with pytest.raises(CheckpointError, match="L1 alone"):
        checkpoint.load_discriminator(tmp_path)
    (tmp_path / "config.json").write_text((tiny_run / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"state\.npz"):
        checkpoint.load_discriminator(tmp_path)


def test_state_round_trip(tmp_path):
    path, progress = tmp_path / "state.npz", {"epoch": 3, "best": -float("inf"), "rows": [{"l1": 0.1}]}
    save_state(path, filled(7), progress)
    other = filled(0)
    load_state(path, other)
    assert_all(other, 7)
    assert read_progress(path) == progress


def test_state_of_other_networks_is_refused_and_nothing_is_set(tmp_path):
    path = tmp_path / "state.npz"
    save_state(path, filled(7), {})
    for spoil in (lambda part: part.pop(), lambda part: part.append(part[0]), lambda part: part.reverse()):
        other = filled(0)
        spoil(other["optimizer"])
        with pytest.raises(CheckpointError, match=r"state\.npz: belongs to other networks \(optimizer\)"):
            load_state(path, other)
        assert_all({"model": other["model"]}, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_with_nan_is_not_written(tmp_path, bad):
    path = tmp_path / "state.npz"
    save_state(path, filled(7), {"epoch": 1})
    before, poisoned = path.read_bytes(), filled(8)
    poisoned["optimizer"][5].assign(np.full((6, 2), bad))
    with pytest.raises(FloatingPointError):
        save_state(path, poisoned, {"epoch": 2})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_loss_scale_may_be_missing_and_no_other_part(tmp_path):
    path = tmp_path / "state.npz"
    save_state(path, filled(7, ["model"]), {})
    other = filled(0, ["model", "loss_scale"])
    load_state(path, other)
    assert_all({"model": other["model"]}, 7)
    assert_all({"loss_scale": other["loss_scale"]}, 0)
    with pytest.raises(CheckpointError, match="optimizer"):
        load_state(path, filled(0))


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99])
def test_a_truncated_state_is_refused_by_name(tmp_path, share):
    path = tmp_path / "state.npz"
    save_state(path, filled(7), {})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    for read in (read_progress, lambda path: load_state(path, filled(0))):
        with pytest.raises(CheckpointError, match=r"state\.npz: no training state"):
            read(path)


def test_a_state_with_flipped_bytes_is_refused_and_nothing_is_set(tmp_path):
    path = tmp_path / "state.npz"
    save_state(path, filled(7), {})
    content = bytearray(path.read_bytes())
    at = content.rindex(np.full((11, 2), 17, np.float32).tobytes())  # in the data of the optimizer's last weight
    content[at] ^= 255
    path.write_bytes(content)
    other = filled(0)
    with pytest.raises(CheckpointError, match=r"state\.npz: no training state"):
        load_state(path, other)
    assert_all(other, 0)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x05\x06" + bytes(18)], ids=["empty", "text", "empty zip"])
def test_another_file_is_no_state(tmp_path, content):
    (tmp_path / "state.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.npz: no training state"):
        read_progress(tmp_path / "state.npz")
