"""Data sets of the catalog, from the archive to a trained model, without a case of their own."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile

import pytest
from PIL import Image
from server import Server, sends

import p2plib
from p2plib.cli.main import main
from p2plib.data import toy
from p2plib.data.catalog import CATALOG

pytestmark = pytest.mark.once

TINY = "--image-size 32 --base-filters 4 --batch-size 1 --receptive-field 1 --epochs 1 --decay-epochs 0 --augment none"
TINY += " --xla off"


def archive(name: str, splits: dict[str, int]) -> bytes:
    """Pairs side by side, in the folders and with the endings of the authors' archives."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for split, count in splits.items():
            for i in range(1, count + 1):
                pair, file = Image.new("RGB", (512, 256)), io.BytesIO()
                for side, image in enumerate(toy.city(i, 256)):
                    pair.paste(Image.fromarray(image), (256 * side, 0))
                pair.save(file, "JPEG")
                info = tarfile.TarInfo(f"{name}/{split}/{i}.jpg")
                info.size = len(file.getvalue())
                tar.addfile(info, io.BytesIO(file.getvalue()))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "source", "target"), [("night2day", "day", "night"), ("cityscapes", "labels", "photo")]
)
def test_from_the_archive_to_a_model(name, source, target, tmp_path, monkeypatch, capsys):
    """The entry is the catalog's own, but for the address and the numbers of pairs."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))
    entry = dataclasses.replace(CATALOG[name], splits=dict.fromkeys(CATALOG[name].splits, 2))
    server = Server()
    monkeypatch.setitem(CATALOG, name, dataclasses.replace(entry, url=server.url))
    server.answers = [sends(archive(name, entry.splits))]
    run = tmp_path / "run"
    try:
        for command in (f"data get {name}", f"train --data {name} --run-dir {run} {TINY}"):
            assert main(command.split()) == 0
    finally:
        server.stop()
    model = p2plib.load(run)
    assert model.info.names == (source, target)
    assert model.info.step == 2
    assert json.loads((run / "metrics.json").read_text())
    assert (run / "results.html").stat().st_size > 1000
    capsys.readouterr()
