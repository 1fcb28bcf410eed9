"""What Kaggle lends, in one table, read in November 2026 from the `kaggle` command (2.2.5) and its documentation.

The documentation lists names alone, and says that some are for participants of certain competitions or for Kaggle's
staff: A100, H100 and L4 work where the account has them. How many of these a session gets is not known, so the session
itself fits the batch to what it finds. Hours are those of Kaggle's usual sessions, as users report them; whether other
limits hold for the rarer accelerators is not known.

Left out: P100 (the command calls it retired, and T4 run in its place), TPU v3 (retired, too), and NvidiaTeslaT4Highmem,
NvidiaL4X1 and NvidiaRtxPro6000, of which no more than the name is known.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

HOURS, TPU_HOURS = 12, 9
"""Kaggle's time limits for a session, without and with a TPU."""


class Accelerator(NamedTuple):
    """Something that Kaggle lends for a session."""

    shape: str | None
    """Kaggle's name of it, `machine_shape`; None for a session without any."""
    kind: Literal["gpu", "tpu", "cpu"]
    devices: int | None
    """How many devices share a batch; None if it is not known before the session."""

    @property
    def hours(self) -> int:
        """The longest session."""
        return TPU_HOURS if self.kind == "tpu" else HOURS


ACCELERATORS: dict[str, Accelerator] = {
    "t4x2": Accelerator("NvidiaTeslaT4", "gpu", 2),
    "tpu": Accelerator("TpuV5E8", "tpu", 8),
    "tpu-v6e-8": Accelerator("TpuV6E8", "tpu", 8),
    "l4": Accelerator("NvidiaL4", "gpu", None),
    "a100": Accelerator("NvidiaTeslaA100", "gpu", None),
    "h100": Accelerator("NvidiaH100", "gpu", None),
    "cpu": Accelerator(None, "cpu", 1),
}
"""By the name of the option."""

RETIRED = frozenset({"NvidiaTeslaP100", "TpuV38", "Tpu1VmV38"})
"""Shapes of older files, for which Kaggle runs something else without a word."""
