"""The unmodified `kaggle` command against a server that refuses, truncates, lies, and names files elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import venv
from base64 import b64encode
from pathlib import Path

import pytest
from kaggle_server import KEY, TOKEN, Answer, Server, says, stalls

from p2plib.errors import KaggleError
from p2plib.kaggle import client, command, log
from p2plib.kaggle.client import Status, follow, pull, push, status

pytestmark = pytest.mark.kaggle_command
KERNEL = "alice/p2p-train"
PAGE = b"<!DOCTYPE html><html><body>403 Forbidden</body></html>"
NOTEBOOK = {
    "cells": [{"cell_type": "code", "source": ["a = 1\n", "b = 2"], "outputs": [], "metadata": {}}],
    "metadata": {"kernelspec": {"name": "python3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
METADATA = {
    "id": KERNEL,
    "title": "P2P train",
    "code_file": "p2plib-training.ipynb",
    "language": "python",
    "kernel_type": "notebook",
    "is_private": True,
    "enable_gpu": True,
    "enable_tpu": False,
    "enable_internet": False,
    "machine_shape": "NvidiaTeslaT4",
    "dataset_sources": ["vikramtiwari/pix2pix-dataset"],
    "kernel_sources": ["alice/p2p-first"],
}
RUN = {
    name: random.Random(name).randbytes(1000)
    for name in (
        "checkpoints/best.keras",
        "checkpoints/generator_00000200.keras",
        "checkpoints/last.keras",
        "checkpoints/state.npz",
        "config.json",
        "log.csv",
        "report.html",
        "samples/epoch 1 (a+b).png",
    )
}
"""What the kernel trained."""
EARLIER = {"checkpoints/best.keras": b"earlier best", "log.csv": b"earlier log", "notes.txt": b"the user's own"}
"""What the user has."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A kernel, ready to push."""
    folder = tmp_path / "kernel"
    folder.mkdir()
    (folder / "p2plib-training.ipynb").write_text(json.dumps(NOTEBOOK))
    (folder / "kernel-metadata.json").write_text(json.dumps(METADATA))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder that holds something already."""
    return fill(tmp_path / "runs" / "mine", EARLIER)


@pytest.fixture
def finished(server: Server) -> Server:
    """A server with a finished run, and with what else a kernel leaves."""
    sends(server, RUN)
    server.files |= {"__notebook__.ipynb": b"{}", "run.zip": b"not asked for"}
    return server


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sends(server: Server, files: dict[str, bytes], more: list[dict[str, object]] | None = None) -> None:
    """Put a run into the kernel's output, and a manifest of it, with `more` entries if need be."""
    entries = [
        {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    ]
    manifest = json.dumps({"format": 1, "files": entries + (more or [])}).encode()
    server.files |= {f"run/{name}": content for name, content in files.items()} | {"run/manifest.json": manifest}


def silent(line: str) -> None:
    pass


def refused(run: Path, message: str, said: str = "", **options: object) -> None:
    """The pull says `message`, then what the command `said`; all is as it was: in the run folder, and beside it."""
    before = files_in(run.parent.parent)
    with pytest.raises(KaggleError, match=message) as caught:
        pull(KERNEL, run, say=silent, **options)
    assert_tells(caught.value, said)
    assert files_in(run.parent.parent) == before
    assert [path.name for path in run.parent.iterdir()] == [run.name]


def assert_tells(error: KaggleError, said: str = "") -> None:
    """The message has no secrets and no names of temporary files; it is one line, and below it all that was `said`."""
    text = str(error)
    line, _, rest = text.partition("\n")
    assert rest == said and line.endswith(":") == bool(said)
    assert ".pull-" not in text and "Traceback" not in text
    assert KEY not in text and TOKEN not in text


def kaggle_says(*arguments: str) -> tuple[bool, str]:
    """Whether `kaggle kernels ...` fails, and all that it says then: both differ from version to version."""
    done = subprocess.run([sys.executable, "-m", "kaggle", "-W", "kernels", *arguments], capture_output=True, text=True)
    return done.returncode != 0, f"{done.stdout}\n{done.stderr}".strip()


def fetched_by_the_command(tmp_path: Path, name: str) -> tuple[bool, str]:
    """Whether the command fails to fetch this one file, and all that it says then."""
    return kaggle_says("output", KERNEL, "-p", str(tmp_path / "aside"), "-q", "--file-pattern", f"^{re.escape(name)}$")


# Pushing.


def test_push(server: Server, folder: Path):
    assert push(folder, seconds=3600) == f"https://www.kaggle.com/code/{KERNEL}"
    [call] = server.calls
    assert call.name == "SaveKernel"
    notebook = json.loads(call.body["text"])
    assert notebook["cells"][0]["source"] == "a = 1\nb = 2" and notebook["metadata"] == NOTEBOOK["metadata"]
    assert call.body | {"text": ""} == call.body | {
        "text": "",
        "slug": KERNEL,
        "newTitle": METADATA["title"],
        "language": "python",
        "kernelType": "notebook",
        "isPrivate": True,
        "enableGpu": True,
        "enableInternet": False,
        "machineShape": "NvidiaTeslaT4",
        "datasetDataSources": METADATA["dataset_sources"],
        "kernelDataSources": METADATA["kernel_sources"],
        "sessionTimeoutSeconds": 3600,
    }


def test_push_without_a_limit_leaves_it_to_kaggle(server: Server, folder: Path):
    push(folder)
    assert not server.calls[0].body.get("sessionTimeoutSeconds")


def test_push_is_not_led_astray_by_a_file_named_kaggle(
    server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(tmp_path, {"kaggle.py": b"raise SystemExit('not me')"})
    monkeypatch.delenv("PYTHONPATH", raising=False)  # it may hold "."
    monkeypatch.chdir(tmp_path)
    push(Path("kernel"))


@pytest.mark.parametrize(
    "answer, message",
    [
        ({"invalidDatasetSources": ["nobody/nothing"]}, r"pushed without its sources \['nobody/nothing'\].*stop"),
        ({"invalidKernelSources": ["alice/p2p-first"]}, r"pushed without its sources \['alice/p2p-first'\].*stop"),
    ],
)
def test_push_that_fails_with_exit_status_0(server: Server, folder: Path, answer: dict[str, object], message: str):
    server.pushed = answer
    with pytest.raises(KaggleError, match=message) as caught:
        push(folder)
    assert_tells(caught.value)


def test_push_that_kaggle_refuses(server: Server, folder: Path):
    reason = "Maximum batch GPU session count of 2 reached.\nSee https://www.kaggle.com/docs."
    server.pushed = {"error": reason}
    with pytest.raises(KaggleError, match=r"kernel: Kaggle refused it; .*push again:\n") as caught:
        push(folder)
    assert_tells(caught.value, f"Kernel push error: {reason}")


def test_push_with_an_answer_that_nobody_knows(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "command", lambda *_: [sys.executable, "-c", f"print('Queued.\\n\\nKey {KEY}')"])
    with pytest.raises(KaggleError, match=r"kernel: it is not clear whether .*before you push again") as caught:
        push(folder)
    assert_tells(caught.value, "Queued.\n\nKey ***")


def test_push_whose_title_gives_another_slug(server: Server, folder: Path):
    (folder / "kernel-metadata.json").write_text(json.dumps(METADATA | {"title": "Another title"}))
    server.pushed = {"url": "https://www.kaggle.com/code/alice/another-title"}
    with pytest.raises(KaggleError, match=r"its title, https://www.kaggle.com/code/alice/another-title; stop"):
        push(folder)


def test_push_of_no_kernel(server: Server, tmp_path: Path):
    with pytest.raises(KaggleError, match=r"kaggle kernels push failed; (?s:.*)Metadata file not found") as caught:
        push(tmp_path)
    assert_tells(caught.value, kaggle_says("push", "-p", str(tmp_path))[1])
    assert not server.calls


# Credentials.


def test_wrong_credentials(server: Server, folder: Path):
    server.fault = 401, json.dumps({"code": 401, "message": f"Unauthenticated: {KEY}"}).encode()
    for call in (lambda: push(folder), lambda: status(KERNEL)):
        with pytest.raises(KaggleError, match="credentials") as caught:
            call()
        assert_tells(caught.value)


def test_no_credentials(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("KAGGLE_KEY")
    with pytest.raises(KaggleError, match="kaggle auth login"):
        status(KERNEL)
    assert not server.calls


def test_a_token_that_kaggle_echoes_is_hidden(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    basic = b64encode(f"alice:{KEY}".encode()).decode()
    server.pushed = {"error": f"Not allowed for {TOKEN}, nor for {KEY} (Authorization: Basic {basic})"}
    with pytest.raises(KaggleError, match=r"Not allowed for \*\*\*, nor for \*\*\*") as caught:
        push(folder)
    assert server.calls[-1].authorization == f"Bearer {TOKEN}"  # so it was used
    assert_tells(caught.value, "Kernel push error: Not allowed for ***, nor for *** (Authorization: Basic ***")
    server.states = [{"status": "ERROR", "failureMessage": f"bad token {TOKEN}"}]
    server.logs = [[f"token {TOKEN}\n"]]
    lines: list[str] = []
    follow(KERNEL, lines.append)
    printed = capfd.readouterr()
    for secret in (TOKEN, KEY, basic):
        assert secret not in f"{caught.value} {lines} {printed}"
    assert "token ***" in lines


def test_without_the_kaggle_package(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    venv.create(tmp_path / "bare", symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(KaggleError, match=r"pip install 'p2plib\[kaggle\]'"):
        status(KERNEL)


# Watching.


@pytest.mark.parametrize("state", ["QUEUED", "COMPLETE", "CANCEL_ACKNOWLEDGED"])
def test_status(server: Server, state: str):
    server.states = [{"status": state}]
    found = status(KERNEL)
    assert found == Status(state) and found.ended == (state in ("COMPLETE", "CANCEL_ACKNOWLEDGED"))
    assert (server.calls[0].body["userName"], server.calls[0].body["kernelSlug"]) == ("alice", "p2p-train")


def test_status_of_a_failure(server: Server):
    server.states = [{"status": "ERROR", "failureMessage": 'Your notebook "p2p" ran\nout of memory.'}]
    found = status(KERNEL)
    assert found == Status("ERROR", 'Your notebook "p2p" ran out of memory.') and found.ended
    assert str(found) == 'ERROR: Your notebook "p2p" ran out of memory.'


@pytest.mark.parametrize("name", ["p2p-train", "alice/p2p/3", "alice/../x", "--help", "alice/x y"])
def test_no_kernel_at_all(name: str):
    with pytest.raises(KaggleError, match="owner/slug"):
        status(name)


@pytest.mark.parametrize(
    "fault, message",
    [
        ((403, b"{}"), "check owner, slug"),
        ((429, b"{}"), r"asked too often \(HTTP status 429\); wait"),
        ((500, b"{}"), r"HTTP status 500\), the fault is on its side; try again later"),
    ],
)
def test_status_that_fails(server: Server, fault: tuple[int, bytes], message: str):
    server.fault = fault
    with pytest.raises(KaggleError, match=message) as caught:
        status(KERNEL)
    assert_tells(caught.value)


@pytest.mark.parametrize("http", [404, 409])
def test_all_that_the_command_says_is_shown_where_it_is_not_understood(server: Server, http: int):
    server.fault = http, b"{}"
    failed, said = kaggle_says("status", KERNEL)
    assert failed and str(http) in said
    with pytest.raises(
        KaggleError, match=f"kaggle kernels status failed with HTTP status {http}; .*later:\n"
    ) as caught:
        status(KERNEL)
    assert_tells(caught.value, said)


def test_an_answer_without_a_status(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "command", lambda *_: [sys.executable, "-c", "print('Hello.\\n\\nHow are you?')"])
    with pytest.raises(KaggleError, match=f"{KERNEL}: Kaggle's answer says no status; try again later:\n") as caught:
        status(KERNEL)
    assert_tells(caught.value, "Hello.\n\nHow are you?")


def test_a_command_that_fails_in_silence(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "command", lambda *_: [sys.executable, "-c", "raise SystemExit(2)"])
    with pytest.raises(KaggleError) as caught:
        status(KERNEL)
    assert_tells(caught.value, "(It printed nothing.)")


def test_status_without_a_network(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(KaggleError, match="cannot be reached"):
        status(KERNEL)


def test_follow_shows_every_line_once(server: Server):
    server.states = [{"status": "QUEUED"}, *[{"status": "RUNNING"}] * 3, {"status": "COMPLETE"}]
    server.logs = [["start\n", "epoch 1\n"], ["start\n", "epoch 1\n", "epoch", "epoch 3\nepoch 4\n"]]
    lines: list[str] = []
    assert follow(KERNEL, lines.append, poll=0.1) == Status("COMPLETE")
    assert lines == [
        f"{KERNEL}: QUEUED",
        f"{KERNEL}: RUNNING",
        "start",
        "epoch 1",
        "epoch",
        "epoch 3",
        "epoch 4",
        f"{KERNEL}: COMPLETE",
    ]


def test_follow_shows_the_log_of_a_session_that_failed_before_it_looked(server: Server):
    server.states = [{"status": "ERROR", "failureMessage": "exit 1"}]
    server.logs = [["Traceback\n", "ValueError: no pairs\n"]]
    lines: list[str] = []
    assert follow(KERNEL, lines.append).message == "exit 1"
    assert lines[1:3] == ["Traceback", "ValueError: no pairs"] and "exit 1" in lines[-1]


def test_follow_shows_lines_as_they_come_and_outlives_a_stream_that_hangs(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(log, "LAST_LINES", 0.1)
    server.released.clear()
    server.states = [{"status": "RUNNING"}]
    server.logs = [["epoch 1\n"]]
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if line == "epoch 1":
            server.states = [{"status": "COMPLETE"}]

    assert follow(KERNEL, say, poll=0.3).state == "COMPLETE"
    assert lines[1] == "epoch 1" and not server.released.is_set()


def test_follow_waits_for_the_network_to_come_back(server: Server, monkeypatch: pytest.MonkeyPatch):
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        server.fault = None if "503" in line else (503, b"{}")
        server.states = [{"status": "COMPLETE" if "503" in line else "QUEUED"}]

    server.states = [{"status": "QUEUED"}]
    assert follow(KERNEL, say, poll=0.01).state == "COMPLETE"
    assert len(lines) == 3


def test_follow_gives_up_in_the_end(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "PATIENCE", 2)
    server.states = [{"status": "QUEUED"}]
    with pytest.raises(KaggleError, match="503"):
        follow(KERNEL, lambda line: setattr(server, "fault", (503, b"{}")), poll=0.01)
    assert len(server.calls) == 3


def test_follow_asks_ever_more_rarely(server: Server, monkeypatch: pytest.MonkeyPatch):
    pauses: list[float] = []
    states = [Status("QUEUED")] * 7 + [Status("COMPLETE")]
    monkeypatch.setattr(client, "status", lambda kernel: states.pop(0))
    monkeypatch.setattr(log.SessionLog, "show", lambda self, say, seconds: pauses.append(seconds))
    follow(KERNEL, silent)
    assert pauses == pytest.approx([30, 45, 67.5, 101.25, 120, 120, 120])


# Pulling.


def test_pull(finished: Server, run: Path, home: Path):
    finished.page_size = 2
    lines: list[str] = []
    assert pull(KERNEL, run, say=lines.append) == run
    found = files_in(run)
    assert json.loads(found.pop("manifest.json"))["format"] == 1
    assert found == EARLIER | RUN
    assert [path.name for path in run.parent.iterdir()] == [run.name]
    assert [call.body.get("pageToken") for call in finished.calls].count("8") == 2  # it turned all pages
    assert set(finished.fetched) == {f"run/{name}" for name in [*RUN, "manifest.json"]}
    assert lines == [f"{KERNEL}: 8 of 8 files to fetch, 0.0 MB"]


def test_pull_into_nothing(finished: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pull(KERNEL, Path("runs") / "new", say=silent)
    assert files_in(tmp_path / "runs" / "new").keys() == {*RUN, "manifest.json"}


@pytest.mark.parametrize(
    "only, checkpoints", [("best", ["best.keras"]), ("last", ["last.keras", "state.npz"])], ids=["best", "last"]
)
def test_pull_of_a_part_fetches_no_more(finished: Server, tmp_path: Path, only: str, checkpoints: list[str]):
    pull(KERNEL, tmp_path / "run", only, say=silent)
    small = {name for name in RUN if not name.startswith("checkpoints/")}
    wanted = small | {f"checkpoints/{name}" for name in checkpoints} | {"manifest.json"}
    assert files_in(tmp_path / "run").keys() == wanted
    assert set(finished.fetched) == {f"run/{name}" for name in wanted}


def test_pull_again_fetches_only_what_is_missing_or_wrong(finished: Server, tmp_path: Path):
    run = fill(tmp_path / "run", RUN | {"log.csv": RUN["log.csv"][::-1]})
    (run / "config.json").unlink()
    pull(KERNEL, run, say=silent)
    assert finished.fetched == ["run/manifest.json", "run/config.json", "run/log.csv"]
    assert RUN.items() <= files_in(run).items()


def test_pull_of_more_files_than_fit_into_one_call(server: Server, run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "_FILES_A_CALL", 2)
    sends(server, {f"samples/{i}.png": bytes([i]) for i in range(3)})
    pull(KERNEL, run, say=silent)
    assert (run / "samples" / "2.png").read_bytes() == b"\2"


BEST = RUN["checkpoints/best.keras"]
FAILED = "kaggle kernels output failed"


@pytest.mark.parametrize(
    "answer, message",
    [
        (says(200, PAGE), "checkpoints/best.keras .*web page"),
        (BEST[:500], "checkpoints/best.keras has 500 bytes"),
        (BEST[::-1], "checkpoints/best.keras is damaged"),
    ],
    ids=["login page", "truncated", "other bytes"],
)
def test_wrong_file(finished: Server, run: Path, answer: Answer | bytes, message: str):
    ends_with_best(finished, answer)
    refused(run, f"{KERNEL}: .*{message}")


def ends_with_best(server: Server, answer: Answer | bytes) -> None:
    """Let the best generator be `answer`, and the last file, so that all others have arrived when it comes."""
    del server.files["run/checkpoints/best.keras"]
    server.files["run/checkpoints/best.keras"] = answer


def test_page_in_place_of_a_file(finished: Server, run: Path, tmp_path: Path):
    """Some versions of the command save it and say nothing, others fail."""
    ends_with_best(finished, says(403, PAGE))
    failed, said = fetched_by_the_command(tmp_path, "run/checkpoints/best.keras")
    if failed:
        refused(run, f"{KERNEL}: checkpoints/best.keras is missing; .* {FAILED} with HTTP status 403; .*later:\n", said)
    else:
        refused(run, f"{KERNEL}: checkpoints/best.keras is missing: a web page was saved instead; download it again")


@pytest.mark.usefixtures("impatient")
def test_file_that_breaks_off(finished: Server, run: Path, tmp_path: Path):
    """Some versions of the command leave what came, others nothing; some try again."""
    ends_with_best(finished, says(200, BEST, cut=500))
    failed, said = fetched_by_the_command(tmp_path, "run/checkpoints/best.keras")
    assert failed
    refused(run, f"{KERNEL}: checkpoints/best.keras (?:has \\d+ bytes|is missing).* {FAILED}; .*later:\n", said)


def test_a_right_file_with_a_wrong_http_status(finished: Server, run: Path, tmp_path: Path):
    """It is a right file, if the command leaves it."""
    ends_with_best(finished, says(403, BEST))
    failed, said = fetched_by_the_command(tmp_path, "run/checkpoints/best.keras")
    if failed:
        refused(run, f"{KERNEL}: checkpoints/best.keras is missing; .* {FAILED} with HTTP status 403; .*later:\n", said)
    else:
        pull(KERNEL, run, say=silent)
        assert files_in(run)["checkpoints/best.keras"] == BEST


def test_right_files_from_a_command_that_fails_are_right_files(
    finished: Server, run: Path, monkeypatch: pytest.MonkeyPatch
):
    code = "import subprocess, sys; subprocess.run(sys.argv[1:]); sys.exit('The log could not be saved.')"
    whole = command.command
    monkeypatch.setattr(command, "command", lambda *arguments: [sys.executable, "-c", code, *whole(*arguments)])
    pull(KERNEL, run, say=silent)
    assert RUN.items() <= files_in(run).items()


def test_missing_file(finished: Server, run: Path):
    del finished.files["run/checkpoints/best.keras"]
    refused(run, f"{KERNEL}: checkpoints/best.keras is missing")


def test_run_without_what_was_asked_for(server: Server, run: Path):
    sends(server, {"log.csv": b"1"})
    refused(run, r"has no checkpoints/last.keras and no checkpoints/state.npz; .*only='all'", only="last")
    assert server.fetched == ["run/manifest.json"]


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "COMPLETE"),
        (says(200, PAGE), r"run/manifest.json.*web page"),
        (b'{"files": [{"name": "log.csv"}]}', "run/manifest.json"),
    ],
    ids=["none", "login page", "half an entry"],
)
def test_no_manifest(finished: Server, run: Path, content: Answer | bytes | None, message: str):
    del finished.files["run/manifest.json"]
    if content is not None:
        finished.files["run/manifest.json"] = content
    refused(run, message)


def test_page_in_place_of_the_manifest(finished: Server, run: Path, tmp_path: Path):
    """As in place of a file."""
    finished.files["run/manifest.json"] = says(403, PAGE)
    failed, said = fetched_by_the_command(tmp_path, "run/manifest.json")
    if failed:
        refused(run, f"{KERNEL}: run/manifest.json did not come. {FAILED} with HTTP status 403; .*later:\n", said)
    else:
        refused(run, f"{KERNEL}: run/manifest.json.*web page")


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "..\\evil.txt"])
def test_manifest_that_names_files_outside_the_folder(server: Server, run: Path, name: str):
    more = {"name": name, "size": 4, "sha256": hashlib.sha256(b"evil").hexdigest()}
    sends(server, RUN, [more])
    server.files[f"run/{name}"] = server.files[name] = b"evil"
    refused(run, "evil.* refused")
    assert server.fetched == ["run/manifest.json"]


def test_output_that_names_files_outside_the_folder(finished: Server, run: Path, tmp_path: Path):
    names = ["../evil.txt", "../../evil.txt", "run/../../evil.txt", f"{tmp_path}/evil.txt", "run/../run/log.csv"]
    finished.files = dict.fromkeys(names, b"evil") | finished.files | {"run/log.csv\n": b"evil"}
    pull(KERNEL, run, say=silent)
    assert not list(tmp_path.rglob("*evil*"))
    assert not [name for name in finished.fetched if name not in {f"run/{name}" for name in [*RUN, "manifest.json"]}]
    assert RUN.items() <= files_in(run).items()


def test_files_that_are_not_in_the_manifest_are_left_alone(finished: Server, run: Path):
    finished.files |= {"run/.hidden": b"1", "run/checkpoints/best.keras.html": PAGE, "run/log.csv.bak": b"2"}
    pull(KERNEL, run, say=silent)
    assert files_in(run).keys() == {*EARLIER, *RUN, "manifest.json"}


def test_output_that_does_not_fit(server: Server, run: Path):
    sends(server, RUN, [{"name": "big.npz", "size": 1 << 60, "sha256": "0" * 64}])
    refused(run, "do not fit into .*free disk space")


def test_run_folder_that_is_a_file(finished: Server, tmp_path: Path):
    run = tmp_path / "runs" / "mine"
    fill(tmp_path, {"runs/mine": b"a file"})
    refused(run, "cannot be written.*another folder")


def test_refused_pull(finished: Server, run: Path):
    finished.fault = 403, b"{}"
    refused(run, f"{KERNEL}: Kaggle denies you access")


@pytest.mark.parametrize("group", [True, False], ids=["terminal", "this process alone"])
def test_ctrl_c(finished: Server, run: Path, group: bool):
    """In a terminal Ctrl-C reaches the command too, which then ends with exit status 0."""
    finished.released.clear()
    finished.files["run/samples/epoch 1 (a+b).png"] = stalls(
        bytes(1000)
    )  # all others have arrived when it is asked for
    code = f"from p2plib.kaggle.client import pull; pull({KERNEL!r}, {str(run)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.PIPE, text=True)
    assert finished.stalled.wait(20)
    assert [path.name for path in run.parent.iterdir()] != [run.name]  # there is something to clean up
    time.sleep(0.1)
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=20)[1]
    assert files_in(run) == EARLIER
    assert [path.name for path in run.parent.iterdir()] == [run.name]
