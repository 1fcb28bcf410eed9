from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2plib.errors import WriteError
from p2plib.files import (
    LockedError,
    check_writable,
    locked,
    readable,
    remove_leftovers,
    replacing,
    replacing_folder,
    shell,
    user_path,
    write_csv,
    write_text,
)


def test_new_content_appears_whole(tmp_path):
    target = tmp_path / "deep" / "log.csv"
    write_text(target, "ä\n")
    assert target.read_text(encoding="utf-8") == "ä\n"
    assert [path.name for path in target.parent.iterdir()] == ["log.csv"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_keeps_the_old_content_and_leaves_nothing(tmp_path, error):
    target = tmp_path / "log.csv"
    write_text(target, "old")
    with pytest.raises(error), replacing(target) as temporary:
        temporary.write_text("half")
        assert target.read_text() == "old"
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_has_the_suffix_that_writers_look_at(tmp_path):
    with replacing(tmp_path / "model.weights.keras") as temporary:
        assert temporary.suffix == ".keras"
        assert temporary.parent == tmp_path
        temporary.touch()


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    killed, kept = replacing(tmp_path / "deep" / "state.npz").__enter__(), tmp_path / "deep" / "my.part.npz"
    killed.touch()
    kept.touch()
    (tmp_path / "deep" / ".onnx.x1y2.part" / "new").mkdir(parents=True)  # of an export
    (tmp_path / "deep" / ".onnx.x1y2.part" / "new" / "model.onnx").touch()
    remove_leftovers(tmp_path)
    assert list((tmp_path / "deep").iterdir()) == [kept]


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "an export"])
def test_a_folder_is_replaced_whole(tmp_path, there):
    target = tmp_path / "out"
    if there != "nothing":
        target.mkdir()
    if there == "an export":
        (target / "old").touch()
    with pytest.raises(KeyError), replacing_folder(target) as folder:
        (folder / "new").touch()
        raise KeyError
    assert target.exists() == (there != "nothing")
    assert not (target / "new").exists()
    with replacing_folder(target) as folder:
        (folder / "new").touch()
        assert not (target / "new").exists()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_csv_has_the_keys_first_and_quotes_what_needs_it(tmp_path):
    write_csv(tmp_path / "log.csv", [{"picture": "a, b.png", "l1": 0.1}, {"picture": "ä.png", "l1": float("inf")}])
    content = (tmp_path / "log.csv").read_bytes().decode("utf-8")
    assert content == 'picture,l1\n"a, b.png",0.1\nä.png,inf\n'
    assert [row["picture"] for row in csv.DictReader(content.splitlines())] == ["a, b.png", "ä.png"]


# Names and places.

NAMES = [
    "plain.png",
    "写真 👩\u200d👧 צילום",
    "it's",
    "a b",
    "-v",
    "$x;`id`",
    "a\nb",
    "\x1b[31m",
    "back\\slash\n'",
    "A\u030a",
]
NAMES.append(os.fsdecode(b"caf\xe9 \xff"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("写真 👩\u200d👧 צילום A\u030a", "写真 👩\u200d👧 צילום A\u030a"),
        ("a\nb\tc\x1b[31m", "a\\nb\\tc\\x1b[31m"),
        ("a\u202eb\u2028", "a\\u202eb\\u2028"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\ud83d", "\\ud83d"),
    ],
)
def test_names_become_one_line_of_text(name, text):
    assert readable(name) == text
    text.encode()


@pytest.mark.skipif(sys.platform == "win32", reason="of Unix shells")
@pytest.mark.parametrize("name", NAMES)
def test_a_shell_takes_a_path_as_it_is(name):
    quoted = shell(name)
    output = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True).stdout
    assert output.removeprefix(b"./") == os.fsencode(name)
    assert not quoted.startswith("-")


def test_names_of_any_length_are_written(tmp_path):
    for name in ("x" * 251 + ".txt", "写" * 83 + ".txt"):
        write_text(tmp_path / name, "a")
        with replacing_folder(tmp_path / name[:80]) as folder:
            (folder / "a").touch()
    write_text(tmp_path / os.fsdecode(b"caf\xe9.txt"), "half a character: \udce9")
    assert len(list(tmp_path.iterdir())) == 5
    with pytest.raises(WriteError, match=r"cannot be written.*shorter name"):
        write_text(tmp_path / ("x" * 300), "a")


def test_what_cannot_be_written_is_known_before(tmp_path):
    (tmp_path / "file").write_text("a")
    check_writable(tmp_path / "file")
    check_writable(tmp_path / "new" / "folder" / "file")
    check_writable(tmp_path, folder=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for path, folder in [(tmp_path / "file", True), (tmp_path / "file" / "x", False), (tmp_path, False)]:
        with pytest.raises(WriteError, match="cannot be written"):
            check_writable(path, folder)
    with pytest.raises(WriteError, match="shorter name"):
        check_writable(tmp_path / ("x" * 300))
    if Path("/sys/kernel").is_dir():
        with pytest.raises(WriteError, match="/sys/kernel/x: cannot be written"):
            check_writable("/sys/kernel/x")


def test_a_full_disk_is_one_sentence_and_keeps_what_there_was(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    write_text(tmp_path / "log.csv", "old")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        with pytest.raises(WriteError, match=r"log\.csv: cannot be written \(File too large\); raise the limit"):
            write_text(tmp_path / "log.csv", "new" * 100)
        with pytest.raises(WriteError, match="File too large"):
            check_writable(tmp_path / "log.csv")
        with pytest.raises(WriteError, match="out: cannot be written"), replacing_folder(tmp_path / "out") as folder:
            write_text(folder / "a", "new" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_tilde_may_be_a_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert [str(user_path(name)) for name in ("~/a", "~no-such-user", "a~")] == ["/home/me/a", "~no-such-user", "a~"]


# Several at once.

WRITES, SIZE = 50, 300_000
WRITER = f"""
import sys
from p2plib.files import replacing

target, letter = sys.argv[1:]
for _ in range({WRITES}):
    with replacing(target) as temporary:
        temporary.write_text(letter * {SIZE})
"""


@contextmanager
def readers_see_whole_files(target: Path) -> Iterator[None]:
    """Read `target` again and again during this block: each time, it must be all of one writer's."""
    write_text(target, "0" * SIZE)
    done, seen, bad = threading.Event(), 0, []

    def read() -> None:
        nonlocal seen
        while not done.is_set():
            content = target.read_text()
            seen += 1
            if len(content) != SIZE or len(set(content)) != 1:
                bad.append(len(content))

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read)
        try:
            yield
        finally:
            done.set()
        reading.result()
    assert seen > 10
    assert bad == []


def test_threads_that_write_one_file_do_not_disturb_each_other(tmp_path):
    target = tmp_path / "log.csv"

    def write(letter: str) -> None:
        for _ in range(WRITES):
            write_text(target, letter * SIZE)

    with readers_see_whole_files(target), ThreadPoolExecutor(8) as pool:
        list(pool.map(write, "abcdefgh"))  # raises what a thread raised
    assert set(target.read_text()) < set("abcdefgh")
    assert list(tmp_path.iterdir()) == [target]


def test_processes_that_write_one_file_do_not_disturb_each_other(tmp_path):
    target = tmp_path / "log.csv"
    with readers_see_whole_files(target):
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(target), letter]) for letter in "abcd"]
        assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    assert set(target.read_text()) < set("abcd")
    assert list(tmp_path.iterdir()) == [target]


HOLDER = """
import sys
from p2plib.files import locked

with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()  # until it is closed
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen]:
    """Another process holds the lock during this block."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process


@pytest.fixture(params=["a folder", "a file", "a new file"])
def lockable(request, tmp_path) -> Path:
    path = tmp_path / "place"
    if request.param == "a folder":
        path.mkdir()
    elif request.param == "a file":
        path.write_text("content")
    return path


def test_a_second_process_is_refused_until_the_first_is_done(lockable):
    with held(lockable), pytest.raises(LockedError, match=r"place is locked"), locked(lockable):
        raise AssertionError("both hold it")
    with locked(lockable):
        pass
    assert lockable.is_dir() or lockable.read_text() in ("", "content")


def test_a_process_that_is_killed_holds_nothing(lockable):
    with held(lockable) as process:
        process.kill()
        process.wait()
        with locked(lockable):
            pass


def test_a_lock_is_waited_for(lockable):
    waits = []
    with held(lockable) as process:

        def wait() -> None:
            waits.append(process.poll())
            if len(waits) == 3:
                process.stdin.close()
                process.wait()

        with locked(lockable, wait):
            assert process.poll() == 0
    assert waits == [None, None, None]


def test_a_lock_is_free_again_after_an_error(lockable):
    for _ in range(2):
        with pytest.raises(KeyError), locked(lockable):
            raise KeyError
