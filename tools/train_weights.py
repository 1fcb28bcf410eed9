"""Train the generators that come with p2plib, on images that p2plib makes: `python tools/train_weights.py [NAME ...]`.

Writes p2plib/weights/NAME/NAME.keras, with weights in float16, and its model card beside it. Each takes about six
minutes on two CPU cores.
"""

from __future__ import annotations

import io
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

import p2plib
from p2plib.config import TrainConfig
from p2plib.export.card import write_card
from p2plib.inference.checkpoint import SHIPPED

SHARED = {"data": "toy", "image_size": 128, "base_filters": 16, "epochs": 50, "sample_every": 50}
MODELS = {
    "toy-map": TrainConfig(**SHARED, direction="AtoB", recipe="maps"),
    "toy-satellite": TrainConfig(**SHARED, direction="BtoA"),
    "toy-colors": TrainConfig(**SHARED, task="colorize"),
    "vases": TrainConfig(**SHARED, task="sketch"),
}
WEIGHTS = "model.weights.h5"
"""Keras' name for the weights in a .keras file."""


def halved(content: bytes) -> bytes:
    """The same HDF5 file with all arrays in float16; Keras casts them when it loads them."""
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as source, h5py.File(buffer, "w") as target:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                target.create_dataset(name, data=np.asarray(item, np.float16))
            else:
                target.require_group(name).attrs.update(item.attrs)

        source.visititems(copy)
    return buffer.getvalue()


def ship(run: Path, name: str) -> Path:
    """Write the last generator of a run, and its model card, into the package."""
    path = SHIPPED / name / f"{name}.keras"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(run / "checkpoints" / "last.keras") as source, zipfile.ZipFile(path, "w") as target:
        for member in source.infolist():
            content = source.read(member)
            content = halved(content) if member.filename == WEIGHTS else content
            target.writestr(zipfile.ZipInfo(member.filename), content, zipfile.ZIP_DEFLATED)
    write_card(path.parent, path, name=name)
    return path


def main() -> None:
    """Train those that are named, or all."""
    for name in sys.argv[1:] or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            run = p2plib.train(replace(MODELS[name], run_dir=str(Path(folder, "run"))))
            path = ship(run, name)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
