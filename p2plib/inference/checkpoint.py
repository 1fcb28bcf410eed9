"""Generator checkpoints: self-describing `.keras` files that any Keras can open.

An extra member, `p2plib.json`, describes the model: configuration, direction, names of both sides, epoch, step and
metrics. The model computes in float32, whatever training used, so that it gives the same image everywhere. Another
member, `discriminator.npz`, holds the weights of its discriminator, for a later training that starts from both.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib import runtime
from p2plib.config import TrainConfig
from p2plib.data import record
from p2plib.data.image import Shape
from p2plib.data.kind import ImageKind, Kinds
from p2plib.data.scale import Scale
from p2plib.errors import CheckpointError, ConfigError
from p2plib.files import readable, replacing
from p2plib.hub import names
from p2plib.hub.fetch import fetch
from p2plib.inference import engines, kinds
from p2plib.models import custom_layers
from p2plib.registry import TASKS

if TYPE_CHECKING:
    import keras

    from p2plib.data.tasks.base import Task
    from p2plib.inference.engines import Engine

INFO = "p2plib.json"
"""Name of the description inside a generator checkpoint."""
SHIPPED = Path(__file__).parents[1] / "weights"
"""The folder of the generators that come with p2plib; `load` finds them by name. See `tools/train_weights.py`."""
DISCRIMINATOR = "discriminator.npz"
"""Name of the discriminator's weights inside a generator checkpoint; it may be missing."""


@dataclass(frozen=True)
class CheckpointInfo:
    """The description stored in a generator checkpoint."""

    config: TrainConfig
    """The run's configuration, with its direction resolved."""
    names: tuple[str, str]
    """Names of source and target, for example ("satellite", "map")."""
    epoch: int
    """Completed epochs."""
    step: int
    """Training iteration: the number of optimizer updates."""
    metrics: dict[str, float]
    """Mean validation metrics at this step; empty if not computed."""
    scale: Scale | None = None
    """The sizes of its training images; None if it saw them at their own scale, and in files of earlier versions."""
    kinds: Kinds | None = None
    """What sources and targets are; None if both are 8-bit RGB."""

    def to_json(self) -> str:
        """Serialize as JSON."""
        values = {"format": 1, **vars(self), "config": self.config.to_dict()}
        values["scale"] = self.scale._asdict() if self.scale else None
        values["kinds"] = [kind.to_json() for kind in self.kinds] if self.kinds else None
        values = {name: value for name, value in values.items() if value is not None or name not in ("scale", "kinds")}
        return json.dumps(values, indent=1)

    @classmethod
    def from_json(cls, text: str) -> CheckpointInfo:
        """The inverse of `to_json`."""
        values = json.loads(text)
        values.pop("format")
        values.pop("export", None)  # only exported models have it: format, precision, parity
        if sizes := values.get("scale"):
            values["scale"] = Scale(tuple(sizes["median"]), tuple(sizes["largest"]))
        if kinds := values.get("kinds"):
            values["kinds"] = ImageKind.from_json(kinds[0]), ImageKind.from_json(kinds[1])
        return cls(**values | {"config": TrainConfig.from_dict(values["config"]), "names": tuple(values["names"])})


@dataclass(frozen=True)
class Checkpoint:
    """A generator and its description; `p2plib.translate` and `p2plib.evaluate` take it."""

    generator: keras.Model | Engine
    info: CheckpointInfo
    record: Mapping[str, Any] = field(default_factory=dict)
    """Which pairs its run trained and validated on, if it lies in a run folder; see `data.record`."""

    @property
    def shape(self) -> Shape:
        """Height and width of the generator's images in pixels."""
        return self.info.config.shape

    @property
    def size(self) -> int:
        """The longer side of the generator's images in pixels; of square ones, both."""
        return max(self.shape)

    @property
    def kinds(self) -> Kinds:
        """What its sources and targets are."""
        source, target = self.info.names
        return self.info.kinds or (ImageKind(source), ImageKind(target))

    @property
    def task(self) -> Task:
        """The task it was trained for; it also postprocesses the results."""
        return TASKS[self.info.config.task]()


def load(path: str | Path) -> Checkpoint:
    """Load a trained generator, ready to use.

    Args:
        path: a `.keras` file written by p2plib, a run folder (its best generator), an export folder, which needs
            neither Keras nor a backend unless it holds a SavedModel, the name of a generator that comes with p2plib
            (see `shipped`), or that of a model on a hub: `hf://OWNER/NAME` or `kaggle://OWNER/MODEL`, with `@REVISION`
            and `/FILE` behind it if you want.

    Raises:
        CheckpointError: there is no such file, or it is not a p2plib checkpoint.
        HubError: the model cannot be had from the hub, or is not what was published.
        ExportError: the exported model cannot be opened on this machine.
    """
    path = find(path)
    info = read_info(path)
    if path.is_dir():
        return Checkpoint(engines.open_engine(path), info)
    plan = runtime.start(TrainConfig(precision="float32"))
    generator = load_generator(path)
    generator.compile(jit_compile=plan.xla)
    run = path.resolve().parent.parent
    known = record.read(run if (run / "config.json").exists() else None)
    config = replace(info.config, data=record.found_again(info.config.data, known))
    return Checkpoint(generator, replace(info, config=config), known)


def load_generator(path: Path) -> keras.Model:
    """Load the Keras model of a `.keras` file, once the backend is chosen; it is not compiled.

    Raises:
        CheckpointError: the file is damaged.
    """
    import keras  # after the backend is chosen

    try:
        with runtime.one_device(), _named_keras(path) as named:
            return keras.saving.load_model(named, custom_objects=custom_layers(), compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: the model cannot be loaded ({error}); is the file damaged?") from error


@contextlib.contextmanager
def _named_keras(path: Path) -> Iterator[Path]:
    """The file under a name that Keras takes, however a browser or a person has named it."""
    if path.suffix == ".keras":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copyfile(path, Path(folder, "model.keras")))


def find(path: str | Path) -> Path:
    """Resolve `path` to a generator: a file, the best of a run folder, an export folder, a shipped one, or a hub's."""
    if name := names.parse(path):
        return fetch(name)
    if not Path(path).exists() and str(path) in shipped():
        return SHIPPED / path / f"{path}.keras"
    path = started_from(Path(path))
    if not path.is_dir():
        if path.is_file():
            return path
        raise CheckpointError(f"{path}: no such checkpoint; {_give()}")
    if (path / INFO).is_file():
        return path
    inside = [file for file in (path / "checkpoints" / "best.keras", path / "best.keras") if file.is_file()]
    if not inside:
        raise CheckpointError(f"{path}{os.sep}checkpoints{os.sep}best.keras: no such checkpoint; {_give()}")
    return inside[0]


def here(path: str | Path) -> Path:
    """Bring a model of a hub here, so that the hub is asked once; any other path stays as it is."""
    return find(path) if names.parse(path) else Path(path)


def home(path: str | Path) -> Path:
    """The folder for what is made of a checkpoint: its own, or one called after the model if that is on a hub."""
    name = names.parse(path)
    return Path(name.model) if name else find(path).parent


def _give() -> str:
    come = ", ".join(shipped())
    return f"give a .keras file, a run folder, an export folder, one of {come}, which come with p2plib, or hf://OWNER/NAME."


def started_from(path: Path) -> Path:
    """A relative path that is not here may be meant from where Jupyter was started: notebooks run in their folder."""
    places = [Path(), *map(Path, filter(None, [os.environ.get("PWD")])), Path("..")]
    return next((place / path for place in places if (place / path).exists()), path)


def shipped() -> list[str]:
    """The names of the generators that come with p2plib."""
    return sorted(path.stem for path in SHIPPED.glob("*/*.keras"))


def short_name(path: str | Path) -> str:
    """Derive a short name for a checkpoint from its path.

    `runs/a` is "a", `runs/a/checkpoints/last.keras` is "a/last", `runs/a/export/onnx` is "a/onnx", `b.keras` is "b",
    `hf://alice/c` is "c".
    """
    if on_hub := names.parse(path):
        return on_hub.short
    path = Path(path).resolve()
    name = path.stem if path.suffix == ".keras" else path.name
    return readable(f"{path.parent.parent.name}/{name}" if path.parent.name in ("checkpoints", "export") else name)


def read_info(path: str | Path) -> CheckpointInfo:
    """Read the description of a generator checkpoint or an export folder without loading the model.

    Raises:
        CheckpointError: it is not a p2plib checkpoint.
    """
    try:
        if Path(path).is_dir():
            return CheckpointInfo.from_json((Path(path) / INFO).read_text(encoding="utf-8"))
        with zipfile.ZipFile(path) as archive:
            if INFO not in archive.namelist():
                raise CheckpointError(f"{path}: not a checkpoint {kinds.explain(Path(path))}")
            return CheckpointInfo.from_json(archive.read(INFO).decode())
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path}: not a checkpoint {kinds.explain(Path(path))}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, zlib.error, ConfigError) as error:
        raise CheckpointError(f"{path}: not made by p2plib, or by another version ({error}).") from error


def read_discriminator(path: str | Path) -> dict[str, np.ndarray]:
    """Read the weights of a generator checkpoint's discriminator.

    Returns:
        float32 arrays by the variable's path; empty if the file has none, as those of earlier versions.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(DISCRIMINATOR) if DISCRIMINATOR in archive.namelist() else b""
        if not content:
            return {}
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name].astype(np.float32) for name in arrays.files}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: the discriminator cannot be read ({error}); is the file damaged?") from error


def save_generator(
    path: str | Path,
    generator: keras.Model,
    info: CheckpointInfo,
    discriminator: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a generator checkpoint, atomically.

    Args:
        path: the file, ending in `.keras`.
        generator: built in float32.
        info: its description.
        discriminator: weights of its discriminator by the variable's path, if there is one.
    """
    with replacing(path) as temporary:
        generator.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(INFO, info.to_json())
            if discriminator:
                archive.writestr(DISCRIMINATOR, _packed(discriminator))


def _packed(weights: Mapping[str, np.ndarray]) -> bytes:
    """The weights as an `.npz` file in half precision, enough to start from; larger numbers stay as they are."""
    buffer = io.BytesIO()
    with np.errstate(over="ignore"):
        halves = {name: array.astype(np.float16) for name, array in weights.items()}
    packed = {name: half if np.isfinite(half).all() else weights[name] for name, half in halves.items()}
    np.savez(buffer, **packed)  # type: ignore[arg-type]
    return buffer.getvalue()
