"""An FCN-style score without weights from outside: are generated photos recognized as what they were made from?

Isola et al. 2017, section 4.2, let a network that was trained to label real photos (Long et al. 2015) label generated
ones: if these look real, it finds the classes that they were generated from. Here that network is a small U-Net,
trained on the same real pairs as the generator, so the numbers do not compare with the paper's. Its score on real
photos stands beside.
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
from p2plib.data.dataset import open_dataset
from p2plib.data.image import to_float
from p2plib.data.statistics import Color
from p2plib.errors import CheckpointError, DataError
from p2plib.evaluation import metrics
from p2plib.evaluation.evaluate import conditions, opened
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
    """A network that labels photos, and how it was made."""

    model: keras.Model
    """Photos (N, S, S, 3) in [-1, 1] -> logits (N, S, S, C), a class for each color of the palette."""
    palette: dict[str, Color]
    data: str
    direction: str
    """Of the pairs: from labels to photo."""
    size: int
    epochs: int
    seed: int

    def label(self, photos: np.ndarray) -> np.ndarray:
        """The class of every pixel of uint8 photos (N, S, S, 3): uint8 (N, S, S), indices into the palette."""
        with runtime.one_device():
            chunks = (to_float(photos[i : i + BATCH]) for i in range(0, len(photos), BATCH))
            return np.concatenate([np.asarray(self.model(chunk)).argmax(-1).astype(np.uint8) for chunk in chunks])

    @property
    def description(self) -> dict[str, Any]:
        """All but the model."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "model"}


@dataclass(frozen=True)
class FcnScore:
    """How well photos are recognized: see `metrics.label_scores` for the three numbers."""

    protocol: dict[str, Any]
    generated: dict[str, float]
    """`pixel_accuracy`, `class_accuracy` and `mean_iou` of the segmenter on generated photos."""
    real: dict[str, float]
    """The same of the same segmenter on the real photos: about the most that generated ones can reach."""

    def table(self) -> str:
        """Two rows, generated and real, as text."""
        lines = [f"{'photos':10}" + "".join(f"{name:>16}" for name in self.real)]
        for name, row in (("generated", self.generated), ("real", self.real)):
            lines.append(f"{name:10}" + "".join(f"{value:16.4f}" for value in row.values()))
        return "\n".join(lines)


def train_segmenter(
    config: TrainConfig, epochs: int = EPOCHS, seed: int = 0, palette: Mapping[str, Color] | None = None
) -> Segmenter:
    """Train a small U-Net to label the photos of the train split, with the crops and flips of GAN training.

    The labels are resized as the photos are, and pixels snap to the nearest color of the palette.

    Args:
        config: of the pix2pix run to judge: its data, direction (from labels to photo) and size count.
        epochs: passes over the training pairs.
        seed: of weights, order, crops and flips: the same seed repeats the training, as far as `p2plib.train` does.
        palette: the colors of the classes; None finds them in the labels.

    Raises:
        DataError: the sources are no labels, or the pairs cannot be used.
    """
    config = dataclasses.replace(config, seed=seed, augment="jitter_flip")
    dataset = open_dataset(config)
    palette = palette or dataset.classes("source")
    if palette is None:
        source, target = dataset.names
        raise DataError(
            f"{config.data}: the FCN score is for generators from labels to photo, and the sources ({source}) are no "
            f"flat areas of few colors; if the labels are the targets ({target}), evaluate scores them."
        )
    plan = runtime.start(TrainConfig(precision="float32"))
    import keras

    batch_size = min(BATCH, len(dataset["train"]))
    data = Batches(dataset, dataclasses.replace(config, batch_size=batch_size))
    keras.utils.set_random_seed(seed)
    with runtime.one_device(), runtime.dtype_policy("float32"), data.plain_errors():
        model = _build(config.image_size, len(palette))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=plan.xla)
        for epoch in tqdm(range(epochs), desc="segmenter", unit="epoch", leave=False, disable=None):
            batches = data.start(epoch).map(_photo_and_classes(palette))
            model.fit(batches, steps_per_epoch=data.steps_per_epoch, verbose=0, shuffle=False)
    return Segmenter(model, dict(palette), config.data, dataset.direction, config.image_size, epochs, seed)


def save(path: str | Path, segmenter: Segmenter) -> None:
    """Write a segmenter as one `.keras` file that describes itself, atomically."""
    with replacing(path) as temporary:
        segmenter.model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(INFO, json.dumps({"format": 1, **segmenter.description}, indent=1))


def load(path: str | Path) -> Segmenter:
    """Load what `save` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, or no segmenter.
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
            f"{path}: no segmenter that fcn-score made ({error}); delete it to train anew."
        ) from error


def prepare(path: str | Path, config: TrainConfig, epochs: int | None = None) -> Segmenter:
    """The segmenter in the file `path` or, where there is none yet, one that is trained and kept there.

    Args:
        path: a `.keras` file.
        config: of the pix2pix run to judge.
        epochs: see `train_segmenter`; None takes a file's segmenter whatever its epochs.

    Raises:
        CheckpointError: the file is of another kind, or its segmenter was made for other data, size or epochs.
        DataError: see `train_segmenter`.
    """
    if not Path(path).exists():
        segmenter = train_segmenter(config, epochs or EPOCHS)
        save(path, segmenter)
        return segmenter
    segmenter = load(path)
    wanted = {"data": config.data, "direction": open_dataset(config).direction, "size": config.image_size}
    wanted |= {"epochs": epochs} if epochs else {}
    other = [f"{name} {getattr(segmenter, name)}" for name in wanted if getattr(segmenter, name) != wanted[name]]
    if other:
        raise CheckpointError(
            f"{path}: its segmenter was made with {', '.join(other)}; name another file to train anew."
        )
    return segmenter


def fcn_score(
    checkpoint: Checkpoint, segmenter: Segmenter, data: str | None = None, split: str = "val", limit: int = 0
) -> FcnScore:
    """Label generated and real photos with a segmenter, and compare with the labels that they belong to.

    Args:
        checkpoint: a generator from labels to photo.
        segmenter: trained at its size.
        data: a catalog name or a folder; None takes what the checkpoint was trained on.
        split: `train`, `val` or `test`. The segmenter has seen the photos of `train`.
        limit: at most so many pairs, evenly spaced over the split (0: all).

    Raises:
        DataError: the data set or the split cannot be used.
        CheckpointError: the segmenter works at another size.
    """
    dataset = opened(checkpoint, data)
    if segmenter.size != dataset.size:
        raise CheckpointError(
            f"The segmenter works at {segmenter.size} pixels, the generator at {dataset.size}; train another one."
        )
    both = dataset[split].load(limit).images
    labels = np.stack([statistics.nearest(source, segmenter.palette) for source in both[:, 0]])
    photos = {"generated": generate(checkpoint.generator, both[:, 0]), "real": both[:, 1]}
    classes = len(segmenter.palette)
    matrices = {name: metrics.count(labels, segmenter.label(shown), classes) for name, shown in photos.items()}
    protocol = conditions(checkpoint, dataset, split, len(both)) | {
        "dropout": "off",
        "classes": classes,
        "most_common_class": round(float(matrices["real"].sum(1).max() / matrices["real"].sum()), 4),
        "segmenter": f"U-Net, {FILTERS} filters, {segmenter.epochs} epochs on {segmenter.data}, seed {segmenter.seed}",
    }
    return FcnScore(protocol, **{name: metrics.label_scores(matrix) for name, matrix in matrices.items()})


def _build(size: int, classes: int) -> keras.Model:
    """The generator's U-Net with few filters, its last layer replaced by one logit a class."""
    import keras

    from p2plib.models.layers import upsample
    from p2plib.models.unet import unet

    base = unet(size, FILTERS)
    features = base.get_layer("up1_activation").output
    logits = upsample(features, "logits", classes, "transpose", dtype="float32")
    return keras.Model(base.input, logits, name="segmenter")


def _photo_and_classes(palette: Mapping[str, Color]) -> Any:
    """A function of tf.data: labels and photo, float (N, S, S, 3) in [-1, 1] -> photo, classes (N, S, S)."""
    import tensorflow as tf

    colors = to_float(np.array(list(palette.values())))

    def convert(labels: Any, photo: Any) -> Any:
        nearness = tf.tensordot(labels, colors.T, 1) - (colors**2).sum(1) / 2  # as in `statistics.nearest`
        return photo, tf.argmax(nearness, -1, output_type=tf.int32)

    return convert
