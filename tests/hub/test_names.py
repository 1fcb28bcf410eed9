"""Which texts name a model on a hub, and which a path."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

import pytest

from p2plib.errors import HubError
from p2plib.hub.names import Name, parse
from p2plib.inference.checkpoint import home, short_name


@pytest.mark.parametrize(
    ("text", "name", "short"),
    [
        ("hf://alice/maps", Name("hf", "alice", "maps"), "maps"),
        ("hf://alice/maps/", Name("hf", "alice", "maps"), "maps"),
        ("hf://Alice-1/p2p.maps_2@v1.0", Name("hf", "Alice-1", "p2p.maps_2", "v1.0"), "p2p.maps_2"),
        ("hf://alice/maps/last.keras", Name("hf", "alice", "maps", None, "last.keras"), "maps/last"),
        ("hf://alice/maps@v1/export/onnx", Name("hf", "alice", "maps", "v1", "export/onnx"), "maps/onnx"),
        ("kaggle://alice/maps@3", Name("kaggle", "alice", "maps", "3"), "maps"),
    ],
)
def test_names(text, name, short):
    assert parse(text) == parse(Path(text)) == parse(PureWindowsPath(text)) == name
    assert parse(str(name)) == name
    assert short_name(text) == short_name(Path(text)) == short
    assert home(text) == Path(name.model)


@pytest.mark.parametrize("text", ["runs/maps", "maps", "best.keras", "hf", "hfx://a/b", "C:\\runs\\hf", "/hf:/a/b", ""])
def test_paths(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    "text",
    ["hf://", "hf://alice", "hf://alice/../maps", "hf://alice/maps@", "hf://a/b/../../c", "hf://a/b:c"],
)
def test_what_is_meant_as_a_name_and_is_none(text):
    with pytest.raises(HubError, match="give hf://OWNER/NAME"):
        parse(text)


def test_versions_on_kaggle_are_numbers():
    with pytest.raises(HubError, match=r"counts versions.*kaggle://OWNER/MODEL, with @VERSION"):
        parse("kaggle://alice/maps@main")
