"""What a file is that was given as a checkpoint and is none."""

from __future__ import annotations

import zipfile
from pathlib import Path

_AGAIN = "download or copy it again"
_OURS = "give the .keras file that p2plib wrote"
_KINDS = {
    b"<": ("a web page was saved instead", _AGAIN),
    b"version https://git-lfs": ("it is a pointer of Git LFS", "run git lfs pull, which brings the file itself"),
    b"\x89HDF": ("it is an HDF5 file, of weights or of an older Keras", _OURS),
    b"\x89PNG": ("it is an image", _OURS),
    b"\xff\xd8\xff": ("it is an image", _OURS),
    b"PK\x03\x04": ("it is cut off or damaged", _AGAIN),
}
"""By how a file begins: what it is, and what to do."""
_EXPORTED = {".onnx": "ONNX", ".tflite": "LiteRT", ".pb": "SavedModel", ".xml": "OpenVINO"}


def explain(path: Path) -> str:
    """What a file is, in parentheses, and what to give instead: "(it is a web page); download or copy it again."."""
    what, advice = _zip(path) if zipfile.is_zipfile(path) else _other(path)
    return f"({what}); {advice}."


def _other(path: Path) -> tuple[str, str]:
    with open(path, "rb") as file:
        head = file.read(64).lstrip()
    if not head:
        return "it is empty, and so damaged", _AGAIN
    if path.suffix in _EXPORTED:
        return f"it is a model in the format of {_EXPORTED[path.suffix]}", "give the folder that p2plib exported it to"
    known = (kind for start, kind in _KINDS.items() if head.startswith(start))
    return next(known, ("it is damaged or another kind of file", _OURS))


def _zip(path: Path) -> tuple[str, str]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if "config.json" in names and any(name.startswith("model.weights") for name in names):
        return "it is a model of Keras, not made by p2plib", _OURS
    if any(name.endswith("data.pkl") for name in names):
        return "it is a file of PyTorch", _OURS
    if inside := [name for name in names if name.endswith(".keras")]:
        return f"it is a zip archive that holds {inside[0]}", "unpack it and give that file"
    return "it is another kind of zip archive", _OURS
