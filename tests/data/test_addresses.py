"""Addresses that are dead or have changed: the next one is tried, and the archive is recognized by its SHA-256."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from server import Server, says, sends
from test_download import GOOD, IMAGES, OTHER, OTHER_IMAGES, assert_nothing_unpacked, cache, get, server, tiny

from p2plib.data import catalog, download
from p2plib.errors import DataError

pytestmark = pytest.mark.once
__all__ = ["cache", "server"]  # fixtures

HASH = hashlib.sha256(GOOD).hexdigest()


def dead() -> str:
    """An address of this computer where nobody answers."""
    gone = Server()
    gone.stop()
    return gone.url


def enter(monkeypatch: pytest.MonkeyPatch, *urls: str, sha256: str | None = None) -> None:
    entry = dataclasses.replace(tiny(urls[0]), mirrors=urls[1:], sha256=sha256)
    monkeypatch.setitem(catalog.CATALOG, "tiny", entry)


def record(cache: Path) -> dict[str, str]:
    return json.loads((cache / "tiny.json").read_text(encoding="utf-8"))


def test_the_next_address_is_tried(server: Server, cache: Path, monkeypatch, capsys):
    first = dead()
    enter(monkeypatch, first, server.url)
    server.answers = [sends(GOOD)]
    assert get() == IMAGES
    [line] = capsys.readouterr().err.splitlines()
    assert first in line and f"trying {server.url} now" in line
    assert record(cache) == {"url": server.url, "sha256": HASH}


@pytest.mark.parametrize("answer", [says(404), says(200, b"<html>", Content_Type="text/html"), says(302, Location="/")])
def test_an_address_that_has_changed(server: Server, cache: Path, monkeypatch, answer):
    other = Server()
    try:
        enter(monkeypatch, server.url, other.url)
        server.answers, other.answers = [answer], [sends(GOOD)]
        assert get() == IMAGES
    finally:
        other.stop()


def test_plain_http_after_https_that_does_not_answer(server: Server, cache: Path, monkeypatch):
    enter(monkeypatch, server.url.replace("http:", "https:"), server.url)
    server.answers = [sends(GOOD)]
    assert get() == IMAGES


def test_no_address_answers(server: Server, cache: Path, monkeypatch):
    enter(monkeypatch, dead(), server.url)
    server.answers = [says(404)]
    with pytest.raises(DataError, match="404"):
        get()
    assert_nothing_unpacked(cache)


def test_a_transfer_that_breaks_goes_on_at_its_own_address(server: Server, cache: Path, monkeypatch):
    enter(monkeypatch, server.url, dead())
    server.answers = [sends(GOOD, cut=150_000), sends(GOOD)]
    assert get() == IMAGES
    assert server.requests[1]["Range"] == "bytes=150000-"


def test_a_changed_archive_is_said(server: Server, cache: Path, capsys):
    server.answers = [sends(GOOD), sends(GOOD), sends(OTHER)]
    get()
    download.get("tiny", force=True, progress=False)
    assert capsys.readouterr().err == ""
    download.get("tiny", force=True, progress=False)
    [line] = capsys.readouterr().err.splitlines()
    now = hashlib.sha256(OTHER).hexdigest()
    assert HASH in line and now in line and get() == OTHER_IMAGES and record(cache)["sha256"] == now


def test_a_pinned_archive(server: Server, cache: Path, monkeypatch):
    enter(monkeypatch, server.url, sha256=HASH.upper())
    server.answers = [sends(OTHER), sends(GOOD)]
    with pytest.raises(DataError, match="nothing was unpacked") as caught:
        get()
    assert HASH.upper() in str(caught.value) and hashlib.sha256(OTHER).hexdigest() in str(caught.value)
    assert_nothing_unpacked(cache)
    assert not list(cache.glob("*.part*")) and not (cache / "tiny.json").exists()
    assert get() == IMAGES


def test_a_pinned_archive_is_sought_at_the_next_address(server: Server, cache: Path, monkeypatch, capsys):
    other = Server()
    try:
        enter(monkeypatch, server.url, other.url, sha256=HASH)
        server.answers, other.answers = [sends(OTHER)], [sends(GOOD)]
        assert get() == IMAGES and HASH in capsys.readouterr().err
    finally:
        other.stop()


def test_the_papers_data_come_by_https_first():
    for entry in catalog.CATALOG.values():
        assert all(address.startswith("https://") for address in entry.addresses[:1])
    assert len(catalog.CATALOG["maps"].addresses) == 3
