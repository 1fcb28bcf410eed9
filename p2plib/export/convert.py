"""Exports a generator to SavedModel, ONNX, LiteRT or OpenVINO, and checks the result against Keras.

The conversion runs in its own process, on TensorFlow: converters print a lot, need much memory, and some do not support
JAX. A checkpoint gives the same image on either backend, so this also works for models trained on JAX.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib import runtime
from p2plib.data.dataset import open_dataset
from p2plib.data.image import resize_image
from p2plib.errors import DataError, ExportError
from p2plib.export import card
from p2plib.files import check_writable, replacing_folder
from p2plib.inference import checkpoint
from p2plib.inference.engines import FORMATS, Engine, format_of, open_engine, require
from p2plib.models import custom_layers

if TYPE_CHECKING:
    import keras

FREE = ("onnx", "savedmodel")
"""The formats whose models take images of any height and width that the network can halve."""
IMAGES = 8
"""Number of images in the parity check."""
BOUND = 1.0
"""Largest allowed difference from Keras at any pixel, in 8-bit levels."""
HALF_BOUND = 4.0
"""The same for weights rounded to float16."""


@dataclass(frozen=True)
class Export:
    """An exported model and its difference from Keras."""

    folder: Path
    format: str
    precision: str
    """float32, or float16 if weights are stored as such."""
    size: int
    """Size of the model's files in bytes."""
    images: str
    """The images of the parity check."""
    max_levels: float
    """Largest difference from Keras over all pixels, before rounding, in 8-bit levels (1/255)."""
    mean_levels: float
    """Mean difference, in the same units."""

    def __str__(self) -> str:
        return (
            f"{self.format}, {self.precision}: {self.size / 1e6:.1f} MB; difference from Keras on {self.images}: "
            f"at most {self.max_levels:.2g}, on average {self.mean_levels:.2g} of 255 levels"
        )


def export_model(
    path: str | Path, format: str, half: bool = False, out: str | Path | None = None, bound: float | None = None
) -> Export:
    """Export a generator, and compare its output with Keras on 8 images.

    The batch size is free, and so are height and width in the formats of `FREE`; the card says of what they must be
    multiples. The folder holds the model, `p2plib.json`, and a model card with a
    sample image (`README.md`). It is written atomically and replaces an earlier export of the same format.

    Args:
        path: a `.keras` file written by p2plib, or a run folder (its best generator).
        format: `savedmodel`, `onnx`, `litert` or `openvino`.
        half: store convolution weights in float16, for half the size; computation stays in float32.
        out: output folder; default: `export/FORMAT` (`export/FORMAT-half`) in the run folder, or next to a lone file.
        bound: largest allowed difference from Keras in 8-bit levels; default: 1, or 4 with `half`.

    Raises:
        CheckpointError: there is no such checkpoint.
        ExportError: the format is unknown, a package is missing, the folder holds something else, the conversion
            failed, or the result differs too much from Keras. The folder is then unchanged.
        WriteError: the folder cannot be written.
    """
    file = checkpoint.find(path)
    if format not in FORMATS:
        raise ExportError(f"{format}: unknown export format; choose one of {', '.join(FORMATS)}.")
    if file.is_dir():
        raise ExportError(f"{file}: this is already an export; give a .keras file or a run folder.")
    require("tensorflow", *FORMATS[format].needs, *FORMATS[format].converters)
    beside = _beside(checkpoint.home(path) / file.name)
    target = Path(out) if out else beside / "export" / (f"{format}-half" if half else format)
    if target.exists() and format_of(target) != format and not _empty(target):
        raise ExportError(f"{target}: holds something other than {format}; give another folder.")
    check_writable(target.parent, folder=True)
    keras_model = checkpoint.load(file)
    with replacing_folder(target) as folder:
        _convert_apart(file, folder, format, half)
        size = sum(entry.stat().st_size for entry in folder.rglob("*") if entry.is_file())
        described, images = parity_images(keras_model)
        largest, mean = parity(keras_model, open_engine(folder), images)
        done = Export(target, format, "float16" if half else "float32", size, described, largest, mean)
        limit = bound if bound is not None else HALF_BOUND if half else BOUND
        if not largest <= limit:
            raise ExportError(f"{done}; that is more than {limit:g}, so nothing was exported.")
        record = {name: value for name, value in vars(done).items() if name not in ("folder", "images")}
        record |= {"pictures": described}  # as version 0.1 called it
        content = json.loads(keras_model.info.to_json()) | {"export": record}
        (folder / checkpoint.INFO).write_text(json.dumps(content, indent=1), encoding="utf-8")
        card.write_card(folder, file, name=target.name, note=_sizes(keras_model.generator, format))
    return done


def parity_images(model: checkpoint.Checkpoint) -> tuple[str, np.ndarray]:
    """Source images for comparing engines: validation images if available, else toy images.

    Returns:
        A description, and stored values (8, H, W, C), or fewer from a small validation split.
    """
    config = model.info.config
    try:
        images = open_dataset(config, model.info.kinds)["val"].load(IMAGES).sources
        return f"{len(images)} validation images", images
    except DataError:
        pass  # data moved or damaged; any images can reveal differences
    source = model.kinds[0]
    if not source.plain:
        noise = np.random.default_rng(0).uniform(-1, 1, (IMAGES, *model.shape, source.network_channels))
        return f"{IMAGES} images of noise", source.to_values(noise)
    toys = [model.task.example(i, max(model.shape))[0] for i in range(IMAGES)]
    return f"{IMAGES} toy images", np.stack([resize_image(toy, *model.shape) for toy in toys])


def parity(model: checkpoint.Checkpoint, engine: Engine, images: np.ndarray) -> tuple[float, float]:
    """The largest and the mean difference between Keras and an engine, in 8-bit levels, before rounding.

    Args:
        model: checkpoint with the Keras generator.
        engine: the exported generator.
        images: stored values (N, H, W, C).
    """
    with runtime.one_device():
        sources = [model.kinds[0].to_float(image[None]) for image in images]  # one at a time limits memory
        pairs = [(model.generator.predict_on_batch(x), engine.predict_on_batch(x)) for x in sources]
    differences = 127.5 * np.abs([np.asarray(one) - two for one, two in pairs])
    return float(differences.max()), float(differences.mean())


def freed(generator: keras.Model) -> keras.Model:
    """The same generator for images of any height and width; the given one if a layer needs its size."""
    config = generator.get_config()
    config["layers"][0]["config"]["batch_shape"] = (None, None, None, generator.input_shape[-1])
    try:
        free = type(generator).from_config(config, custom_objects=custom_layers())
        free.set_weights(generator.get_weights())
    except (ValueError, TypeError):  # for example, a layer that flattens, in a generator of one's own
        return generator
    return free if free.output_shape[1:3] == (None, None) else generator


def multiple(generator: keras.Model) -> int:
    """Of which number height and width must be multiples: how far the network shrinks its images."""
    heights = [layer.output.shape[1] for layer in generator.layers if len(layer.output.shape) == 4]
    return max(generator.input_shape[1] // height for height in heights)


def _sizes(generator: keras.Model, format: str) -> str:
    height, width = generator.input_shape[1:3]
    if format not in FREE or freed(generator) is generator:
        return f"The {format} model itself takes images of {height} x {width} pixels."
    return (
        f"The {format} model itself takes images of any height and width that are multiples of {multiple(generator)}; "
        f"it was trained at {height} x {width}, and `translate` uses it at that size."
    )


def _beside(file: Path) -> Path:
    return file.parent.parent if file.parent.name == "checkpoints" else file.parent


def _empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _convert_apart(file: Path, folder: Path, format: str, half: bool) -> None:
    """Run `convert` in its own process; on failure, the last line of its output becomes the message."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",  # this process may have claimed all GPU memory
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    if format == "onnx":  # tf2onnx copies weights often; this protobuf shares them: at full size 5 GB, not 16, and 17 s
        environment["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
    code = "import json, sys; from p2plib.export.convert import convert; convert(**json.loads(sys.argv[1]))"
    arguments = json.dumps({"file": str(file.absolute()), "folder": str(folder), "format": format, "half": half})
    command = [sys.executable, "-c", code, arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")  # noqa: S603
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"it ended with status {result.returncode}"]
        raise ExportError(f"{file}: the conversion to {format} failed: {lines[-1]}")


def convert(file: str, folder: str, format: str, half: bool) -> None:
    """Convert a checkpoint on TensorFlow; `export_model` calls this in its own process.

    Args:
        file: a `.keras` file.
        folder: an empty folder for the model.
        format: see `export_model`.
        half: see `export_model`.
    """
    generator: keras.Model = checkpoint.load(file).generator
    given = freed(generator) if format in FREE else generator
    given(np.zeros((1, *generator.input_shape[1:]), np.float32))  # Keras' ONNX export needs a model that was called
    _CONVERTERS[format](given, Path(folder), half)


def _to_savedmodel(generator: keras.Model, folder: Path, half: bool) -> None:
    """Like Keras' export archive, but without `track`, which stores weights twice (issue 23553, in 3.13 and 3.15)."""
    import keras
    import tensorflow as tf

    def stored(variables: list[Any]) -> list[tf.Variable]:
        return [tf.Variable(tf.cast(v, tf.float16) if half and len(v.shape) == 4 else v.value) for v in variables]

    weights, state = stored(generator.trainable_variables), stored(generator.non_trainable_variables)

    def serve(source: tf.Tensor) -> tf.Tensor:
        widened = [tf.cast(weight, tf.float32) for weight in weights]
        return generator.stateless_call(widened, state, source, training=False)[0]

    archive = keras.export.ExportArchive()
    archive.add_endpoint("serve", serve, [tf.TensorSpec(generator.input_shape, tf.float32, "source")])
    archive.write_out(str(folder), verbose=False)


def _to_onnx(generator: keras.Model, folder: Path, half: bool) -> None:
    path = folder / FORMATS["onnx"].file
    generator.export(str(path), format="onnx")
    if half:
        _halve_onnx(path)


def _halve_onnx(path: Path) -> None:
    """Store the kernels in float16, with cast nodes that ONNX Runtime evaluates once, when it opens the model."""
    import onnx

    model = onnx.load(path)
    widened = []
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and len(weight.dims) == 4:
            name, values = weight.name, onnx.numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(onnx.numpy_helper.from_array(values, f"{name}_half"))
            widened.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*widened, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def _to_litert(generator: keras.Model, folder: Path, half: bool) -> None:
    import tensorflow as tf

    options: dict[str, Any] = {}
    if half:
        options = {"optimizations": [tf.lite.Optimize.DEFAULT], "target_spec": {"supported_types": [tf.float16]}}
    generator.export(str(folder / FORMATS["litert"].file), format="litert", **options)


def _to_openvino(generator: keras.Model, folder: Path, half: bool) -> None:
    import openvino

    full = folder / "full"
    full.mkdir()
    generator.export(str(full / FORMATS["openvino"].file), format="openvino")
    model = openvino.Core().read_model(full / FORMATS["openvino"].file)
    openvino.save_model(model, folder / FORMATS["openvino"].file, compress_to_fp16=half)
    del model  # it keeps the weights file open
    shutil.rmtree(full)


_CONVERTERS = {"savedmodel": _to_savedmodel, "onnx": _to_onnx, "litert": _to_litert, "openvino": _to_openvino}
