"""A run that starts from a trained model: what fits is taken, the rest is new, and a table says which."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shutil
import zipfile

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib import runtime  # noqa: E402
from p2plib.errors import CheckpointError, ConfigError, KaggleError  # noqa: E402
from p2plib.inference import checkpoint  # noqa: E402
from p2plib.kaggle import kernel  # noqa: E402
from p2plib.models import build_discriminator, build_generator  # noqa: E402
from p2plib.training import fine_tuning  # noqa: E402
from p2plib.training.discriminator import load_discriminator  # noqa: E402
from p2plib.training.loop import build, train  # noqa: E402


@pytest.fixture(scope="module")
def tuned(tiny_run, tiny_config, tmp_path_factory):
    """The run folder of an epoch that learns next to nothing, from `tiny_run`, whose file is gone then; the output."""
    folder = tmp_path_factory.mktemp("tuned")
    shutil.copy(tiny_run / "checkpoints" / "best.keras", folder / "start.keras")
    values = {"init": str(folder / "start.keras"), "epochs": 1, "decay_epochs": 0, "ema": 0.9, "learning_rate": 1e-12}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        run = train(dataclasses.replace(tiny_config, **values, seed=7, run_dir=str(folder / "run")))
    (folder / "start.keras").unlink()
    return run, out.getvalue()


def without(member: str, source, target):
    """Copy a checkpoint without one of its members."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name != member:
                new.writestr(name, old.read(name))
    return target


def best(run):
    return run / "checkpoints" / "best.keras"


def assert_equal(mine, theirs, tolerance=0.0) -> None:
    assert mine.keys() == theirs.keys()
    for path in mine:
        np.testing.assert_allclose(mine[path], theirs[path], atol=tolerance, rtol=tolerance, err_msg=path)


def trained(config, **changes):
    """The networks and the table of a new run, before it trains."""
    config = dataclasses.replace(config, **changes)
    source = fine_tuning.read(fine_tuning.origin(config))
    generator, discriminator = build_generator(config), build_discriminator(config)
    return generator, fine_tuning.begin(source, config, generator, discriminator)


def test_a_checkpoint_holds_its_discriminator(tiny_run):
    last = tiny_run / "checkpoints" / "last.keras"
    saved = checkpoint.read_discriminator(last)
    assert_equal(saved, fine_tuning.weights_of(load_discriminator(tiny_run).model), tolerance=1e-3)
    assert {array.dtype for array in saved.values()} == {np.dtype("float32")}
    assert not np.array_equal(saved["logits_conv/kernel"], checkpoint.read_discriminator(best(tiny_run)))


def test_numbers_beyond_half_precision_are_kept(tmp_path):
    weights = {"a/variance": np.array([1e6, 1], np.float32), "b/kernel": np.array([0.1], np.float32)}
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.writestr(checkpoint.DISCRIMINATOR, checkpoint._packed(weights))
    read = checkpoint.read_discriminator(tmp_path / "x.keras")
    np.testing.assert_array_equal(read["a/variance"], weights["a/variance"])
    assert read["b/kernel"] == np.float16(0.1)


def test_the_same_networks_begin_where_the_others_ended(tiny_run, tuned):
    run, out = tuned
    assert "starting from" in out
    assert out.count("weights taken\n") == 2 and "generator: all" in out and "discriminator: all" in out
    before, after = checkpoint.read_info(best(tiny_run)).metrics, checkpoint.read_info(best(run)).metrics
    assert after == pytest.approx(before, rel=1e-4)
    weights = [fine_tuning.weights_of(p2plib.load(folder).generator) for folder in (tiny_run, run)]
    assert_equal(*weights, tolerance=1e-6)
    assert_equal(*map(checkpoint.read_discriminator, (best(tiny_run), best(run))), tolerance=1e-3)


def test_a_resumed_run_needs_the_file_no_more(tuned, tmp_path):
    run = shutil.copytree(tuned[0], tmp_path / "run")
    config = p2plib.TrainConfig.read(run / "config.json")
    assert config.init == checkpoint.read_info(best(run)).config.init
    assert config.init.endswith("start.keras")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        train(dataclasses.replace(config, epochs=2), resume=run)
    assert "starting from" not in out.getvalue()
    with pytest.raises(ConfigError, match="cannot change init"):
        train(dataclasses.replace(config, init=None), resume=run)
    (run / "checkpoints" / "state.npz").unlink()  # as if it had been killed before it began
    with pytest.raises(CheckpointError, match=r"start\.keras: no such checkpoint"):
        train(resume=run)


def test_averages_begin_as_the_trained_weights(tiny_run, tiny_config):
    config = dataclasses.replace(tiny_config, init=str(tiny_run), ema=0.9, warmup_epochs=1)
    plan = dataclasses.replace(runtime.start(config), xla=False)
    models = build(config, plan, contextlib.nullcontext(), fine_tuning.origin(config))
    theirs = fine_tuning.weights_of(p2plib.load(tiny_run).generator)
    assert_equal(fine_tuning.weights_of(models[-1].generator), theirs)
    assert_equal(fine_tuning.weights_of(models[-1].discriminator), checkpoint.read_discriminator(best(tiny_run)))
    for model in models:
        averages = {weight.path: np.asarray(model.optimizer.average(weight)) for weight in model.generator.weights}
        assert model.optimizer.averages
        assert_equal(averages, theirs)


def test_another_image_size_takes_the_levels_that_fit(tiny_run, tiny_config):
    fresh = fine_tuning.weights_of(trained(tiny_config, init=str(tiny_run), image_size=64, seed=1)[0])
    keras.utils.set_random_seed(0)
    generator, lines = trained(tiny_config, init=str(tiny_run), image_size=64)
    assert len(lines) == 3 and "unet of 4 filters for 32 pixels" in lines[0]
    assert "% of the numbers); new: down5, down6, up6, up5" in lines[1]
    assert lines[2] == "  discriminator: all 7 weights taken"
    theirs, mine = fine_tuning.weights_of(p2plib.load(tiny_run).generator), fine_tuning.weights_of(generator)
    assert_equal(
        *[{path: weights[path] for path in ("down4_conv/kernel", "up1_conv/bias")} for weights in (mine, theirs)]
    )
    assert not np.array_equal(mine["down6_conv/kernel"], fresh["down6_conv/kernel"])


def test_another_generator_shares_what_has_the_same_names_and_shapes(tiny_run, tiny_config):
    lines = trained(tiny_config, init=str(tiny_run), generator="lean")[1]
    assert lines[1].startswith("  generator: 9 of 28 weights taken (21 % of the numbers); new: block1a, block1b, ")
    many = trained(tiny_config, init=str(tiny_run), generator="lean", image_size=128, norm="none")[1]
    assert many[1].endswith(" and 4 more"), many


def test_a_colorizer_takes_all_but_the_ends(tiny_run, tiny_config):
    lines = trained(tiny_config, init=str(tiny_run), task="colorize")[1]
    assert lines[1].endswith("new: down1, up1")


def test_nothing_fits(tiny_run, tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, init=str(tiny_run), base_filters=6, run_dir=str(tmp_path / "run"))
    with pytest.raises(
        ConfigError, match=r"fits: its generator is unet of 4 filters .* this run's is unet of 6 filter"
    ):
        train(config)
    assert not list((tmp_path / "run").iterdir()), "nothing is written for a run that cannot begin"


def test_a_checkpoint_without_a_discriminator(tiny_run, tiny_config, tmp_path):
    old = without(checkpoint.DISCRIMINATOR, best(tiny_run), tmp_path / "old.keras")
    assert checkpoint.read_discriminator(old) == {}
    lines = trained(tiny_config, init=str(old))[1]
    assert lines[2] == "  discriminator: new, for the checkpoint has none"
    assert len(trained(tiny_config, init=str(tiny_run), gan_weight=0.0)[1]) == 2
    other = trained(tiny_config, init=str(tiny_run), discriminator_filters=6)[1]
    assert other[2] == "  discriminator: new, for none of its 7 weights fit"


def test_a_damaged_discriminator_is_named(tiny_run, tmp_path):
    path = without(checkpoint.DISCRIMINATOR, best(tiny_run), tmp_path / "bad.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(checkpoint.DISCRIMINATOR, b"nothing")
    with pytest.raises(CheckpointError, match=r"bad\.keras: the discriminator cannot be read"):
        fine_tuning.read(path)


@pytest.mark.parametrize("content", [None, b"no zip", {}])
def test_what_is_no_checkpoint_is_refused_before_the_data_is_read(content, tmp_path):
    path = tmp_path / "start.keras"
    if isinstance(content, dict):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps(content))
    elif content:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"start\.keras"):
        train(p2plib.TrainConfig(data="no such folder", init=str(path), run_dir=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_an_export_is_refused(tmp_path):
    (tmp_path / checkpoint.INFO).write_text("{}")
    with pytest.raises(CheckpointError, match="exported model cannot be trained"):
        fine_tuning.origin(p2plib.TrainConfig(init=str(tmp_path)))


def test_kaggle_takes_no_trained_model(tmp_path):
    with pytest.raises(KaggleError, match="not carried to Kaggle yet"):
        kernel.build(p2plib.TrainConfig(init="x.keras"), kernel.Kernel("alice/my-run", "My run"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
