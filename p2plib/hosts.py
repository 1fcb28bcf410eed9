"""Several machines that train together: each runs the same command, and JAX connects their processes.

The first one decides and writes; the others compute with it. Without `join`, there is one machine, which is the first.

All run the same programs in the same order, since JAX pairs what they exchange by order alone: if one runs another
program, it gets the numbers of that of the others, without an error. So what decides on the way of a run, such as
whether a file exists that the first one writes, is asked by the first one, which tells the others.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from p2plib.errors import ConfigError

_joined = False


def join() -> None:
    """Connect with the other machines, which must do the same. Call this before JAX looks for devices.

    SLURM, Open MPI and Cloud TPU say by themselves who takes part; elsewhere the variables of
    `keras.distribution.initialize` do.

    Raises:
        ConfigError: Keras does not run on JAX, or the others are not known or not to be reached.
    """
    global _joined
    import keras

    if _joined:
        return
    if keras.backend.backend() != "jax":
        raise ConfigError("Several machines train together on JAX only; add --backend jax.")
    try:
        keras.distribution.initialize()
    except (ValueError, RuntimeError) as error:
        why = str(error).partition("\n")[0]
        raise ConfigError(
            f"The other machines are not known, or cannot be reached ({why}); start the command by "
            "srun or mpirun, or set KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID on each; or add "
            "--no-distributed for this machine alone."
        ) from error
    _joined = True


def count() -> int:
    """How many machines take part."""
    return _jax().process_count() if _joined else 1


def index() -> int:
    """The number of this one, from 0."""
    return _jax().process_index() if _joined else 0


def share() -> tuple[int, int]:
    """Which share of each batch this one takes, from 0, and of how many."""
    return index(), count()


def first() -> bool:
    """Whether this one decides and writes."""
    return index() == 0


def told(values: Sequence[float]) -> list[float]:
    """What each machine passes, as the first one has it. All must call this at the same point, or all wait."""
    return [float(value) for value in gathered(values)[0]]


def gathered(values: Sequence[float]) -> np.ndarray:
    """What all machines pass, float32 (machines, values). All must call this at the same point, or all wait."""
    rows = np.asarray(values, np.float32)
    if count() == 1:
        return rows[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(rows))


def told_text(text: str) -> str:
    """A short text of the first machine, such as the name of a file that is no UTF-8, on all; see `told`."""
    codes = list(os.fsencode(text))
    length = int(told([len(codes)])[0])
    return os.fsdecode(bytes(int(code) for code in told((codes + [0] * length)[:length])))


def same(text: str) -> bool:
    """Whether all machines pass the same text, up to a checksum. All must call this at the same point, or all wait."""
    checksum = zlib.crc32(os.fsencode(text))
    rows = gathered([checksum >> 16, checksum & 0xFFFF])  # float32 holds 24 bits
    return bool((rows == rows[0]).all())


def _jax() -> Any:
    import jax  # only if it is the backend

    return jax
