"""The same global batches and seed give the same losses, step by step, on one device and on several.

Not marked for JAX: the tests choose their backends themselves.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from test_devices import LOSS_ROUNDING, session

from p2plib.config import TrainConfig
from p2plib.training.run import read_log

pytestmark = pytest.mark.on_kaggle
STEPS, EXACT = 20, 10


def losses(backend: str, devices: int, config: TrainConfig, run: Path) -> np.ndarray:
    """GAN, L1 and discriminator loss of each step: (steps, 3)."""
    session(backend, devices, dataclasses.replace(config, run_dir=str(run)))
    return np.array([[row[name] for name in ("gan", "l1", "discriminator")] for row in read_log(run / "log.csv")])


@pytest.mark.parametrize(
    ("backend", "devices", "dropout"),
    [("tensorflow", 2, 0.0), ("jax", 8, 0.5)],
    ids=["MirroredStrategy", "DataParallel"],
)
def test_losses_agree_to_float32_rounding(tiny_config, tmp_path, backend, devices, dropout):
    """The losses of 10 steps agree to a relative 3.7e-5, the tolerance of a single step in `test_devices`.

    Rounding grows from then on, on some processors more than on others: to 8.6e-5 within 20 steps on an AMD EPYC.

    Several devices add the same numbers in another order. Adam's first steps multiply the rounding of gradients that
    are next to nothing, but those are the gradients of weights that hardly matter to the loss. Measured over all 20
    steps on an Intel Xeon: at most 1.8e-7 (TensorFlow) and 1.1e-6 (JAX). Other masks, crops or images show far above
    that: on TensorFlow each device draws its own dropout masks, which makes 1e-4 in the first step, so dropout is off
    there. JAX draws them for the whole batch. (With all of XLA's optimizations on, which the tests turn off, JAX's
    difference grows to 1e-4 by step 20, and so does that of two runs on one device whose first weights differ in the
    last bit.)

    An epoch is one batch here: the log has the losses of single steps, not means over several. All tests have
    TensorFlow repeat itself to the bit: else a rounding that changes from run to run might grow likewise.
    """
    pytest.importorskip(backend)
    config = dataclasses.replace(
        tiny_config, batch_size=8, epochs=STEPS, decay_epochs=0, precision="float32", dropout=dropout
    )
    one, several = (losses(backend, count, config, tmp_path / str(count)) for count in (1, devices))
    assert one.shape == (STEPS, 3)
    assert one[-1, 1] < 0.97 * one[0, 1]  # it has learned something meanwhile
    np.testing.assert_allclose(several[:EXACT], one[:EXACT], rtol=LOSS_ROUNDING, atol=0)
    np.testing.assert_allclose(several, one, rtol=10 * LOSS_ROUNDING, atol=0)
