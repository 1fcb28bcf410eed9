"""`kaggle push --data FOLDER` with the unmodified command, against a Kaggle of the tests that breaks and refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from kaggle_server import KEY, TOKEN, Server

from p2plib.cli.main import main
from p2plib.config import TrainConfig
from p2plib.data import toy
from p2plib.data.image import save_image
from p2plib.kaggle import dataset, pack, preflight
from p2plib.kaggle.metadata import Kernel
from p2plib.kaggle.pack import ARCHIVE, RECORD

pytestmark = pytest.mark.kaggle_command
ROOT = Path(__file__).resolve().parents[2]
NAME = "alice/p2plib-my-pairs"
OPTIONS = ["--data", "my_pairs", "--image-size", "32", "--base-filters", "4", "--receptive-field", "16"]
LATE = tuple(map(int, version("kaggle").split(".")[:3])) >= (2, 2, 5)
UPLOADS = {"StartBlobUpload", "CreateDataset", "CreateDatasetVersion"}


@pytest.fixture(autouse=True)
def here(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone, as far as it matters, with a folder of pairs in it; Kaggle is asked without pauses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preflight, "count_weights", lambda config: (1, 1))  # which takes seconds, and is not meant here
    monkeypatch.setattr(dataset, "POLL", 0.0)
    shutil.copy(ROOT / "kernel-metadata.json", tmp_path)
    for i in range(5):
        draw(i, i)
    return tmp_path


def draw(number: int, seed: int) -> None:
    save_image(Path("my_pairs", "train", f"{number}.png"), np.hstack(toy.city(seed, 90)))


def succeeds(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    status = main(["kaggle", *arguments])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return printed.out.splitlines()


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that says why."""
    assert main(["kaggle", *arguments]) == 1
    error = capsys.readouterr().err
    assert KEY not in error and TOKEN not in error and "Traceback" not in error
    first, *more = error.strip().splitlines()
    assert first.startswith("error: ") and not more, error
    return first


def called(server: Server) -> list[str]:
    names = [call.name for call in server.calls]
    server.calls.clear()
    return names


def assert_there(server: Server, versions: int = 1) -> None:
    """The newest version on Kaggle is what is packed here, to the byte."""
    assert len(server.datasets[NAME]) == versions
    files = server.datasets[NAME][-1]
    folder = Path("build/kaggle-data/p2plib-my-pairs")
    assert files == {name: (folder / name).read_bytes() for name in (ARCHIVE, RECORD)}
    assert zipfile.ZipFile(BytesIO(files[ARCHIVE])).testzip() is None


# The way it should go.


def test_a_dry_run_says_what_would_leave_and_sends_nothing(server, capsys):
    lines = succeeds(capsys, "push", *OPTIONS, "--dry-run")
    size = Path("build/kaggle-data/p2plib-my-pairs", ARCHIVE).stat().st_size
    assert lines == [
        "owner: alice, whose credentials these are, in place of YOUR-NAME",
        "built: build/kaggle",
        f"to {NAME}, private: 4 train, 1 val pairs (5 at the size of training), {pack.megabytes(size)}",
        "nothing was sent: this was a dry run",
    ]
    assert not server.calls
    assert succeeds(capsys, "push", "--data", "maps", "--dry-run")[-1] == lines[-1] and not server.calls


def test_the_images_go_once_and_changed_ones_become_a_new_version(server, capsys):
    server.dataset_states = ["BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "READY"]
    lines = succeeds(capsys, "push", *OPTIONS)
    assert lines[-1] == "pushed: https://www.kaggle.com/code/alice/p2plib-training"
    assert f"{NAME}: blobs_received; waiting" in lines and f"{NAME}: ready" in lines
    assert_there(server)
    [created] = [call.body for call in server.calls if call.name == "CreateDataset"]
    assert created["isPrivate"] and created["licenseName"] == "other" and created["title"] == "p2plib my pairs"
    pushed = server.calls[-1].body
    assert pushed["datasetDataSources"] == [NAME] and f"data='{NAME}'" in pushed["text"]
    called(server)

    lines = succeeds(capsys, "push", *OPTIONS)
    assert f"{NAME}: the same images are there already, nothing to upload" in lines
    names = called(server)
    assert not UPLOADS & set(names) and names[-1] == "SaveKernel"

    draw(2, 77)
    succeeds(capsys, "push", *OPTIONS)
    assert "CreateDatasetVersion" in called(server)
    assert_there(server, 2)


def test_name_license_and_files_as_they_are_can_be_chosen(server, capsys):
    succeeds(capsys, "push", *OPTIONS, "--dataset", "City pairs", "--license", "CC-BY-4.0", "--original")
    [newest] = server.datasets["alice/city-pairs"]
    archive = zipfile.ZipFile(BytesIO(newest[ARCHIVE]))
    assert {name: archive.read(name) for name in archive.namelist()} == {
        path.relative_to("my_pairs").as_posix(): path.read_bytes() for path in Path("my_pairs").rglob("*.png")
    }
    [created] = [call.body for call in server.calls if call.name == "CreateDataset"]
    assert (created["title"], created["licenseName"]) == ("City pairs", "CC-BY-4.0")
    assert "cannot be the name of a data set" in fails(capsys, "push", *OPTIONS, "--dataset", "x")


def test_a_pack_is_not_sent(server, capsys):
    assert main(["data", "pack", "my_pairs", "my_pack"]) == 0
    capsys.readouterr()
    assert fails(capsys, "push", *OPTIONS, "--data", "my_pack").endswith("push the folder that it was made of.")
    assert not UPLOADS & set(called(server))


def test_a_data_set_that_is_attached_is_not_sent(server, capsys):
    values = json.loads(Path("kernel-metadata.json").read_text())
    Path("kernel-metadata.json").write_text(json.dumps(values | {"dataset_sources": ["bob/pairs"]}))
    Path("bob/pairs").mkdir(parents=True)
    succeeds(capsys, "push", "--data", "bob/pairs")
    assert called(server) == ["SaveKernel"]


def test_all_that_is_attached_is_passed_on(server, capsys):
    more = {"model_sources": ["bob/unet/keras/small/3"], "competition_sources": ["city-maps"]}
    more["kernel_sources"] = ["bob/first", "bob/notes"]
    values = json.loads(Path("kernel-metadata.json").read_text())
    Path("kernel-metadata.json").write_text(json.dumps(values | more))
    succeeds(capsys, "push", *OPTIONS)
    pushed = server.calls[-1].body
    assert pushed["modelDataSources"] == more["model_sources"]
    assert pushed["competitionDataSources"] == more["competition_sources"]
    assert pushed["kernelDataSources"] == more["kernel_sources"] and "resume='bob/first'" in pushed["text"]


# Whose it is.


def test_a_token_says_whose_it_is_and_one_command_is_enough(server, capsys, monkeypatch):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    lines = succeeds(capsys, "push", "--data", "maps")
    assert lines[0] == "owner: alice, whose credentials these are, in place of YOUR-NAME"
    assert server.calls[-1].body["slug"] == "alice/p2plib-training"


def test_credentials_in_a_file_that_others_can_read_are_warned_of_and_taken(server, home, capsys, monkeypatch):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text(json.dumps({"username": "alice", "key": KEY}))
    (home / ".kaggle" / "kaggle.json").chmod(0o644)
    assert "alice" in succeeds(capsys, "push", *OPTIONS)[0]
    assert_there(server)


def test_an_owner_that_is_given_stays_and_nobody_is_asked(server, capsys):
    text = Path("kernel-metadata.json").read_text().replace("YOUR-NAME", "carol")
    Path("kernel-metadata.json").write_text(text)
    assert succeeds(capsys, "push", "--data", "maps", "--dry-run")[0] == "built: build/kaggle"
    assert not server.calls


def test_without_credentials_the_name_stays_open_and_both_are_named(server, capsys, monkeypatch):
    monkeypatch.delenv("KAGGLE_KEY")
    assert main(["kaggle", "push", *OPTIONS]) == 1
    _, *problems = capsys.readouterr().err.splitlines()
    assert "No credentials" in problems[0] and "YOUR-NAME" in problems[1]
    assert not server.calls and not Path("build/kaggle-data").exists()


def test_credentials_that_kaggle_does_not_take(server, capsys, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    monkeypatch.delenv("KAGGLE_KEY")
    server.fault = 401, b'{"code": 401, "message": "Unauthenticated"}'
    assert "no credentials that it takes; run: kaggle auth login" in fails(capsys, "push", *OPTIONS)


# What goes wrong: one sentence, and nothing lost.


def test_an_upload_that_is_cut_at_every_tenth_goes_on_where_it_ended(server, capsys):
    succeeds(capsys, "push", *OPTIONS, "--dry-run")
    size = Path("build/kaggle-data/p2plib-my-pairs", ARCHIVE).stat().st_size
    server.cuts = [size * tenth // 10 for tenth in range(10)]
    for tenth in range(10):
        message = fails(capsys, "push", *OPTIONS)
        if LATE:
            assert message.endswith("give the same command again, and it goes on where it ended.")
            [blob] = [blob for blob in server.blobs.values() if blob.name == ARCHIVE]  # it was begun only once
            assert len(blob.content) == size * tenth // 10 and not server.datasets
        else:  # it begins anew, and makes a data set of what arrived
            assert message.endswith(
                "give the same command again, which mends it (kaggle 2.2.5 also goes on where it ended)."
            )
        assert "SaveKernel" not in called(server)
    succeeds(capsys, "push", *OPTIONS)
    assert_there(server, 1 if LATE else 11)


@pytest.mark.parametrize("alone", [True, False])
def test_an_upload_that_is_interrupted_goes_on_where_it_ended(server, capsys, alone):
    """By a signal to this program alone, as a notebook sends it, or by the end of all that runs."""
    succeeds(capsys, "push", *OPTIONS, "--dry-run")
    folder = Path("build/kaggle-data/p2plib-my-pairs")
    server.released.clear()
    code = (
        f"from p2plib.kaggle import dataset as d; d.send(d.Path({str(folder)!r}), d.Place({NAME!r}, 'p2plib my pairs'))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.PIPE, text=True)
    assert server.stalled.wait(60)
    if alone:
        process.send_signal(signal.SIGINT)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.communicate(timeout=15)[1].endswith("KeyboardInterrupt\n" if alone else "")
    if alone:
        with pytest.raises(ProcessLookupError):  # nothing goes on in the background
            os.killpg(process.pid, 0)
    [blob] = [blob for blob in server.blobs.values() if blob.name == ARCHIVE]
    assert len(blob.content) == (folder / ARCHIVE).stat().st_size // 2 and not server.datasets
    server.released.set()
    succeeds(capsys, "push", *OPTIONS)
    assert [blob.name for blob in server.blobs.values()].count(ARCHIVE) == 1
    assert_there(server)


def test_a_record_without_its_images_is_mended(server, capsys):
    succeeds(capsys, "push", *OPTIONS)
    del server.datasets[NAME][-1][ARCHIVE]
    succeeds(capsys, "push", *OPTIONS)
    assert_there(server, 2)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ((429, b'{"code": 429, "message": "Too many requests"}'), "asked too often"),
        ((429, b"slow down"), "asked too often"),
        ((500, b"oops"), "HTTP status 500), the fault is on its side; try again later"),
        ((503, b"oops"), "HTTP status 503), the fault is on its side; try again later"),
        ((401, b'{"code": 401, "message": "Unauthenticated"}'), "kaggle auth login"),
    ],
)
def test_a_kaggle_that_does_not_answer(server, capsys, fault, message):
    server.fault = fault
    assert message in fails(capsys, "push", *OPTIONS)
    assert not (UPLOADS | {"SaveKernel"}) & set(called(server))
    server.fault = None
    succeeds(capsys, "push", *OPTIONS)
    assert_there(server)


EXPIRED, BUSY, DOWN = ((status, b'{"message": "no"}') for status in (401, 429, 503))
SAYS = {EXPIRED: "kaggle auth login", BUSY: "asked too often", DOWN: "HTTP status 503"}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ("StartBlobUpload", BUSY),
        ("StartBlobUpload", EXPIRED),
        ("PUT", DOWN),
        ("CreateDataset", DOWN),
        ("wait", DOWN),
        ("wait", EXPIRED),
        ("SaveKernel", BUSY),
        ("SaveKernel", EXPIRED),
    ],
)
def test_a_kaggle_that_refuses_in_the_middle_is_gone_on_with(server, capsys, step, fault):
    """Whichever step it is: one sentence, and the same command sends what is lacking, and nothing twice."""
    plain = server.CreateDataset

    def create(body: dict[str, object]) -> dict[str, object]:
        server.faults["GetDatasetStatus"] = fault
        return plain(body)

    if step == "wait":
        server.CreateDataset = create
    else:
        server.faults[step] = fault
    error = fails(capsys, "push", *OPTIONS)
    assert SAYS[fault] in error or step == "PUT"
    assert len(server.datasets) == (step in ("wait", "SaveKernel"))
    server.faults.clear()
    server.CreateDataset = plain
    succeeds(capsys, "push", *OPTIONS)
    assert_there(server)
    assert called(server).count("SaveKernel") == 1 + (step == "SaveKernel")


def test_a_data_set_that_is_never_ready_is_waited_for_later(server, capsys, monkeypatch):
    monkeypatch.setattr(dataset, "WAIT", 0.0)
    server.dataset_states = ["BLOBS_RECEIVED"]
    error = fails(capsys, "push", *OPTIONS)
    assert "has not made it ready within" in error and "(blobs_received); nothing is lost" in error
    assert "SaveKernel" not in called(server)
    server.dataset_states = ["READY"]
    succeeds(capsys, "push", *OPTIONS)
    assert not UPLOADS & set(called(server))
    assert_there(server)


def test_a_data_set_that_kaggle_could_not_unpack_is_sent_again(server, capsys):
    server.dataset_states = ["FAILED"]
    assert "could not unpack the images; give the same command again" in fails(capsys, "push", *OPTIONS)
    server.dataset_states = ["FAILED", "READY"]
    succeeds(capsys, "push", *OPTIONS)
    assert_there(server, 2)


@pytest.mark.parametrize("files", [{}, {RECORD: b"<html>"}, {"other.csv": b"1,2"}])
def test_a_data_set_of_somebody_elses_making_is_left_alone(server, capsys, files):
    server.datasets[NAME] = [files]
    assert "that p2plib did not make, or that another program changed; it is left alone" in fails(
        capsys, "push", *OPTIONS
    )
    assert not (UPLOADS | {"SaveKernel"}) & set(called(server)) and server.datasets[NAME] == [files]
    succeeds(capsys, "push", *OPTIONS, "--dataset", "other pairs")


def test_a_name_or_license_that_kaggle_refuses(server, capsys):
    server.refusal = "The requested title is already in use."
    assert main(["kaggle", "push", *OPTIONS]) == 1
    error = capsys.readouterr().err
    assert "Kaggle did not take it; mend what it says" in error and server.refusal in error
    assert not server.datasets and "SaveKernel" not in called(server)


def test_a_quota_that_is_used_up_says_so_and_the_data_set_stays(server, capsys):
    server.pushed = {"error": "Maximum weekly GPU quota of 30.00 hours reached."}
    assert main(["kaggle", "push", *OPTIONS]) == 1
    assert "Maximum weekly GPU quota" in capsys.readouterr().err
    server.pushed = {}
    called(server)
    succeeds(capsys, "push", *OPTIONS)
    assert not UPLOADS & set(called(server))


def test_broken_pairs_are_named_before_anything_is_sent(server, capsys):
    Path("my_pairs/train/3.png").write_bytes(b"no image")
    assert main(["kaggle", "push", *OPTIONS]) == 1
    assert "train/3.png" in capsys.readouterr().err
    assert not server.calls
    lines = succeeds(capsys, "push", *OPTIONS, "--skip-broken")
    assert any("1 stay here" in line for line in lines)


def test_the_record_stands_beside_the_kernel_as_long_as_it_trains_on_these_images(server, capsys):
    succeeds(capsys, "push", *OPTIONS)
    assert pack.read(Path("build/kaggle", RECORD)) == pack.read(Path("build/kaggle-data/p2plib-my-pairs", RECORD))
    assert TrainConfig.read("build/kaggle/config.json").data == NAME
    assert Kernel.read("build/kaggle/kernel-metadata.json").dataset_sources == (NAME,)
    succeeds(capsys, "push", "--data", "maps")
    assert not os.path.lexists(f"build/kaggle/{RECORD}")
