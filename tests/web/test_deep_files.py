"""Models that are not 8-bit RGB: the web app's files are those of `translate`, and people see previews."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from deepmodels import DEPTH, HEIGHT, NUMBERS, untrained
from flask import Flask
from PIL import Image
from webserver import LIMITS, form, png

pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.data.image import read_rgb  # noqa: E402
from p2plib.data.values import read_values, write_values  # noqa: E402
from p2plib.inference.folders import translate_files  # noqa: E402
from p2plib.web import create_app  # noqa: E402

RNG = np.random.default_rng(0)
VALUES = (RNG.random((48, 64, 1)) * 4000).astype(np.uint16)
ROUNDING = {"rtol": 1e-5, "atol": 1e-4}
"""In meters: the network takes tiles one by one here, and eight at a time there."""
PHOTO = RNG.integers(0, 256, (30, 30, 3), np.uint8)


@pytest.fixture(scope="module")
def paths(tiny_config, tmp_path_factory) -> dict[str, Path]:
    return untrained(tiny_config, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def deep(paths) -> Flask:
    made = create_app(list(paths.values()), limits=LIMITS)
    yield made
    made.extensions["p2plib"].queue.close()


@pytest.fixture
def client(deep):
    return deep.test_client()


def sent(client, path: Path | bytes, model: str, route: str = "translate", **fields):
    content = path if isinstance(path, bytes) else path.read_bytes()
    return client.post(f"/api/{route}", **form(content, model=model, **fields))


def saved(url: str, path: Path) -> Path:
    path.write_bytes(base64.b64decode(url.partition(",")[2]))
    return path


def shown(content: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(content)))


def test_the_file_is_that_of_translate(client, paths, tmp_path):
    model = p2plib.load(paths["heights"])
    for name in ("a.png", "b.tif", "c.npy"):
        write_values(tmp_path / name, VALUES)
    done = translate_files(model, [tmp_path / name for name in ("a.png", "b.tif", "c.npy")], tmp_path / "out")
    for name, expected in zip(("a.png", "b.tif", "c.npy"), done.written, strict=True):
        answer = sent(client, tmp_path / name, "heights").json
        assert (answer["suffix"], answer["height"], answer["width"]) == (".tif", 48, 64)
        assert answer["file"].startswith("data:image/tiff;base64,")
        values = read_values(saved(answer["file"], tmp_path / "got.tif"))
        np.testing.assert_allclose(values, read_values(expected), **ROUNDING)
        preview = shown(base64.b64decode(answer["generated"].partition(",")[2]))
        np.testing.assert_array_equal(preview, HEIGHT.preview(values))


def test_a_geotiff_keeps_its_place(client, paths, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)}
    shape = {"height": 48, "width": 64, "count": 1, "dtype": "uint16", "nodata": 9999}
    holes = VALUES[..., 0].copy()
    holes[:5, :5] = 9999
    with rasterio.open(tmp_path / "scene.tif", "w", driver="GTiff", **shape, **place) as file:
        file.write(holes, 1)
    [expected] = translate_files(p2plib.load(paths["heights"]), [tmp_path / "scene.tif"], tmp_path / "out").written
    answer = sent(client, tmp_path / "scene.tif", "heights").json
    with rasterio.open(saved(answer["file"], tmp_path / "got.tif")) as got, rasterio.open(expected) as wanted:
        assert (got.crs, got.transform) == (wanted.crs, wanted.transform) == (place["crs"], place["transform"])
        np.testing.assert_allclose(got.read(), wanted.read(), **ROUNDING)


def test_masks_are_palette_pngs_with_names_and_a_preview_in_colors(client, paths, tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    [expected] = translate_files(p2plib.load(paths["masks"]), [tmp_path / "photo.png"], tmp_path / "out").written
    answer = sent(client, tmp_path / "photo.png", "masks").json
    got = saved(answer["file"], tmp_path / "got.png")
    with Image.open(got) as one, Image.open(expected) as two:
        assert one.mode == "P" and one.getpalette() == two.getpalette()
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
        assert json.loads(one.text["classes"]) == {"ground": 0, "roof": 3, "water": 7}
    np.testing.assert_array_equal(shown(base64.b64decode(answer["generated"].partition(",")[2])), read_rgb(got))


def test_masks_go_by_number_or_as_drawn_in_their_colors(client, tmp_path):
    numbers = np.array(NUMBERS.ids, np.uint8)[RNG.integers(0, 3, (30, 30))]
    answers = [
        sent(client, png(image), "photos").json["file"] for image in (numbers, NUMBERS.preview(numbers[..., None]))
    ]
    assert answers[0] == answers[1]
    preview = sent(client, png(numbers), "photos", "preview")
    np.testing.assert_array_equal(shown(preview.data), NUMBERS.preview(numbers[..., None]))
    wrong = sent(client, png(np.full((8, 8), 5, np.uint8)), "photos")
    assert wrong.status_code == 422
    assert wrong.json["error"].startswith("upload.png: holds class 5, and the known ones are 0, 3, 7")


def test_sources_have_a_preview(client, tmp_path):
    write_values(tmp_path / "a.png", VALUES)
    response = sent(client, tmp_path / "a.png", "heights", "preview")
    assert response.mimetype == "image/png"
    np.testing.assert_array_equal(shown(response.data), DEPTH.preview(VALUES))


def test_wrong_files_are_refused_in_one_sentence(client, tmp_path):
    write_values(tmp_path / "bands.npy", np.zeros((8, 8, 4), np.uint16))
    for content, status, word in (
        (png(PHOTO), 422, "upload.png: holds 3 channels of uint8, not 1 of uint16"),
        (tmp_path / "bands.npy", 422, "upload.npy: holds 4 channels of uint16, not 1 of uint16"),
        (b"PK\3\4", 415, "not a TIFF, PNG, NPY, JPEG or WebP file"),
        (b"II*\0" + bytes(40), 422, "upload.tif: cannot be read as an image"),
        (b"\x93NUMPY" + bytes(40), 422, "upload.npy: cannot be read as an array"),
        (b"", 400, "empty"),
        (bytes(LIMITS.upload_bytes + 1), 413, "0.3 MB"),
    ):
        for route in ("translate", "preview"):
            response = sent(client, content, "heights", route)
            assert response.status_code == status, response.json
            sentence = response.json["error"]
            assert word in sentence and sentence.endswith(".") and "/tmp" not in sentence


def test_many_channels_count_as_many_pixels(client, tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<u2", "fortran_order": False, "shape": (500, 500, 16)})
    response = sent(client, buffer.getvalue(), "heights")
    assert response.status_code == 413
    assert "at most 0.1875 million of 16 channels" in response.json["error"]


def test_examples_are_files_of_the_sources_type(paths, tmp_path):
    write_values(tmp_path / "a.tif", VALUES)
    app = create_app([paths["heights"]], tmp_path, LIMITS)
    response = app.test_client().get("/api/example")
    app.extensions["p2plib"].queue.close()
    (tmp_path / "got.png").write_bytes(response.data)
    np.testing.assert_array_equal(read_values(tmp_path / "got.png"), VALUES)


def test_without_images_there_is_no_example(client):
    response = client.get("/api/example?model=heights")
    assert response.status_code == 422 and "--examples" in response.json["error"]


def test_the_list_says_what_goes_in_and_out(client):
    heights, masks, photos = client.get("/api/models").json["models"]
    assert heights["kinds"] == ["1 channel of uint16, 0 to 4095", "1 channel of float32, -10 to 90 m"]
    assert [model["draws"] for model in (heights, masks, photos)] == [False, True, True]
    assert not any(model["ordinary"] for model in (heights, masks, photos))
    assert [entry["color"] for entry in photos["palette"]] == ["#5a5a5a", "#c83c3c", "#2850dc"]
