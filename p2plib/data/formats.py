"""Which files are images: by their names, the same everywhere, and why a file that looks like one cannot be used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from p2plib.data.medical import CUT_FIRST, is_nifti
from p2plib.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".avif", ".npy", ".npz", ".dcm", ".dicom"}
)
"""File endings (lower case) that count as images."""
VALUES_ONLY = frozenset({".npy", ".npz", ".dcm", ".dicom"})
"""Those that Pillow does not read: files of values, which need not be what people see."""
READABLE = "JPEG, PNG, WebP, TIFF, BMP, GIF, PNM, TGA, JPEG 2000, AVIF, NPY, NPZ or DICOM"
"""The same for messages."""
_OTHER = frozenset(
    {".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw"}
    | {".psd", ".xcf", ".svg", ".pdf", ".eps", ".ai", ".exr", ".hdr"}
)
"""Endings of images that p2plib does not read."""
_STAND_INS = frozenset(
    {".dvc", ".icloud", ".lnk", ".url", ".part", ".partial", ".filepart", ".crdownload", ".download"}
)
"""What is added to the name of an image that is elsewhere, or was not downloaded to its end."""
_OF_SYSTEMS = frozenset(
    {"__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found"}
    | {"recycler", "~snapshot", "@recently-snapshot", "@recycle"}
)
"""Folders (lower case) that archives, network disks and systems keep for themselves: thumbnails, old files."""
OUTSIDE = "images outside the splits"
"""How `count_others` counts them; the folder follows."""


def files_below(folder: Path) -> list[Path]:
    """All files in a folder, at any depth, sorted. Links to folders are followed, and dead links are listed.

    Raises:
        DataError: a folder is there and cannot be opened, unless it belongs to a system.
    """

    def refuse(error: OSError) -> None:
        if not (isinstance(error, FileNotFoundError) or is_hidden(Path(error.filename), folder)):
            raise DataError(f"{error.filename}: this folder cannot be opened ({error.strerror}); make it readable.")

    found = []
    above = {os.fspath(folder): frozenset({os.path.realpath(folder)})}  # each folder to walk, and all that it lies in
    for here, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        found += [Path(here, name) for name in names]
        around = above.pop(here)
        for name in list(folders):
            path = os.path.join(here, name)  # noqa: PTH118 (there may be hundreds of thousands)
            real = os.path.realpath(path)
            if real in around:  # a link that leads back: following it would never end
                folders.remove(name)
            else:
                above[path] = around | {real}
    return sorted(found)


def is_hidden(path: Path, below: Path) -> bool:
    """Whether a file belongs to a system and not to the user.

    Part of its path below `below` begins with a dot, or is a folder such as `__MACOSX` or `@eaDir`.
    """
    return any(part.startswith(".") or part.lower() in _OF_SYSTEMS for part in path.relative_to(below).parts)


def is_image(path: Path, below: Path) -> bool:
    """Whether a file counts as an image: by its ending, and it is not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path, below)


def images_in(folder: Path) -> list[Path]:
    """The image files in a folder itself, sorted; none if it is not there."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if is_image(path, folder) and not path.is_dir())


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder, at any depth and sorted; hidden ones are skipped."""
    return [path for path in files_below(folder) if is_image(path, folder)]


def unsupported(path: Path, below: Path) -> str | None:
    """Why a file that the user takes for an image is none: one clause; None for images, and for other files."""
    if is_nifti(path) and not is_hidden(path, below):
        return f"is a volume; {CUT_FIRST}"
    meant = Path(path.stem.removeprefix("."))
    if path.suffix.lower() in _STAND_INS and meant.suffix.lower() in IMAGE_SUFFIXES | _OTHER:
        if is_hidden(path.parent, below) or path.with_name(meant.name).exists():
            return None
        return (
            f"{meant} itself is not here, only this {path.suffix} file that stands for it; fetch it, or remove this one"
        )
    if path.suffix.lower() in _OTHER and not is_hidden(path, below):
        return f"{path.suffix} files are not supported; save it as PNG or JPEG, or remove it"
    return None


def count_others(root: Path, files: Iterable[Path], used: set[Path]) -> Counter[str]:
    """Count the files in a folder that are not used, by type.

    Args:
        root: the folder.
        files: all files in it, at any depth.
        used: those that are part of a split.

    Returns:
        The number of the others by type: "hidden", ".txt", ...
    """
    return Counter(_label(path.relative_to(root)) for path in files if path not in used)


def _label(path: Path) -> str:
    if is_hidden(path, Path()):
        return "hidden"
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return OUTSIDE + (f", in {path.parent.as_posix()}/" if path.parent.parts else "")
    return suffix or "without suffix"
