"""An FCN-style score without external weights: does a segmenter recognize generated photos?

Isola et al. 2017, section 4.2, use a segmentation network trained on real photos (Long et al. 2015) to label generated
ones: if these look real, it finds the classes that they were generated from. Here, the network is a small U-Net trained
on the generator's own real pairs, so the numbers are not comparable with the paper's. The score on real photos is
reported alongside.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from p2plib import runtime
from p2plib.config import TrainConfig
from p2plib.data import statistics
from p2plib.data.batches import Batches
from p2plib.data.dataset import direction_of, open_dataset
from p2plib.data.image import Shape, to_float
from p2plib.data.statistics import Color
from p2plib.errors import CheckpointError, DataError
from p2plib.evaluation import metrics
from p2plib.evaluation.evaluate import conditions, opened, say_shape
from p2plib.evaluation.tally import in_chunks
from p2plib.files import replacing
from p2plib.inference.translate import generate

if TYPE_CHECKING:
    import keras

    from p2plib.inference.checkpoint import Checkpoint

INFO = "segmenter.json"
"""Name of the description inside a segmenter's `.keras` file."""
EPOCHS = 20
FILTERS = 16
BATCH = 8


@dataclass(frozen=True)
class Segmenter:
    """A network that labels photos, with a record of its training."""

    model: keras.Model
    """Photos (N, S, S, 3) in [-1, 1] -> logits (N, S, S, C), one class per color of the palette."""
    palette: dict[str, Color]
    data: str
    direction: str
    """Direction of the pairs, from labels to photo."""
    size: int | str
    epochs: int
    seed: int
    load: str = "resize"  # files of earlier versions do not say

    def label(self, photos: np.ndarray) -> np.ndarray:
        """Classify every pixel of uint8 photos (N, S, S, 3); returns palette indices, uint8 (N, S, S)."""
        with runtime.one_device():
            chunks = (to_float(photos[i : i + BATCH]) for i in range(0, len(photos), BATCH))
            return np.concatenate([np.asarray(self.model(chunk)).argmax(-1).astype(np.uint8) for chunk in chunks])

    @property
    def description(self) -> dict[str, Any]:
        """All fields except the model."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "model"}


@dataclass(frozen=True)
class FcnScore:
    """How well photos are recognized; see `metrics.label_scores` for the three numbers."""

    protocol: dict[str, Any]
    generated: dict[str, float]
    """`pixel_accuracy`, `class_accuracy` and `mean_iou` of the segmenter on generated photos."""
    real: dict[str, float]
    """The same on real photos: roughly the upper bound for generated ones."""

    def table(self) -> str:
        """Format as text, with one row each for generated and real photos."""
        lines = [f"{'photos':10}" + "".join(f"{name:>16}" for name in self.real)]
        for name, row in (("generated", self.generated), ("real", self.real)):
            lines.append(f"{name:10}" + "".join(f"{value:16.4f}" for value in row.values()))
        return "\n".join(lines)


def train_segmenter(
    config: TrainConfig, epochs: int = EPOCHS, seed: int = 0, palette: Mapping[str, Color] | None = None
) -> Segmenter:
    """Train a small U-Net to label the photos of the train split, with the crops and flips of GAN training.

    Labels are resized like the photos; each pixel then gets the class of the nearest palette color.

    Args:
        config: configuration of the pix2pix run to score; only its data, direction, size and `load` matter.
        epochs: passes over the training pairs.
        seed: seed of weights, order, crops and flips; training is as reproducible as with `p2plib.train`.
        palette: class colors; None finds them in the labels.

    Raises:
        DataError: the sources are not labels, or the pairs cannot be used.
    """
    config = dataclasses.replace(config, seed=seed, augment="jitter_flip")
    dataset = open_dataset(config)
    palette = palette or dataset.classes("source")
    if palette is None:
        source, target = dataset.names
        raise DataError(
            f"{config.data}: the FCN score needs a generator from labels to photos, but the sources ({source}) are not "
            f"flat areas of few colors; if the targets ({target}) are the labels, use evaluate."
        )
    plan = runtime.start(TrainConfig(precision="float32"))
    import keras

    batch_size = min(BATCH, len(dataset["train"]))
    data = Batches(dataset, dataclasses.replace(config, batch_size=batch_size))
    keras.utils.set_random_seed(seed)
    with runtime.one_device(), runtime.dtype_policy("float32"), data.plain_errors():
        model = _build(config.shape, len(palette))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=plan.xla)
        for epoch in tqdm(range(epochs), desc="segmenter", unit="epoch", leave=False, disable=None):
            batches = ((photo, _classes(labels, palette)) for labels, photo in data.start(epoch))
            model.fit(batches, steps_per_epoch=data.steps_per_epoch, verbose=0, shuffle=False)
    return Segmenter(model, dict(palette), config.data, dataset.direction, config.image_size, epochs, seed, config.load)


def save(path: str | Path, segmenter: Segmenter) -> None:
    """Write a segmenter as a self-describing `.keras` file, atomically."""
    with replacing(path) as temporary:
        segmenter.model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(INFO, json.dumps({"format": 1, **segmenter.description}, indent=1))


def load(path: str | Path) -> Segmenter:
    """Load a segmenter written by `save`.

    Raises:
        CheckpointError: the file is missing, damaged, or not a segmenter.
    """
    plan = runtime.start(TrainConfig(precision="float32"))
    import keras

    try:
        with zipfile.ZipFile(path) as archive:
            values = json.loads(archive.read(INFO))
        values.pop("format")
        values["palette"] = {name: tuple(color) for name, color in values["palette"].items()}
        with runtime.one_device():
            model = keras.saving.load_model(path, compile=False)
        model.compile(jit_compile=plan.xla)
        return Segmenter(model, **values)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: not a segmenter made by fcn-score ({error}); delete the file to train a new one."
        ) from error


def prepare(path: str | Path, config: TrainConfig, epochs: int | None = None) -> Segmenter:
    """Load the segmenter from `path`, or train one and save it there.

    Args:
        path: a `.keras` file.
        config: configuration of the pix2pix run to score.
        epochs: see `train_segmenter`; None accepts an existing segmenter with any number of epochs.

    Raises:
        CheckpointError: the file is not a segmenter, or was made for other data, size, `load` or epochs.
        DataError: see `train_segmenter`.
    """
    if not Path(path).exists():
        segmenter = train_segmenter(config, epochs or EPOCHS)
        save(path, segmenter)
        return segmenter
    segmenter = load(path)
    wanted = {"data": config.data, "direction": direction_of(config), "size": config.image_size, "load": config.load}
    wanted |= {"epochs": epochs} if epochs else {}
    other = [f"{name} {getattr(segmenter, name)}" for name in wanted if getattr(segmenter, name) != wanted[name]]
    if other:
        raise CheckpointError(
            f"{path}: its segmenter was made with {', '.join(other)}; name another file to train a new one."
        )
    return segmenter


def fcn_score(
    checkpoint: Checkpoint, segmenter: Segmenter, data: str | None = None, split: str = "val", limit: int = 0
) -> FcnScore:
    """Label generated and real photos with a segmenter, and compare with the true labels.

    Args:
        checkpoint: a generator from labels to photo.
        segmenter: a segmenter of the same image size and `load`.
        data: a catalog name or a folder; None means the checkpoint's training data.
        split: `train`, `val` or `test`. The segmenter was trained on the photos of `train`.
        limit: maximum number of pairs, evenly spaced over the split (0: all).

    Raises:
        DataError: the data set or the split cannot be used.
        CheckpointError: the segmenter works at another size or scale.
    """
    dataset = opened(checkpoint, data)
    if segmenter.size != (size := say_shape(dataset.shape)):
        raise CheckpointError(
            f"The segmenter works at {segmenter.size} pixels, the generator at {size}; train a new segmenter."
        )
    if (segmenter.load == "crop") != dataset.crop:
        raise CheckpointError(
            f"The segmenter was made with load {segmenter.load}, unlike the generator; train a new one."
        )
    pairs, classes = dataset[split].spread(limit).readable(), len(segmenter.palette)
    matrices = {name: np.zeros((classes, classes), np.int64) for name in ("generated", "real")}
    for loaded in in_chunks(pairs):
        labels = np.stack([statistics.nearest(source, segmenter.palette) for source in loaded.sources])
        photos = {"generated": generate(checkpoint.generator, loaded.sources), "real": loaded.targets}
        for name, shown in photos.items():
            matrices[name] += metrics.count(labels, segmenter.label(shown), classes)
    protocol = conditions(checkpoint.info.step, dataset, split, len(pairs)) | {
        "dropout": "off",
        "classes": classes,
        "most_common_class": round(float(matrices["real"].sum(1).max() / matrices["real"].sum()), 4),
        "segmenter": f"U-Net, {FILTERS} filters, {segmenter.epochs} epochs on {segmenter.data}, seed {segmenter.seed}",
    }
    return FcnScore(protocol, **{name: metrics.label_scores(matrix) for name, matrix in matrices.items()})


def _build(shape: Shape, classes: int) -> keras.Model:
    """The generator's U-Net with few filters and one output logit per class."""
    import keras

    from p2plib.models.layers import upsample
    from p2plib.models.unet import unet

    base = unet(shape, FILTERS)
    features = base.get_layer("up1_activation").output
    logits = upsample(features, "logits", classes, "transpose", dtype="float32")
    return keras.Model(base.input, logits, name="segmenter")


def _classes(labels: np.ndarray, palette: Mapping[str, Color]) -> np.ndarray:
    """Labels (N, H, W, 3) in [-1, 1] to class numbers, int32 (N, H, W): those of the nearest colors."""
    colors = to_float(np.array(list(palette.values())))
    nearness = labels @ colors.T - (colors**2).sum(1) / 2  # as in `statistics.nearest`
    return nearness.argmax(-1).astype(np.int32)
