"""The served models: loaded at startup, and reloaded when their file is replaced."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2plib.data.kind import Kinds
from p2plib.errors import ConfigError, P2PError
from p2plib.inference import checkpoint
from p2plib.inference.checkpoint import Checkpoint
from p2plib.inference.translate import tiled_at, translate
from p2plib.web.examples import Examples
from p2plib.web.limits import Limits, RequestError
from p2plib.web.queue import Finished, Queue

BATCH = 1
"""Tiles per call of the network. It is fixed, because each new batch size triggers a slow compilation."""

Stamp = tuple[tuple[int, ...], ...]
"""Identifies a version of a file: time, size and inode; for a folder, those of its files."""


@dataclass(frozen=True)
class _Loaded:
    """Everything loaded from one version of a model's file, replaced as a whole."""

    checkpoint: Checkpoint
    examples: Examples
    stamp: Stamp


class Model:
    """One served model. Methods that run Keras are called only in the queue's thread.

    Args:
        id: name of the model in URLs.
        path: path for `p2plib.load`.
        folder: the user's example images.

    Raises:
        P2PError: the model cannot be loaded.
    """

    def __init__(self, id: str, path: Path, folder: Path | None) -> None:
        self.id, self.path, self.folder = id, checkpoint.here(path), folder
        self._rejected: Stamp | None = None
        self._loaded = self._load(_stamp(path))

    @property
    def examples(self) -> Examples:
        """Example source images."""
        return self._loaded.examples

    @property
    def kinds(self) -> Kinds:
        """What its sources and targets are."""
        return self._loaded.checkpoint.kinds

    @property
    def ordinary(self) -> bool:
        """Whether both are 8-bit RGB, so that images go as PNG, JPEG or WebP."""
        return all(kind.plain for kind in self.kinds)

    @property
    def entry(self) -> dict[str, Any]:
        """The description of the model for pages and programs."""
        info = self._loaded.checkpoint.info
        source, target = info.names
        height, width = info.config.shape
        classes = self.examples.palette.items()
        return {
            "id": self.id,
            "name": f"{source} → {target} ({self.id})",
            "source": source,
            "target": target,
            "size": max(height, width),
            "height": height,
            "width": width,
            "step": info.step,
            "epoch": info.epoch,
            "strokes": any(word in source.lower() for word in ("edge", "sketch")),
            "palette": [
                {"name": name, "color": (code := f"#{r:02x}{g:02x}{b:02x}"), "colour": code}
                for name, (r, g, b) in classes
            ],
            "ordinary": self.ordinary,
            "draws": self.kinds[0].plain or self.kinds[0].are_classes,
            "kinds": [kind.describe().removeprefix(f"{kind.name}: ") for kind in self.kinds],
        }

    def check(self, height: int, width: int, fit: bool | None, limits: Limits) -> bool:
        """Whether to fit an image to the model; None leaves it to the image's size.

        Raises:
            RequestError: the image shall not be fitted, and its tiles would keep the model busy for minutes.
        """
        model = self._loaded.checkpoint
        at = tiled_at(model, height, width, bool(fit))
        if at and max(at[0], model.shape[0]) * max(at[1], model.shape[1]) > limits.tiled_pixels:
            if fit is None:
                return True
            raise RequestError(
                f"{width}x{height} is too large to be translated in tiles (at most {limits.tiled_pixels / 1e6:g} "
                "million pixels); shrink the image, or fit it to the model.",
                413,
            )
        return bool(fit)

    def translate(self, image: np.ndarray, noise: int | None, fit: bool) -> np.ndarray:
        """Translate one image with the newest version of the model."""
        self._refresh()
        return translate(self._loaded.checkpoint, [image], noise, BATCH, fit)[0]

    def _refresh(self) -> None:
        """Reload the model if its file was replaced; if that fails, keep the old one."""
        try:
            stamp = _stamp(self.path)
        except (P2PError, OSError):  # the file is gone
            return
        if stamp in (self._loaded.stamp, self._rejected):
            return
        try:
            self._loaded = self._load(stamp)
            _log(f"{self.path}: replaced by step {self._loaded.checkpoint.info.step}")
        except Exception as error:  # whatever is wrong with the new file, the old model works
            self._rejected = stamp
            _log(f"{self.path}: the new file cannot be used, so the old model stays in use ({error})")

    def _load(self, stamp: Stamp) -> _Loaded:
        model = checkpoint.load(self.path)
        source = model.kinds[0]
        blank = np.full((*model.shape, source.channels), source.ids[0] if source.ids else 0, source.dtype)
        translate(model, [blank], batch_size=BATCH)  # compile now, so that the first image is fast
        if _stamp(self.path) != stamp:
            raise P2PError(f"{self.path} changed while it was being loaded.")
        return _Loaded(model, Examples.of(model.info.config, self.folder, source), stamp)


class Models:
    """All models of a server, behind one queue.

    Raises:
        P2PError: there are no models, or one cannot be loaded.
    """

    def __init__(self, paths: Sequence[Path], examples: Path | None, limits: Limits) -> None:
        if not paths:
            raise ConfigError("There is no model to serve; give a checkpoint or a run folder.")
        self.limits = limits
        self.queue = Queue(limits.queue, limits.wait_s)
        ids = _ids(paths)
        try:
            models = self.queue.call(lambda: [Model(id, path, examples) for id, path in zip(ids, paths, strict=True)])
        except BaseException:
            self.queue.close()
            raise
        self._models = {model.id: model for model in models}

    def __len__(self) -> int:
        return len(self._models)

    def entries(self) -> list[dict[str, Any]]:
        """Descriptions of all models, in the given order."""
        return [model.entry for model in self._models.values()]

    def find(self, id: str | None) -> Model:
        """The model called `id`; None means the first.

        Raises:
            RequestError: there is no such model.
        """
        if id is None:
            return next(iter(self._models.values()))
        if id not in self._models:
            raise RequestError(f"There is no model {id[:60]!r}; /api/models lists all models.", 404)
        return self._models[id]

    def translate(
        self, model: Model, image: np.ndarray, noise: int | None, fit: bool, gone: Callable[[], bool]
    ) -> Finished[np.ndarray]:
        """Translate one image when its turn comes; see `Queue.run` for `gone` and errors."""
        height, width = image.shape[:2]
        model.check(height, width, fit, self.limits)
        return self.queue.run(lambda: model.translate(image, noise, fit), gone)


def _stamp(path: Path) -> Stamp:
    found = checkpoint.find(path)
    files = sorted(file for file in found.rglob("*") if file.is_file()) if found.is_dir() else [found]
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in (file.stat() for file in files))


def _ids(paths: Sequence[Path]) -> list[str]:
    """A short, unique, URL-safe name for each path."""
    ids: list[str] = []
    for path in paths:
        base = re.sub(r"[^A-Za-z0-9._]+", "-", checkpoint.short_name(path)).strip("-.") or "model"
        count = sum(re.fullmatch(rf"{re.escape(base)}(-\d+)?", id) is not None for id in ids)
        ids.append(f"{base}-{count + 1}" if count else base)
    return ids


def _log(line: str) -> None:
    print(f"web: {line}", file=sys.stderr, flush=True)  # noqa: T201
