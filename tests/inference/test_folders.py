"""Files in, files out: mirrored, restarted, and past what is broken."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

pytest.importorskip("keras")

import p2plib
from p2plib.data import toy
from p2plib.data.image import read_rgb, save_image
from p2plib.errors import DataError
from p2plib.files import replacing
from p2plib.inference.checkpoint import Checkpoint
from p2plib.inference.folders import translate_files

EXIF_ORIENTATION, TURNED_LEFT = 0x0112, 6


@pytest.fixture(scope="module")
def model(tiny_run) -> Checkpoint:
    return p2plib.load(tiny_run)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three good images in nested folders, beside files that are none."""
    folder = tmp_path / "photos"
    save_image(folder / "b.png", toy.city(0, 32)[0])
    save_image(folder / "a.JPG", toy.city(1, 45)[0][:, :37])
    save_image(folder / "trip" / "one" / "a.webp", np.zeros((1, 1, 3), np.uint8))
    (folder / "notes.txt").touch()
    (folder / "._a.jpg").write_bytes(b"what a Mac leaves beside a file")
    (folder / ".thumbnails").mkdir()
    shutil.copy(folder / "b.png", folder / ".thumbnails")
    return folder


RESULTS = ["a.png", "b.png", "trip/one/a.png"]


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def times(folder: Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in sorted(folder.rglob("*.png"))]


def test_folders_are_mirrored(model, photos, tmp_path):
    lone, out = tmp_path / "lone.tile.png", tmp_path / "new" / "out"
    save_image(lone, toy.city(2, 32)[0])
    result = translate_files(model, [photos, str(lone)], out)
    assert result.written == [out / name for name in [*RESULTS, "lone.tile.png"]]
    assert (result.skipped, result.failed) == ([], {})
    assert files_in(out) == sorted([*RESULTS, "lone.tile.png"])
    for source, name in zip(["a.JPG", "b.png", "trip/one/a.webp"], RESULTS, strict=True):
        [expected] = p2plib.translate(model, [read_rgb(photos / source)])
        assert np.abs(read_rgb(out / name).astype(int) - expected).max() <= 1  # batches round differently


def test_a_wide_image_is_taken_whole(model, tiny_pairs, tmp_path):
    pair = tiny_pairs / "val" / "10.png"
    [written] = translate_files(model, [pair], tmp_path).written
    np.testing.assert_array_equal(read_rgb(written), p2plib.translate(model, [read_rgb(pair)])[0])


@pytest.mark.parametrize("options", [{"noise": 3}, {"fit": True}, {"noise": 3, "fit": True}], ids=str)
def test_options_reach_the_network(model, tmp_path, options):
    image = toy.city(0, 50)[0]
    save_image(tmp_path / "a.png", image)
    [written] = translate_files(model, [tmp_path / "a.png"], tmp_path / "out", **options).written
    result = read_rgb(written)
    np.testing.assert_array_equal(result, p2plib.translate(model, [image], **options)[0])
    assert (result != p2plib.translate(model, [image])[0]).any()


def test_compare_shows_both(model, photos, tmp_path):
    plain, both = (translate_files(model, [photos], tmp_path / str(c), compare=c).written for c in (False, True))
    for one, two, source in zip(plain, both, ["a.JPG", "b.png", "trip/one/a.webp"], strict=True):
        sides = [read_rgb(photos / source), read_rgb(one)]
        np.testing.assert_array_equal(read_rgb(two), np.hstack(sides))


def test_all_kinds_of_images(model, tmp_path):
    gray = toy.city(0, 40)[0][..., 0]
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(gray).save(folder / "gray.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(folder / "gray16.png")
    Image.fromarray(gray).convert("P").save(folder / "palette.png")
    Image.fromarray(gray).convert("LA").save(folder / "alpha.png")
    written = translate_files(model, [folder], tmp_path / "out").written
    results = [read_rgb(path) for path in written]
    assert len(results) == 4
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_broken_files_are_listed_and_the_rest_is_done(model, photos, tmp_path):
    (photos / "aa.png").write_bytes(b"<html>404</html>")
    (photos / "trip" / "cut.png").write_bytes((photos / "b.png").read_bytes()[:400])
    result = translate_files(model, [photos], tmp_path / "out")
    assert files_in(tmp_path / "out") == RESULTS
    assert len(result.written) == 3
    assert list(result.failed) == [photos / "aa.png", photos / "trip" / "cut.png"]
    assert all(f"{path}: cannot be read" in reason for path, reason in result.failed.items())


def test_a_second_call_skips_what_is_finished(model, photos, tmp_path):
    out = tmp_path / "out"
    translate_files(model, [photos], out)
    before = times(out)
    (out / "b.png").unlink()
    again = translate_files(model, [photos], out)
    assert again.written == [out / "b.png"]
    assert again.skipped == [out / "a.png", out / "trip/one/a.png"]
    assert [now == then for now, then in zip(times(out), before, strict=True)] == [True, False, True]
    assert len(translate_files(model, [photos], out, force=True).written) == 3


def test_what_changed_is_done_again(model, photos, tmp_path):
    out = tmp_path / "out"
    translate_files(model, [photos], out)
    save_image(photos / "b.png", toy.city(7, 32)[0])
    os.utime(photos / "b.png", ns=(1, 1))  # even by an older file
    save_image(out / "a.png", toy.city(7, 32)[0])  # a file of the same name that something else made
    assert translate_files(model, [photos], out).written == [out / "a.png", out / "b.png"]
    assert len(translate_files(model, [photos], out, noise=1).written) == 3
    other = Checkpoint(model.generator, replace(model.info, step=model.info.step + 1))
    assert len(translate_files(other, [photos], out, noise=1).written) == 3
    assert len(translate_files(other, [photos], out, noise=1).skipped) == 3


def test_results_inside_an_input_are_not_translated_again(model, photos):
    out = photos / "translated"
    for _ in range(2):
        translate_files(model, [photos], out, force=True)
    assert files_in(out) == RESULTS


def test_a_killed_call_leaves_nothing_for_good(model, photos, tmp_path):
    out = tmp_path / "out"
    killed, foreign = replacing(out / "b.png").__enter__(), out / ".other.part.txt"
    killed.write_bytes(b"half")
    foreign.touch()
    translate_files(model, [photos], out)
    assert files_in(out) == sorted([*RESULTS, foreign.name])


def test_photos_come_out_upright_with_the_exif_that_holds(model, tmp_path):
    upright, exif = toy.city(0, 40)[0][:, :30], Image.Exif()
    exif[EXIF_ORIENTATION] = TURNED_LEFT
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Copyright] = "a camera", "a person"
    taken, place = "2024:05:06 07:08:09", {1: "N", 2: (47.0, 5.0, 0.0)}
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: taken, ExifTags.Base.ExifImageWidth: 40}
    exif[ExifTags.IFD.GPSInfo] = place
    Image.fromarray(np.rot90(upright)).save(tmp_path / "photo.png", exif=exif)
    [written] = translate_files(model, [tmp_path / "photo.png"], tmp_path / "out").written
    np.testing.assert_array_equal(read_rgb(written), p2plib.translate(model, [upright])[0])
    with Image.open(written) as result:
        kept = result.getexif()
        assert set(kept) == {ExifTags.Base.Copyright, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}
        assert kept[ExifTags.Base.Copyright] == "a person"
        assert dict(kept.get_ifd(ExifTags.IFD.Exif)) == {ExifTags.Base.DateTimeOriginal: taken}
        assert dict(kept.get_ifd(ExifTags.IFD.GPSInfo)) == place


def test_damaged_exif_costs_no_image(model, tmp_path):
    Image.fromarray(toy.city(0, 32)[0]).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 40)
    assert len(translate_files(model, [tmp_path / "a.png"], tmp_path / "out").written) == 1


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        ([], "out", "nothing to translate"),
        (["missing.png"], "out", r"missing\.png: no such file"),
        (["good.png", "empty"], "out", "empty: no images in this folder"),
        (["good.png", "again/good.jpg"], "out", r"again.good\.jpg .*good\.png; rename one.*different folders"),
        (["good.png"], ".", "one of the inputs and would be overwritten"),
        (["again"], "again", "results cannot go into the input folder"),
        (["good.png"], "file", "file.good.png: cannot be written"),
    ],
    ids=["nothing", "missing", "empty folder", "one name twice", "over itself", "same folder", "no folder"],
)
def test_wrong_inputs_are_named_and_nothing_is_written(model, tmp_path, inputs, out, message):
    save_image(tmp_path / "good.png", toy.city(0, 32)[0])
    save_image(tmp_path / "again" / "good.jpg", toy.city(0, 32)[0])
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=message):
        translate_files(model, [tmp_path / name for name in inputs], tmp_path / out)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_progress_goes_to_stderr(model, photos, tmp_path, capsys):
    translate_files(model, [photos], tmp_path / "out", progress=True)
    shown = capsys.readouterr()
    assert "images: 100%" in shown.err and "3/3" in shown.err
    assert shown.out == ""


def test_files_of_several_images_are_said_and_phone_photos_are_not(model, tmp_path):
    first, *others = (Image.fromarray(toy.city(i, 32)[0]) for i in range(3))
    for name in ("pages.tif", "moving.gif", "film.webp", "phone.mpo"):
        first.save(tmp_path / name, save_all=True, append_images=others)
    first.save(tmp_path / "one.tif")
    (tmp_path / "phone.mpo").rename(tmp_path / "phone.jpg")
    inputs = sorted(tmp_path.iterdir())
    result = translate_files(model, inputs, tmp_path / "out" / "a")
    assert len(result.written) == 5
    several = {path.name: count for path, count in result.several.items()}
    assert several == {"film.webp": 3, "moving.gif": 3, "pages.tif": 3}
