"""Downloads against a real server that truncates, stalls, redirects, lies, and serves hostile archives."""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server import Server, says, sends

from p2plib.data import catalog, download
from p2plib.data.catalog import Entry
from p2plib.errors import DataError
from p2plib.registry import TASKS

pytestmark = pytest.mark.once

NAMES = ("train/1.jpg", "train/2.jpg", "train/3.jpg", "val/1.jpg", "val/2.png")
IMAGES = {name: random.Random(name).randbytes(60_000) for name in NAMES}
HTML = b"<!DOCTYPE html><html><body>Please log in.</body></html>"


def pack(*members: tuple[str | tarfile.TarInfo, bytes], cut: int | None = None, level: int = 0) -> bytes:
    """A .tar.gz, only stored unless `level` is given; `cut` bytes of the tar where it shall end too early."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if not isinstance(name, tarfile.TarInfo):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if info.isreg() and info.size == len(content) else None)
    return gzip.compress(buffer.getvalue()[:cut], level, mtime=0)


def members(images: dict[str, bytes] = IMAGES) -> list[tuple[str | tarfile.TarInfo, bytes]]:
    return [(f"tiny/{name}", content) for name, content in images.items()]


GOOD = pack(*members())
OTHER_IMAGES = {name: content[::-1] for name, content in IMAGES.items()}
OTHER = pack(*members(OTHER_IMAGES))  # of the same size


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def cache(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for data sets, empty; the catalog has `tiny`, and patience is short."""
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(catalog.CATALOG, "tiny", tiny(server.url))
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    monkeypatch.setattr(download, "BACKOFF", 0.01)
    return tmp_path / "cache" / "datasets"


def tiny(url: str) -> Entry:
    return Entry("tiny", "Noise", url, {"train": 3, "val": 2}, (8, 8), ("a", "b"), "AtoB", "None.", "Nobody")


def get() -> dict[str, bytes]:
    """Download `tiny`; its files and their content."""
    folder = download.get("tiny", progress=False)
    assert folder == download.dataset_dir("tiny")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fails(cache: Path, message: str) -> None:
    """The download says `message` in one sentence that names the set, and leaves no data set and no unpacked part."""
    with pytest.raises(DataError, match=message) as caught:
        get()
    assert str(caught.value).startswith("tiny: ") and "\n" not in str(caught.value)
    assert_nothing_unpacked(cache)


def assert_nothing_unpacked(cache: Path) -> None:
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []


def assert_recovers(server: Server, body: bytes = GOOD, images: dict[str, bytes] = IMAGES) -> None:
    server.answers = [sends(body)]
    assert get() == images


# When all is well.


def test_good_download(server: Server, cache: Path):
    server.answers = [sends(GOOD)]
    assert get() == IMAGES
    assert {path.name for path in cache.iterdir()} == {"tiny", "tiny.json", ".tiny.lock"}


def test_second_call_asks_nobody(server: Server, cache: Path):
    server.answers = [sends(GOOD)]
    get(), get()
    assert len(server.requests) == 1


def test_force_replaces_the_folder(server: Server, cache: Path):
    server.answers = [sends(GOOD), sends(OTHER)]
    get()
    (cache / "tiny" / "stray.txt").touch()
    download.get("tiny", force=True, progress=False)
    assert get() == OTHER_IMAGES


def test_failed_force_keeps_the_folder(server: Server, cache: Path):
    server.answers = [sends(GOOD), says(404)]
    get()
    with pytest.raises(DataError, match="404"):
        download.get("tiny", force=True, progress=False)
    assert get() == IMAGES


def test_progress_is_shown_when_wanted(server: Server, cache: Path, capfd: pytest.CaptureFixture[str]):
    server.answers = [sends(GOOD)]
    get()
    assert capfd.readouterr() == ("", "")
    download.get("tiny", force=True)
    assert "tiny" in capfd.readouterr().err


def test_cache_is_the_users_unless_overridden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("P2PLIB_CACHE", raising=False)
    assert download.cache_dir().is_absolute() and "p2plib" in download.cache_dir().parts
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path))
    assert download.cache_dir() == tmp_path and tmp_path in download.dataset_dir("facades").parents


def test_toy_needs_no_download(cache: Path):
    with pytest.raises(DataError, match="no download"):
        download.get("toy")


def test_unknown_name(cache: Path):
    with pytest.raises(DataError, match="Did you mean tiny"):
        download.get("tinyy")


def test_follows_redirects(server: Server, cache: Path):
    server.answers = [says(302, Location="/elsewhere.tar.gz"), sends(GOOD)]
    assert get() == IMAGES


def test_server_that_declares_the_archive_as_gzip_encoded(server: Server, cache: Path):
    server.answers = [says(200, GOOD, Content_Type="application/x-tar", Content_Encoding="gzip")]
    assert get() == IMAGES


def test_hidden_files_are_left_out(server: Server, cache: Path):
    top = tarfile.TarInfo("./")
    top.type = tarfile.DIRTYPE
    server.answers = [sends(pack((top, b""), ("./tiny/train/._1.jpg", b"Mac"), *members()))]
    assert get() == IMAGES


# When the transfer breaks.


@pytest.mark.parametrize("cuts", [(0,), (1,), (70_001,), (len(GOOD) - 1,), (70_000, 70_000, 150_000, 151_000, 290_000)])
def test_broken_transfer_goes_on_where_it_broke(server: Server, cache: Path, cuts: tuple[int, ...]):
    server.answers = [*(sends(GOOD, cut=cut) for cut in cuts), sends(GOOD)]
    assert get() == IMAGES
    offsets = [request.get("Range") for request in server.requests]
    assert offsets == [None, *(f"bytes={cut}-" if cut else None for cut in cuts)]


def test_stalled_transfer_is_taken_up_again(server: Server, cache: Path):
    server.answers = [sends(GOOD, stall=200_000), sends(GOOD)]
    assert get() == IMAGES
    assert "Range" in server.requests[1]


def test_next_call_resumes_what_this_one_got(server: Server, cache: Path):
    server.answers = [sends(GOOD, cut=150_000)]
    fails(cache, "broke 4 times in a row")
    assert (cache / "tiny.tar.gz.part").read_bytes() == GOOD[:150_000]
    server.requests.clear()
    assert_recovers(server)
    assert server.requests[0]["Range"] == "bytes=150000-"


def test_resumes_by_date_where_there_is_no_strong_etag(server: Server, cache: Path):
    date = {"etag": 'W/"weak"', "modified": "Mon, 05 Sep 2022 10:00:00 GMT"}
    server.answers = [sends(GOOD, cut=150_000, **date), sends(GOOD, **date)]
    assert get() == IMAGES
    assert server.requests[1]["If-Range"] == date["modified"]


def test_starts_over_where_nothing_identifies_the_file(server: Server, cache: Path):
    server.answers = [sends(GOOD, etag=None, cut=150_000), sends(GOOD, etag=None)]
    assert get() == IMAGES
    assert "Range" not in server.requests[1]


def test_starts_over_where_the_server_ignores_range(server: Server, cache: Path):
    server.answers = [sends(GOOD, cut=150_000), sends(GOOD, ranges=False)]
    assert get() == IMAGES
    assert "Range" in server.requests[1]


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_changed_file_is_not_spliced(server: Server, cache: Path, heeds_if_range: bool):
    assert len(GOOD) == len(OTHER)
    server.answers = [sends(GOOD, cut=150_000), sends(OTHER, etag='"two"', heeds_if_range=heeds_if_range)]
    assert get() == OTHER_IMAGES


def test_file_of_another_size_is_not_spliced(server: Server, cache: Path):
    longer = pack(*members(OTHER_IMAGES), ("tiny/README", bytes(20_000)))
    assert len(longer) > len(GOOD)
    server.answers = [sends(GOOD, cut=150_000), sends(longer)]
    assert get() == OTHER_IMAGES | {"README": bytes(20_000)}


def test_part_from_another_address_is_not_used(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch):
    server.answers = [sends(GOOD, cut=150_000)]
    fails(cache, "broke")
    monkeypatch.setitem(catalog.CATALOG, "tiny", tiny(server.url + "?mirror"))
    server.requests.clear()
    assert_recovers(server)
    assert "Range" not in server.requests[0]


def test_range_that_the_server_cannot_satisfy_starts_over(server: Server, cache: Path):
    server.answers = [sends(GOOD, cut=150_000), says(416), sends(GOOD)]
    assert get() == IMAGES


@pytest.mark.parametrize("notes", ["", "null", "[]", '{"url": 1}', '{"size": 3, "validator": "x"}'])
def test_part_without_trusted_notes_starts_over(server: Server, cache: Path, notes: str):
    cache.mkdir(parents=True)
    (cache / "tiny.tar.gz.part").write_bytes(b"whatever this is")
    (cache / "tiny.tar.gz.part.json").write_text(notes)
    assert_recovers(server)


def test_overloaded_server_is_asked_again(server: Server, cache: Path):
    server.answers = [says(503), says(429), sends(GOOD)]
    assert get() == IMAGES


def test_gives_up_on_a_server_that_stays_overloaded(server: Server, cache: Path):
    server.answers = [says(503)]
    fails(cache, "503")
    assert len(server.requests) == 1 + download.RETRIES
    assert_recovers(server)


def test_no_server_at_all(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch):
    free = Server()
    free.stop()
    monkeypatch.setitem(catalog.CATALOG, "tiny", tiny(free.url))
    fails(cache, "check the connection")


def test_unasked_part_of_the_file_is_refused(server: Server, cache: Path):
    server.answers = [says(206, GOOD[:100], Content_Range=f"bytes 0-99/{len(GOOD)}")]
    fails(cache, "answers 206")
    assert_recovers(server)


# When something else comes than the archive.


@pytest.mark.parametrize("status", [200, 401, 403, 404, 410])
def test_web_page_is_not_taken_for_data(server: Server, cache: Path, status: int):
    server.answers = [says(status, HTML, Content_Type="text/html; charset=utf-8")]
    fails(cache, "web page" if status == 200 else str(status))
    assert len(server.requests) == 1
    assert not list(cache.glob("*.part*"))
    assert_recovers(server)


@pytest.mark.parametrize(
    ("body", "what"), [(HTML, "a web page"), (b"PK\x03\x04", "something else"), (b"", "something")]
)
def test_content_type_is_not_believed(server: Server, cache: Path, body: bytes, what: str):
    server.answers = [says(200, body, Content_Type="application/gzip")]
    fails(cache, what)
    assert_recovers(server)


def test_web_page_does_not_cost_what_is_here_already(server: Server, cache: Path):
    server.answers = [*[sends(GOOD, cut=150_000)] * 5, says(200, HTML, Content_Type="application/gzip")]
    fails(cache, "broke")
    fails(cache, "web page")
    server.requests.clear()
    assert_recovers(server)
    assert server.requests[0]["Range"] == "bytes=150000-"


def test_web_page_is_not_appended(server: Server, cache: Path):
    span = f"bytes 150000-{len(GOOD) - 1}/{len(GOOD)}"
    server.answers = [sends(GOOD, cut=150_000), says(206, HTML, Content_Range=span, Content_Type="text/html")]
    fails(cache, "web page")
    assert (cache / "tiny.tar.gz.part").read_bytes() == GOOD[:150_000]
    assert_recovers(server)


def test_redirect_to_a_web_page(server: Server, cache: Path):
    server.answers = [says(302, Location="/login"), says(200, HTML, Content_Type="text/html")]
    fails(cache, "web page")
    assert_recovers(server)


def test_redirect_in_a_circle(server: Server, cache: Path):
    server.answers = [says(302, Location="/again")]
    fails(cache, "circle")
    assert_recovers(server)


@pytest.mark.parametrize(
    "body",
    [
        GOOD[:200_000],
        GOOD[:150_000] + bytes([GOOD[150_000] ^ 1]) + GOOD[150_001:],
        GOOD[:-8] + bytes(8),
        gzip.compress(b"not a tar file" * 100),
        pack(*members(), cut=100_000),
    ],
    ids=["truncated", "one bit wrong", "wrong checksum", "no tar", "tar ends early"],
)
@pytest.mark.parametrize("length", [True, False], ids=["length told", "length untold"])
def test_damaged_archive(server: Server, cache: Path, body: bytes, length: bool):
    server.answers = [sends(body, length=length)]
    fails(cache, "damaged")
    assert not list(cache.glob("*.part*"))
    assert_recovers(server)


@pytest.mark.parametrize("change", [{"train/3.jpg": None}, {"val/3.webp": b"x"}, dict.fromkeys(NAMES)])
def test_counts_must_be_the_catalogs(server: Server, cache: Path, change: dict[str, bytes | None]):
    images = {name: content for name, content in (IMAGES | change).items() if content is not None}
    server.answers = [sends(pack(*members(images)))]
    fails(cache, r"holds \d images in tiny/(train|val), and the catalog expects \d")
    assert_recovers(server)


def test_photos_may_lie_anywhere_in_the_archive(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(catalog.CATALOG, "tiny", dataclasses.replace(tiny(server.url), photos=True))
    there = {f"Tiny_1/{name}": content for name, content in IMAGES.items()} | {"Tiny_1/list.json": b"{}"}
    server.answers = [sends(pack(*there.items()))]
    assert get() == there
    splits = TASKS["colorize"]().list("tiny").splits
    assert list(splits) == ["train", "val"]
    found = [pair.name for pairs in splits.values() for pair in pairs]
    assert sorted(found) == sorted(f"Tiny_1/{name}" for name in NAMES)


def test_too_few_photos(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(catalog.CATALOG, "tiny", dataclasses.replace(tiny(server.url), photos=True))
    server.answers = [sends(pack(*members()[1:]))]
    fails(cache, "holds 4 photos, and the catalog wants 5")


# Hostile archives.


def special(kind: bytes, target: str = "", name: str = "tiny/train/9.jpg", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


@pytest.mark.parametrize(
    ("member", "fault"),
    [
        ("../outside.jpg", "outside"),
        ("tiny/train/../../../outside.jpg", "outside"),
        ("/{tmp}/outside.jpg", "outside"),
        ("tiny\\..\\..\\outside.jpg", "outside"),
        ("C:outside.jpg", "outside"),
        (special(tarfile.SYMTYPE, "/etc/passwd"), "link"),
        (special(tarfile.SYMTYPE, "1.jpg"), "link"),
        (special(tarfile.SYMTYPE, "../../..", "tiny/train"), "link"),
        (special(tarfile.LNKTYPE, "tiny/train/1.jpg"), "link"),
        (special(tarfile.LNKTYPE, "/etc/passwd"), "link"),
        (special(tarfile.CHRTYPE), "device"),
        (special(tarfile.BLKTYPE), "device"),
        (special(tarfile.FIFOTYPE), "device"),
        (special(tarfile.REGTYPE, size=1 << 40), "far more than its own size"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else None,
)
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_hostile_archive(
    server: Server, cache: Path, tmp_path: Path, member: str | tarfile.TarInfo, fault: str, last: bool
):
    if isinstance(member, str):
        member = member.replace("{tmp}", str(tmp_path))
    hostile = [(member, b"mischief" if isinstance(member, str) else b"")]
    server.answers = [sends(pack(*members(), *hostile) if last else pack(*hostile, *members()))]
    fails(cache, fault)
    assert not list(tmp_path.rglob("outside*")) and not list(cache.glob("*.part*"))
    assert_recovers(server)


def test_many_empty_files_are_a_bomb_too(server: Server, cache: Path):
    server.answers = [sends(pack(*[(f"tiny/train/{i}.jpg", b"") for i in range(2_000)], level=9))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "_MAX_GROWTH_FREE", 1 << 20)  # a smaller one, to be quick
        fails(cache, "far more than its own size")
    assert_recovers(server)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(st.text("./\\:~a\0ü", min_size=1, max_size=8), min_size=1, max_size=4))
def test_no_name_leaves_the_folder(names: list[str]):
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top, "1", "2", "3", "4", "5", "6", "7", "8", "unpack")
        archive = Path(top, "tiny.tar.gz")
        archive.write_bytes(pack(*[(name, b"x") for name in names]))
        with suppress(DataError, OSError):  # OSError: one name is a file and another lies in it
            download._unpack(tiny("http://nowhere"), archive, folder, progress=False)
        outside = [path for path in Path(top).rglob("*") if path.is_file() and folder not in path.parents]
        assert outside == [archive]


# When the disk, the user or another process gets in the way.


def test_room_is_checked_before_the_transfer(server: Server, cache: Path):
    server.answers = [says(200, GOOD, Content_Type="application/gzip", Content_Length=1 << 60)]
    fails(cache, r"needs \d+\.\d GB, and .* free")
    assert_recovers(server)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_while_fetching(server: Server, cache: Path):
    cache.mkdir(parents=True)
    part = cache / "tiny.tar.gz.part"
    part.symlink_to("/dev/full")
    server.answers = [sends(GOOD)]
    fails(cache, "No space left on device.*P2PLIB_CACHE")
    part.unlink()
    assert_recovers(server)


SCRIPT = """
import sys
from p2plib.data import catalog, download
download.BACKOFF = 0.01
catalog.CATALOG["tiny"] = catalog.Entry(
    "tiny", "Noise", sys.argv[1], {"train": 3, "val": 2}, (8, 8), ("a", "b"), "AtoB", "None.", "Nobody"
)
"""


def start(url: str, script: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", SCRIPT + script, url]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_full_disk_while_unpacking(server: Server, cache: Path):
    big = {name: bytes(1 << 20) for name in NAMES}  # packs so small that only unpacking meets the limit
    server.answers = [sends(pack(*members(big), level=9))]
    process = start(
        server.url,
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, 1 << 19)); download.get('tiny')",
    )
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and "DataError: tiny: cannot write to" in errors and "P2PLIB_CACHE" in errors
    assert_nothing_unpacked(cache)
    server.requests.clear()
    assert get() == big
    assert server.requests == []  # the archive was here whole


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_while_fetching(server: Server, cache: Path):
    server.answers = [sends(GOOD, stall=250_000)]
    process = start(server.url, "download.get('tiny')")
    assert server.stalled.wait(20)
    while not (part := cache / "tiny.tar.gz.part").exists() or part.stat().st_size < 100_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors
    assert_nothing_unpacked(cache)
    server.requests.clear()
    assert_recovers(server)
    assert int(server.requests[0]["Range"].removeprefix("bytes=").rstrip("-")) >= 100_000


def test_ctrl_c_while_unpacking(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch):
    extract, calls = tarfile.TarFile.extract, iter(range(99))

    def interrupted(*args, **kwargs):
        extract(*args, **kwargs)
        if next(calls) == 2:
            signal.raise_signal(signal.SIGINT)

    server.answers = [sends(GOOD)]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tarfile.TarFile, "extract", interrupted)
        get()
    assert_nothing_unpacked(cache)
    assert_recovers(server)
    assert len(server.requests) == 1  # the archive was kept


def test_what_a_killed_process_left_is_swept_away(server: Server, cache: Path):
    (cache / ".tiny.unpack" / "new" / "tiny" / "train").mkdir(parents=True)
    (cache / ".tiny.unpack" / "new" / "tiny" / "train" / "old.jpg").touch()
    assert_recovers(server)
    assert not (cache / ".tiny.unpack").exists()


def test_two_processes_share_one_download(server: Server, cache: Path):
    server.answers = [sends(GOOD, stall=100_000), sends(GOOD)]
    first = start(server.url, "download.get('tiny')")
    assert server.stalled.wait(20)
    second = start(server.url, "download.get('tiny')")
    assert second.stderr is not None and "Waiting for another process" in second.stderr.readline()
    server.released.set()
    for process in (first, second):
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert len(server.requests) == 2  # both from the first process; the second found the data set there
    assert get() == IMAGES
