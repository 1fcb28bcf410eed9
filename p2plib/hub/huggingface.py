"""Models on the Hugging Face Hub, by its own package `huggingface_hub`, which keeps them in its own cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2plib.errors import HubError
from p2plib.hub.faults import said
from p2plib.hub.manifest import MANIFEST, from_json
from p2plib.hub.names import Name

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_HARMLESS = {".gitattributes", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"}
"""What a repository may hold before the first model is published to it."""


class Source:
    """One revision of a repository; the first file that is asked for fixes which."""

    def __init__(self, name: Name) -> None:
        self._repo, self._revision = name.repo, name.revision

    def get(self, file: str, again: bool = False) -> Path:
        """The file in the cache of `huggingface_hub`, downloaded if it is not there.

        Args:
            file: path in the repository.
            again: download it although it is there.
        """
        from huggingface_hub import hf_hub_download

        cache = os.environ.get("HF_HUB_CACHE")  # read anew: Keras imports the package early, which reads it once
        path = Path(
            hf_hub_download(
                self._repo, file, revision=self._revision, cache_dir=cache, endpoint=_endpoint(), force_download=again
            )
        )
        self._revision = path.parents[len(Path(file).parts) - 1].name  # the commit
        return path


def publish(name: Name, files: Mapping[str, Path], note: str, public: bool) -> str:
    """Upload files as one commit, which replaces what was published to this name before.

    Args:
        name: without revision and file.
        files: local files by their path in the repository, one of them the manifest.
        note: the title of the commit.
        public: whether everybody may see the repository.

    Returns:
        The address of the repository.

    Raises:
        HubError: the repository is somebody's other model, or public against expectation.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(endpoint=_endpoint(), library_name="p2plib")
    address = str(api.create_repo(name.repo, private=not public, exist_ok=True))
    info = api.model_info(name.repo)
    there = {sibling.rfilename for sibling in info.siblings or ()}
    before = _published(name, there)
    if not public and not info.private:
        raise HubError(
            f"{name}: is public, and so would this be; add --public if it shall be, or make it private first."
        )
    operations: list[Any] = [CommitOperationAdd(path, str(local)) for path, local in sorted(files.items())]
    operations += [CommitOperationDelete(path) for path in sorted(before & there - set(files))]
    api.create_commit(name.repo, operations, commit_message=note, parent_commit=info.sha)
    if public and info.private:
        _make_public(api, name)
    return address


def _published(name: Name, there: set[str]) -> set[str]:
    """The files that p2plib published to a repository before, of those that are there."""
    if MANIFEST not in there:
        if other := sorted(there - _HARMLESS):
            raise HubError(f"{name}: holds something else ({other[0]}), not a model of p2plib; choose another name.")
        return set()
    text = Source(name).get(MANIFEST).read_text(encoding="utf-8")
    try:
        return {entry.name for entry in from_json(text)}
    except ValueError as error:
        raise HubError(
            f"{name}: holds something else, for its {MANIFEST} is not p2plib's ({said(error)}); choose another name."
        ) from error


def _make_public(api: HfApi, name: Name) -> None:
    try:
        api.update_repo_settings(name.repo, private=False)
    except Exception as error:  # it has many, and the model is there
        raise HubError(
            f"{name}: is published, but stays private ({said(error)}); make it public in the settings of its page."
        ) from error


def _endpoint() -> str | None:
    """`$HF_ENDPOINT`, read anew: Keras imports the package early, which reads it once."""
    return os.environ.get("HF_ENDPOINT") or None
