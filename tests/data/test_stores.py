"""Packs in object stores, read by the stores' own packages from a server on 127.0.0.1."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from urllib.parse import unquote

import loopback
import numpy as np
import pytest
from test_shards import config, plain, side_by_side  # noqa: F401

from p2plib.data.dataset import open_dataset
from p2plib.data.pack import pack
from p2plib.data.shards import Place
from p2plib.errors import DataError

fsspec = pytest.importorskip("fsspec")
COMMIT = "a" * 40


class Hub(loopback.Server):
    """What the Hugging Face Hub answers about one data set, of which `folder` holds the files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Answers)
        self.folder = folder
        self.sent: list[tuple[str, int]] = []


class Answers(loopback.Handler):
    server: Hub

    def do_GET(self) -> None:  # noqa: N802
        if re.match("/api/datasets/me/packs/tree/[^/]+/maps", self.path):
            return self.json(self.entries())
        if self.path.startswith("/api/datasets/me/packs"):
            return self.json({"id": "me/packs", "sha": COMMIT, "private": False})
        found = re.fullmatch(r"/datasets/me/packs/resolve/[^/]+/maps/(.+)", unquote(self.path))
        path = self.server.folder / (found[1] if found else "nothing")
        if not path.is_file():
            return self.json({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
        content, status = path.read_bytes(), 200
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or ""):
            content, status = content[int(wanted[1]) : int(wanted[2]) + 1], 206
        self.server.sent.append((path.name, len(content)))
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = json.loads(body)["paths"] if body.startswith("{") else [unquote(body.partition("=")[2].split("&")[0])]
        self.json([entry for entry in self.entries() if entry["path"] in asked])

    def entries(self) -> list[dict[str, object]]:
        files = sorted(self.server.folder.iterdir())
        sizes = {f"maps/{path.name}": path.stat().st_size for path in files}
        return [{"type": "file", "path": path, "size": size, "oid": COMMIT} for path, size in sizes.items()]

    def json(self, content: object, status: int = 200, **headers: str) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content_Type": "application/json", "Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub(plain, tmp_path, monkeypatch):  # noqa: F811
    huggingface_hub = pytest.importorskip("huggingface_hub")
    constants = importlib.import_module("huggingface_hub.constants")
    pack(str(plain), tmp_path / "pack", shard_size=0.012)
    server = Hub(tmp_path / "pack")
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    huggingface_hub.HfFileSystem.clear_instance_cache()
    yield server
    server.stop()
    huggingface_hub.HfFileSystem.clear_instance_cache()


def test_a_pack_on_the_hugging_face_hub(hub, plain):  # noqa: F811
    there, here = open_dataset(config("hf://datasets/me/packs/maps")), open_dataset(config(plain))
    assert there["val"].names == here["val"].names
    hub.sent.clear()
    for side, same in zip(there["train"].read(7), here["train"].read(7), strict=True):
        np.testing.assert_array_equal(side, same)
    [size] = [size for name, size in hub.sent if name.endswith(".tar")]  # one request, of one pair
    assert size < 2 * (plain / "train/7.jpg").stat().st_size + 4 * 512


def test_what_is_not_there_says_so(hub):
    with pytest.raises(DataError, match=r"hf://datasets/me/packs/other/pack.json: cannot be read \("):
        open_dataset(config("hf://datasets/me/packs/other"))


def test_a_range_is_a_range_everywhere(tmp_path):
    (tmp_path / "x").write_bytes(bytes(range(100)))
    for place in (Place(tmp_path), Place(f"file://{tmp_path}")):
        assert place.read("x", 10, 13) == b"\x0a\x0b\x0c" and place.read("x") == bytes(range(100))
        with pytest.raises(DataError, match="y: cannot be read"):
            place.read("y")
