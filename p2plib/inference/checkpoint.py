"""What is on disk, and how it gets there whole.

Two kinds of file:

- A generator checkpoint is a `.keras` file that any Keras opens, with one more member, `p2plib.json`, that says what
  the model is: configuration, direction, names of both sides, epoch, step, metrics. Its arithmetic is float32, whatever
  the training used, so that it gives the same image everywhere.
- The training state is one `.npz` file: every weight, optimizer moment and random state, and where the run was.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib import runtime
from p2plib.config import TrainConfig
from p2plib.errors import CheckpointError, ConfigError
from p2plib.files import replacing
from p2plib.inference import engines

if TYPE_CHECKING:
    import keras

    from p2plib.inference.engines import Engine

INFO = "p2plib.json"
"""Name of the description inside a generator checkpoint."""


@dataclass(frozen=True)
class Info:
    """What a generator checkpoint says of itself."""

    config: TrainConfig
    """The run's configuration, its direction resolved."""
    names: tuple[str, str]
    """What source and target are called, for example ("satellite", "map")."""
    epoch: int
    """Epochs trained, rounded down."""
    step: int
    """Optimizer updates, the training iteration."""
    metrics: dict[str, float]
    """Mean validation metrics at that point, where they were computed."""

    def to_json(self) -> str:
        """The text that is stored."""
        return json.dumps({"format": 1, **vars(self), "config": self.config.to_dict()}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Info:
        """The inverse of `to_json`."""
        values = json.loads(text)
        values.pop("format")
        values.pop("export", None)  # of an exported model: format, precision, parity
        return cls(**values | {"config": TrainConfig.from_dict(values["config"]), "names": tuple(values["names"])})


@dataclass(frozen=True)
class Checkpoint:
    """A generator and its description; `p2plib.translate` and `p2plib.evaluate` take it."""

    generator: keras.Model | Engine
    info: Info

    @property
    def size(self) -> int:
        """Height and width in pixels that the generator works at."""
        return self.info.config.image_size

    @property
    def colorizes(self) -> bool:
        """Whether it only chooses colors: an image then keeps its own lightness."""
        return self.info.config.task == "colorize"


@dataclass(frozen=True)
class Discriminator:
    """A discriminator and the configuration it was trained with; `evaluation.judge` takes it."""

    model: keras.Model
    config: TrainConfig


def load(path: str | Path) -> Checkpoint:
    """Load a trained generator, ready for use on this machine.

    Args:
        path: a `.keras` file that p2plib wrote, a run folder (its best generator), or an export folder; the last needs
            neither Keras nor a backend, unless it is a SavedModel.

    Raises:
        CheckpointError: there is no such file, or it is not a p2plib checkpoint.
        ExportError: an exported model cannot be opened here.
    """
    path = find(path)
    info = read_info(path)
    if path.is_dir():
        return Checkpoint(engines.open_engine(path), info)
    plan = runtime.start(TrainConfig(precision="float32"))
    import keras  # after the backend was chosen

    import p2plib.models.colorizer  # noqa: F401  (names its layers to Keras)

    try:
        with runtime.one_device():
            generator = keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: the model in it cannot be loaded ({error}); was it damaged?") from error
    generator.compile(jit_compile=plan.xla)
    return Checkpoint(generator, info)


def load_discriminator(run: str | Path) -> Discriminator:
    """Load the discriminator of a run folder, as its training state has it: that of `last.keras`, in float32.

    Raises:
        ConfigError: the folder holds no configuration.
        CheckpointError: there is no training state, or the run trained on L1 alone, so far or for good.
    """
    run = Path(run)
    config = TrainConfig.read(run / "config.json")
    if config.gan_weight == 0:
        raise CheckpointError(f"{run}: was trained on L1 alone (gan_weight 0), it has no discriminator.")
    state = run / "checkpoints" / "state.npz"
    if config.warmup_epochs and (done := read_progress(state))["epoch"] + bool(done["step"]) <= config.warmup_epochs:
        raise CheckpointError(f"{run}: is in its warm-up on L1, it has no discriminator yet; train it further.")
    runtime.start(TrainConfig(precision="float32"))
    from p2plib.models import build_discriminator, build_generator
    from p2plib.training.pix2pix import Pix2Pix

    with runtime.one_device(), runtime.dtype_policy("float32"):
        model = Pix2Pix(build_generator(config), build_discriminator(config))
        load_state(state, {"model": model.variables})
    return Discriminator(model.discriminator, config)


def find(path: str | Path) -> Path:
    """The generator that `path` stands for: a file, a run folder's best one, or an export folder itself."""
    path = Path(path)
    if (path / INFO).is_file():
        return path
    if path.is_dir():
        path = path / "checkpoints" / "best.keras"
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; give a .keras file, a run folder or an export folder.")
    return path


def short_name(path: str | Path) -> str:
    """What to call a checkpoint, from its path alone.

    `runs/a` is "a", `runs/a/checkpoints/last.keras` is "a/last", `runs/a/export/onnx` is "a/onnx", `b.keras` is "b".
    """
    path = Path(path).resolve()
    name = path.stem if path.suffix == ".keras" else path.name
    return f"{path.parent.parent.name}/{name}" if path.parent.name in ("checkpoints", "export") else name


def read_info(path: str | Path) -> Info:
    """Read what a generator checkpoint or an export folder says of itself, without loading it.

    Raises:
        CheckpointError: it is not a p2plib checkpoint.
    """
    try:
        if Path(path).is_dir():
            return Info.from_json((Path(path) / INFO).read_text(encoding="utf-8"))
        with zipfile.ZipFile(path) as archive:
            return Info.from_json(archive.read(INFO).decode())
    except zipfile.BadZipFile as error:
        head = Path(path).read_bytes()[:64].lstrip().lower()
        why = "a web page was saved in its place" if head.startswith(b"<") else "it is damaged or another kind of file"
        raise CheckpointError(f"{path}: not a checkpoint ({why}); get it again.") from error
    except (KeyError, ValueError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path}: not made by p2plib, or by another version ({error}).") from error


def save_generator(path: str | Path, generator: keras.Model, info: Info) -> None:
    """Write a generator checkpoint, atomically. `generator` must be built in float32."""
    with replacing(path) as temporary:
        generator.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(INFO, info.to_json())


def save_state(path: str | Path, variables: Mapping[str, Sequence[keras.Variable]], progress: dict[str, Any]) -> None:
    """Write the training state, atomically.

    Args:
        path: the file, ending in `.npz`.
        variables: all that training changes, by part ("model", "optimizer", ...), each in a fixed order.
        progress: where the run is, as JSON-ready values.

    Raises:
        FloatingPointError: a variable holds NaN or infinity; nothing is written.
    """
    arrays = {}
    for part, members in variables.items():
        for i, variable in enumerate(members):
            arrays[f"{part}/{i:04d}"] = array = np.asarray(variable)
            if not np.isfinite(array).all():
                raise FloatingPointError(variable.path)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, progress=np.array(json.dumps(progress)), **arrays)  # type: ignore[arg-type]


def read_progress(path: str | Path) -> dict[str, Any]:
    """The `progress` of a training state.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    with _opened(path) as state:
        return json.loads(str(state["progress"]))


def load_state(path: str | Path, variables: Mapping[str, Sequence[keras.Variable]]) -> None:
    """Set `variables` to what `save_state` wrote.

    The part "loss_scale" (of float16 training) may be missing, so that a run can go on in another precision.

    Raises:
        CheckpointError: the file is missing or damaged, or was written for other networks; nothing is set then.
    """
    with _opened(path) as state:
        assignments: list[tuple[Any, np.ndarray]] = []
        for part, members in variables.items():
            arrays = [state[name] for name in sorted(state.files) if name.startswith(f"{part}/")]
            if part == "loss_scale" and not arrays:
                continue
            if [array.shape for array in arrays] != [tuple(variable.shape) for variable in members]:
                raise CheckpointError(f"{path}: belongs to other networks ({part}); was the configuration changed?")
            assignments += zip(members, arrays, strict=True)
    for variable, array in assignments:
        variable.assign(array)


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """The arrays of a training state, each read, and found damaged, when it is used."""
    try:
        with np.load(path, allow_pickle=False) as state:
            yield state
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: no training state to resume from ({error}).") from error
