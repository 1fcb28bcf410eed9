from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2plib.config import CHANGEABLE, TrainConfig
from p2plib.durations import seconds
from p2plib.errors import ConfigError
from p2plib.models import GENERATORS
from p2plib.recipes import RECIPES


def test_the_recipe_paper_is_the_papers():
    config = TrainConfig(recipe="paper")
    assert (config.image_size, config.base_filters, config.receptive_field) == (256, 64, 70)
    assert (config.l1_weight, config.learning_rate, config.batch_size, config.dropout) == (100, 2e-4, 1, 0.5)
    assert (config.generator, config.upsampling, config.gan_loss) == ("unet", "transpose", "vanilla")
    assert (config.terms, config.ema, config.diff_augment) == ({}, 0, False)
    assert config.load_shape == (286, 286)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_decides_what_is_not_given(recipe):
    config = TrainConfig(recipe=recipe, l1_weight=7)
    assert {name: getattr(config, name) for name in RECIPES[recipe]} == RECIPES[recipe] | {"l1_weight": 7}
    assert TrainConfig.from_dict(config.to_dict()) == config
    config.terms["l1"] = 1
    assert "l1" not in TrainConfig(recipe=recipe).terms, "each configuration has terms of its own"


def test_a_trained_model_learns_at_a_lower_rate():
    assert [TrainConfig(init=init).learning_rate for init in (None, "runs/a")] == [4e-4, 2e-4]
    assert TrainConfig(init="runs/a", learning_rate=3e-4).learning_rate == 3e-4
    config = TrainConfig(init="runs/a")
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert "init" not in CHANGEABLE


def test_modern_is_the_default():
    assert TrainConfig() == TrainConfig(recipe="modern")


def test_files_without_a_recipe_are_version_0_1s_and_the_papers():
    assert TrainConfig.from_dict({"data": "toy"}) == TrainConfig(recipe="paper", target_channels=3, source="image")


@pytest.mark.parametrize(
    "values",
    [
        {"image_size": 100},
        {"image_size": 2048},
        {"generator": "vgg"},
        {"discriminator": "vgg"},
        {"gan_loss": "wasserstein"},
        {"task": "depth"},
        {"load": "squeeze"},
        {"direction": "BtoA", "task": "colorize"},
        {"norm": "layer"},
        {"receptive_field": 71},
        {"receptive_field": 286, "image_size": 64},
        {"receptive_field": 286, "image_size": 128, "discriminator": "multiscale"},
        {"dropout": 1.0},
        {"batch_size": 0},
        {"epochs": 0},
        {"epochs": 5, "decay_epochs": 6},
        {"warmup_epochs": 6, "epochs": 5, "decay_epochs": 0},
        {"warmup_epochs": 1, "gan_weight": 0},
        {"warmup_epochs": 1, "l1_weight": 0},
        {"learning_rate": 0},
        {"seed": -1},
        {"gan_weight": 0, "l1_weight": 0, "terms": {}},
        {"time_budget": "soon"},
        {"train_time": "soon"},
        {"recipe": "classic"},
        {"ema": 1.0},
        {"warp": 0.2},
        {"patience": -1},
        {"discriminator_filters": 0},
        {"decay_epochs": 5, "train_time": "1m"},
    ],
)
def test_bad_values_are_refused_by_name(values):
    with pytest.raises(ConfigError, match=next(iter(values)).replace("_", ".")):
        TrainConfig(**values)


def test_every_registered_generator_can_be_chosen():
    for name in GENERATORS:
        assert TrainConfig(generator=name).generator == name


def test_every_field_has_a_description():
    source = __import__("inspect").getsource(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        declaration = source.index(f"\n    {field.name}: ")
        assert source[declaration:].split("\n")[2].strip().startswith('"""'), field.name


def test_changeable_fields_exist():
    assert {field.name for field in dataclasses.fields(TrainConfig)} >= CHANGEABLE


@given(st.builds(TrainConfig, seed=st.integers(0, 2**31), l1_weight=st.floats(0.1, 1e3), data=st.text(min_size=1)))
def test_dict_round_trip(config):
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_configs_of_earlier_versions_resize():
    values = TrainConfig(load="crop").to_dict()
    del values["load"]
    assert TrainConfig.from_dict(values).load == "resize"
    assert "load" not in CHANGEABLE


def test_crops_know_no_jitter():
    assert TrainConfig(load="crop").load_shape == TrainConfig(augment="none").load_shape == (256, 256)


def test_unknown_settings_are_named():
    with pytest.raises(ConfigError, match="warmup"):
        TrainConfig.from_dict({"warmup": 3})


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"epochs": 0}'])
def test_unreadable_files_are_named_or_explained(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"config\.json|epochs"):
        TrainConfig.read(path)


@pytest.mark.parametrize(
    ("text", "expected"), [("8.5h", 30600), ("90m", 5400), ("200s", 200), ("200", 200), ("1h30m", 5400), (" 2H ", 7200)]
)
def test_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "h", "-3m", "0s", "3d", "1h30", "nan", "1e9m"])
def test_bad_durations(text):
    with pytest.raises(ConfigError, match="time_budget"):
        seconds(text)
