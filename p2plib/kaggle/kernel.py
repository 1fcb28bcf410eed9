"""The kernel: a self-contained notebook that embeds p2plib, and the metadata for pushing it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import lzma
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import p2plib
from p2plib import files
from p2plib.config import TrainConfig
from p2plib.errors import ConfigError, KaggleError
from p2plib.kaggle.accelerators import ACCELERATORS
from p2plib.kaggle.metadata import CODE_FILE, METADATA, Kernel
from p2plib.models import features

CONFIG = "config.json"
"""The training settings, beside the notebook and its metadata."""


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
        config = config.for_devices(ACCELERATORS[kernel.accelerator].devices or 1)
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
import lzma
import sys
import tempfile
import zipfile

wheel = """
{text}"""
folder = tempfile.mkdtemp(prefix="p2plib-")
zipfile.ZipFile(io.BytesIO(lzma.decompress(base64.b64decode(wheel)))).extractall(folder)
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
    """The cell that unpacks a wheel. Its files are packed together: alike as they are, that saves a quarter."""
    together = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as packed, zipfile.ZipFile(together, "w") as archive:
        for member in packed.namelist():
            archive.writestr(zipfile.ZipInfo(member), packed.read(member))  # always dated 1980
    text = base64.encodebytes(lzma.compress(together.getvalue(), preset=9)).decode()
    return _UNPACK.format(version=p2plib.__version__, text=text)


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
