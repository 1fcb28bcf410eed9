"""The kernel: one self-contained notebook with p2plib inside, and the metadata that Kaggle's command pushes it by."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import p2plib
from p2plib import files
from p2plib.config import TrainConfig
from p2plib.errors import KaggleError
from p2plib.kaggle.mirrors import MIRRORS

CODE_FILE, METADATA, CONFIG = "p2plib-training.ipynb", "kernel-metadata.json", "config.json"
"""What `build` writes."""

ACCELERATORS: dict[str, str | None] = {"t4x2": "NvidiaTeslaT4", "tpu": "TpuV5E8", "cpu": None}
"""What people type: Kaggle's `machine_shape`."""

_ID = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")
_FLAGS = ("is_private", "enable_gpu", "enable_tpu", "enable_internet")
_READ = {"id", "title", "code_file", *_FLAGS, "machine_shape", "dataset_sources", "kernel_sources"}
_FIXED: dict[str, Any] = {"language": "python", "kernel_type": "notebook"}
_FIXED |= {"model_sources": [], "competition_sources": [], "keywords": []}
"""Fields that are the same in every kernel of p2plib."""


@dataclass(frozen=True)
class Kernel:
    """A notebook on Kaggle: what `kernel-metadata.json` says of it.

    Raises:
        KaggleError: the accelerator is not in `ACCELERATORS`, or an id is not "owner/slug".
    """

    id: str
    """owner/slug; the slug is what Kaggle makes of the title."""
    title: str
    accelerator: str = "t4x2"
    """A name in `ACCELERATORS`."""
    internet: bool = field(default=False, kw_only=True)
    private: bool = field(default=True, kw_only=True)
    dataset_sources: tuple[str, ...] = field(default=(), kw_only=True)
    """Attached data sets, owner/slug."""
    kernel_sources: tuple[str, ...] = field(default=(), kw_only=True)
    """The previous part, owner/slug, to go on from its output; empty for a new run."""

    def __post_init__(self) -> None:
        """Check the accelerator and the form of every id."""
        if self.accelerator not in ACCELERATORS:
            raise KaggleError(f"The accelerator is {self.accelerator!r}; it must be one of {', '.join(ACCELERATORS)}.")
        for name in (self.id, *self.dataset_sources, *self.kernel_sources):
            if not isinstance(name, str) or not _ID.fullmatch(name):
                raise KaggleError(f"{name!r} is not an id; write OWNER/SLUG, as in the address of the page on Kaggle.")

    @classmethod
    def read(cls, path: str | Path) -> Kernel:
        """Read a `kernel-metadata.json`. A flag that is missing is off, but kernels are private.

        Raises:
            KaggleError: the file is missing or wrong, or says something that p2plib's kernels cannot have.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise KaggleError(
                f"{path}: cannot be read as kernel metadata ({error}); the README shows a file."
            ) from error
        try:
            return cls._from_dict(values)
        except KaggleError as error:
            raise KaggleError(f"{path}: {error}") from error

    @classmethod
    def _from_dict(cls, values: Any) -> Kernel:
        if not isinstance(values, dict) or not all(isinstance(values.get(name), str) for name in ("id", "title")):
            raise KaggleError("The fields id and title are missing; the README shows a file.")
        odd = [name for name, value in values.items() if name not in _READ and value and value != _FIXED.get(name)]
        if odd:
            raise KaggleError(f"p2plib's kernels cannot have {', '.join(odd)} with that value; remove it.")
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
        """A complete `kernel-metadata.json`; Kaggle's command has defaults that its documentation does not have."""
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
        """The kernel that goes on from the output of this one, which cannot name itself.

        "alice/my-run" is followed by "alice/my-run-part-2", that by "alice/my-run-part-3", and the title likewise.
        """
        part = re.fullmatch(r"(.+)-part-(\d+)", self.id)
        number = int(part[2]) + 1 if part else 2
        name = f"{part[1] if part else self.id}-part-{number}"
        title = re.sub(r"\d[\d,]*(?=\D*$)", str(number), self.title) if part else f"{self.title} part {number}"
        return dataclasses.replace(self, id=name, title=title, kernel_sources=(self.id,))


def build(config: TrainConfig, kernel: Kernel, out: str | Path) -> Path:
    """Write the notebook, its `kernel-metadata.json` and the `config.json` that it trains with, each atomically.

    Args:
        config: the settings of the training.
        kernel: what the notebook is called on Kaggle, where it runs, and what is attached.
        out: the folder to write to, which `kaggle kernels push -p` takes.

    Returns:
        The folder.
    """
    out = Path(out)
    files.write_text(out / CODE_FILE, _json(notebook(config, kernel)))
    files.write_text(out / CONFIG, _json(config.to_dict()))
    files.write_text(out / METADATA, _json(kernel.to_dict()))
    return out


def notebook(config: TrainConfig, kernel: Kernel) -> dict[str, Any]:
    """The notebook as JSON-ready values, the same for the same arguments and the same p2plib."""
    start = f"It goes on from `{kernel.kernel_sources[0]}`. " if kernel.kernel_sources else ""
    resume = kernel.kernel_sources[0] if kernel.kernel_sources else None
    cells = [
        _cell("title", _TITLE.format(title=kernel.title, start=start, version=p2plib.__version__)),
        # Kaggle and JupyterLab each have their own mark for a cell that is not unfolded.
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
    """This p2plib as a .whl file, the same bytes every time; nothing is built or fetched.

    It holds the files of the package, wherever it is installed, but names no dependencies: it is for Kaggle's image,
    which has what training needs.
    """
    package = Path(p2plib.__file__).parent
    paths = {path.relative_to(package.parent).as_posix(): path for path in package.rglob("*") if path.is_file()}
    members = {name: paths[name].read_bytes() for name in sorted(paths) if not re.search(r"/(\.|__pycache__/)", name)}
    about = f"p2plib-{p2plib.__version__}.dist-info"
    members[f"{about}/METADATA"] = _METADATA.format(version=p2plib.__version__).encode()
    members[f"{about}/WHEEL"] = _WHEEL.encode()
    record = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in members.items()]
    members[f"{about}/RECORD"] = "".join([*record, f"{about}/RECORD,,\n"]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)  # dated 1980, on every machine
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


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
The next cell holds the library itself, so that nothing need be installed and no internet is needed."""

# Unpacked, not imported from the archive: TensorFlow's autograph reads the source files of what it compiles.
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

What is not said here has p2plib's default, mostly the paper's. All settings follow."""

_TRAIN_TEXT = """\
## Training

It ends when all epochs are done or the time is up, and saves all that going on takes. What comes back is the run
folder. Its manifest, written last, tells whether it came back whole."""

_TRAIN = """\
from p2plib.kaggle import session

run = session.train(config, sources={sources!r}, resume={resume!r})"""

_RESULTS_TEXT = """\
## Results

The best generator by validation SSIM, on images that it was not trained on."""

_GRID = """\
from IPython.display import Image

Image(filename=str(run / "result_grid.png"))"""

_COMPARE_TEXT = "Drag the divider, or use the arrow keys."

_COMPARE = """\
import p2plib
from p2plib import widgets

model = p2plib.load(run)
result = p2plib.evaluate(model, limit=1)
target = model.info.names[1]
widgets.compare(result.generated[0], result.targets[0], (f"generated {target}", f"expected {target}"))"""


def _unpack(content: bytes) -> str:
    return _UNPACK.format(version=p2plib.__version__, text=base64.encodebytes(content).decode())


def _config_source(config: TrainConfig) -> str:
    """Python that makes `config`, with only the settings that differ from the defaults."""
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
    """The accelerator that metadata ask for; `machine_shape` wins over the flags, as on Kaggle."""
    shape = values.get("machine_shape")
    if shape in (None, "", "None"):
        return "tpu" if _flag(values, "enable_tpu") else "t4x2" if _flag(values, "enable_gpu") else "cpu"
    name = next((name for name, known in ACCELERATORS.items() if known == shape), None)
    if name is None:
        known = ", ".join(f"{known} ({name})" for name, known in ACCELERATORS.items() if known)
        raise KaggleError(f"machine_shape is {shape!r}; p2plib knows {known}, and leaving it empty (cpu).")
    return name


def _flag(values: dict[str, Any], name: str, default: bool = False) -> bool:
    value = values.get(name, default)
    if isinstance(value, str):  # Kaggle's own template has them so
        value = {"true": True, "false": False}.get(value.lower(), value)
    if not isinstance(value, bool):
        raise KaggleError(f"{name} is {value!r}; it must be true or false.")
    return value


def _sources(values: dict[str, Any], name: str) -> tuple[str, ...]:
    value = values.get(name) or []
    if not isinstance(value, list):
        raise KaggleError(f'{name} is {value!r}; it must be a list, such as ["OWNER/SLUG"].')
    return tuple(value)
