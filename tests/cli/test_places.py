"""The command line where names, outputs, disks and homes are not as usual."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from p2plib.cli.main import main
from p2plib.data import toy
from p2plib.data.image import save_image

TINY = "--image-size 32 --base-filters 4 --receptive-field 16 --batch-size 2 --epochs 1 --decay-epochs 0 --xla off"
NAMES = [os.fsdecode(b"caf\xe9"), "写真", "a\nb", "<script>", "$x$y", 'say "x", y;', "👩\u200d👧", "x" * 240]
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and namespaces of Linux")


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command, in which `p2plib` is the command line."""
    command = command.replace("p2plib", f"{shlex.quote(sys.executable)} -m p2plib")
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=os.environ | environment)


def works(*prefix: str) -> bool:
    """Whether this machine lets a command be run in this way."""
    try:
        return subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def one_sentence(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """The command failed, with one line that holds `parts`."""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == 1, result
    assert len(errors) == 1
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in errors[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of pairs with names that trouble programs, in a folder with such a name."""
    folder = tmp_path_factory.mktemp("my 写真")
    for i, name in enumerate(NAMES):
        save_image(folder / "pairs" / "train" / f"{name}.png", np.hstack(toy.city(i, 32)))
        save_image(folder / "pairs" / "val" / f"{name[:100]}.png", np.hstack(toy.city(i, 32)))
    run = folder / os.fsdecode(b"-r\xfcn a")
    assert main(["train", "--data", str(folder / "pairs"), "--run-dir", str(run), *TINY.split()]) == 0
    return run


@pytest.mark.keras
def test_a_run_on_any_names_has_its_records(run):
    page = (run / "results.html").read_text(encoding="utf-8")
    with open(run / "metrics.csv", newline="", encoding="utf-8") as file:
        names = {row["picture"] for row in csv.DictReader(file)}
    assert {"val/caf\\xe9.png", "val/写真.png", "val/a\\nb.png", 'val/say "x", y;.png', "val/👩\u200d👧.png"} <= names
    assert {row["picture"] for row in json.loads((run / "metrics.json").read_text())["pictures"]} == names
    assert "val/&lt;script&gt;.png" in page
    assert "caf\\xe9" in page
    assert main(["report", str(run)]) == 0


@pytest.mark.keras
def test_how_to_go_on_can_be_pasted(run, capsys):
    assert main(["train", "--resume", str(run), "--epochs", "3", "--time-budget", "0.01s"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("to resume: ")]
    folder = line.partition("--resume ")[2]
    assert subprocess.run(["bash", "-c", f"printf %s {folder}"], capture_output=True).stdout == os.fsencode(run)


def copied(folder: Path, to: Path) -> dict[str, bytes]:
    shutil.copytree(folder, to)
    return {name: (to / "checkpoints" / name).read_bytes() for name in ("state.npz", "last.keras", "best.keras")}


@pytest.mark.keras
@linux
def test_a_full_disk_keeps_the_state_and_says_how_to_go_on(run, tmp_path, capfd):
    import resource

    saved = copied(run, tmp_path / "a run")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(saved["state.npz"]) // 2, limit[1]))
    try:
        assert main(["train", "--resume", str(tmp_path / "a run"), "--epochs", "9"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    errors = capfd.readouterr().err
    assert "Traceback" not in errors
    assert "cannot be written (File too large)" in errors
    assert f"is intact; then go on: python -m p2plib train --resume '{tmp_path / 'a run'}'" in errors
    assert (tmp_path / "a run" / "checkpoints" / "state.npz").read_bytes() == saved["state.npz"]
    assert not list(tmp_path.rglob("*.part*"))
    assert main(["train", "--resume", str(tmp_path / "a run"), "--epochs", "2"]) == 0


@linux
@pytest.mark.parametrize(
    ("output", "status"), [("> /dev/full", 1), (">&-", 0), ("| true", 1), ("2>&- >&-", 0), ("> /dev/full 2>&1", 1)]
)
@pytest.mark.parametrize("command", ["data list", "train --help"])
def test_an_output_that_takes_nothing(command, output, status):
    result = shell(f"{{ PYTHONUNBUFFERED=1 p2plib {command}; echo $? >&3; }} 3>&2 {output}")
    *errors, ended = result.stderr.splitlines()
    assert int(ended) == status
    assert errors in ([], ["error: the output cannot be written (No space left on device)"])


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_encoding_of_the_output(tmp_path, encoding):
    for i, name in enumerate(NAMES):
        save_image(tmp_path / "写真" / f"{name}.png", np.hstack(toy.city(i, 32))[:, :40])
    result = shell(f"p2plib data check {tmp_path}/写真 --sheet {tmp_path}/写.png", PYTHONIOENCODING=encoding)
    assert "Traceback" not in result.stderr
    assert "caf\\xe9.png" in result.stdout + result.stderr
    assert result.returncode == 1


CAPABLE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
"""For root, whom modes do not bind."""


@linux
@pytest.mark.skipif(not works(*CAPABLE) and not os.getuid(), reason="root cannot give up its privileges here")
def test_a_folder_that_is_read_only_is_said_before_the_work(tmp_path):
    (here := tmp_path / "read only").mkdir()
    (here / "a.png").write_bytes(b"")
    here.chmod(0o555)
    prefix = f"cd '{here}'; {'' if os.getuid() else ' '.join(CAPABLE)} p2plib"
    for command, name in [
        (f"train --data toy {TINY}", "runs: "),
        ("translate vases a.png --out out", "out: "),
        ("video vases a.png v.mp4", "v.mp4: "),
        ("grid vases", "grid.png: "),
        ("train --run-dir . --data toy", ". is not empty"),
    ]:
        result = shell(f"{prefix} {command}")
        one_sentence(result, name)
        assert not result.stdout  # nothing was loaded
    here.chmod(0o755)


@linux
@pytest.mark.keras
@pytest.mark.skipif(not works("unshare", "-U", "--map-user=4321"), reason="needs user namespaces")
def test_a_user_without_name_and_home(tmp_path):
    save_image(tmp_path / "a.png", toy.city(0, 32)[0])
    prefix = f"cd {tmp_path}; unshare -U --map-user=4321 env -u HOME MPLCONFIGDIR=/sys KERAS_HOME=/sys p2plib"
    for command in ("translate vases a.png --out out", "data list", "grid toy-map --data toy --count 1"):
        result = shell(f"{prefix} {command}")
        assert result.returncode == 0, result.stderr


def test_a_cache_that_cannot_be_written_is_said_once(tmp_path):
    pytest.importorskip("skimage")
    for i in range(3):
        save_image(tmp_path / "photos" / f"{i}.png", toy.city(i, 64)[0])
    (tmp_path / "cache").touch()
    command = f"p2plib data check {tmp_path}/photos --task sketch --sheet {tmp_path}/sheet.png"
    result = shell(command, P2PLIB_CACHE=str(tmp_path / "cache"))
    assert result.returncode == 0
    assert result.stderr.count("sketches are drawn anew each time") == 1


@pytest.mark.keras
def test_another_backend_is_refused():
    one_sentence(shell("p2plib grid vases", KERAS_BACKEND="torch"), "tensorflow and jax, not on 'torch'")
