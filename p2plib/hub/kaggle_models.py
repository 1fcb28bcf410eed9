"""Models on Kaggle, by its own package `kagglehub`, which keeps them in its own cache.

A model on Kaggle has variations for frameworks; p2plib's is `keras/default`. In a notebook on Kaggle, `kagglehub`
attaches the model instead of downloading it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from p2plib.errors import HubError
from p2plib.files import place
from p2plib.hub.faults import is_connection, status
from p2plib.hub.names import Name

VARIATION = "keras/default"
"""Framework and variation, as Kaggle calls them."""
MOST_FILES = 50
"""Of more files, `kagglehub` makes one archive, from which none can be fetched by name."""


class Source:
    """One version of a model; the first file that is asked for fixes which."""

    def __init__(self, name: Name) -> None:
        self._name, self._version = name, name.revision

    def get(self, file: str, again: bool = False) -> Path:
        """The file in the cache of `kagglehub`, downloaded if it is not there.

        Args:
            file: path in the model.
            again: download it although it is there.
        """
        try:
            path = self._get(file, again)
        except Exception as error:  # each way of fetching has its own
            out_of_reach = not self._version and status(error) is None and is_connection(error)
            self._version = _kept(self._name, file) if out_of_reach else self._version
            if not out_of_reach or self._version is None:
                raise
            path = self._get(file, again)
        if self._version is None and (version := path.parents[len(Path(file).parts) - 1].name).isdigit():
            self._version = version
        return path

    def _get(self, file: str, again: bool) -> Path:
        import kagglehub

        handle = f"{self._name.repo}/{VARIATION}" + (f"/{self._version}" if self._version else "")
        return Path(kagglehub.model_download(handle, path=file, force_download=again))


def publish(name: Name, files: Mapping[str, Path], note: str, license: str) -> str:
    """Upload files as the first or the next version of a model, which is private until its owner makes it public.

    Args:
        name: without revision and file.
        files: local files by their path in the model.
        note: what is said about the version.
        license: as Kaggle calls it.

    Returns:
        The address of the model.

    Raises:
        HubError: there are more files than `kagglehub` sends one by one.
    """
    import kagglehub

    if len(files) > MOST_FILES:
        raise HubError(
            f"{name}: kagglehub sends at most {MOST_FILES} files one by one, and these are {len(files)}; remove "
            "exports that nobody needs."
        )

    with tempfile.TemporaryDirectory(prefix="p2plib-") as folder:
        for path, local in files.items():
            place(local, Path(folder, path))
        kagglehub.model_upload(f"{name.repo}/{VARIATION}", folder, license_name=license, version_notes=note)
    return f"https://www.kaggle.com/models/{name.repo}"


def _kept(name: Name, file: str) -> str | None:
    """The newest version whose file is in the cache, for when Kaggle cannot be asked."""
    cache = Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub")
    folder = cache.joinpath("models", *name.repo.split("/"), *VARIATION.split("/"))
    versions = [path.name for path in folder.glob("*") if path.name.isdigit() and (path / file).is_file()]
    return max(versions, key=int, default=None)
