"""Hubs of the tests' own, to which their unmodified packages talk."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_servers import HF_TOKEN, KAGGLE_TOKEN, HuggingFace, Kaggle, listing

from p2plib.config import TrainConfig
from p2plib.hub import manifest
from p2plib.inference.checkpoint import INFO, CheckpointInfo


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home without tokens, and no waiting."""
    home = tmp_path_factory.mktemp("home")
    for name in os.environ:
        if name.upper().startswith(("KAGGLE", "HF_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # for packages that are imported from now on
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home))
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hf"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(home / "kagglehub"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return home


@pytest.fixture
def hf(monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFace]:
    server = HuggingFace()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", HF_TOKEN)
    yield server
    server.stop()


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    server = Kaggle()
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # files come straight
    monkeypatch.setenv("KAGGLE_API_TOKEN", KAGGLE_TOKEN)
    yield server
    server.stop()


@pytest.fixture
def published(tmp_path: Path) -> dict[str, bytes]:
    """The files of a published model: a checkpoint without weights, an export, and something else."""
    info = CheckpointInfo(TrainConfig(data="maps", image_size=32), ("satellite", "map"), 3, 120, {"ssim": 0.5})
    with zipfile.ZipFile(tmp_path / "best.keras", "w") as archive:
        archive.writestr(INFO, info.to_json())
        archive.writestr("weights", os.urandom(200_000))
    files = {
        "best.keras": (tmp_path / "best.keras").read_bytes(),
        "export/onnx/model.onnx": b"onnx",
        "export/onnx/p2plib.json": info.to_json().encode(),
        "export/savedmodel/saved_model.pb": b"graph",
        "export/savedmodel/p2plib.json": info.to_json().encode(),
        "README.md": b"# A model\n",
    }
    return files | {manifest.MANIFEST: listing(files, tmp_path)}
