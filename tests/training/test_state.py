"""A training state is read as it was written, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

from p2plib.errors import CheckpointError  # noqa: E402
from p2plib.training.state import load_state, read_progress, save_state  # noqa: E402


def filled(value: int, parts=("model", "optimizer")) -> dict[str, list]:
    """Twelve of every part, so that the order of names matters, and the last one a random state."""
    shapes = [(i + 1, 2) for i in range(11)]
    return {
        part: [
            *(keras.Variable(np.full(shape, value + i, np.float32)) for i, shape in enumerate(shapes)),
            keras.Variable(np.array([value, 0]), dtype="uint32", trainable=False),
        ]
        for part in parts
    }


def values(variables) -> list[np.ndarray]:
    return [np.asarray(variable) for members in variables.values() for variable in members]


def assert_all(variables, value) -> None:
    for one, two in zip(values(variables), values(filled(value, variables)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_state_round_trip(tmp_path):
    path, progress = tmp_path / "state.npz", {"epoch": 3, "best": -float("inf"), "rows": [{"l1": 0.1}]}
    save_state(path, filled(7), progress)
    other = filled(0)
    load_state(path, other)
    assert_all(other, 7)
    assert read_progress(path) == progress


def test_state_of_other_networks_is_refused_and_nothing_is_set(tmp_path):
    path = tmp_path / "state.npz"
    save_state(path, filled(7), {})
    for spoil in (lambda part: part.pop(), lambda part: part.append(part[0]), lambda part: part.reverse()):
        other = filled(0)
        spoil(other["optimizer"])
        with pytest.raises(CheckpointError, match=r"state\.npz: belongs to other networks \(optimizer\)"):
            load_state(path, other)
        assert_all({"model": other["model"]}, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_with_nan_is_not_written(tmp_path, bad):
    path = tmp_path / "state.npz"
    save_state(path, filled(7), {"epoch": 1})
    before, poisoned = path.read_bytes(), filled(8)
    poisoned["optimizer"][5].assign(np.full((6, 2), bad))
    with pytest.raises(FloatingPointError):
        save_state(path, poisoned, {"epoch": 2})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_loss_scale_may_be_missing_and_no_other_part(tmp_path):
    path = tmp_path / "state.npz"
    save_state(path, filled(7, ["model"]), {})
    other = filled(0, ["model", "loss_scale"])
    load_state(path, other)
    assert_all({"model": other["model"]}, 7)
    assert_all({"loss_scale": other["loss_scale"]}, 0)
    with pytest.raises(CheckpointError, match="optimizer"):
        load_state(path, filled(0))


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99])
def test_a_truncated_state_is_refused_by_name(tmp_path, share):
    path = tmp_path / "state.npz"
    save_state(path, filled(7), {})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    for read in (read_progress, lambda path: load_state(path, filled(0))):
        with pytest.raises(CheckpointError, match=r"state\.npz: no training state"):
            read(path)


def test_a_state_with_flipped_bytes_is_refused_and_nothing_is_set(tmp_path):
    path = tmp_path / "state.npz"
    save_state(path, filled(7), {})
    content = bytearray(path.read_bytes())
    at = content.rindex(np.full((11, 2), 17, np.float32).tobytes())  # in the data of the optimizer's last weight
    content[at] ^= 255
    path.write_bytes(content)
    other = filled(0)
    with pytest.raises(CheckpointError, match=r"state\.npz: no training state"):
        load_state(path, other)
    assert_all(other, 0)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x05\x06" + bytes(18)], ids=["empty", "text", "empty zip"])
def test_another_file_is_no_state(tmp_path, content):
    (tmp_path / "state.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.npz: no training state"):
        read_progress(tmp_path / "state.npz")
