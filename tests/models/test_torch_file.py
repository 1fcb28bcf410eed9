"""Files as PyTorch writes them, and such as nobody should open with `pickle`."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2plib.errors import CheckpointError
from p2plib.models.torch_file import MAGIC, PROTOCOL, read_tensors


class FloatStorage:
    """Stands for PyTorch's."""


class LongStorage:
    """Stands for PyTorch's."""


class BoolStorage:
    """One that the reader does not know."""


class Rebuilt:
    """A tensor to be pickled: a view into numbers of a key."""

    def __init__(self, kind: type, key: str, count: int, offset: int, shape: tuple, strides: tuple) -> None:
        self.storage, self.view = ("storage", kind, key, "cpu", count, None), (offset, shape, strides)

    def __reduce__(self) -> tuple:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (Stored(self.storage), *self.view, False, OrderedDict())


class Stored:
    """What is pickled as a reference."""

    def __init__(self, pid: tuple) -> None:
        self.pid = pid


class Pickler(pickle.Pickler):
    def persistent_id(self, thing: Any) -> Any:
        return thing.pid if isinstance(thing, Stored) else None


@pytest.fixture
def torch(monkeypatch) -> None:
    """Names under which pickles find the stand-ins."""
    package, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_):
        raise AssertionError("only pickled")

    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    for module, thing in (
        *((package, kind) for kind in (FloatStorage, LongStorage, BoolStorage)),
        (utils, _rebuild_tensor_v2),
    ):
        monkeypatch.setattr(thing, "__module__", module.__name__)
        setattr(module, thing.__name__, thing)
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def write(path: Path, content: Any, storages: dict[str, np.ndarray], magic: int = MAGIC) -> Path:
    with open(path, "wb") as file:
        for thing in (magic, PROTOCOL, {"little_endian": True}, content, list(storages)):
            Pickler(file, 2).dump(thing)
        for numbers in storages.values():
            file.write(len(numbers).to_bytes(8, "little") + numbers.tobytes())
    return path


NUMBERS = {"7": np.arange(12, dtype=np.float32), "8": np.array([41, 42])}


def test_tensors_are_views_into_numbers(torch, tmp_path):
    content = OrderedDict(
        rows=Rebuilt(FloatStorage, "7", 12, 0, (3, 4), (4, 1)),
        columns=Rebuilt(FloatStorage, "7", 12, 2, (2, 3), (1, 4)),
        steps=Rebuilt(LongStorage, "8", 2, 1, (), ()),
    )
    content._metadata = OrderedDict(version=1)  # as state dictionaries have
    found = read_tensors(write(tmp_path / "weights.pth", content, NUMBERS))
    assert list(found) == ["rows", "columns", "steps"]
    np.testing.assert_array_equal(found["rows"], np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(found["columns"], [[2, 6, 10], [3, 7, 11]])
    assert found["steps"] == 42 and found["steps"].dtype == np.int64 and found["rows"].dtype == np.float32
    found["rows"][:] = 0
    assert found["columns"].max() == 11, "each has memory of its own"


class Harm:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize(("function", "name"), [(os.mkdir, "(posix|nt).mkdir"), (eval, "(builtins|__builtin__).eval")])
def test_functions_are_refused_and_not_called(tmp_path, function, name):
    mark = tmp_path / "called"
    harm = {"a": Harm(function, str(mark) if function is os.mkdir else f"__import__('os').mkdir({str(mark)!r})")}
    pickle.loads(pickle.dumps(harm, 2))
    assert mark.exists(), "an ordinary reader calls it"
    mark.rmdir()
    path = write(tmp_path / "weights.pth", harm, {})
    with pytest.raises(CheckpointError, match=rf"weights\.pth: asks for {name}, .*do not trust this file"):
        read_tensors(path)
    assert not mark.exists()


def test_the_first_pickle_is_restricted_too(tmp_path):
    path, mark = tmp_path / "weights.pth", tmp_path / "called"
    path.write_bytes(pickle.dumps(Harm(os.mkdir, str(mark)), 2))
    with pytest.raises(CheckpointError, match="do not trust"):
        read_tensors(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["torch.load", "torch._utils._rebuild_parameter", "collections.deque", "os.path.join"])
def test_neighbors_of_the_allowed_names_are_refused(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    path = tmp_path / "weights.pth"
    path.write_bytes(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(CheckpointError, match=f"asks for {name}"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (13,), (1,)), (9, (4,), (1,)), (-1, (2,), (1,)), (3, (2,), (-1,)), (0, (4, 4), (4, 1)), (0, (9, 9), (0, 0))],
)
def test_memory_outside_the_numbers_is_not_read(torch, tmp_path, offset, shape, strides):
    content = {"a": Rebuilt(FloatStorage, "7", 12, offset, shape, strides)}
    with pytest.raises(CheckpointError, match="holds a tensor that is larger than its numbers"):
        read_tensors(write(tmp_path / "weights.pth", content, {"7": NUMBERS["7"]}))


def test_what_is_not_a_dictionary_of_tensors(torch, tmp_path):
    tensor = Rebuilt(FloatStorage, "7", 12, 0, (12,), (1,))
    numbers = {"7": NUMBERS["7"]}
    for content, message in (
        ({"a": tensor, "epoch": 3}, "holds more than tensors: 'epoch'"),
        ([tensor], "cannot be read as a file of PyTorch"),
        ({"a": Rebuilt(BoolStorage, "7", 12, 0, (12,), (1,))}, "asks for torch.BoolStorage"),
        ({"a": Rebuilt(FloatStorage, "7", 11, 0, (2,), (1,))}, "ends too early, or is damaged"),
        ({"a": Rebuilt(FloatStorage, "9", 12, 0, (2,), (1,))}, "cannot be read"),
    ):
        with pytest.raises(CheckpointError, match=message):
            read_tensors(write(tmp_path / "weights.pth", content, numbers))


def test_other_files(torch, tmp_path):
    path = write(tmp_path / "weights.pth", {"a": Rebuilt(FloatStorage, "7", 12, 0, (12,), (1,))}, {"7": NUMBERS["7"]})
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"weights\.pth: (cannot be read|ends too early|is not a file)"):
            read_tensors(path)
    with pytest.raises(CheckpointError, match="is not a file of PyTorch"):
        read_tensors(write(path, {}, {}, magic=1))
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match="zip format"):
        read_tensors(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tensors(tmp_path / "missing.pth")
