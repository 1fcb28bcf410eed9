"""Training, use and evaluation of images that are not 8-bit RGB squares."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")
rasterio = pytest.importorskip("rasterio")

import p2plib  # noqa: E402
from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data.batches import Batches  # noqa: E402
from p2plib.data.dataset import open_dataset  # noqa: E402
from p2plib.data.values import read_values, write_values  # noqa: E402
from p2plib.errors import DataError  # noqa: E402
from p2plib.inference import rows  # noqa: E402
from p2plib.inference.folders import translate_files  # noqa: E402
from p2plib.training.loop import train  # noqa: E402

PLACE = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)}


def field(i: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A 4-band image and the height that made it, smooth and different for each number."""
    down, across = (np.linspace(0, 3, side, dtype=np.float32) for side in shape)
    waves = np.sin(down[:, None] + i) * np.cos(2 * across[None] - i)
    bands = np.stack([2000 + 1500 * waves, 1000 - 900 * waves, 500 + 400 * waves**2, 3000 * (waves > 0)], -1)
    return bands.astype(np.uint16), (120 + 80 * waves)[..., None].astype(np.float32)


@pytest.fixture(scope="module")
def terrain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("terrain")
    for split, count, start in (("train", 8, 0), ("val", 2, 50)):
        for side in "AB":
            (folder / split / side).mkdir(parents=True)
        for i in range(count):
            for side, values in zip("AB", field(start + i, (40, 72)), strict=True):
                write_values(folder / split / side / f"{i}.tif", values)
    return folder


def config(folder, **fields):
    small = {"image_size": "32x64", "base_filters": 4, "batch_size": 4, "receptive_field": 16, "epochs": 2}
    return TrainConfig(data=str(folder), **small | {"terms": {}, "l1_weight": 100.0, "precision": "float32"} | fields)


@pytest.fixture(scope="module")
def run(terrain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return train(config(terrain, epochs=30, run_dir=str(folder), diff_augment=True), show=lambda snapshot: None)


@pytest.fixture(scope="module")
def model(run):
    return p2plib.load(run)


def test_the_checkpoint_knows_its_images(model, run):
    source, target = model.kinds
    assert source.describe() == "A: 4 channels of uint16, 0 to 4095"
    assert target.dtype == "float32" and target.channels == 1 and 40 <= target.low < target.high <= 200
    assert model.shape == (32, 64)
    saved = TrainConfig.read(run / "config.json")
    assert saved.image_size == "32x64" and saved.target_range == (target.low, target.high)


def test_heights_are_learned(model, terrain):
    evaluation = p2plib.evaluate(model)
    _, heights = (np.stack(side) for side in zip(*(field(50 + i, (40, 72)) for i in range(2)), strict=True))
    flat = np.abs(heights - heights.mean()).mean()
    assert evaluation.mean["mae"] < flat, "in meters, better than the mean height"
    assert evaluation.sources.dtype == evaluation.generated.dtype == np.uint8
    assert evaluation.sources.shape == evaluation.generated.shape == (2, 32, 64, 3)


def test_translation_gives_the_targets_own_values(model):
    bands, heights = field(7, (40, 72))
    [made] = p2plib.translate(model, [bands])
    assert made.shape == heights.shape and made.dtype == np.float32
    assert model.kinds[1].low <= made.min() < made.max() <= model.kinds[1].high
    with pytest.raises(DataError, match=r"takes images of uint16 \(H, W, 4\), not uint8 \(40, 72, 3\)"):
        p2plib.translate(model, [np.zeros((40, 72, 3), np.uint8)])


def test_values_beyond_the_range_are_counted_once(terrain):
    whole = config(terrain)
    assert Batches(open_dataset(whole), whole).pairs.clipped() == []
    narrow = config(terrain, target_range=(0, 120), source_window=(1, 99))
    notes = Batches(open_dataset(narrow), narrow).pairs.clipped()
    assert [note.split("'")[0].split()[-1] for note in notes] == ["source", "target"]
    heights = np.stack([field(i, (40, 72))[1] for i in range(8)])
    assert abs(float(notes[1].split()[0]) - 100 * (heights > 120).mean()) < 2, "they were resized a little"
    said = "% of the target's values lie beyond 0 to 120 and are clipped; target_range sets a wider range"
    assert notes[1].endswith(said)


def test_a_run_goes_on(terrain, tmp_path):
    first = config(terrain, epochs=1, run_dir=str(tmp_path / "run"))
    folder = train(first, show=lambda snapshot: None)
    train(TrainConfig.read(folder / "config.json").__class__(**vars(first) | {"epochs": 2}), resume=folder)
    assert p2plib.load(folder / "checkpoints" / "last.keras").info.epoch == 2


@pytest.mark.parametrize("generator", ["unet", "lean", "resnet6"])
def test_every_generator_takes_rectangles_and_channels(generator):
    from p2plib.data.kind import ImageKind
    from p2plib.models import build_discriminator, build_generator

    kinds = ImageKind("a", channels=5), ImageKind("b", channels=2)
    settings = TrainConfig(generator=generator, image_size="96x160", base_filters=2)
    assert build_generator(settings, kinds).output_shape == (None, 96, 160, 2)
    assert [one.shape[-1] for one in build_discriminator(settings, kinds).inputs] == [5, 2]


def test_a_geotiff_keeps_its_place_whole_or_row_by_row(terrain, tmp_path, monkeypatch):
    run = train(config(terrain, load="crop", epochs=1, run_dir=str(tmp_path / "run")), show=lambda snapshot: None)
    model = p2plib.load(run)
    bands, _ = field(3, (150, 210))
    bands[:20, :30] = 9999
    scene = tmp_path / "scene.tif"
    profile = {"height": 150, "width": 210, "count": 4, "dtype": "uint16", "nodata": 9999}
    with rasterio.open(scene, "w", driver="GTiff", **profile, **PLACE) as file:
        file.write(np.moveaxis(bands, -1, 0))
    results = {}
    for name, limit in (("whole", 10**9), ("rows", 1000)):
        monkeypatch.setattr(rows, "STREAMED", limit)
        done = translate_files(model, [scene], tmp_path / name)
        assert [path.name for path in done.written] == ["scene.tif"] and not done.failed
        assert translate_files(model, [scene], tmp_path / name).skipped == done.written
        with rasterio.open(done.written[0]) as file:
            assert file.crs == PLACE["crs"] and file.transform == PLACE["transform"]
            results[name] = file.read(1)
    assert (results["rows"][:20, :30] == 9999).all()
    np.testing.assert_allclose(results["rows"][25:, 35:], results["whole"][25:, 35:], atol=1e-3)


def test_several_source_folders_are_stacked(terrain, tmp_path, monkeypatch):
    for path in sorted(terrain.glob("*/A/*.tif")):
        bands = read_values(path)
        for name, own in (("near", bands[..., :1]), ("far", bands[..., 1:].astype(np.float32))):
            target = tmp_path / "data" / path.parent.parent.name / name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_values(target, own)
        target = tmp_path / "data" / path.parent.parent.name / "height" / path.name
        target.parent.mkdir(exist_ok=True)
        write_values(target, read_values(path.parent.parent / "B" / path.name))
    settings = config(tmp_path / "data", sources=("near", "far"), load="crop", run_dir=str(tmp_path / "run"))
    model = p2plib.load(train(settings, show=lambda snapshot: None))
    assert model.kinds[0].describe().startswith("near + far: 4 channels, stacked: near: 1 channel of uint16, 0 to 4095")

    val = tmp_path / "data/val"
    done = translate_files(model, [val], tmp_path / "out", compare=False)
    assert [path.relative_to(tmp_path).as_posix() for path in done.written] == ["out/0.tif", "out/1.tif"]
    assert not done.failed and translate_files(model, [val], tmp_path / "out").skipped == done.written
    source, _ = open_dataset(settings)["val"].read(0)
    [expected] = p2plib.translate(model, [source])
    np.testing.assert_array_equal(read_values(done.written[0]), expected)

    for name in ("near", "far"):  # the same scene as GeoTIFFs, whole and row by row
        bands = read_values(val / name / "0.tif")
        (tmp_path / "scene" / name).mkdir(parents=True)
        shape = {"height": 40, "width": 72, "count": bands.shape[-1], "dtype": bands.dtype.name}
        with rasterio.open(tmp_path / "scene" / name / "0.tif", "w", driver="GTiff", **shape, **PLACE) as file:
            file.write(np.moveaxis(bands, -1, 0))
    monkeypatch.setattr(rows, "STREAMED", 1000)
    [written] = translate_files(model, [tmp_path / "scene"], tmp_path / "rows").written
    np.testing.assert_allclose(read_values(written), expected, atol=1e-3)
    (tmp_path / "scene/far/0.tif").unlink()
    [why] = translate_files(model, [tmp_path / "scene"], tmp_path / "rows", force=True).failed.values()
    assert "there is no image called 0 in" in why


def test_depth_is_written_as_png_where_that_holds_it(tmp_path):
    for split, count in (("train", 4), ("val", 2)):
        for side in "AB":
            (tmp_path / "data" / split / side).mkdir(parents=True)
        for i in range(count):
            bands, height = field(i, (40, 72))
            write_values(tmp_path / "data" / split / "A" / f"{i}.png", (bands[..., :3] // 16).astype(np.uint8))
            write_values(tmp_path / "data" / split / "B" / f"{i}.png", (height * 10).astype(np.uint16))
    run = train(config(tmp_path / "data", epochs=1, run_dir=str(tmp_path / "run")), show=lambda snapshot: None)
    done = translate_files(p2plib.load(run), [tmp_path / "data" / "val" / "A"], tmp_path / "out")
    assert {path.suffix for path in done.written} == {".png"}
    made = read_values(done.written[0])
    assert made.dtype == np.uint16 and made.shape == (40, 72, 1) and 255 < made.max() <= 2047
