"""Every route, with Flask's own client: answers, errors and headers."""

from __future__ import annotations

import base64
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from webserver import LIMITS, form, generated, png

import p2plib
from p2plib.data import sketch, toy
from p2plib.data.image import resize_image
from p2plib.errors import CheckpointError, ConfigError
from p2plib.web import create_app
from p2plib.web.models import Model

pytestmark = pytest.mark.keras

IMAGE = toy.city(5, 30)[0]


@pytest.fixture(scope="module")
def model(tiny_run):
    return p2plib.load(tiny_run)


def refusal(response) -> str:
    """The one sentence of an error."""
    assert response.is_json
    assert set(response.json) == {"error"}
    sentence = response.json["error"]
    assert sentence.endswith(".")
    assert 10 < len(sentence) < 250
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("shape", [(30, 30), (20, 32), (5, 3), (1, 1), (40, 70), (33, 100)])
@pytest.mark.parametrize("fit", [False, True])
def test_the_answer_is_what_the_library_makes(client, model, shape, fit):
    image = resize_image(IMAGE, *shape)
    answer = client.post("/api/translate", **form(png(image), fit=int(fit))).json
    expected = p2plib.translate(model, [image], fit=fit)[0]
    assert np.abs(generated(answer).astype(int) - expected).max() <= 1
    assert (answer["model"], answer["height"], answer["width"]) == ("tiny", *shape)
    assert 0 < answer["seconds"] < 60
    assert 0 <= answer["waited"] < 60


def test_noise_is_that_of_the_library(client, model):
    new = [generated(client.post("/api/translate", **form(png(IMAGE), noise=n)).json) for n in ("3", "3", "4", "")]
    assert np.abs(new[0].astype(int) - p2plib.translate(model, [IMAGE], noise=3)[0]).max() <= 1
    assert np.abs(new[3].astype(int) - p2plib.translate(model, [IMAGE])[0]).max() <= 1
    np.testing.assert_array_equal(new[0], new[1])
    assert (new[0] != new[2]).any()


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_json_gets_the_same(client, prefix):
    file = png(resize_image(IMAGE, 40, 50))
    text = prefix + base64.b64encode(file).decode()
    for more in ({}, {"fit": True}, {"fit": 1, "noise": 3, "model": "tiny"}, {"fit": None, "noise": None}):
        answer = client.post("/api/translate", json={"image": text, **more}).json
        fields = {name: int(value) if name != "model" else value for name, value in more.items() if value is not None}
        same = client.post("/api/translate", **form(file, **fields)).json
        np.testing.assert_array_equal(generated(answer), generated(same))


def test_the_names_of_version_0_1_are_understood(client):
    file = png(IMAGE)
    new = client.post("/api/translate", **form(file)).json
    sent = {"data": {"picture": (io.BytesIO(file), "a.png")}, "content_type": "multipart/form-data"}
    for old in (sent, {"json": {"picture": base64.b64encode(file).decode()}}):
        np.testing.assert_array_equal(generated(client.post("/api/translate", **old).json), generated(new))


def test_a_file_needs_no_name(client):
    nameless = {"data": {"image": (io.BytesIO(png(IMAGE)), "")}, "content_type": "multipart/form-data"}
    one, two = (client.post("/api/translate", **sent) for sent in (nameless, form(png(IMAGE))))
    assert one.status_code == 200
    np.testing.assert_array_equal(generated(one.json), generated(two.json))


@pytest.mark.parametrize("shape", [(30, 40), (1, 1), (300, 310)])
def test_a_sketch_is_what_the_library_draws(client, shape):
    image = resize_image(IMAGE, *shape)
    response = client.post("/api/sketch", **form(png(image)))
    assert response.mimetype == "image/png"
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(response.data))), sketch.sketch(image))
    text = base64.b64encode(png(image)).decode()
    assert client.post("/api/sketch", json={"image": text}).data == response.data


def test_sketches_have_the_limits_of_translations(client):
    for content, status in ((b"no image", 415), (png(IMAGE)[:90], 422), (bytes(LIMITS.upload_bytes + 1), 413)):
        response = client.post("/api/sketch", **form(content))
        assert response.status_code == status
        refusal(response)
    assert "1 million" in refusal(client.post("/api/sketch", **form(png(Image.new("L", (1001, 1000))))))
    assert "image" in refusal(client.post("/api/sketch", data={}, content_type="multipart/form-data"))


def test_without_scikit_image_there_are_no_sketches(client, monkeypatch):
    assert "data-sketches" in client.get("/").text
    monkeypatch.setattr(sketch, "find_spec", lambda _: None)
    response = client.post("/api/sketch", **form(png(IMAGE)))
    assert response.status_code == 501
    assert "scikit-image is not installed" in refusal(response)
    assert "data-sketches" not in client.get("/").text


def test_models(client, tiny_run):
    info = p2plib.load(tiny_run).info
    assert client.get("/api/models").json == {
        "models": [
            {
                "id": "tiny",
                "name": "A → B (tiny)",
                "source": "A",
                "target": "B",
                "size": 32,
                "height": 32,
                "width": 32,
                "step": info.step,
                "epoch": info.epoch,
                "strokes": False,
                "palette": [],
                "ordinary": True,
                "draws": True,
                "kinds": ["3 channels of uint8, 0 to 255"] * 2,
            }
        ]
    }


def test_colors_have_the_spelling_of_now_and_that_of_version_0_1(tiny_run, monkeypatch):
    made = Model("tiny", tiny_run, None)
    palette = {"sea": (0, 16, 255), "#ffffff": (255, 255, 255)}
    monkeypatch.setattr(Model, "examples", dataclasses.replace(made.examples, palette=palette))
    expected = [("sea", "#0010ff"), ("#ffffff", "#ffffff")]
    assert made.entry["palette"] == [{"name": name, "color": code, "colour": code} for name, code in expected]


def test_the_page(client):
    response = client.get("/")
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    assert "A → B (tiny)" in response.text


def test_health(client):
    assert client.get("/healthz").json == {"status": "ok", "models": 1, "waiting": 0}


def test_examples(client):
    first, again, other = (client.get(f"/api/example?seed={seed}") for seed in (0, 3, 1))
    assert first.mimetype == "image/png"
    assert np.array(Image.open(io.BytesIO(first.data))).shape == (32, 32, 3)
    assert first.data == again.data != other.data
    assert client.get("/api/example?model=tiny").data == first.data
    assert client.get("/api/example?model=huge").status_code == 404
    for seed in ("x", "-1", "1.5", "2147483648", "9" * 50, "١"):
        assert "seed" in refusal(client.get("/api/example", query_string={"seed": seed}))


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({"model": "huge"}, 404, "huge"),
        ({"model": "\n" * 500}, 404, "/api/models"),
        ({"fit": "maybe"}, 400, "fit"),
        ({"noise": "loud"}, 400, "noise"),
        ({"noise": "-1"}, 400, "noise"),
        ({"noise": "9" * 5000}, 400, "noise"),
        ({"noise": "9" * 300_000}, 413, "too large"),
        ({f"field{i}": "1" for i in range(20)}, 413, "too large"),
    ],
)
def test_wrong_fields(client, fields, status, word):
    response = client.post("/api/translate", **form(png(IMAGE), **fields))
    assert response.status_code == status
    assert word in refusal(response)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"json": []}, 400),
        ({"json": {}}, 400),
        ({"json": {"image": 5}}, 400),
        ({"json": {"image": "no base64!"}}, 400),
        ({"json": {"image": "data:image/png,abc"}}, 400),
        ({"json": {"image": "", "model": 5}}, 400),
        ({"json": {"image": "", "fit": [1]}}, 400),
        ({"json": {"image": "", "noise": True}}, 400),
        ({"json": {"image": "", "noise": 1.5}}, 400),
        ({"json": {"image": ""}}, 400),
        ({"json": {"image": "", "model": "\ud800"}}, 404),
        ({"data": b"[" * 200_000, "content_type": "application/json"}, 400),
        ({"data": b"\xff\xfe", "content_type": "application/json"}, 400),
        ({"data": b"9" * 10_000, "content_type": "application/json"}, 400),
        ({"data": png(IMAGE), "content_type": "image/png"}, 415),
        ({"data": {"image": "text"}}, 415),
        ({"data": {"image": "text"}, "content_type": "multipart/form-data"}, 400),
        ({"data": b"no parts", "content_type": "multipart/form-data; boundary=x"}, 400),
        ({"data": b"no boundary", "content_type": "multipart/form-data"}, 400),
        ({}, 415),
    ],
)
def test_malformed_requests(client, content, status):
    response = client.post("/api/translate", **content)
    refusal(response)
    assert response.status_code == status


def test_too_large_in_bytes_in_pixels_or_for_tiles(client):
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    assert "0.3 MB" in refusal(client.post("/api/translate", **form(png(noise))))
    assert "0.3 MB" in refusal(client.post("/api/translate", **form(bytes(LIMITS.body_bytes))))
    assert "1 million" in refusal(client.post("/api/translate", **form(png(Image.new("L", (1001, 1000))))))
    largest = client.post("/api/translate", **form(png(noise[:310, :310]), fit=1))
    assert generated(largest.json).shape == (310, 310, 3)
    large = png(Image.new("L", (1000, 1000)))  # half of it at the scale of the training images
    assert "fit it to the model" in refusal(client.post("/api/translate", **form(large, fit=0)))
    assert client.post("/api/translate", **form(large, fit=1)).json["fitted"]
    assert client.post("/api/translate", **form(large)).json["fitted"]  # unless told otherwise
    assert not client.post("/api/translate", **form(png(noise[:50, :50]))).json["fitted"]
    line = png(Image.new("L", (10_000, 1)))  # tiles would be 32 pixels high
    assert client.post("/api/translate", **form(line, fit=0)).status_code == 413


def test_a_colorizer_takes_large_images_without_tiles(tiny_colorizer):
    app = create_app([tiny_colorizer], limits=LIMITS)
    photo = np.array(Image.fromarray(toy.city(1, 64)[0]).resize((600, 400)))
    answer = app.test_client().post("/api/translate", **form(png(photo)))
    app.extensions["p2plib"].queue.close()
    [expected] = p2plib.translate(p2plib.load(tiny_colorizer), [photo])
    assert np.abs(generated(answer.json).astype(int) - expected).max() <= 1


def test_unknown_addresses_and_methods(client):
    assert refusal(client.get("/api/nothing")) == "There is nothing here."
    assert client.get("/nothing").mimetype == "text/plain"
    assert client.get("/nothing").status_code == client.get("/static/../app.py").status_code == 404
    wrong = {"/api/translate": ("GET", "OPTIONS"), "/api/sketch": ("GET",), "/api/models": ("POST",)}
    for method, path in ((method, path) for path, methods in wrong.items() for method in methods):
        response = client.open(path, method=method)
        assert response.status_code == 405
        assert response.headers["Allow"]
        refusal(response)
    assert client.delete("/").status_code == 405


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/api/models", "/api/example", "/api/nothing", "/nothing", "/static/x"]
)
def test_strict_headers_are_everywhere(client, path):
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    if path.startswith("/api/"):
        assert headers["Cache-Control"] == "no-store"


def test_what_nobody_expected_is_one_sentence_and_a_log(app, caplog):
    client = app.test_client()
    model = app.extensions["p2plib"].find(None)
    kept, model._loaded = model._loaded, None
    response = client.post("/api/translate", **form(png(IMAGE)))
    model._loaded = kept
    assert response.status_code == 500
    assert "Traceback" not in refusal(response)
    assert "Traceback" in caplog.text
    assert client.post("/api/translate", **form(png(IMAGE))).status_code == 200


def test_a_model_that_cannot_be_loaded_stops_the_start(tiny_run, tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        create_app([tiny_run, tmp_path / "missing.keras"])
    with pytest.raises(ConfigError, match="no model"):
        create_app([])
