"""Runs exported models: one small engine per format.

An engine has the method `predict_on_batch` of a Keras model, so translation, evaluation and the web app work with
either. Each needs only the package for its format: the one for ONNX, for example, needs neither Keras nor a backend.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from p2plib.errors import ExportError

Run = Callable[[np.ndarray], np.ndarray]


class Engine:
    """An exported generator.

    Args:
        format: a name in `FORMATS`.
        run: float32 (N, S, S, 3) -> array of the same shape.
    """

    def __init__(self, format: str, run: Run) -> None:
        self.format = format
        self._run = run

    def predict_on_batch(self, sources: np.ndarray) -> np.ndarray:
        """Map float32 (N, S, S, 3) in [-1, 1], with any N, to the same shape, range and type."""
        return np.asarray(self._run(np.ascontiguousarray(sources, np.float32)), np.float32)


class Format(NamedTuple):
    """A format of exported models."""

    file: str
    """The file in an export folder that identifies the format."""
    open: Callable[[Path], Run]
    """Opens that file."""
    needs: tuple[str, ...]
    """Packages needed to run it."""
    converters: tuple[str, ...] = ()
    """Packages needed to export it, in addition to TensorFlow and `needs`."""


def open_engine(folder: str | Path) -> Engine:
    """Open the exported model in `folder` on the CPU.

    Raises:
        ExportError: there is no model, it is damaged, or the package that runs it is not installed.
    """
    name = format_of(folder)
    if name is None:
        raise ExportError(f"{folder}: holds no exported model; give a folder written by `export`.")
    found = FORMATS[name]
    require(*found.needs)
    try:
        return Engine(name, found.open(Path(folder) / found.file))
    except Exception as error:  # each engine has its own exceptions
        raise ExportError(f"{folder}: the model cannot be opened ({error}); export it again.") from error


def format_of(folder: str | Path) -> str | None:
    """The format of the exported model in `folder`; None if there is no model."""
    return next((name for name, known in FORMATS.items() if (Path(folder) / known.file).is_file()), None)


def require(*packages: str) -> None:
    """Check that packages are installed, without importing them.

    Raises:
        ExportError: a package is not installed; the message says how to install it.
    """
    for package in packages:
        if find_spec(package) is None:
            extra = package if package == "tensorflow" else "export"
            raise ExportError(
                f"{package} is not installed, but this format needs it; run: pip install 'p2plib[{extra}]'"
            )


def _savedmodel(path: Path) -> Run:
    import tensorflow as tf

    model = tf.saved_model.load(str(path.parent))

    def run(sources: np.ndarray) -> np.ndarray:
        return model.serve(sources).numpy()  # the closure keeps the model and its weights alive

    return run


def _onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [source] = [entry.name for entry in session.get_inputs()]
    return lambda sources: session.run(None, {source: sources})[0]


def _litert(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=os.cpu_count())  # the default is one thread
    [source], [output] = interpreter.get_input_details(), interpreter.get_output_details()
    shape: tuple[int, ...] = ()

    def run(sources: np.ndarray) -> np.ndarray:
        nonlocal shape
        if sources.shape != shape:
            interpreter.resize_tensor_input(source["index"], sources.shape)
            interpreter.allocate_tensors()
            shape = sources.shape
        interpreter.set_tensor(source["index"], sources)
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    return run


def _openvino(path: Path) -> Run:
    import openvino

    # On processors with bfloat16 multiplication, OpenVINO would use it by default, which changes the image.
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda sources: model(sources)[0]


FORMATS = {
    "savedmodel": Format("saved_model.pb", _savedmodel, ("tensorflow",)),
    "onnx": Format("model.onnx", _onnx, ("onnxruntime",), ("onnx", "tf2onnx")),
    "litert": Format("model.tflite", _litert, ("ai_edge_litert",)),
    "openvino": Format("model.xml", _openvino, ("openvino",)),
}
"""Export formats by name."""
