"""Sessions in a folder laid out like /kaggle."""

from __future__ import annotations

import csv
import dataclasses
import os
import shutil
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import p2plib
from p2plib.data import catalog, download
from p2plib.data.dataset import open_dataset
from p2plib.data.pairs import Pair
from p2plib.errors import DataError, KaggleError, TrainingError
from p2plib.inference.checkpoint import read_info
from p2plib.kaggle import manifest, pack, session
from p2plib.kaggle.mirrors import MIRRORS
from p2plib.registry import TASKS
from p2plib.training.state import read_progress

pytestmark = pytest.mark.on_kaggle

DATASETS, NOTEBOOKS, FLAT = "datasets/{}/{}", "notebooks/{}/{}", "{1}"
MIRRORED = [(data, mirror) for data, mirrors in MIRRORS.items() for mirror in mirrors]


@pytest.fixture
def kaggle(tmp_path, monkeypatch) -> Path:
    """An empty session: the root, with `working` as the current directory."""
    monkeypatch.setenv("P2PLIB_CACHE", "")  # so that it is put back
    new_session(tmp_path / "kaggle", monkeypatch)
    return tmp_path / "kaggle"


def new_session(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("input", "working"):
        (root / name).mkdir(parents=True)
    monkeypatch.setenv("P2PLIB_KAGGLE_ROOT", str(root))
    monkeypatch.chdir(root / "working")


def attach(root: Path, slug: str, layout: str, content: Path, folder: str = ".") -> Path:
    source = root / "input" / layout.format(*slug.split("/"))
    shutil.copytree(content, source / folder, dirs_exist_ok=True)
    return source


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def assert_sealed(run: Path) -> None:
    """The manifest names all files in `run`, none of them temporary, and each is as it says."""
    entries = manifest.read(run / "manifest.json")
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names == {entry.name for entry in entries} | {"manifest.json"}
    assert not [name for name in names if ".part" in name]
    for entry in entries:
        manifest.check(run / entry.name, entry)


def training_pairs(config: p2plib.TrainConfig) -> list[Pair]:
    return TASKS[config.task]().list(config.data).splits["train"]


@pytest.fixture
def offline(monkeypatch) -> None:
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    for name, entry in catalog.CATALOG.items():
        monkeypatch.setitem(catalog.CATALOG, name, dataclasses.replace(entry, url="http://127.0.0.1:9/a.tar.gz"))


# What is attached.


def test_the_root_is_kaggles_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("P2PLIB_KAGGLE_ROOT", raising=False)
    assert session.root() == Path("/kaggle")


@pytest.mark.parametrize("layout", [DATASETS, NOTEBOOKS, FLAT])
def test_sources_are_found_in_each_layout(kaggle, tiny_pairs, layout):
    assert session.find_source("alice/city-pairs") is None
    source = attach(kaggle, "alice/city-pairs", layout, tiny_pairs)
    assert session.find_source("alice/city-pairs") == source
    assert session.find_source("alice/other-pairs") is None


@pytest.mark.parametrize("layout", [DATASETS, FLAT])
@pytest.mark.parametrize(("data", "mirror"), MIRRORED, ids=str)
def test_a_mirror_keeps_the_names_of_the_catalog(kaggle, tiny_pairs, data, mirror, layout):
    attach(kaggle, mirror.slug, layout, tiny_pairs, mirror.folder)
    config = session.attach_data(p2plib.TrainConfig(data=data))
    entry = catalog.CATALOG[data]
    assert config.data == data
    assert open_dataset(config).direction == entry.direction
    assert open_dataset(dataclasses.replace(config, direction="AtoB")).names == entry.names
    assert len(training_pairs(config)) == 10
    assert not list((kaggle / "working").iterdir())


def test_ones_own_copy_of_a_catalog_data_set_is_found_in_the_sources(kaggle, tiny_pairs):
    attach(kaggle, "alice/many-things", DATASETS, tiny_pairs, "night2day")
    config = p2plib.TrainConfig(data="night2day")
    assert session.attach_data(config, ["alice/many-things"]) == config
    assert len(training_pairs(p2plib.TrainConfig(data="night2day"))) == 10


def test_another_data_set_is_not_taken_for_the_one_that_is_asked_for(kaggle, tiny_pairs, offline):
    attach(kaggle, MIRRORS["facades"][0].slug, DATASETS, tiny_pairs, "facades/facades")
    with pytest.raises(KaggleError, match="maps: it is not attached"):
        session.attach_data(p2plib.TrainConfig(data="maps"), [MIRRORS["facades"][0].slug])


@pytest.mark.parametrize("layout", [DATASETS, FLAT])
@pytest.mark.parametrize("data", ["cities/small", "alice/my-pairs/cities/small", "{}", "{}/", "../input/{}"])
def test_a_folder_is_found_by_name_or_path_and_always_known_by_one_path(kaggle, tiny_pairs, layout, data):
    attach(kaggle, "alice/my-pairs", layout, tiny_pairs, "cities/small")
    attach(kaggle, "alice/other-pairs", layout, tiny_pairs / "val", "cities/large/val")
    if data.startswith("{"):
        data = str(kaggle / "input" / data)
    for mounted in (DATASETS, FLAT):  # the path may be of the layout that is not there today
        path = data.format(mounted.format("alice", "my-pairs") + "/cities/small")
        config = session.attach_data(p2plib.TrainConfig(data=path), ["alice/other-pairs", "alice/my-pairs"])
        assert config.data == str(kaggle / "temp/p2plib/data/small")
        assert len(training_pairs(config)) == 10


def test_a_folder_of_photos_is_found_for_a_task_that_makes_pairs_of_them(kaggle, tiny_pairs):
    attach(kaggle, "alice/my-photos", DATASETS, tiny_pairs / "train", "sea/deep")  # any images will do
    with pytest.raises(KaggleError, match="no such folder with pairs is attached"):
        session.attach_data(p2plib.TrainConfig(data="alice/my-photos"))
    config = session.attach_data(p2plib.TrainConfig(data="alice/my-photos", task="colorize"))
    assert len(training_pairs(config)) == 10


@pytest.mark.parametrize("task", ["pairs", "colorize"])
@pytest.mark.parametrize("way", ["in a folder of its name", "beside the record", "not at all"])
def test_what_push_packed_is_found_however_kaggle_unpacks_it(kaggle, tiny_pairs, tmp_path, way, task):
    config = p2plib.TrainConfig(data=str(tiny_pairs), image_size=32, task=task)
    packed = pack.pack(config, tmp_path / "out")
    source = kaggle / "input" / DATASETS.format("alice", "p2plib-city")
    shutil.copytree(tmp_path / "out", source)
    if way != "not at all":
        with zipfile.ZipFile(source / pack.ARCHIVE) as archive:
            archive.extractall(source / "images" if way == "in a folder of its name" else source)
        (source / pack.ARCHIVE).unlink()
    found = session.attach_data(dataclasses.replace(config, data="alice/p2plib-city"), ["alice/p2plib-city"])
    assert found.data == str(kaggle / "temp/p2plib/data/p2plib-city")
    splits = TASKS[task]().list(found.data).splits
    assert {name: len(pairs) for name, pairs in splits.items()} == packed.counts == {"train": 10, "val": 3}


def test_an_archive_that_was_damaged_is_named(kaggle, tiny_pairs):
    source = kaggle / "input" / DATASETS.format("alice", "p2plib-city")
    source.mkdir(parents=True)
    for name in (pack.ARCHIVE, pack.RECORD):
        (source / name).write_text("half")
    with pytest.raises(KaggleError, match=r"alice/p2plib-city: its images\.zip is damaged"):
        session.attach_data(p2plib.TrainConfig(data="alice/p2plib-city"))


def test_a_folder_elsewhere_is_used_as_it_is(kaggle, tiny_pairs):
    shutil.copytree(tiny_pairs, kaggle / "working" / "mine")
    for data in ("mine", str(tiny_pairs), "toy"):
        assert session.attach_data(p2plib.TrainConfig(data=data)).data == data


def test_with_the_internet_on_the_catalog_brings_it(kaggle, tiny_pairs, monkeypatch):
    monkeypatch.setattr(download, "get", lambda name, **_: shutil.copytree(tiny_pairs, download.dataset_dir(name)))
    assert session.attach_data(p2plib.TrainConfig(data="night2day")).data == "night2day"
    assert len(training_pairs(p2plib.TrainConfig(data="night2day"))) == 10
    assert not list((kaggle / "working").iterdir())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("maps", "attach vikramtiwari/pix2pix-dataset or alincijov/pix2pix-maps .*, or turn on the internet"),
        ("night2day", "attach a Kaggle data set with a folder night2day"),
        ("my-pairs/small", "my-pairs/small: no such folder with pairs is attached; attach the Kaggle data set"),
        ("/kaggle/elsewhere", "/kaggle/elsewhere: no such folder"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(kaggle, offline, data, message):
    (kaggle / "input" / "my-pairs" / "small").mkdir(parents=True)  # attached, but empty
    with pytest.raises(KaggleError, match=message) as caught:
        session.attach_data(p2plib.TrainConfig(data=data), ["alice/my-pairs"])
    assert str(caught.value).count(". ") == 0 and str(caught.value).endswith(".")


# Time.


def test_the_time_budget_leaves_room_below_the_sessions_limit(monkeypatch):
    monkeypatch.setattr(session, "_age", lambda: 100.0)
    assert session.time_budget(tpu=False) == 11.5 * 3600 - 100
    assert session.time_budget(tpu=True) == 8.5 * 3600 - 100
    monkeypatch.setattr(session, "_age", lambda: 1e6)
    assert session.time_budget(tpu=False) == 1


def test_the_clock_runs_from_the_start_of_the_process():
    before = session._age()
    time.sleep(0.05)
    assert 0.05 <= session._age() - before < 1
    assert before > 0.1  # Python and pytest had started


# Training.


def state(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "checkpoints" / "state.npz") as file:
        return {name: file[name] for name in file.files if name != "progress"}


def progress(run: Path) -> dict:
    return read_progress(run / "checkpoints" / "state.npz")


def step(run: Path) -> int:
    return progress(run)["epoch"] * 5 + progress(run)["step"]


def log(run: Path) -> list[dict[str, str]]:
    rows = csv.DictReader((run / "log.csv").read_text().splitlines())
    return [{name: x for name, x in row.items() if name not in ("seconds", "pictures_per_second")} for row in rows]


@pytest.fixture(scope="module")
def chain(tiny_config, tiny_pairs, tmp_path_factory):
    """The mirror of "maps" trained on in three sessions, of which only the last has time enough, and in one."""
    config = dataclasses.replace(tiny_config, data="maps", xla="on", epochs=12, decay_epochs=6, sample_every=1)
    parts, out = [], []
    mirror = MIRRORS["maps"][0]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("P2PLIB_CACHE", "")
        monkeypatch.setenv("KAGGLE_USER_SECRETS_TOKEN", "sesame")
        for module in ("training.loop", "kaggle.session"):
            monkeypatch.setattr(f"p2plib.{module}.say", out.append)
        for i, (budget, layout, before) in enumerate(
            [("0.5s", DATASETS, FLAT), ("0.5s", FLAT, NOTEBOOKS), (None, DATASETS, FLAT)]
        ):
            root = tmp_path_factory.mktemp("session") / "kaggle"
            new_session(root, monkeypatch)
            attach(root, mirror.slug, layout, tiny_pairs, mirror.folder)
            if i:
                attach(root, f"alice/part-{i}", before, parts[-1].parent)
            config = dataclasses.replace(config, time_budget=budget)
            parts.append(session.train(config, [mirror.slug], f"alice/part-{i}" if i else None))
        straight = p2plib.train(dataclasses.replace(config, run_dir=str(tmp_path_factory.mktemp("straight"))))
    return SimpleNamespace(parts=parts, straight=straight, out="\n".join(out), config=config)


@pytest.mark.keras
def test_three_parts_give_the_weights_of_one_long_run(chain):
    first, second, third = chain.parts
    assert 0 < step(first) < step(second) < step(third) == 60
    together, straight = state(third), state(chain.straight)
    assert together.keys() == straight.keys()
    for name in together:
        np.testing.assert_array_equal(together[name], straight[name], name)
    assert log(third) == log(chain.straight)
    for name in ("best", "last"):
        path = f"checkpoints/{name}.keras"
        assert read_info(third / path).step == read_info(chain.straight / path).step
        one, two = (p2plib.load(run / path).generator.get_weights() for run in (third, chain.straight))
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.keras
def test_every_part_is_sealed_reported_and_of_few_files(chain):
    for run in chain.parts:
        assert [path.name for path in run.parent.iterdir()] == ["run"]
        assert_sealed(run)
        assert (run / "results.html").exists()
        assert read_info(run / "checkpoints" / "best.keras").names == ("satellite", "map")
    assert len(list((chain.parts[-1] / "samples").iterdir())) == 7  # at every second epoch, not at every one
    assert len(list(chain.parts[-1].rglob("*.*"))) <= 30


@pytest.mark.keras
def test_a_given_time_budget_wins_and_the_default_is_below_the_limit(chain):
    first, _, third = (p2plib.TrainConfig.read(run / "config.json") for run in chain.parts)
    assert first.time_budget == "0.5s"
    assert 10 * 3600 < third.time_budget_seconds < 11.5 * 3600


@pytest.mark.keras
def test_a_session_says_what_matters_and_no_secret(chain):
    assert "WARNING" in chain.out and "DAYS" in chain.out
    lines = session.CPU_WARNING.splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    for words in ("time budget: 0.5s", "resuming from alice/part-1", f"report: {chain.parts[0]}", "manifest: "):
        assert words in chain.out
    grids = [f"sample grid: samples/{path.name}" for path in sorted((chain.parts[-1] / "samples").iterdir())]
    assert [line for line in chain.out.splitlines() if line.startswith("sample grid: ")] == grids  # each one once
    assert "sesame" not in chain.out


@pytest.fixture
def after_tiny_run(kaggle, tiny_run) -> Path:
    """A session after one that trained `tiny_run`; gives the attached output."""
    manifest.write(shutil.copytree(tiny_run, kaggle / "before" / "run"))
    return attach(kaggle, "alice/part-1", NOTEBOOKS, kaggle / "before")


@pytest.mark.keras
def test_a_finished_run_is_handed_on(kaggle, after_tiny_run, tiny_config, tiny_run, capsys):
    config = dataclasses.replace(tiny_config, epochs=2, decay_epochs=0)
    run = session.train(config, resume="alice/part-1")
    out = capsys.readouterr().out
    assert "alice/part-1 has completed the training" in out and "WARNING" not in out
    assert_sealed(run)
    for name in ("log.csv", "config.json", "checkpoints/state.npz", "checkpoints/best.keras"):
        assert (run / name).read_bytes() == (tiny_run / name).read_bytes()
    assert (run / "results.html").exists()


@pytest.mark.keras
def test_a_finished_run_goes_on_when_more_epochs_are_wanted(kaggle, after_tiny_run, tiny_config):
    config = dataclasses.replace(tiny_config, epochs=3, decay_epochs=0)
    assert progress(session.train(config, resume="alice/part-1"))["epoch"] == 3


@pytest.mark.keras
@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("checkpoints/state.npz", damage, r"checkpoints/state\.npz is damaged"),
        ("checkpoints/last.keras", Path.unlink, r"checkpoints/last\.keras is missing"),
        ("log.csv", lambda path: path.write_text("<html>"), r"log\.csv is missing: a web page"),
        ("manifest.json", Path.unlink, r"manifest\.json: cannot be read"),
    ],
)
def test_a_damaged_part_is_refused_by_name(kaggle, after_tiny_run, tiny_config, name, spoil, message):
    spoil(after_tiny_run / "run" / name)
    with pytest.raises(KaggleError, match=f"alice/part-1: its output cannot be used.*{message}"):
        session.train(tiny_config, resume="alice/part-1")
    assert not list((kaggle / "working").iterdir())


@pytest.mark.keras
def test_a_part_that_leaves_its_folder_is_refused(kaggle, after_tiny_run, tiny_config):
    listed = after_tiny_run / "run" / "manifest.json"
    listed.write_text(listed.read_text().replace('"log.csv"', '"../log.csv"'))
    with pytest.raises(KaggleError, match=r"'\.\./log\.csv' is refused"):
        session.train(tiny_config, resume="alice/part-1")
    assert not list((kaggle / "working").iterdir())


def test_a_part_that_is_not_attached_is_asked_for(kaggle, tiny_config):
    with pytest.raises(KaggleError, match=r"alice/part-1: its output is not attached; .*kernel_sources"):
        session.train(tiny_config, resume="alice/part-1")


def test_a_run_that_is_there_is_not_touched(kaggle, tiny_config):
    (kaggle / "working" / "run").mkdir()
    with pytest.raises(KaggleError, match="already exists"):
        session.train(tiny_config)
    assert not list((kaggle / "working" / "run").iterdir())


@pytest.mark.keras
def test_what_was_trained_is_sealed_even_when_training_fails(kaggle, after_tiny_run, tiny_config, monkeypatch):
    def fail(config, resume, callbacks):
        (Path(resume) / "checkpoints" / f".state.{os.getpid()}.part.npz").touch()
        raise TrainingError("The loss became NaN.")

    monkeypatch.setattr("p2plib.training.loop.train", fail)
    with pytest.raises(TrainingError):
        session.train(tiny_config, resume="alice/part-1")
    assert_sealed(kaggle / "working" / "run")


def test_a_refusal_leaves_nothing_behind(kaggle, tiny_pairs, tiny_config):
    broken = kaggle / "working" / "broken"
    shutil.copytree(tiny_pairs, broken)
    (broken / "train" / "3.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"train/3\.png"):
        session.train(dataclasses.replace(tiny_config, data=str(broken)))
    assert [path.name for path in (kaggle / "working").iterdir()] == ["broken"]
