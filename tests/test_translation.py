"""One engine: the same picture gives the same result, alone or in company, at its own size."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

import p2plib  # noqa: E402
from p2plib.checkpoint import Checkpoint, Info  # noqa: E402
from p2plib.data import images, toy  # noqa: E402
from p2plib.errors import DataError  # noqa: E402
from p2plib.models import build_generator  # noqa: E402

EXIF_ORIENTATION, TURNED_LEFT = 0x0112, 6


@pytest.fixture(scope="module")
def model(tiny_run) -> Checkpoint:
    return p2plib.load(tiny_run)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [toy.city(i, 32)[0] for i in range(5)]


@pytest.fixture(scope="module")
def alone(model, pictures) -> list[np.ndarray]:
    return [p2plib.translate(model, [picture])[0] for picture in pictures]


def assert_close(one, two) -> None:
    """Equal but for rounding: a library may add in another order at another batch size, and 0.5 rounds either way."""
    assert one.shape == two.shape
    assert np.abs(one.astype(int) - two).max() <= 1


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_company_and_batch_size_do_not_matter(model, pictures, alone, batch_size):
    for one, two in zip(alone, p2plib.translate(model, pictures, batch_size=batch_size), strict=True):
        assert_close(one, two)
    assert_close(alone[0], p2plib.translate(model, [*pictures[3:], pictures[0]], batch_size=batch_size)[-1])
    assert np.abs(alone[0].astype(int) - alone[1]).max() > 1


def test_results_have_the_size_of_their_sources(model):
    sizes = [(32, 32), (20, 50), (70, 33), (64, 200), (1, 1)]
    results = p2plib.translate(model, [np.zeros((*size, 3), np.uint8) for size in sizes])
    assert [result.shape for result in results] == [(*size, 3) for size in sizes]
    assert all(result.dtype == np.uint8 for result in results)


def test_without_noise_the_result_never_changes(model, pictures):
    np.testing.assert_array_equal(p2plib.translate(model, pictures), p2plib.translate(model, pictures))


def test_noise_follows_from_its_seed(model, pictures):
    def result(noise):
        return np.stack(p2plib.translate(model, pictures[:2], noise))

    np.testing.assert_array_equal(result(1), result(1))
    assert (result(1) != result(2)).any()
    assert (result(1) != result(None)).any()
    assert (result(0) != result(None)).any()


def test_noise_does_not_depend_on_company(model, pictures):
    among = p2plib.translate(model, pictures, noise=1, batch_size=2)
    for picture, result in zip(pictures, among, strict=True):
        np.testing.assert_array_equal(p2plib.translate(model, [picture], noise=1)[0], result)


def test_without_dropout_noise_changes_nothing(model, pictures, tiny_config):
    generator = build_generator(dataclasses.replace(tiny_config, dropout=0.0))
    plain = Checkpoint(generator, model.info)
    for one, two in zip(p2plib.translate(plain, pictures), p2plib.translate(plain, pictures, noise=1), strict=True):
        assert_close(one, two)


def test_the_identity_returns_the_picture(tiny_config):
    """Nothing is lost on the way to the network and back: all 256 values, in all three channels."""
    inputs = keras.Input((32, 32, 3))
    identity = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    checkpoint = Checkpoint(identity, Info(tiny_config, ("A", "B"), 0, 0, {}))
    pictures = np.arange(2 * 32 * 32 * 3, dtype=np.uint32).reshape(2, 32, 32, 3).astype(np.uint8)
    assert len(np.unique(pictures)) == 256
    np.testing.assert_array_equal(p2plib.translate(checkpoint, pictures), pictures)


def test_a_wide_picture_is_taken_whole(model, tiny_pairs, tmp_path):
    pair = tiny_pairs / "val" / "10.png"
    (written,) = p2plib.translate_files(model, [pair], tmp_path)
    assert written == tmp_path / "10.png"
    assert images.read_rgb(written).shape == (40, 80, 3)
    np.testing.assert_array_equal(images.read_rgb(written), p2plib.translate(model, [images.read_rgb(pair)])[0])


def test_photos_are_translated_upright(model, tmp_path):
    upright, exif = toy.city(0, 40)[0][:, :30], Image.Exif()
    exif[EXIF_ORIENTATION] = TURNED_LEFT
    Image.fromarray(np.rot90(upright)).save(tmp_path / "photo.png", exif=exif)
    (written,) = p2plib.translate_files(model, [tmp_path / "photo.png"], tmp_path / "out")
    with Image.open(written) as result:
        assert EXIF_ORIENTATION not in result.getexif()
    np.testing.assert_array_equal(images.read_rgb(written), p2plib.translate(model, [upright])[0])


def test_files_and_folders(model, pictures, tmp_path):
    images.save(tmp_path / "in" / "b.png", pictures[0])
    images.save(tmp_path / "in" / "a.JPG", pictures[1])
    images.save(tmp_path / "lone.webp", pictures[2])
    (tmp_path / "in" / "notes.txt").touch()
    (tmp_path / "in" / "._a.jpg").write_bytes(b"what a Mac leaves beside a file")
    out = tmp_path / "new" / "out"
    written = p2plib.translate_files(model, [tmp_path / "in", tmp_path / "lone.webp"], out)
    assert written == [out / "a.png", out / "b.png", out / "lone.png"]
    assert sorted(out.iterdir()) == written
    np.testing.assert_array_equal(images.read_rgb(out / "b.png"), p2plib.translate(model, pictures[:1])[0])


def test_noise_reaches_files(model, pictures, tmp_path):
    images.save(tmp_path / "a.png", pictures[0])
    (written,) = p2plib.translate_files(model, [tmp_path / "a.png"], tmp_path / "out", noise=3)
    np.testing.assert_array_equal(images.read_rgb(written), p2plib.translate(model, pictures[:1], noise=3)[0])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "nothing to translate"),
        (["missing.png"], r"missing\.png: no such file"),
        (["good.png", "empty"], "empty: no pictures in this folder"),
        (["good.png", "again/good.jpg"], r"good\.png.*different folders"),
    ],
    ids=["nothing", "missing", "empty folder", "one name twice"],
)
def test_wrong_inputs_are_named_and_nothing_is_written(model, pictures, tmp_path, inputs, message):
    images.save(tmp_path / "good.png", pictures[0])
    images.save(tmp_path / "again" / "good.jpg", pictures[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        p2plib.translate_files(model, [tmp_path / name for name in inputs], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unreadable_file_is_named(model, pictures, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.png: cannot be read"):
        p2plib.translate_files(model, [tmp_path / "bad.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
