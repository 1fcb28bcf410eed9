"""Files in memory, which readers of images take for those on disk."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # `Path` itself cannot be a base class before Python 3.12


class _Stat(NamedTuple):
    st_size: int


class HeldFile(_Path):
    """A file in memory: a path that nothing lies at, and that is read as if something did.

    What opens files by themselves, as Pillow does, must be given `open("rb")`. Paths that are made of it are empty.

    Args:
        name: what messages call it; the suffix says what it is.
        content: its bytes.
    """

    content: bytes

    def __new__(cls, name: str, content: bytes) -> HeldFile:  # noqa: D102 (the class describes it)
        held = super().__new__(cls, name)
        held.content = content
        return held

    def __init__(self, name: str, content: bytes) -> None:
        if sys.version_info >= (3, 12):
            super().__init__(name)

    def with_segments(self, *segments: Any) -> Any:
        """Paths that are made of this one, such as its `parent`, are plain ones."""
        return Path(*segments)

    def open(self, *args: Any, **options: Any) -> Any:
        """The bytes to read, whatever the mode."""
        return io.BytesIO(self.content)

    def read_bytes(self) -> bytes:
        """All bytes."""
        return self.content

    def exists(self, **options: Any) -> bool:
        """It does."""
        return True

    def is_file(self, **options: Any) -> bool:
        """It is one."""
        return True

    def is_symlink(self) -> bool:
        """It is none."""
        return False

    def stat(self, **options: Any) -> Any:
        """Its size in bytes, and nothing else."""
        return _Stat(len(self.content))


def as_path(path: str | Path) -> Path:
    """A path; a file in memory stays what it is."""
    return path if isinstance(path, HeldFile) else Path(path)
