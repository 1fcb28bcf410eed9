"""Reads tensors from a file of `torch.save`, without PyTorch and without running what the file says.

Such a file is a sequence of pickles, and a pickle can call any function. The reader here knows the few names that a
dictionary of tensors needs, and refuses all others. It reads the format of PyTorch up to 1.5, not the later zip files.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from p2plib.errors import CheckpointError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}
"""Types of the numbers by PyTorch's names. As strings, they offer a pickle nothing to call or to change."""


class _Storage(NamedTuple):
    """Numbers in a row, which come at the end of the file."""

    dtype: str
    key: str
    length: int


class _Tensor(NamedTuple):
    """A view into a storage."""

    storage: _Storage
    offset: int
    shape: Sequence[int]
    strides: Sequence[int]
    """In numbers, not in bytes."""


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read the tensors of a file that `torch.save` wrote from a state dictionary.

    Args:
        path: a file in the format of PyTorch up to 1.5.

    Returns:
        Arrays by name.

    Raises:
        CheckpointError: the file cannot be read, or holds anything but tensors.
    """
    try:
        with open(path, "rb") as file:
            return _read(file)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise CheckpointError(f"{path}: cannot be read as a file of PyTorch ({error!r}).") from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if file.peek(2)[:2] == b"PK":  # type: ignore[attr-defined] # a buffered reader
        raise CheckpointError("is in PyTorch's zip format; only that of PyTorch up to 1.5 can be read.")
    if (_load(file), _load(file)) != (MAGIC, PROTOCOL):
        raise CheckpointError("is not a file of PyTorch.")
    _load(file)  # sizes of C types, which DTYPES knows
    tensors = _load(file)
    strange = [name for name, value in tensors.items() if not isinstance(value, _Tensor)]
    if strange:
        raise CheckpointError(f"holds more than tensors: {strange[0]!r}.")
    needed = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    numbers = {key: _numbers(file, needed[key]) for key in _load(file)}
    return {name: _view(numbers[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _load(file: BinaryIO) -> Any:
    """One pickle."""
    return _Unpickler(file).load()


class _Unpickler(pickle.Unpickler):
    """Unpickles dictionaries, numbers, texts and tensors."""

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle may name; everything else is refused before it is looked up."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            # a new function each time: a pickle can set attributes of what it gets, and others would see them
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise CheckpointError(f"asks for {module}.{name}, which is no part of a tensor; do not trust this file.")

    def persistent_load(self, pid: Any) -> _Storage:
        """A reference to numbers further down."""
        kind, dtype, key, _, length, view = pid
        if kind != "storage" or dtype not in DTYPES.values() or view is not None:
            raise CheckpointError("holds a storage of an unknown kind.")
        return _Storage(dtype, key, length)


def _numbers(file: BinaryIO, storage: _Storage) -> np.ndarray:
    length, dtype = int.from_bytes(file.read(8), "little"), np.dtype(storage.dtype)
    data = file.read(length * dtype.itemsize)
    if length != storage.length or len(data) != length * dtype.itemsize:
        raise CheckpointError("ends too early, or is damaged.")
    return np.frombuffer(data, dtype)


def _view(numbers: np.ndarray, tensor: _Tensor) -> np.ndarray:
    """A copy of the numbers that belong to a tensor. Numbers outside the storage would be other memory."""
    shape, strides = tuple(tensor.shape), tuple(tensor.strides)
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    inside = min(tensor.offset, *shape, *strides, last) >= 0 and last < len(numbers)
    if not inside or np.prod(shape, dtype=object) > len(numbers):
        raise CheckpointError("holds a tensor that is larger than its numbers.")
    steps = [stride * numbers.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], shape, steps).copy()
