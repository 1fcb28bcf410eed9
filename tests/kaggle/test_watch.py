"""`kaggle status --follow`: a bar made of the log, sample grids if Kaggle gives them, the run and its report."""

from __future__ import annotations

import hashlib
import io
import json
import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from kaggle_server import Answer, Server, says
from PIL import Image

from p2plib.cli.main import main
from p2plib.config import TrainConfig
from p2plib.errors import ConfigError
from p2plib.kaggle import client, watch
from p2plib.training.run import Snapshot

pytestmark = pytest.mark.kaggle_command
KERNEL = "alice/p2p-train"
LINES = [f"epoch {n}/4  gan 0.{n}  l1 0.5  | validation l1 0.4  psnr 12.30  | 9.1 images/s  0:{n}0" for n in (1, 2, 3)]
LOG = ["time budget: 41000s", LINES[0], "sample grid: samples/0000100.png", LINES[1], LINES[2]]
NEWEST = Path("runs/p2p-train-newest.png")


def png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


RUN = {"log.csv": b"epoch\n1\n", "results.html": b"<p>", "samples/0000100.png": png(1), "samples/0000300.png": png(3)}


def files(run: dict[str, bytes]) -> dict[str, bytes | Answer]:
    """A run and its manifest, as a kernel's output."""
    entries = [{"name": n, "size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in run.items()]
    manifest = json.dumps({"format": 1, "files": entries}).encode()
    return {f"run/{name}": content for name, content in (run | {"manifest.json": manifest}).items()}


@pytest.fixture(autouse=True)
def running(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A session that ends when it was asked for a file or, if nobody asks, when its log was read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "follow", partial(client.follow, poll=20.0))  # or until the log ends
    server.logs = [[f"{line}\n" for line in LOG]]
    server.states = [{"status": "RUNNING"}, {"status": "COMPLETE"}]
    server.files = files(RUN)
    return server


def ends_when_asked(server: Server, before: dict[str, bytes | Answer]) -> None:
    """Let the output be what was `before` while the session runs, which it does until it is asked for."""
    after, server.files = server.files, before

    def answer(body: dict[str, object]) -> dict[str, str]:
        if not any(call.name == "ListKernelSessionOutput" for call in server.calls):
            return {"status": "RUNNING"}
        server.files = after
        return {"status": "COMPLETE"}

    server.GetKernelSessionStatus = answer


def followed(capsys: pytest.CaptureFixture[str], *options: str, status: int = 0) -> list[str]:
    assert main(["kaggle", "status", KERNEL, "--follow", *options]) == status
    return capsys.readouterr().out.splitlines()


def home(run: Path = Path("runs/p2p-train")) -> dict[str, bytes]:
    found = {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    found.pop("manifest.json", None)
    return found


# Reading.


@pytest.mark.parametrize("changes", [{"epochs": 12, "decay_epochs": 0}, {"train_time": "1h"}])
def test_what_training_prints_is_understood(changes):
    from p2plib.training.callbacks import describe

    row = {"epoch": 3, "gan": 0.693, "l1": math.nan, "seconds": 90.0, "pictures_per_second": 21.0}
    row |= dict.fromkeys(("val_l1", "val_psnr", "val_ssim", "val_ab", "val_perceptual"), 0.5)
    config = TrainConfig(**changes)
    line = describe(Snapshot(config, ("A", "B"), ("gan", "l1"), [row], lambda: None))
    found = watch.read(line)
    assert found == (3, None if config.train_time else 12, "gan 0.693", 90.0)
    assert watch.read(f" {line}") is None and watch.read("epoch 0/3  x  | validation y  0:01") is None
    limit = config.train_time_seconds
    assert found.left(limit) == (3510.0 if limit else 270.0)
    assert found.share(limit) == (0.025 if limit else 0.25)
    assert found.text(limit) == f"epoch 3{'' if limit else '/12'}, {'58' if limit else '4'} min left  gan 0.693"


def test_without_an_end_nothing_is_left_to_say():
    found = watch.read(LINES[0].replace("/4", ""))
    assert (found.left(), found.share(), found.text()) == (None, 0.0, "epoch 1  gan 0.1  l1 0.5")


@pytest.mark.parametrize(("left", "text"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3599, "1 h 00 min")])
def test_durations(left, text):
    assert watch._duration(left) == text


# Following.


def test_the_log_then_the_run_then_the_report(server, capsys, tmp_path):
    lines = followed(capsys)
    assert [line for line in lines if line in LOG] == LOG
    assert lines[0] == f"{KERNEL}: RUNNING" and f"{KERNEL}: COMPLETE" in lines
    assert lines[-1] == f"report: {(tmp_path / 'runs/p2p-train/results.html').as_uri()}"
    assert home() == RUN and not NEWEST.exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_there_is_a_bar(server, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    followed(capsys)
    bars = screen.getvalue().split("\r")
    assert any(bar.startswith(" 50%|") and "epoch 2/4, 20 s left  gan 0.2  l1 0.5" in bar for bar in bars)
    assert any(bar.startswith(" 75%|") and "epoch 3/4, 10 s left" in bar for bar in bars)


def test_where_time_decides_the_bar_follows_the_clock(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    shown = watch.Display()
    for line in ("time budget: 41000s, training time: nonsense", LINES[0].replace("/4", "")):
        shown.line(line)
    for line in ("time budget: 41000s, training time: 1m", LINES[2].replace("/4", "")):
        shown.line(line)
    shown.close()
    assert "  0%|" in screen.getvalue() and "epoch 3, 30 s left" in screen.getvalue()
    assert " 50%|" in screen.getvalue()


def test_a_session_that_fails_is_not_pulled(server, capsys):
    server.states = [{"status": "ERROR", "failureMessage": "out of memory"}]
    lines = followed(capsys, status=1)
    assert lines[-2:] == [
        f"{KERNEL}: ERROR: out of memory",
        f"python -m p2plib kaggle pull {KERNEL} fetches what it saved, if it did",
    ]
    assert not Path("runs").exists()


def test_a_run_that_does_not_come_is_an_error_and_the_same_command_mends_it(server, capsys):
    server.files["run/log.csv"] = b"epoch\n"
    assert main(["kaggle", "status", KERNEL, "--follow"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "log.csv has 6 bytes instead of 8" in line and not Path("runs/p2p-train").exists()
    server.files = files(RUN)
    followed(capsys)
    assert home() == RUN


def test_credentials_that_expire_meanwhile_are_said_once_and_it_is_followed_again(server, capsys):
    def expire(body: dict[str, object]) -> dict[str, object]:
        server.fault = 401, b'{"code": 401, "message": "Unauthenticated"}'
        return {"status": "RUNNING"}

    plain, server.GetKernelSessionStatus = server.GetKernelSessionStatus, expire
    assert main(["kaggle", "status", KERNEL, "--follow"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "credentials" in line and not Path("runs").exists()
    server.fault, server.GetKernelSessionStatus = None, plain
    followed(capsys)
    assert home() == RUN


# Sample grids.


def test_grids_come_early_if_kaggle_gives_them(server, capsys, monkeypatch):
    ends_when_asked(server, {"run/samples/0000100.png": png(1), "run/checkpoints/last.keras": b"not asked for"})
    shown = []
    monkeypatch.setattr(watch.Display, "grid", lambda self, path: shown.append((path, path.read_bytes())))
    lines = followed(capsys, "--samples")
    assert shown == [(NEWEST, png(1)), (Path("runs/p2p-train/samples/0000300.png"), png(3))]
    assert watch.NO_GRIDS not in lines and "run/checkpoints/last.keras" not in server.fetched
    assert home() == RUN and not NEWEST.exists()  # the run has them now


@pytest.mark.parametrize(
    "before",
    [
        {},
        {"run/samples/0000100.png": png(1)[:-20]},
        {"run/samples/0000100.png": says(403, b"<html>")},
        files({"samples/0000100.png": png(7)}),
    ],
    ids=["nothing", "half", "a page", "an earlier session's"],
)
def test_what_is_no_grid_of_this_session_is_not_shown_and_one_sentence_says_so(server, capsys, before):
    ends_when_asked(server, before)
    lines = followed(capsys, "--samples")
    assert lines.count(watch.NO_GRIDS) == 1
    assert f"sample grid: {NEWEST}" not in lines and not NEWEST.exists()
    assert "sample grid: runs/p2p-train/samples/0000300.png" in lines and home() == RUN


@pytest.mark.parametrize("fault", [(429, b"slow down"), (503, b""), (401, b"{}")])
def test_a_kaggle_that_refuses_a_grid_ends_nothing(server, fault, capsys):
    plain = server.ListKernelSessionOutput

    def once(body: dict[str, object]) -> dict[str, object]:
        server.ListKernelSessionOutput = plain
        return {"code": fault[0], "message": "refused"}

    ends_when_asked(server, server.files)
    server.ListKernelSessionOutput = once
    assert followed(capsys, "--samples").count(watch.NO_GRIDS) == 1
    assert home() == RUN


def test_grids_are_of_a_session_that_is_followed(server, capsys):
    assert main(["kaggle", "status", KERNEL, "--samples"]) == 1
    assert "add --follow" in capsys.readouterr().err and not server.calls


# In a notebook.

CODE = """
from functools import partial
from pathlib import Path
from p2plib.kaggle import client, watch
client.follow = partial(client.follow, poll=20.0)
watch.watch({kernel!r}, Path("runs/mine"), samples=True).state
"""


@pytest.mark.once
def test_in_a_notebook_there_is_a_panel(server, tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("JUPYTER_PATH", f"{sys.prefix}/share/jupyter")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE.format(kernel=KERNEL))])
    cell = nbclient.NotebookClient(notebook, kernel_name="python3").execute().cells[0]
    assert "'COMPLETE'" in str(cell.outputs[-1])
    states = [
        widget["state"]
        for widget in notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    ]
    [bar] = [state for state in states if state["_model_name"] == "FloatProgressModel"]
    [label] = [state for state in states if state["_model_name"] == "LabelModel"]
    assert bar["value"] == 0.75 and label["value"].startswith("epoch 3/4, 10 s left")
    texts = [state["value"] for state in states if state["_model_name"] == "HTMLModel"]
    assert any("<img" in text for text in texts)
    assert any("report: file:///" in text and "results.html" in text for text in texts)


def test_a_panel_without_a_kernel_shows_where_it_stands(tmp_path):
    pytest.importorskip("ipywidgets")
    panel = watch.Panel()
    for line in [*LOG, "<b>"]:
        panel.line(line)
    (tmp_path / "0000100.png").write_bytes(png(1))
    panel.grid(tmp_path / "0000100.png")
    page = panel._repr_mimebundle_()["text/html"]
    assert '<progress value="0.750">' in page and "epoch 3/4" in page and "<img" in page and "&lt;b&gt;" in page
    assert panel.lines.value.count("\n") == watch.LAST - 1


def test_a_panel_needs_ipywidgets(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ConfigError, match="ipywidgets is not installed"):
        watch.Panel()
