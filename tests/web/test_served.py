"""A model's file may vanish, be damaged or be replaced while it is served."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from webserver import LIMITS, form, generated, png

import p2plib
from p2plib.data import toy
from p2plib.files import replacing
from p2plib.inference import checkpoint
from p2plib.web import create_app
from p2plib.web.models import _ids

pytestmark = pytest.mark.once

IMAGE = toy.city(5, 30)[0]


@pytest.fixture
def best(run):
    return run / "checkpoints" / "best.keras"


@pytest.fixture
def client(run):
    app = create_app([run], limits=LIMITS)
    yield app.test_client()
    app.extensions["p2plib"].queue.close()


@pytest.fixture(scope="module")
def other(tiny_run, tmp_path_factory):
    """Another model, of step 77, whose images are brighter."""
    loaded = p2plib.load(tiny_run)
    last = loaded.generator.layers[-1] if loaded.generator.layers[-1].weights else loaded.generator.layers[-2]
    bias = last.weights[-1]
    bias.assign(np.asarray(bias) + 0.5)
    info = checkpoint.CheckpointInfo(loaded.info.config, ("satellite", "map"), 9, 77, {})
    path = tmp_path_factory.mktemp("other") / "other.keras"
    checkpoint.save_generator(path, loaded.generator, info)
    return path


def translated(client) -> np.ndarray:
    response = client.post("/api/translate", **form(png(IMAGE)))
    assert response.status_code == 200
    return generated(response.json)


def test_a_replaced_model_is_served_anew(client, best, other):
    before = translated(client)
    with replacing(best) as temporary:
        shutil.copy(other, temporary)
    after = translated(client)
    expected = p2plib.translate(p2plib.load(other), [IMAGE])[0]
    assert np.abs(after.astype(int) - expected).max() <= 1
    assert np.abs(after.astype(int) - before).max() > 10
    [entry] = client.get("/api/models").json["models"]
    assert (entry["step"], entry["epoch"], entry["source"]) == (77, 9, "satellite")


def test_an_untouched_model_is_not_loaded_again(client):
    model = client.application.extensions["p2plib"].find(None)
    loaded = model._loaded
    translated(client)
    assert model._loaded is loaded


def test_a_vanished_model_serves_on_and_comes_back(client, best, other):
    before = translated(client)
    best.unlink()
    np.testing.assert_array_equal(translated(client), before)
    shutil.copy(other, best)
    assert np.abs(translated(client).astype(int) - before).max() > 10


@pytest.mark.parametrize("damage", ["half", "empty", "web page", "folder"])
def test_a_damaged_model_does_not_replace_a_good_one(client, best, other, damage, capsys):
    before, content = translated(client), other.read_bytes()
    best.unlink()
    if damage == "folder":
        best.mkdir()
    else:
        best.write_bytes({"half": content[: len(content) // 2], "empty": b"", "web page": b"<html></html>"}[damage])
    for _ in range(3):
        np.testing.assert_array_equal(translated(client), before)
    assert capsys.readouterr().err.count("the old model stays in use") <= 1, "said at every request"
    best.rmdir() if damage == "folder" else best.unlink()
    best.write_bytes(content)
    assert np.abs(translated(client).astype(int) - before).max() > 10


def test_a_file_written_in_place_is_used_when_it_is_whole(client, best, other):
    before, content = translated(client), other.read_bytes()
    with open(best, "wb") as file:
        for start in range(0, len(content), len(content) // 3):
            file.write(content[start : start + len(content) // 3])
            file.flush()
            os.fsync(file.fileno())
            after = translated(client)
            whole = file.tell() == len(content)
            assert (np.abs(after.astype(int) - before).max() > 10) == whole


def test_several_models_have_different_names(tiny_run, other, tmp_path):
    app = create_app([tiny_run, other, tiny_run / "checkpoints" / "last.keras"], limits=LIMITS)
    client = app.test_client()
    entries = client.get("/api/models").json["models"]
    assert [entry["id"] for entry in entries] == ["tiny", "other", "tiny-last"]
    first, second = (
        generated(client.post("/api/translate", **form(png(IMAGE), model=name)).json) for name in ("tiny", "other")
    )
    assert np.abs(first.astype(int) - second).max() > 10
    np.testing.assert_array_equal(translated(client), first)
    app.extensions["p2plib"].queue.close()
    same = [tmp_path / "a b.keras", tmp_path / "deep" / "a b.keras", tmp_path / "é.keras"]
    assert _ids(same) == ["a-b", "a-b-2", "model"]
