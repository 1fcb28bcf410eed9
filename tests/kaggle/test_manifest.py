from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2plib.errors import KaggleError
from p2plib.kaggle import manifest
from p2plib.kaggle.manifest import MANIFEST, Entry

PAGE = b"\n<!DOCTYPE html><html><body>403 Forbidden</body></html>"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.keras").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "log.csv").write_text("epoch,l1\n")
    return tmp_path


def entry_of(folder: Path, name: str) -> Entry:
    return next(entry for entry in manifest.read(manifest.write(folder)) if entry.name == name)


def listing(**values) -> str:
    return json.dumps({"format": 1, "files": [{"name": "a", "size": 1, "sha256": "0" * 64} | values]})


# Any bytes but those that mean something in a path, here or on Windows; not all of them are UTF-8.
parts = (
    st.one_of(
        st.binary(min_size=1, max_size=60), st.text(min_size=1, max_size=20).map(lambda s: s.encode(errors="ignore"))
    )
    .map(lambda name: name.translate(None, b"/\\:\0"))
    .filter(lambda name: name not in (b"", b".", b".."))
    .map(os.fsdecode)
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(parts, min_size=1, max_size=3), st.binary(max_size=20)), max_size=5))
def test_any_folder_is_described_and_found_whole(files):
    with tempfile.TemporaryDirectory() as name:
        folder, written = Path(name), set()
        for path, content in files:
            with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                folder.joinpath(*path).parent.mkdir(parents=True, exist_ok=True)
                folder.joinpath(*path).write_bytes(content)
                written.add("/".join(path))
        entries = manifest.read(manifest.write(folder))
        assert {entry.name for entry in entries} == written - {MANIFEST}
        for entry in entries:
            assert entry.size == (folder / entry.name).stat().st_size
            manifest.check(folder / entry.name, entry)


def test_the_list_is_sorted_names_no_temporary_file_and_not_itself(folder):
    first = manifest.write(folder).read_bytes()
    assert [entry.name for entry in manifest.read(folder / MANIFEST)] == ["checkpoints/best.keras", "log.csv"]
    assert manifest.write(folder).read_bytes() == first
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoints", "log.csv", MANIFEST]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], "best.keras is damaged"),
        (lambda data: data[:-1], "best.keras has 10239 bytes instead of 10240"),
        (lambda data: data + b"\0", "best.keras has 10241 bytes"),
        (lambda data: b"", "best.keras has 0 bytes"),
        (lambda data: PAGE, "best.keras is missing: a web page was saved instead"),
        (lambda data: PAGE.ljust(len(data)), "a web page was saved instead"),
    ],
    ids=["one bit", "truncated", "too long", "empty", "web page", "web page of the right size"],
)
def test_a_file_that_differs_is_named(folder, damage, message):
    entry = entry_of(folder, "checkpoints/best.keras")
    path = folder / entry.name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(KaggleError, match=f"^checkpoints/.*{message}"):
        manifest.check(path, entry)


def test_a_missing_file_is_named(folder):
    entry = entry_of(folder, "log.csv")
    (folder / "log.csv").unlink()
    with pytest.raises(KaggleError, match=r"log\.csv is missing"):
        manifest.check(folder / "log.csv", entry)
    (folder / "log.csv").mkdir()
    with pytest.raises(KaggleError, match=r"log\.csv is missing"):
        manifest.check(folder / "log.csv", entry)


def test_a_page_that_is_meant_to_be_one(folder):
    (folder / "results.html").write_bytes(PAGE)
    entry = entry_of(folder, "results.html")
    manifest.check(folder / "results.html", entry)
    (folder / "results.html").write_bytes(PAGE[:-1])
    with pytest.raises(KaggleError, match=r"results\.html has 54 bytes"):
        manifest.check(folder / "results.html", entry)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "//host/a", "../evil.txt", "run/../../evil", "..", "..\\evil", "a\\b", "C:evil", "a\0b", "", "."],
)
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    (tmp_path / MANIFEST).write_text(listing(name=name))
    with pytest.raises(KaggleError, match="refused"):
        manifest.read(tmp_path / MANIFEST)


def test_what_could_not_be_read_elsewhere_is_not_written(folder):
    (folder / "a:b").touch()
    with pytest.raises(KaggleError, match="'a:b' is refused"):
        manifest.write(folder)
    assert not (folder / MANIFEST).exists()


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "7", '{"files": 1}', '{"files": "abc"}', '{"files": [1]}', "[" * 10_000),
        *(listing(size="1"), listing(size=-1), listing(size=True), listing(sha256="x"), listing(sha256=None)),
        *(listing(name=1), listing(extra=1), '{"files": [{"name": "a"}]}', "\ud800"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path, text):
    (tmp_path / MANIFEST).write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(KaggleError, match=r"manifest\.json: cannot be read as a manifest"):
        manifest.read(tmp_path / MANIFEST)


def test_a_web_page_and_a_missing_manifest_are_told_apart(tmp_path):
    with pytest.raises(KaggleError, match="No such file"):
        manifest.read(tmp_path / MANIFEST)
    (tmp_path / MANIFEST).write_bytes(PAGE)
    with pytest.raises(KaggleError, match="a web page was saved instead"):
        manifest.read(tmp_path / MANIFEST)
