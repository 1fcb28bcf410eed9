"""A term, a generator, a discriminator or a GAN loss of one's own is registered by name, and used like those built in.

Notebooks do so: `loop.train` and all that it writes know the names.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from gradients import gradients  # noqa: E402
from keras import layers, ops  # noqa: E402

import p2plib  # noqa: E402
from p2plib.errors import ConfigError  # noqa: E402
from p2plib.models.patchgan import patchgan  # noqa: E402
from p2plib.models.unet import unet  # noqa: E402
from p2plib.registry import DISCRIMINATORS, GAN_LOSSES, GENERATORS, TERMS  # noqa: E402
from p2plib.training.gan_losses import GANLoss  # noqa: E402
from p2plib.training.pix2pix import Pix2Pix  # noqa: E402
from p2plib.training.run import read_log  # noqa: E402


@pytest.fixture
def registries():
    """What a test registers is gone after it."""
    yield
    for registry in (DISCRIMINATORS, GAN_LOSSES, GENERATORS, TERMS):
        for name in registry.added:
            del registry._things[name]


@pytest.fixture
def brightness(registries):
    """A term that wants dark images: the mean of what is generated, from 0 (black) to 1."""

    @TERMS.register("brightness")
    def brightness(step):
        return ops.mean(step.generated) / 2 + 0.5

    return brightness


def test_a_term_has_a_column_and_a_number_and_does_what_it_says(brightness, tiny_config, tmp_path, capsys):
    config = dataclasses.replace(tiny_config, epochs=3, decay_epochs=0, learning_rate=6e-3)
    with_term = dataclasses.replace(config, terms={"brightness": 1000.0}, run_dir=str(tmp_path / "with"))
    rows = read_log(p2plib.train(with_term) / "log.csv")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [row["brightness"] for row in rows] == sorted((row["brightness"] for row in rows), reverse=True)
    assert rows[-1]["brightness"] < 0.8 * rows[0]["brightness"]
    for row, line in zip(rows, lines, strict=True):
        assert f"  brightness {row['brightness']:.3f}  " in line
        assert list(row) == [
            *("epoch", "step", "learning_rate", "brightness", "discriminator", "gan", "l1"),
            *("val_l1", "val_psnr", "val_ssim", "val_perceptual", "seconds", "pictures_per_second"),
        ]
    without = read_log(p2plib.train(dataclasses.replace(config, run_dir=str(tmp_path / "without"))) / "log.csv")
    assert "brightness" not in without[0]
    assert p2plib.TrainConfig.read(tmp_path / "with" / "config.json").terms == {"brightness": 1000.0}


def test_a_run_with_a_term_goes_on_in_the_middle_of_an_epoch(brightness, tiny_config, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    config = dataclasses.replace(tiny_config, epochs=1, decay_epochs=0, terms={"brightness": 10.0})
    straight, broken = (dataclasses.replace(config, run_dir=str(tmp_path / name)) for name in ("straight", "broken"))
    p2plib.train(straight)
    p2plib.train(broken, callbacks=[Stop()])
    p2plib.train(resume=tmp_path / "broken")
    [one], [two] = (read_log(tmp_path / name / "log.csv") for name in ("straight", "broken"))
    for name in ("brightness", "l1", "gan", "discriminator", "val_ssim"):
        assert one[name] == two[name]


def test_a_warm_up_has_the_term_too(brightness, tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, epochs=2, decay_epochs=0, warmup_epochs=1, run_dir=str(tmp_path))
    rows = read_log(p2plib.train(dataclasses.replace(config, terms={"brightness": 10.0})) / "log.csv")
    assert np.isnan([row["gan"] for row in rows]).tolist() == [True, False]
    assert np.isfinite([row["brightness"] for row in rows]).all()


def test_a_term_adds_its_gradient_times_its_weight(brightness):
    keras.utils.set_random_seed(0)
    generator, discriminator = unet(32, 4), patchgan(32, 4, receptive_field=16)
    for variable in generator.trainable_variables:
        variable.assign(variable * 5)  # away from the flat start, so that every path carries a gradient
    source, target = map(
        ops.convert_to_tensor, np.random.default_rng(1).uniform(-1, 1, (2, 2, 32, 32, 3)).astype("float32")
    )

    def of_objective(terms):
        model = Pix2Pix(generator, discriminator, terms={"l1": 1.0, "gan": 1.0} | terms)
        return gradients(lambda: model.compute_loss(source, target, generator(source)), generator.trainable_variables)

    alone = gradients(lambda: ops.mean(generator(source)) / 2, generator.trainable_variables)
    assert np.median([np.linalg.norm(gradient) for gradient in alone]) > 1e-4
    for whole, others, own in zip(of_objective({"brightness": 7.0}), of_objective({}), alone, strict=True):
        np.testing.assert_allclose(whole - others, 7 * own, rtol=1e-3, atol=1e-5)


def test_a_generator_trains_by_name_and_its_checkpoint_loads(registries, tiny_config, tmp_path):
    given = []

    @GENERATORS.register("one-layer")
    def one_layer(*, image_size, base_filters, **settings):
        given.append({"image_size": image_size, "base_filters": base_filters} | settings)
        inputs = layers.Input((image_size, image_size, 3))
        return keras.Model(inputs, layers.Conv2D(3, 3, padding="same", activation="tanh", dtype="float32")(inputs))

    config = dataclasses.replace(tiny_config, generator="one-layer", epochs=2, decay_epochs=0, learning_rate=0.01)
    run = p2plib.train(dataclasses.replace(config, run_dir=str(tmp_path / "run")))
    names = {"image_size", "base_filters", "norm", "upsampling", "dropout"}
    assert [set(settings) for settings in given] == [names] * len(given)
    assert given[0] == {name: getattr(config, name) for name in names}
    rows = read_log(run / "log.csv")
    assert rows[-1]["l1"] < rows[0]["l1"]
    model = p2plib.load(run)
    assert model.info.config.generator == "one-layer"
    assert [type(layer).__name__ for layer in model.generator.layers] == ["InputLayer", "Conv2D"]
    best = min(row["val_perceptual"] for row in rows)
    assert p2plib.evaluate(model).mean["perceptual"] == pytest.approx(best, rel=1e-3)
    p2plib.train(dataclasses.replace(config, epochs=3), resume=run)
    assert len(read_log(run / "log.csv")) == 3
    command = [sys.executable, "-m", "p2plib"]  # another process, where nobody registered the generator
    done = subprocess.run([*command, "evaluate", str(run)], capture_output=True, text=True)
    assert "ssim" in done.stdout, done.stderr
    done = subprocess.run([*command, "train", "--resume", str(run), "--epochs", "4"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "The generator 'one-layer' is not built in: register it here" in done.stderr


def test_a_discriminator_and_a_gan_loss_train_by_name(registries, tiny_config, tmp_path):
    @DISCRIMINATORS.register("whole")
    def whole(*, image_size, base_filters, **settings):
        sides = [layers.Input((image_size, image_size, 3)) for _ in range(2)]
        x = layers.Conv2D(base_filters, 4, 4, activation="relu")(layers.Concatenate()(sides))
        return keras.Model(sides, layers.Dense(1, dtype="float32")(layers.GlobalAveragePooling2D(keepdims=True)(x)))

    @GAN_LOSSES.register("wasserstein")
    class Wasserstein(GANLoss):
        @staticmethod
        def discriminator(real, fake):
            return ops.mean(fake) - ops.mean(real)

        @staticmethod
        def generator(fake):
            return -ops.mean(fake)

    config = dataclasses.replace(tiny_config, discriminator="whole", gan_loss="wasserstein", epochs=2, decay_epochs=0)
    rows = read_log(p2plib.train(dataclasses.replace(config, run_dir=str(tmp_path / "run"))) / "log.csv")
    assert rows[-1]["discriminator"] < min(rows[0]["discriminator"], 0)  # which no other loss here can be


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"terms": {"brightnes": 1.0}}, r"term is 'brightnes'.*Did you mean brightness\?"),
        ({"generator": "unet2"}, r"generator is 'unet2'; it must be one of lean, unet.*Did you mean unet\?"),
    ],
    ids=["term", "generator"],
)
def test_another_name_is_refused(brightness, values, message):
    with pytest.raises(ConfigError, match=message):
        p2plib.TrainConfig(**values)


def test_what_is_built_in_stays(registries):
    with pytest.raises(ConfigError, match="'unet' is built in"):
        GENERATORS.register("unet")(lambda **settings: None)
    assert GENERATORS["unet"] is unet
