"""Models come from the hubs, by their unmodified packages, verified, or with one sentence not at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hub_servers import HF_TOKEN, KAGGLE_TOKEN, Fault, HuggingFace, Kaggle, Repo, Server, listing

from p2plib.errors import HubError
from p2plib.hub.manifest import MANIFEST
from p2plib.inference.checkpoint import find, read_info

for package in ("huggingface_hub", "kagglehub"):
    pytest.importorskip(package, reason="the extra 'hub' is not installed")

HUBS = ["hf", "kaggle"]
FILES = {"hf": r"^GET /alice/maps/resolve/", "kaggle": r"^GET /files/"}
ASKED = {"hf": r"^HEAD /alice/maps/resolve/", "kaggle": r"GetModelInstance$"}
"""Requests for files, and the first one of every use."""


@pytest.fixture(params=HUBS)
def hub(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(hub: str, request: pytest.FixtureRequest, published: dict[str, bytes]) -> Server:
    server = request.getfixturevalue(hub)
    put(server, published)
    return server


def put(server: Server, files: dict[str, bytes]) -> None:
    """Let these be the newest version of alice/maps."""
    if isinstance(server, HuggingFace):
        server.repos.setdefault("alice/maps", Repo(private=True)).commits.append(dict(files))
    elif isinstance(server, Kaggle):
        server.models.setdefault("alice/maps", []).append(dict(files))


def replaced(server: Server, name: str, content: bytes | None) -> None:
    """Change a file of the newest version, behind the manifest's back; None removes it."""
    versions = server.repos["alice/maps"].commits if isinstance(server, HuggingFace) else server.models["alice/maps"]
    versions[-1].pop(name)
    if content is not None:
        versions[-1][name] = content


def refused(name: str, message: str) -> str:
    """The one sentence, without a token."""
    with pytest.raises(HubError, match=message) as caught:
        find(name)
    text = str(caught.value)
    assert text.startswith(name) and "\n" not in text and len(text) < 330
    assert HF_TOKEN not in text and KAGGLE_TOKEN not in text
    return text


def test_the_checkpoint_comes_once_and_is_asked_for_by_name(hub, server, published, capfd):
    path = find(f"{hub}://alice/maps")
    assert path.name == "best.keras" and path.read_bytes() == published["best.keras"]
    assert read_info(path).step == 120
    assert find(Path(f"{hub}://alice/maps")) == path
    assert server.asked(FILES[hub]) == 2  # the manifest, the checkpoint
    assert not [line for line in server.requests if "README" in line or "export" in line]
    assert capfd.readouterr().out == ""


def test_a_new_version_is_taken_and_an_old_one_has_a_name(hub, server, published, tmp_path):
    first = find(f"{hub}://alice/maps")
    files = {"best.keras": published["best.keras"] + b"2"}
    put(server, files | {MANIFEST: listing(files, tmp_path)})
    assert find(f"{hub}://alice/maps").read_bytes().endswith(b"2")
    revision = server.repos["alice/maps"].sha(1) if isinstance(server, HuggingFace) else "1"
    before = len(server.requests)
    assert find(f"{hub}://alice/maps@{revision}") == first
    assert len(server.requests) == before  # a version is what it is


def test_an_export_is_a_folder(hub, server):
    path = find(f"{hub}://alice/maps/export/onnx")
    assert path.is_dir() and path.name == "onnx"
    assert sorted(file.name for file in path.iterdir() if file.is_file()) == ["model.onnx", "p2plib.json"]
    assert find(f"{hub}://alice/maps/best.keras").name == "best.keras"


def test_a_program_is_not_taken(hub, server):
    refused(f"{hub}://alice/maps/export/savedmodel", "a SavedModel is a program")


def test_a_file_that_is_not_there(hub, server):
    refused(f"{hub}://alice/maps/last.keras", "holds best.keras, export/onnx, export/savedmodel")


def test_without_the_hub_the_cache_serves(hub, server):
    path = find(f"{hub}://alice/maps")
    server.stop()
    assert find(f"{hub}://alice/maps") == path


def test_without_the_hub_and_without_the_cache(hub, server):
    server.stop()
    refused(f"{hub}://alice/maps", "the connection to .* failed or broke")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"for people who are not logged in; check the name, or (run: hf auth login|set KAGGLE_API_TOKEN)"),
        (403, "denies you this"),
        (404, "has no such model"),
        (429, "too many requests.*wait some minutes"),
        (500, r"cannot answer now \(HTTP status 500\)"),
        (503, r"cannot answer now \(HTTP status 503\)"),
    ],
)
def test_a_hub_that_refuses(hub, server, status, message):
    server.faults.append(
        Fault(ASKED[hub], status=status, body=json.dumps({"error": f"{HF_TOKEN} {KAGGLE_TOKEN}"}).encode())
    )
    refused(f"{hub}://alice/maps", message)


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_download_that_is_refused_leaves_nothing_that_counts(hub, server, published, status):
    server.faults.append(Fault(FILES[hub] + ".*best", status=status))
    refused(f"{hub}://alice/maps", "denies|wait|later")
    server.faults.clear()
    assert find(f"{hub}://alice/maps").read_bytes() == published["best.keras"]


def test_without_a_token(hub, server, monkeypatch):
    monkeypatch.delenv("HF_TOKEN" if hub == "hf" else "KAGGLE_API_TOKEN")
    refused(f"{hub}://alice/maps", "not logged in")


def test_a_model_that_is_not_there(hub, server):
    refused(f"{hub}://alice/nothing", "has no such model")
    revision = "v2" if hub == "hf" else "2"
    refused(f"{hub}://alice/maps@{revision}", "has no such model, version or file|was not published")


def test_a_download_that_breaks_off_goes_on(hub, server, published):
    server.faults.append(Fault(FILES[hub] + ".*best", cut=0.3, times=2))
    assert find(f"{hub}://alice/maps").read_bytes() == published["best.keras"]


def test_a_download_that_always_breaks_off(hub, server, published):
    server.faults.append(Fault(FILES[hub] + ".*best", cut=0))
    refused(f"{hub}://alice/maps", "the connection to .* failed or broke; check it and run the same again")
    server.faults.clear()
    assert find(f"{hub}://alice/maps").read_bytes() == published["best.keras"]


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:-1] + b"x", lambda data: b"<html>"])
def test_a_file_that_was_changed_there(hub, server, published, change):
    replaced(server, "best.keras", change(published["best.keras"]))
    refused(f"{hub}://alice/maps", "best.keras (has|is).*it was changed after it was published, so it is not used")


def test_a_file_that_was_removed_there(hub, server):
    replaced(server, "best.keras", None)
    refused(f"{hub}://alice/maps", "has no such model, version or file")


def test_a_file_that_was_damaged_here_is_fetched_anew(hub, server, published):
    path = find(f"{hub}://alice/maps").resolve()
    path.write_bytes(b"damaged")
    assert find(f"{hub}://alice/maps").read_bytes() == published["best.keras"]


def test_what_p2plib_did_not_publish(hub, server, published, tmp_path):
    replaced(server, MANIFEST, None)
    refused(f"{hub}://alice/maps", "was not published by p2plib, for it has no manifest.json")


@pytest.mark.parametrize("text", [b"{}", b"[]", b"\xff", b'{"files": [{"name": "a"}]}'])
def test_a_manifest_that_is_none(hub, server, text):
    replaced(server, MANIFEST, text)
    refused(f"{hub}://alice/maps", "its manifest.json is not p2plib's")


def test_names_that_lead_out(hub, server, published):
    replaced(server, MANIFEST, published[MANIFEST].replace(b'"best.keras"', b'"../../best.keras"'))
    refused(f"{hub}://alice/maps", "leads out of the folder")


@pytest.mark.parametrize("names", [[], ["a.keras", "b.keras"]])
def test_no_checkpoint_or_several(hub, server, names, tmp_path):
    files = dict.fromkeys(names, b"")
    put(server, files | {MANIFEST: listing(files, tmp_path)})
    refused(f"{hub}://alice/maps", f"holds {len(names) or 'no'} checkpoints; name the file")


def test_without_the_package(hub, monkeypatch):
    package = {"hf": "huggingface_hub", "kaggle": "kagglehub"}[hub]
    monkeypatch.setitem(sys.modules, package, None)
    refused(f"{hub}://alice/maps", rf"{package}, which is not installed; run: pip install 'p2plib\[hub\]'")


def test_a_cache_that_cannot_be_written(server, hub, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv({"hf": "HF_HUB_CACHE", "kaggle": "KAGGLEHUB_CACHE"}[hub], str(tmp_path / "file" / "cache"))
    refused(f"{hub}://alice/maps", "the cache cannot be written .*set (HF_HUB|KAGGLEHUB)_CACHE")
