"""`TrainConfig`: everything a training run depends on, shared by command line, notebooks, Kaggle and checkpoints."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from p2plib.errors import ConfigError
from p2plib.registry import DISCRIMINATORS, GAN_LOSSES, GENERATORS, TASKS, TERMS, Registry

# The registries are the only lists of names: the command line shows those built in, type checkers see plain strings.
if TYPE_CHECKING:
    GeneratorName: TypeAlias = str
    DiscriminatorName: TypeAlias = str
    GanLossName: TypeAlias = str
    TaskName: TypeAlias = str
else:
    GeneratorName, DiscriminatorName = Literal[tuple(GENERATORS)], Literal[tuple(DISCRIMINATORS)]
    GanLossName, TaskName = Literal[tuple(GAN_LOSSES)], Literal[tuple(TASKS)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training run. Defaults are those of Isola et al. 2017 unless the field says otherwise.

    Raises:
        ConfigError: a value is out of range, or two values do not go together.
    """

    data: str = "toy"
    """Name of a data set in the catalog (`data list` shows them), or a folder of pairs or, see `task`, photos."""
    direction: Literal["auto", "AtoB", "BtoA"] = "auto"
    """Which half of a pair is the source: A (left) or B. auto: the catalog's usual direction, AtoB for folders."""
    task: TaskName = "pairs"
    """What is learned. pairs: one half of a pair from the other; of plain photos, colorize: their colors from their
    lightness, sketch: the photo from a sketch of it."""
    image_size: int = 256
    """Height and width in pixels at which the networks work; a power of two from 32 to 1024."""
    base_filters: int = 64
    """Filters of the first layer of both networks; a quarter of the work at half the filters."""
    generator: GeneratorName = "unet"
    """Architecture of the generator."""
    discriminator: DiscriminatorName = "patchgan"
    """Architecture of the discriminator."""
    norm: Literal["instance", "batch", "none"] = "instance"
    """Normalization. instance: the same image at any batch size; batch: running averages in use."""
    upsampling: Literal["transpose", "resize"] = "transpose"
    """How the generator doubles the size: transposed convolution, or resize-convolution (no checkerboards)."""
    dropout: float = 0.5
    """Dropout rate in the generator, from 0 to below 1: the noise of pix2pix."""
    receptive_field: Literal[1, 16, 70, 286] = 70
    """Side in pixels of the patches that the PatchGAN discriminator judges."""
    gan_loss: GanLossName = "vanilla"
    """GAN loss: cross-entropy (the paper's), least squares, or hinge."""
    gan_weight: float = 1.0
    """Weight of the generator's GAN loss; 0 trains on L1 alone, the control that shows what the GAN adds."""
    l1_weight: float = 100.0
    """Weight of the mean absolute error on [-1, 1], the paper's lambda."""
    terms: dict[str, float] = dataclasses.field(default_factory=dict)
    """More terms of the objective: name and weight of each; see `registry.TERMS`."""
    epochs: int = 200
    """Passes over the training pairs in all, warm-up and decay included."""
    warmup_epochs: int = 0
    """Train the generator on L1 alone for this many epochs first; then the GAN begins, each network with a new Adam."""
    decay_epochs: int = 100
    """Over this many last epochs, lower the learning rate linearly to zero (0: keep it constant, as in the paper)."""
    batch_size: int = 1
    """Pairs in an optimizer step, over all devices together."""
    learning_rate: float = 2e-4
    """Step size of Adam (beta_1 = 0.5) before the decay."""
    seed: int = 0
    """Seed of weights, shuffling, jitter and dropout: the same seed repeats the run on the same machine."""
    augment: Literal["jitter_flip", "jitter", "none"] = "jitter_flip"
    """Random jitter (resize to 286/256, crop) and left-right flip of training pairs, both halves alike; except with
    none, the strokes of sketches vary too."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """Arithmetic of training. auto: the fastest that this machine computes well. Translation is always float32."""
    backend: Literal["auto", "tensorflow", "jax"] = "auto"
    """Keras backend. auto: $KERAS_BACKEND if set, else the one that suits this machine."""
    xla: Literal["auto", "on", "off"] = "auto"
    """Compile with XLA. auto: on GPUs and TPUs, not on CPUs. JAX always compiles."""
    time_budget: str | None = None
    """End politely after this wall-clock time, for example 8.5h, 90m or 200s; `--resume` goes on."""
    checkpoint_every: int = 10
    """Epochs between two generator checkpoints that are kept under their own names."""
    sample_every: int = 10
    """Epochs between two sample grids of the same validation images."""
    keep: int = 3
    """How many of the named generator checkpoints to keep, the newest ones (0: all)."""
    validation_pairs: int = 200
    """How many validation pairs to score after an epoch, at most; evenly spaced over the split (0: all)."""
    skip_broken: bool = False
    """Leave broken pairs out, counted, instead of refusing to train."""
    memory_budget: float = 4.0
    """Decoded pairs are kept in memory up to this many GiB; beyond it they are read from disk every epoch."""
    deterministic: bool = False
    """Have every operation repeat itself to the last bit, where the backend can; training is slower on GPUs."""
    tensorboard: bool = False
    """Also write TensorBoard logs into the run folder (needs the `tensorboard` extra)."""
    run_dir: str | None = None
    """Run folder, new or empty. Default: runs/DATA-DIRECTION-DATE-TIME, or in $P2PLIB_RUNS instead of runs."""

    def __post_init__(self) -> None:
        """Check every value and the combinations that matter."""
        for name, registry in _REGISTRIES.items():
            registry.check(getattr(self, name))
        for name in self.terms:
            TERMS.check(name)
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(map(str, choices))}.")
        for name, low in _AT_LEAST.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {low}.")
        self._check_image_size()
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}; it must be from 0 to below 1.")
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}; it must be above 0.")
        if self.gan_weight == 0 and self.l1_weight == 0:
            raise ConfigError("gan_weight and l1_weight are both 0: there is nothing to learn; raise one of them.")
        if self.direction == "BtoA":
            TASKS[self.task]().direction(self.direction, None)
        if self.decay_epochs > self.epochs:
            raise ConfigError(f"decay_epochs ({self.decay_epochs}) is more than epochs ({self.epochs}); lower it.")
        self._check_warm_up()
        _ = self.time_budget_seconds

    def _check_image_size(self) -> None:
        size = self.image_size
        if size not in (32, 64, 128, 256, 512, 1024):
            raise ConfigError(f"image_size is {size}; it must be 32, 64, 128, 256, 512 or 1024.")
        if self.receptive_field == 286 and size < 128:
            raise ConfigError(f"A receptive field of 286 pixels needs image_size 128 or more, not {size}.")

    def _check_warm_up(self) -> None:
        if self.warmup_epochs > self.epochs:
            raise ConfigError(f"warmup_epochs ({self.warmup_epochs}) is more than epochs ({self.epochs}); lower it.")
        for name in ("gan_weight", "l1_weight"):
            if self.warmup_epochs and getattr(self, name) == 0:
                raise ConfigError(f"A warm-up on L1 goes before a GAN; with {name} 0 set warmup_epochs to 0.")

    @property
    def load_size(self) -> int:
        """Side in pixels that training pairs are resized to before the random crop: 286/256 of the image size."""
        return self.image_size if self.augment == "none" else round(self.image_size * 286 / 256)

    @property
    def time_budget_seconds(self) -> float | None:
        """The time budget in seconds; None without one."""
        return None if self.time_budget is None else seconds(self.time_budget)

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """The inverse of `to_dict`; fields that are missing take their defaults.

        Raises:
            ConfigError: there is a field that this version does not know.
        """
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ConfigError(
                f"Unknown settings {', '.join(unknown)}: was this made by a newer p2plib? Then update it."
            )
        return cls(**values)

    @classmethod
    def read(cls, path: str | Path) -> TrainConfig:
        """Read a `config.json`.

        Raises:
            ConfigError: the file is missing, not JSON, or holds unknown settings.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, json.JSONDecodeError, TypeError) as error:
            raise ConfigError(f"{path}: cannot be read as a configuration ({error}).") from error


_REGISTRIES: dict[str, Registry[Any]] = {
    "generator": GENERATORS,
    "discriminator": DISCRIMINATORS,
    "gan_loss": GAN_LOSSES,
    "task": TASKS,
}
# The annotations are strings, and the choices live in them.
_CHOICES = {
    name: get_args(hint)
    for name, hint in get_type_hints(TrainConfig).items()
    if get_origin(hint) is Literal and name not in _REGISTRIES
}
_AT_LEAST = {
    "base_filters": 1,
    "gan_weight": 0,
    "l1_weight": 0,
    "epochs": 1,
    "decay_epochs": 0,
    "warmup_epochs": 0,
    "batch_size": 1,
    "seed": 0,
    "checkpoint_every": 1,
    "sample_every": 1,
    "keep": 0,
    "validation_pairs": 0,
    "memory_budget": 0,
}

CHANGEABLE = frozenset(
    {"epochs", "decay_epochs", "learning_rate", "time_budget", "checkpoint_every", "sample_every", "keep"}
    | {"memory_budget", "tensorboard", "precision", "backend", "xla", "run_dir", "deterministic"}
)
"""Fields that a resumed run may change: the others would make it another run."""


def seconds(duration: str) -> float:
    """Read a duration such as "8.5h", "90m", "200s" or "1h30m" (a bare number means seconds).

    Raises:
        ConfigError: the text is not a duration above 0.
    """
    text = duration.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        total = float(text)
    elif re.fullmatch(r"(\d+(\.\d+)?[hms])+", text):
        unit = {"h": 3600, "m": 60, "s": 1}
        total = sum(float(number) * unit[letter] for number, _, letter in re.findall(r"(\d+(\.\d+)?)([hms])", text))
    else:
        total = 0.0
    if total <= 0:
        raise ConfigError(f"{duration!r} is not a time budget; write for example 8.5h, 90m or 200s.")
    return total
