"""The kernel: a self-contained notebook that embeds p2plib, and the metadata for pushing it."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import io
import json
import re
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import p2plib
from p2plib import files
from p2plib.config import TrainConfig
from p2plib.errors import ConfigError, KaggleError
from p2plib.kaggle.mirrors import MIRRORS
from p2plib.kaggle.session import DEVICES
from p2plib.models import features

CODE_FILE, METADATA, CONFIG = "p2plib-training.ipynb", "kernel-metadata.json", "config.json"
"""Files written by `build`."""

ACCELERATORS: dict[str, str | None] = {"t4x2": "NvidiaTeslaT4", "tpu": "TpuV5E8", "cpu": None}
"""Kaggle's `machine_shape` by accelerator option."""

_ID = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")
_FLAGS = ("is_private", "enable_gpu", "enable_tpu", "enable_internet")
_READ = {"id", "title", "code_file", *_FLAGS, "machine_shape", "dataset_sources", "kernel_sources"}
_FIXED: dict[str, Any] = {"language": "python", "kernel_type": "notebook"}
_FIXED |= {"model_sources": [], "competition_sources": [], "keywords": []}
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
    """The previous part to resume from, owner/slug; empty for a new run."""

    def __post_init__(self) -> None:
        """Check the accelerator and the format of every id."""
        if self.accelerator not in ACCELERATORS:
            raise KaggleError(f"The accelerator is {self.accelerator!r}; it must be one of {', '.join(ACCELERATORS)}.")
        for name in (self.id, *self.dataset_sources, *self.kernel_sources):
            if not isinstance(name, str) or not _ID.fullmatch(name):
                raise KaggleError(f"{name!r} is not an id; write OWNER/SLUG, as in the address of the page on Kaggle.")

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
                f"{path}: cannot be read as kernel metadata ({error}); see the example in the README."
            ) from error
        try:
            return cls._from_dict(values)
        except KaggleError as error:
            raise KaggleError(f"{path}: {error}") from error

    @classmethod
    def _from_dict(cls, values: Any) -> Kernel:
        if not isinstance(values, dict) or not all(isinstance(values.get(name), str) for name in ("id", "title")):
            raise KaggleError("The fields id and title are missing; see the example in the README.")
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
        )

    def to_dict(self) -> dict[str, Any]:
        """A complete `kernel-metadata.json`, since the defaults of Kaggle's command differ from its documentation."""
        return {
            "id": self.id,
            "title": self.title,
            "code_file": CODE_FILE,
            "is_private": self.private,
            "enable_gpu": self.accelerator == "t4x2",
            "enable_tpu": self.accelerator == "tpu",
            "enable_internet": self.internet,
            "machine_shape": ACCELERATORS[self.accelerator] or "",
            "dataset_sources": list(self.dataset_sources),
            "kernel_sources": list(self.kernel_sources),
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

        "alice/my-run" is followed by "alice/my-run-part-2", then "alice/my-run-part-3"; titles change the same way.
        """
        part = re.fullmatch(r"(.+)-part-(\d+)", self.id)
        number = int(part[2]) + 1 if part else 2
        name = f"{part[1] if part else self.id}-part-{number}"
        title = re.sub(r"\d[\d,]*(?=\D*$)", str(number), self.title) if part else f"{self.title} part {number}"
        return dataclasses.replace(self, id=name, title=title, kernel_sources=(self.id,))


def build(config: TrainConfig, kernel: Kernel, out: str | Path) -> Path:
    """Write the notebook, its `kernel-metadata.json` and its training `config.json`, each atomically.

    Args:
        config: the training settings; the recipe's batch is raised if it does not divide by the devices.
        kernel: name, accelerator and attached sources on Kaggle.
        out: output folder, for `kaggle kernels push -p`.

    Returns:
        The folder.

    Raises:
        KaggleError: the run would start from a trained model.
    """
    if config.init:
        raise KaggleError(f"init is {config.init!r}, but a trained model is not carried to Kaggle yet; leave init out.")
    out = Path(out)
    with contextlib.suppress(ConfigError):  # `preflight.check` reports a batch that was chosen and does not divide
        config = config.for_devices(DEVICES[kernel.accelerator])
    files.write_text(out / CODE_FILE, _json(notebook(config, kernel)))
    files.write_text(out / CONFIG, _json(config.to_dict()))
    files.write_text(out / METADATA, _json(kernel.to_dict()))
    return out


def notebook(config: TrainConfig, kernel: Kernel) -> dict[str, Any]:
    """The notebook as JSON-ready values, deterministic for the same arguments and p2plib."""
    start = f"It continues `{kernel.kernel_sources[0]}`. " if kernel.kernel_sources else ""
    resume = kernel.kernel_sources[0] if kernel.kernel_sources else None
    cells = [
        _cell("title", _TITLE.format(title=kernel.title, start=start, version=p2plib.__version__)),
        # Kaggle and JupyterLab use different markers for a collapsed cell.
        _code("wheel", _unpack(wheel()), {"_kg_hide-input": True, "jupyter": {"source_hidden": True}}),
        _cell("config-text", _CONFIG_TEXT),
        _code("config", _config_source(config)),
        _cell("train-text", _TRAIN_TEXT),
        _code("train", _TRAIN.format(sources=list(kernel.dataset_sources), resume=resume)),
        _cell("results-text", _RESULTS_TEXT),
        _code("grid", _GRID),
        _cell("compare-text", _COMPARE_TEXT),
        _code("compare", _COMPARE),
    ]
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def wheel() -> bytes:
    """This p2plib as a .whl file, byte for byte reproducible, without building or downloading anything.

    It holds the files of the installed package and, where installed, the weights of the perceptual loss. It declares
    no dependencies, since Kaggle's image has all that training needs.
    """
    package = Path(p2plib.__file__).parent
    paths = {path.relative_to(package.parent).as_posix(): path for path in package.rglob("*") if path.is_file()}
    left = re.compile(r"/(\.|__pycache__/|weights/|lessons/.*\.j)")  # for looking at, here
    members = {name: paths[name].read_bytes() for name in sorted(paths) if not left.search(name)}
    if features.available("lite0"):
        members["p2plib/models/lite0.npz"] = _feature_weights()
    about = f"p2plib-{p2plib.__version__}.dist-info"
    members[f"{about}/METADATA"] = _METADATA.format(version=p2plib.__version__).encode()
    members[f"{about}/WHEEL"] = _WHEEL.encode()
    record = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in members.items()]
    members[f"{about}/RECORD"] = "".join([*record, f"{about}/RECORD,,\n"]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)  # always dated 1980
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def _feature_weights() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lite0.npz")
        features.pack("lite0", path, blocks=(4,))
        return path.read_bytes()


_METADATA = """\
Metadata-Version: 2.4
Name: p2plib
Version: {version}
Summary: Pix2Pix for people who work in notebooks
License-Expression: MIT
Requires-Python: >=3.11
"""

_WHEEL = """\
Wheel-Version: 1.0
Generator: p2plib
Root-Is-Purelib: true
Tag: py3-none-any
"""

_TITLE = """\
# {title}

Paired image-to-image translation (pix2pix), trained by p2plib {version}. {start}\
The next cell contains the library itself, so the notebook needs no installation and no internet."""

# Unpacked, not imported from the archive, because TensorFlow's AutoGraph reads source files.
_UNPACK = '''\
# p2plib {version}, packed: unpacks into a temporary folder
import base64
import io
import sys
import tempfile
import zipfile

wheel = """
{text}"""
folder = tempfile.mkdtemp(prefix="p2plib-")
zipfile.ZipFile(io.BytesIO(base64.b64decode(wheel))).extractall(folder)
sys.path.insert(0, folder)'''

_CONFIG_TEXT = """\
## One configuration

Settings that are not listed have p2plib's defaults, mostly those of the paper. The output shows all settings."""

_TRAIN_TEXT = """\
## Training

Training ends after the last epoch or when the time is up, and saves everything needed to resume. The output is the run
folder. Its manifest, written last, is used to verify the download."""

_TRAIN = """\
from p2plib.kaggle import session

run = session.train(config, sources={sources!r}, resume={resume!r})"""

_RESULTS_TEXT = """\
## Results

The best generator, on images that were not used for training."""

_GRID = """\
from IPython.display import Image

Image(filename=str(run / "result_grid.png"))"""

_COMPARE_TEXT = "Drag the divider, or use the arrow keys."

_COMPARE = """\
import p2plib
from p2plib.show import widgets

model = p2plib.load(run)
result = p2plib.evaluate(model, limit=1)
target = model.info.names[1]
widgets.compare(result.generated[0], result.targets[0], (f"generated {target}", f"expected {target}"))"""


def _unpack(content: bytes) -> str:
    return _UNPACK.format(version=p2plib.__version__, text=base64.encodebytes(content).decode())


def _config_source(config: TrainConfig) -> str:
    """Python code for `config`, with only the settings that differ from the defaults."""
    default = TrainConfig().to_dict()
    lines = [f"    {name}={value!r},\n" for name, value in config.to_dict().items() if value != default[name]]
    arguments = "\n" + "".join(lines) if lines else ""
    return f"from p2plib import TrainConfig\n\nconfig = TrainConfig({arguments})\nconfig"


def _cell(name: str, source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source.splitlines(keepends=True)}


def _code(name: str, source: str, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    parts: dict[str, Any] = {"cell_type": "code", "metadata": metadata or {}, "execution_count": None, "outputs": []}
    return _cell(name, source) | parts


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def _accelerator(values: dict[str, Any]) -> str:
    """The accelerator in the metadata; `machine_shape` overrides the flags, as on Kaggle."""
    shape = values.get("machine_shape")
    if shape in (None, "", "None"):
        return "tpu" if _flag(values, "enable_tpu") else "t4x2" if _flag(values, "enable_gpu") else "cpu"
    name = next((name for name, known in ACCELERATORS.items() if known == shape), None)
    if name is None:
        known = ", ".join(f"{known} ({name})" for name, known in ACCELERATORS.items() if known)
        raise KaggleError(f"machine_shape is {shape!r}; it must be {known}, or empty (cpu).")
    return name


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
