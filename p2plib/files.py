"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    r"""Give a temporary path to write to, which takes the place of `path` when the block ends well.

    The temporary file lies beside `path` (same file system, same suffix), so the swap is one atomic rename. When the
    block raises, the temporary file is removed and `path` keeps what it held.

    Args:
        path: where the finished file shall be; missing parent folders are made.

    Example:
        >>> with replacing("log.csv") as temporary:
        ...     temporary.write_text("epoch,l1\\n")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: str | Path) -> Iterator[Path]:
    """As `replacing`, for a folder: give a new one to fill, which takes the place of `target` when the block ends well.

    Args:
        target: where the finished folder shall be; missing parent folders are made.
    """
    target = Path(target).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".part", dir=target.parent) as place:
        new, old = Path(place) / "new", Path(place) / "old"
        new.mkdir()
        yield new
        if target.exists():
            os.replace(target, old)
        os.replace(new, target)


def remove_leftovers(folder: str | Path) -> None:
    """Remove what a process that was killed while it wrote has left in `folder` and the folders in it."""
    for path in list(Path(folder).rglob(".*.part*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
