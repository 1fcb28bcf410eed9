"""`kaggle resume --sessions N`: a chain that goes on by itself, and stops where it cannot."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from kaggle_server import TOKEN, Server

from p2plib.cli.main import main
from p2plib.config import TrainConfig
from p2plib.errors import KaggleError
from p2plib.kaggle import client, manifest, preflight
from p2plib.kaggle.kernel import CONFIG, Kernel, build
from p2plib.kaggle.metadata import METADATA

pytestmark = pytest.mark.kaggle_command
FIRST = "alice/my-run"
OUT = Path("build/kaggle")
SMALL = TrainConfig(data="maps", image_size=32, base_filters=4, receptive_field=16)


@pytest.fixture(autouse=True)
def built(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first part that was pushed, and has ended before the training has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preflight, "count_weights", lambda config: (1, 1))  # which takes seconds, and is not meant here
    monkeypatch.setattr(client, "follow", partial(client.follow, poll=0.01))
    build(SMALL, Kernel(FIRST, "My run").with_data("maps"), OUT)
    sends(server)


def sends(server: Server, complete: bool = False) -> None:
    run = Path("there", "run")
    run.mkdir(parents=True, exist_ok=True)
    (run / "log.csv").write_text("epoch\n1\n")
    server.files["run/manifest.json"] = manifest.write(run, complete).read_bytes()


def pushed(server: Server) -> list[str]:
    return [call.body["slug"] for call in server.calls if call.name == "SaveKernel"]


def newest() -> str:
    return Kernel.read(OUT / METADATA).id


def resume(*arguments: str) -> int:
    return main(["kaggle", "resume", *arguments])


def test_it_goes_on_until_the_training_is_complete(server, capsys):
    server.on_push = lambda slug: sends(server, slug.endswith("part-3"))
    server.states = [{"status": name} for name in ("COMPLETE", "RUNNING", "COMPLETE", "QUEUED", "RUNNING", "COMPLETE")]
    assert resume("--sessions", "5") == 0
    assert pushed(server) == [f"{FIRST}-part-2", f"{FIRST}-part-3"]
    assert f"{FIRST}-part-3: the training is complete" in capsys.readouterr().out
    calls = [call.name for call in server.calls if call.name in ("SaveKernel", "GetKernelSessionStatus")]
    assert (
        calls
        == ["GetKernelSessionStatus", "SaveKernel", *["GetKernelSessionStatus"] * 2, "SaveKernel"]
        + ["GetKernelSessionStatus"] * 3
    )  # each part began when the former had ended
    assert resume("--sessions", "5") == 0 and len(pushed(server)) == 2  # there is nothing left


def test_it_stops_when_its_sessions_are_used_and_goes_on_when_called_again(server, capsys):
    assert resume("--sessions", "2") == 1
    assert "all 2 sessions are used, and the training is not complete; the same command" in capsys.readouterr().out
    assert pushed(server) == [f"{FIRST}-part-2", f"{FIRST}-part-3"]
    assert resume("--sessions", "1") == 1
    assert pushed(server)[2:] == [f"{FIRST}-part-4"]
    assert resume("--sessions", "0") == 1 and "it must be 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("state", ["ERROR", "CANCEL_ACKNOWLEDGED"])
def test_it_stops_at_a_part_that_failed(server, capsys, state):
    server.states = [{"status": "COMPLETE"}, {"status": state, "failureMessage": "out of memory"}]
    assert resume("--sessions", "4") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert f"{FIRST}-part-2: its session ended with {state}: out of memory, so no further part was pushed" in line
    assert pushed(server) == [f"{FIRST}-part-2"] and newest() == f"{FIRST}-part-2"


def test_an_output_without_a_manifest_is_no_part_to_go_on_from(server, capsys):
    server.files.clear()
    assert resume("--sessions", "4") == 1
    assert f"{FIRST}: its output has no run/manifest.json" in capsys.readouterr().err
    assert not pushed(server)


FAULTS = [
    ({"fault": (429, b"slow down")}, "asked too often"),
    ({"fault": (503, b"")}, "HTTP status 503"),
    ({"pushed": {"error": "Maximum weekly GPU quota of 30.00 hours reached."}}, "Maximum weekly GPU quota"),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS)
@pytest.mark.parametrize("arguments", [(), ("--sessions", "1")])
def test_a_push_that_fails_leaves_the_former_part_and_is_made_up_for(
    server, capsys, monkeypatch, fault, message, arguments
):
    before = {path.name: path.read_bytes() for path in OUT.iterdir()}
    plain = client.push

    def push(folder: Path) -> str:
        for name, value in fault.items():
            monkeypatch.setattr(server, name, value)
        return plain(folder)

    monkeypatch.setattr(client, "push", push)
    assert resume(*arguments) == 1
    error = capsys.readouterr().err
    assert message in error and ".kaggle." not in error
    assert {path.name: path.read_bytes() for path in OUT.iterdir()} == before
    assert [path.name for path in OUT.parent.iterdir()] == [OUT.name]

    server.fault, server.pushed = None, {}
    monkeypatch.setattr(client, "push", plain)
    server.calls.clear()
    resume(*arguments)
    assert pushed(server) == [f"{FIRST}-part-2"] and newest() == f"{FIRST}-part-2"


@pytest.mark.parametrize("token", [False, True])
def test_credentials_that_expire_in_mid_chain_are_said_once_and_it_goes_on_later(server, capsys, monkeypatch, token):
    def expire(slug: str) -> None:
        server.fault = 401, b'{"code": 401, "message": "Unauthenticated"}'

    if token:
        monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
        monkeypatch.delenv("KAGGLE_KEY")
    server.on_push = expire
    assert resume("--sessions", "3") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert ("kaggle auth login" if token else "check owner, slug, and credentials") in line
    assert line.endswith(f"A session of {FIRST}-part-2 runs on; the same command goes on with it.")
    server.fault, server.on_push = None, lambda slug: sends(server, complete=True)
    assert resume("--sessions", "3") == 0
    assert pushed(server) == [f"{FIRST}-part-2", f"{FIRST}-part-3"]


def test_images_that_another_program_changed_are_noticed_before_the_next_part(server, capsys):
    record = {"format": 1, "fingerprint": "x", "noun": "pairs", "counts": {}, "resized": 0, "left_out": 0, "size": 1}
    build(replace(SMALL, data="alice/pairs"), Kernel(FIRST, "My run", dataset_sources=("alice/pairs",)), OUT)
    (OUT / "p2plib-images.json").write_text(json.dumps(record))
    for versions in ([{"p2plib-images.json": json.dumps(record | {"fingerprint": "y"}).encode()}], [{}]):
        server.datasets["alice/pairs"] = versions
        assert resume() == 1
        [line] = capsys.readouterr().err.splitlines()
        assert "alice/pairs: this data set was changed since the training began" in line
    assert not pushed(server) and newest() == FIRST
    server.datasets["alice/pairs"] = [{"p2plib-images.json": json.dumps(record).encode(), "images.zip": b""}]
    assert resume() == 0
    assert (OUT / "p2plib-images.json").exists() and TrainConfig.read(OUT / CONFIG).data == "alice/pairs"


def test_without_a_number_it_pushes_one_part_and_follows_nothing(server):
    assert resume() == 0
    assert [call.name for call in server.calls] == ["SaveKernel"]
    shutil.rmtree("build")
    with pytest.raises(KaggleError, match=r"my-run: its output has no run/manifest\.json"):
        server.files.clear()
        client.complete(FIRST)
