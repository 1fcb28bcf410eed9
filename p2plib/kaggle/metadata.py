"""`kernel-metadata.json`, Kaggle's own format: name, accelerator and sources of a kernel."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2plib import files
from p2plib.errors import KaggleError
from p2plib.kaggle.accelerators import ACCELERATORS, RETIRED
from p2plib.kaggle.mirrors import MIRRORS

CODE_FILE, METADATA = "p2plib-training.ipynb", "kernel-metadata.json"
"""The notebook, and the file itself."""

_ID = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")
_MODEL = re.compile(r"[\w.-]+/[\w.-]+/[\w.-]+/[\w.-]+/\d+")
_COMPETITION = re.compile(r"[A-Za-z0-9_-]+")
_FLAGS = ("is_private", "enable_gpu", "enable_tpu", "enable_internet")
_READ = {"id", "title", "code_file", *_FLAGS, "machine_shape", "dataset_sources", "kernel_sources"}
_READ |= {"model_sources", "competition_sources"}
_FIXED: dict[str, Any] = {"language": "python", "kernel_type": "notebook", "keywords": []}
"""Fields that are the same in all p2plib kernels."""


@dataclass(frozen=True)
class Kernel:
    """The contents of a `kernel-metadata.json`.

    Raises:
        KaggleError: the accelerator is not in `ACCELERATORS`, or an id is not "owner/slug".
    """

    id: str
    """owner/slug; Kaggle derives the slug from the title."""
    title: str
    accelerator: str = "t4x2"
    """A name in `ACCELERATORS`."""
    internet: bool = field(default=False, kw_only=True)
    private: bool = field(default=True, kw_only=True)
    dataset_sources: tuple[str, ...] = field(default=(), kw_only=True)
    """Attached data sets, owner/slug."""
    kernel_sources: tuple[str, ...] = field(default=(), kw_only=True)
    """Attached notebooks, owner/slug: first the previous part to resume from, then others; empty for a new run."""
    model_sources: tuple[str, ...] = field(default=(), kw_only=True)
    """Attached models, owner/model/framework/variation/version."""
    competition_sources: tuple[str, ...] = field(default=(), kw_only=True)
    """Attached data of competitions, by the names in their addresses."""

    def __post_init__(self) -> None:
        """Check the accelerator and the format of every id."""
        if self.accelerator not in ACCELERATORS:
            raise KaggleError(f"The accelerator is {self.accelerator!r}; it must be one of {', '.join(ACCELERATORS)}.")
        for name in (self.id, *self.dataset_sources, *self.kernel_sources):
            if not isinstance(name, str) or not _ID.fullmatch(name):
                raise KaggleError(f"{name!r} is not an id; write OWNER/SLUG, as in the address of the page on Kaggle.")
        for name in self.model_sources:
            if not isinstance(name, str) or not _MODEL.fullmatch(name):
                raise KaggleError(f"{name!r} is not a model; write OWNER/MODEL/FRAMEWORK/VARIATION/VERSION.")
        for name in self.competition_sources:
            if not isinstance(name, str) or not _COMPETITION.fullmatch(name):
                raise KaggleError(f"{name!r} is not a competition; write its name as in the address of its page.")

    @classmethod
    def read(cls, path: str | Path) -> Kernel:
        """Read a `kernel-metadata.json`. Missing flags are off, except that kernels are private.

        Raises:
            KaggleError: the file is missing or invalid, or has a value that p2plib does not support.
        """
        try:
            values = files.read_json(path)
        except (OSError, ValueError) as error:
            raise KaggleError(
                f"{path}: cannot be read as kernel metadata ({error}); see the example in docs/kaggle.md."
            ) from error
        try:
            return cls._from_dict(values)
        except KaggleError as error:
            raise KaggleError(f"{path}: {error}") from error

    @classmethod
    def _from_dict(cls, values: Any) -> Kernel:
        if not isinstance(values, dict) or not all(isinstance(values.get(name), str) for name in ("id", "title")):
            raise KaggleError("The fields id and title are missing; see the example in docs/kaggle.md.")
        odd = [name for name, value in values.items() if name not in _READ and value and value != _FIXED.get(name)]
        if odd:
            raise KaggleError(f"p2plib does not support this value of {', '.join(odd)}; remove it.")
        return cls(
            values["id"],
            values["title"],
            _accelerator(values),
            internet=_flag(values, "enable_internet"),
            private=_flag(values, "is_private", default=True),
            dataset_sources=_sources(values, "dataset_sources"),
            kernel_sources=_sources(values, "kernel_sources"),
            model_sources=_sources(values, "model_sources"),
            competition_sources=_sources(values, "competition_sources"),
        )

    def to_dict(self) -> dict[str, Any]:
        """A complete `kernel-metadata.json`, since the defaults of Kaggle's command differ from its documentation."""
        return {
            "id": self.id,
            "title": self.title,
            "code_file": CODE_FILE,
            "is_private": self.private,
            "enable_gpu": ACCELERATORS[self.accelerator].kind == "gpu",
            "enable_tpu": ACCELERATORS[self.accelerator].kind == "tpu",
            "enable_internet": self.internet,
            "machine_shape": ACCELERATORS[self.accelerator].shape or "",
            "dataset_sources": list(self.dataset_sources),
            "kernel_sources": list(self.kernel_sources),
            "model_sources": list(self.model_sources),
            "competition_sources": list(self.competition_sources),
            **_FIXED,
        }

    def with_data(self, data: str) -> Kernel:
        """Attach the first known mirror of a catalog data set, unless something is attached or there is internet."""
        mirrors = MIRRORS.get(data, ())
        if self.internet or self.dataset_sources or not mirrors:
            return self
        return dataclasses.replace(self, dataset_sources=(mirrors[0].slug,))

    def next_part(self) -> Kernel:
        """The kernel that resumes from the output of this one; a kernel cannot use its own output.

        What else is attached stays so.

        "alice/my-run" is followed by "alice/my-run-part-2", then "alice/my-run-part-3"; titles change the same way.
        """
        part = re.fullmatch(r"(.+)-part-(\d+)", self.id)
        number = int(part[2]) + 1 if part else 2
        name = f"{part[1] if part else self.id}-part-{number}"
        title = re.sub(r"\d[\d,]*(?=\D*$)", str(number), self.title) if part else f"{self.title} part {number}"
        return dataclasses.replace(self, id=name, title=title, kernel_sources=(self.id, *self.kernel_sources[1:]))


def _accelerator(values: dict[str, Any]) -> str:
    """The accelerator in the metadata; `machine_shape` overrides the flags, as on Kaggle."""
    shape = values.get("machine_shape")
    if shape in (None, "", "None"):
        return "tpu" if _flag(values, "enable_tpu") else "t4x2" if _flag(values, "enable_gpu") else "cpu"
    if shape in RETIRED:
        raise KaggleError(f"machine_shape is {shape!r}, which Kaggle has retired; set NvidiaTeslaT4 or TpuV5E8.")
    known = {accelerator.shape: name for name, accelerator in ACCELERATORS.items() if accelerator.shape}
    if shape not in known:
        names = ", ".join(f"{shape} ({name})" for shape, name in known.items())
        raise KaggleError(f"machine_shape is {shape!r}; it must be {names}, or empty (cpu).")
    return known[shape]


def _flag(values: dict[str, Any], name: str, default: bool = False) -> bool:
    value = values.get(name, default)
    if isinstance(value, str):  # as in Kaggle's own template
        value = {"true": True, "false": False}.get(value.lower(), value)
    if not isinstance(value, bool):
        raise KaggleError(f"{name} is {value!r}; it must be true or false.")
    return value


def _sources(values: dict[str, Any], name: str) -> tuple[str, ...]:
    value = values.get(name) or []
    if not isinstance(value, list):
        raise KaggleError(f'{name} is {value!r}; it must be a list, such as ["OWNER/SLUG"].')
    return tuple(value)
