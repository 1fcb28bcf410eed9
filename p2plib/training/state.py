"""The training state on disk: one `.npz` file of all weights, optimizer moments, random states, and the progress."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib.errors import CheckpointError
from p2plib.files import replacing

if TYPE_CHECKING:
    import keras


def state_file(run: str | Path) -> Path:
    """The training state of a run folder."""
    return Path(run, "checkpoints", "state.npz")


def save_state(path: str | Path, variables: Mapping[str, Sequence[keras.Variable]], progress: dict[str, Any]) -> None:
    """Write the training state, atomically.

    Args:
        path: the file, ending in `.npz`.
        variables: everything that training changes, by part ("model", "optimizer", ...), each in a fixed order.
        progress: the progress of the run, as JSON-ready values.

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
    """Load what `save_state` wrote into `variables`.

    The part "loss_scale" (float16 training) may be missing, so that a run can resume in another precision.

    Raises:
        CheckpointError: the file is missing, damaged, or for other networks; `variables` are unchanged.
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
    """Open a training state; each array is read, and checked for damage, on first use."""
    try:
        with np.load(path, allow_pickle=False) as state:
            yield state
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: no training state to resume from ({error}).") from error
