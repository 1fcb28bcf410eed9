from __future__ import annotations

import sys

import pytest
from fresh import run_and_list

from p2plib import registry
from p2plib.config import TrainConfig
from p2plib.errors import ConfigError
from p2plib.registry import Registry

ALL = ("GENERATORS", "DISCRIMINATORS", "GAN_LOSSES", "TERMS", "FEATURES", "TASKS", "METRICS")


@pytest.fixture
def tools(tmp_path, monkeypatch) -> Registry:
    """A registry with two built-in tools, whose module records that it was imported."""
    (tmp_path / "toolbox.py").write_text(
        "from registered import TOOLS\n"
        "@TOOLS.register('hammer')\ndef hammer(): return 'bang'\n"
        "@TOOLS.register('saw')\ndef saw(): return 'ritsch'\n"
    )
    (tmp_path / "registered.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    made: Registry = Registry("tool", {"hammer": "toolbox", "saw": "toolbox"})
    import registered

    registered.TOOLS = made
    yield made
    for name in ("toolbox", "registered"):
        sys.modules.pop(name, None)


def test_built_in_things_are_imported_when_they_are_used(tools):
    assert list(tools) == ["hammer", "saw"] and len(tools) == 2 and "saw" in tools
    tools.check("saw")
    assert "toolbox" not in sys.modules
    assert tools["saw"]() == "ritsch"
    assert "toolbox" in sys.modules
    assert tools["hammer"]() == "bang"


def test_what_is_registered_is_found_behind_the_built_in(tools):
    @tools.register("drill")
    def drill() -> str:
        return "brrr"

    assert tools["drill"] is drill, "the decorator gives back what it decorates"
    assert list(tools) == ["hammer", "saw", "drill"] and len(tools) == 3 and "drill" in tools
    assert tools.added == ["drill"]
    assert tools["hammer"]() == "bang"
    assert tools.added == ["drill"], "an import adds nothing"


def test_registering_again_replaces_as_when_a_cell_runs_twice(tools):
    for sound in ("brrr", "brumm"):
        tools.register("drill")(lambda sound=sound: sound)
    assert tools["drill"]() == "brumm"
    assert tools.added == ["drill"] and len(tools) == 3


@pytest.mark.parametrize("used", [False, True])
def test_built_in_things_cannot_be_replaced(tools, used):
    if used:
        assert tools["saw"]() == "ritsch"
    with pytest.raises(ConfigError, match="The tool 'saw' is built in; choose another name for yours"):
        tools.register("saw")(lambda: "mine")
    assert tools["saw"]() == "ritsch" and tools.added == []


def test_a_built_in_module_may_be_imported_again(tools):
    first = tools["saw"]
    del sys.modules["toolbox"]
    __import__("toolbox")
    assert tools["saw"] is not first and tools["saw"]() == "ritsch"


@pytest.mark.parametrize(("typed", "close"), [("hamer", "hammer"), ("HAMMER", "hammer"), ("dril", "drill")])
def test_an_unknown_name_gets_all_there_are_and_the_closest(tools, typed, close):
    tools.register("drill")(lambda: "brrr")
    message = f"tool is '{typed}'; it must be one of hammer, saw, drill. Did you mean {close}?"
    for ask in (tools.check, tools.__getitem__):
        with pytest.raises(ConfigError) as caught:
            ask(typed)
        assert str(caught.value) == message
    assert typed not in tools


def test_a_name_like_nothing_gets_no_guess(tools):
    with pytest.raises(ConfigError) as caught:
        tools.check("xyz")
    assert str(caught.value) == "tool is 'xyz'; it must be one of hammer, saw."


def test_listing_names_imports_no_keras():
    code = (
        "from p2plib import registry, config\n"
        f"names = [name for kind in {ALL} for name in getattr(registry, kind)]\n"
        "config.TrainConfig(generator='resnet9', task='sketch', gan_loss='hinge')\n"
        "assert len(names) > 15 and 'unet' in registry.GENERATORS"
    )
    assert run_and_list(code, "keras", "tensorflow", "jax", "torch", "matplotlib", "skimage") == ("", [])


def test_tasks_need_no_keras():
    code = (
        "from p2plib.registry import TASKS\n"
        "assert [TASKS[name].name for name in TASKS] == list(TASKS) == ['pairs', 'colorize', 'sketch']"
    )
    assert run_and_list(code, "keras", "tensorflow", "jax") == ("", [])


@pytest.mark.keras
@pytest.mark.parametrize("kind", ALL)
def test_every_built_in_name_stands_for_something(kind):
    things = getattr(registry, kind)
    assert len(things) > 0
    for name in things.builtin:
        assert callable(things[name]) and things[name].__module__ == things.builtin[name]


@pytest.mark.parametrize(
    ("field", "kind"),
    [("generator", "GENERATORS"), ("discriminator", "DISCRIMINATORS"), ("gan_loss", "GAN_LOSSES"), ("task", "TASKS")],
)
def test_a_configuration_takes_what_is_registered(field, kind, monkeypatch):
    things = getattr(registry, kind)
    with pytest.raises(ConfigError, match=f"{field} is 'mine'; it must be one of {', '.join(things)}"):
        TrainConfig(**{field: "mine"})
    monkeypatch.setattr(things, "_things", dict(things._things))
    things.register("mine")(lambda **_: None)
    assert getattr(TrainConfig(**{field: "mine"}), field) == "mine"


def test_a_configuration_takes_registered_terms(monkeypatch):
    with pytest.raises(ConfigError, match="term is 'edges'; it must be one of l1, gan, discriminator"):
        TrainConfig(terms={"edges": 1.0})
    monkeypatch.setattr(registry.TERMS, "_things", dict(registry.TERMS._things))
    registry.TERMS.register("edges")(lambda step: 0.0)
    assert TrainConfig(terms={"edges": 1.0}).terms == {"edges": 1.0}
