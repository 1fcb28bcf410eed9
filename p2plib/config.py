"""`TrainConfig`: all settings of a training run, shared by command line, notebooks, Kaggle and checkpoints."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from p2plib import checks
from p2plib.durations import seconds
from p2plib.errors import ConfigError
from p2plib.files import read_json
from p2plib.recipes import RECIPES
from p2plib.registry import DISCRIMINATORS, GAN_LOSSES, GENERATORS, TASKS, TERMS, Registry

# Names live only in the registries: the command line lists the built-in ones, type checkers see plain strings.
if TYPE_CHECKING:
    GeneratorName: TypeAlias = str
    DiscriminatorName: TypeAlias = str
    GanLossName: TypeAlias = str
    TaskName: TypeAlias = str
else:
    GeneratorName, DiscriminatorName = Literal[tuple(GENERATORS)], Literal[tuple(DISCRIMINATORS)]
    GanLossName, TaskName = Literal[tuple(GAN_LOSSES)], Literal[tuple(TASKS)]

_RECIPE: Any = object()  # the default of a field that the recipe, or another field, decides


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training run. Other defaults are those of Isola et al. 2017 unless the field says otherwise.

    Raises:
        ConfigError: a value is out of range, or two values conflict.
    """

    data: str = "toy"
    """A data set of the catalog (see `data list`), or a folder of pairs or photos (see `task`)."""
    sources: tuple[str, ...] = ()
    """Folders in the data set's whose images are stacked, in this order, as the source. None named: A1, A2, ..., if
    they are there. The target is the folder B, or the only other one."""
    direction: Literal["auto", "AtoB", "BtoA"] = "auto"
    """Which half of a pair is the source: A (left) or B. auto: the catalog's usual direction; AtoB for folders."""
    task: TaskName = "pairs"
    """What to learn. pairs: one half of a pair from the other. For plain photos: colorize (colors from lightness) or
    sketch (the photo from a sketch of it)."""
    recipe: Literal["modern", "maps", "measured", "paper"] = "modern"
    """Defaults for objective and networks. modern: sharp, realistic images soon. maps: the same for targets of flat
    colors and thin lines. measured: L1 alone, for heights and the like. paper: Isola et al. 2017. Given values win."""
    init: str | None = None
    """Start from a trained model: a run folder (its best generator), a .keras file, the name of a generator that comes
    with p2plib, or hf://OWNER/NAME. Weights that fit are taken, the rest is new. Resuming the run needs it no more."""
    image_size: int | str = 256
    """Height and width of the networks' images in pixels, or both as HEIGHTxWIDTH, such as 256x512; multiples of 32,
    up to 1024."""
    load: Literal["resize", "crop"] = "resize"
    """How pairs come to this size. resize: each as a whole, right for images that are one thing, such as facades or
    shoes. crop: windows at the images' own scale, random in training and central in validation, for images that would
    lose their detail, such as the roads of a map. Smaller pairs are enlarged until the window fits."""
    base_filters: int = 64
    """Filters in the first layer of both networks; half the filters need a quarter of the computation."""
    generator: GeneratorName = _RECIPE
    """Architecture of the generator. paper: unet; others: lean."""
    source: Literal["auto", "image", "classes"] = "auto"
    """What the sources are. classes: masks, a channel for each class; auto: that, if files hold class numbers."""
    target: Literal["auto", "image", "classes"] = "auto"
    """What to generate. classes: a class for each pixel, by cross-entropy in place of L1. auto: images."""
    source_channels: int | None = None
    """Channels of the sources, from 1 to 16. None: those of the training images; alpha counts if it is named."""
    target_channels: int | None = None
    """The same for targets. Of 8-bit images, 1 is gray without tint. None: 1 if all training targets are gray."""
    source_range: tuple[float, float] | None = None
    """The values of sources that the network sees as -1 and 1. None: 0 to 255 for 8 bits; else found in the images."""
    target_range: tuple[float, float] | None = None
    """The same for targets; generated values lie within."""
    source_window: tuple[float, float] | None = None
    """Choose the range of the sources by these percentiles of all values, such as 1 99; what lies beyond is clipped."""
    target_window: tuple[float, float] | None = None
    """The same for targets."""
    source_scale: Literal["linear", "log"] = "linear"
    """How the range of the sources is divided. log: finer for small values."""
    target_scale: Literal["linear", "log"] = "linear"
    """The same for targets."""
    source_bands: tuple[int, int, int] | None = None
    """Which bands of the sources people see as red, green and blue, from 1, such as 3 2 1. None: the first three."""
    target_bands: tuple[int, int, int] | None = None
    """The same for targets."""
    discriminator: DiscriminatorName = "patchgan"
    """Architecture of the discriminator. multiscale: another one sees the images at half size, for 256 and more."""
    discriminator_filters: int | None = None
    """Filters in the first layer of the discriminator; None: as many as base_filters."""
    norm: Literal["instance", "batch", "none"] = _RECIPE
    """Normalization. instance: results do not depend on the batch; batch (measured): running averages at inference."""
    discriminator_norm: Literal["same", "instance", "batch", "none", "spectral"] = "same"
    """Normalization in the discriminator. same: as norm; spectral: none, but the largest singular value of each kernel
    is 1 (Miyato et al. 2018)."""
    upsampling: Literal["transpose", "resize"] = _RECIPE
    """Upsampling in the generator: transposed convolution (paper), or resize-convolution, which leaves no checkerboard
    artifacts (all others)."""
    dropout: float = _RECIPE
    """Dropout rate in the generator, from 0 to below 1; dropout is the noise of pix2pix. measured: 0; others: 0.5."""
    receptive_field: Literal[1, 16, 70, 286] = 70
    """Side of the PatchGAN discriminator's patches in pixels."""
    gan_loss: GanLossName = "vanilla"
    """GAN loss: cross-entropy (as in the paper), least squares, or hinge."""
    gan_weight: float = _RECIPE
    """Weight of the generator's GAN loss; 0 (measured) trains without a GAN; others: 1."""
    l1_weight: float = _RECIPE
    """Weight of the mean absolute error on [-1, 1], the paper's lambda. modern: 10; others: 100."""
    terms: dict[str, float] = dataclasses.field(default=_RECIPE, hash=False)  # a dict has no hash
    """More terms of the objective: name and weight of each; see `training/terms.py`. modern: perceptual 30;
    maps: perceptual 10 and perceptual_l1 5 (both: feature_matching 10 without the extra `features`); others: none."""
    ema: float = _RECIPE
    """Decay of the moving average of the generator's weights; the average is validated, saved and used. 0: none.
    paper: 0; others: 0.995."""
    diff_augment: bool = False
    """Show the discriminator shifted, recolored and partly covered pairs, real and generated alike (DiffAugment), so
    that it does not learn a small data set by heart."""
    warp: float = 0.0
    """Bend both halves of each training pair alike, by a smooth random field of at most this share of the side (0 to
    0.1; 0: not at all); 0.05 suits label maps, where there are few pairs. Label maps keep their colors."""
    epochs: int = 200
    """Total passes over the training pairs, including warm-up and decay. With train_time, that decides instead."""
    train_time: str | None = None
    """Train for this long, over all sessions, for example 30m: the learning rate reaches zero when it is used up.
    Only the time of training steps counts, not the start, validation and saving."""
    warmup_epochs: int = 0
    """First train the generator without the GAN for this many epochs; then start it, each network with a new Adam."""
    decay_epochs: int | None = None
    """Decay the learning rate linearly to zero over this many final epochs (0: constant). None: over the second half
    of the training."""
    batch_size: int = _RECIPE
    """Pairs per optimizer step, in total over all devices. paper: 1; others: 4."""
    accumulate: int = 1
    """Take each batch in this many parts, each of which counts as a step, and update once: less memory."""
    learning_rate: float = _RECIPE
    """Learning rate of Adam (beta_1 = 0.5) before the decay. paper: 2e-4; others: 4e-4; with init: half."""
    seed: int = 0
    """Seed of weights, shuffling, jitter and dropout: the same seed repeats a run on one machine, up to rounding."""
    augment: Literal["jitter_flip", "jitter", "none"] = "jitter_flip"
    """Random jitter (resize to 286/256, crop) and left-right flip, the same for both halves of a pair. Sketch strokes
    vary, too, unless this is none. With load crop, the random window stands in for the jitter, whatever this is."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """Training precision. auto: the fastest one with hardware support. Translation always uses float32."""
    distributed: bool = False
    """Train on several machines: start the same command on each, by srun or the like (JAX; see docs/scale.md)."""
    backend: Literal["auto", "tensorflow", "jax"] = "auto"
    """Keras backend. auto: $KERAS_BACKEND if set, else the best one for this machine."""
    xla: Literal["auto", "on", "off"] = "auto"
    """Compile with XLA. auto: on GPUs and TPUs, not on CPUs. JAX always compiles."""
    patience: int = 0
    """End the training after this many epochs without a better validation result (0: never)."""
    time_budget: str | None = None
    """Stop gracefully after this wall-clock time, for example 8.5h, 90m or 200s; continue with `--resume`."""
    checkpoint_every: int = 10
    """Epochs between numbered generator checkpoints."""
    sample_every: int = 10
    """Epochs between sample grids, always of the same validation images."""
    keep: int = 3
    """How many numbered generator checkpoints to keep, newest first (0: all)."""
    validation_pairs: int = 200
    """Maximum number of validation pairs to score after each epoch, evenly spaced over the split (0: all)."""
    skip_broken: bool = False
    """Skip and count broken pairs instead of refusing to train."""
    memory_budget: float = 4.0
    """Keep decoded pairs in memory if they fit in this many GiB; otherwise read them from disk every epoch."""
    deterministic: bool = False
    """Have the backend promise that a run repeats to the bit. Costs nothing on CPUs, speed on GPUs."""
    tensorboard: bool = False
    """Also write TensorBoard logs into the run folder (needs the `tensorboard` extra)."""
    run_dir: str | None = None
    """New or empty run folder. Default: runs/DATA-DIRECTION-DATE-TIME, with $P2PLIB_RUNS instead of runs if set."""

    def __post_init__(self) -> None:
        """Take what is not given from the recipe, and check every value and conflicting combinations."""
        recipe = dict(RECIPES.get(self.recipe, RECIPES["modern"]))
        recipe["learning_rate"] /= 2 if self.init else 1  # there is less to learn
        for name, value in recipe.items():
            if getattr(self, name) is _RECIPE:
                object.__setattr__(self, name, dict(value) if isinstance(value, dict) else value)
        for name, registry in _REGISTRIES.items():
            registry.check(getattr(self, name))
        for name in self.terms:
            TERMS.check(name)
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(map(str, choices))}.")
        for name, low in _AT_LEAST.items():
            if (value := getattr(self, name)) is not None and value < low:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {low}.")
        self._check_image_size()
        object.__setattr__(self, "sources", tuple(self.sources))
        checks.check_values(self)
        for name in ("dropout", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be from 0 to below 1.")
        if not 0 <= self.warp <= 0.1:
            raise ConfigError(f"warp is {self.warp}; it must be from 0 to 0.1.")
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}; it must be above 0.")
        if not (self.gan_weight or self.l1_weight or any(self.terms.values())):
            raise ConfigError("gan_weight and l1_weight are both 0: there is nothing to learn; raise one of them.")
        if (self.sources or "classes" in (self.source, self.target)) and TASKS[self.task]().from_photos:
            raise ConfigError(f"The task {self.task} makes images of photos; leave sources, source and target out.")
        if self.direction == "BtoA":
            TASKS[self.task]().direction(self.direction, None)
        checks.check_steps(self)
        _ = self.time_budget_seconds, self.train_time_seconds

    def _check_image_size(self) -> None:
        height, width = self.shape
        object.__setattr__(self, "image_size", height if height == width else f"{height}x{width}")
        if any(side % 32 or not 32 <= side <= 1024 for side in (height, width)):
            raise ConfigError(f"image_size is {self.image_size}; its sides must be multiples of 32, from 32 to 1024.")
        least = {70: 32, 286: 128}.get(self.receptive_field, 0) * (1 + (self.discriminator == "multiscale"))
        if min(height, width) < least:
            what = f"A receptive field of {self.receptive_field} pixels ({self.discriminator})"
            raise ConfigError(f"{what} needs image_size {least} or more, not {self.image_size}.")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the networks' images in pixels.

        Raises:
            ConfigError: `image_size` is neither a number nor two.
        """
        sides = re.fullmatch(r"(\d+)(?:[xX](\d+))?", str(self.image_size).strip())
        if not sides:
            raise ConfigError(f"image_size is {self.image_size!r}; write a number, or HEIGHTxWIDTH such as 256x512.")
        return int(sides[1]), int(sides[2] or sides[1])

    @property
    def load_shape(self) -> tuple[int, int]:
        """Height and width of training pairs before the jitter: 286/256 of the shape; without jitter the same."""
        jitters = self.augment != "none" and self.load == "resize"
        height, width = (round(side * 286 / 256) if jitters else side for side in self.shape)
        return height, width

    @property
    def time_budget_seconds(self) -> float | None:
        """The time budget in seconds, or None."""
        return None if self.time_budget is None else seconds(self.time_budget)

    @property
    def train_time_seconds(self) -> float | None:
        """The training time in seconds, or None."""
        return None if self.train_time is None else seconds(self.train_time, "train_time")

    @property
    def own_terms(self) -> bool:
        """Whether the terms are not the recipe's."""
        return self.terms != RECIPES[self.recipe]["terms"]

    def for_devices(self, devices: int) -> TrainConfig:
        """These settings with the recipe's batch raised, if need be, to the next whose parts divide by the devices.

        Raises:
            ConfigError: a batch size that was chosen does not divide.
        """
        size, least = self.batch_size, devices * self.accumulate
        if size % least and size != RECIPES[self.recipe]["batch_size"]:
            by = f"{devices} devices" + f" times {self.accumulate} parts" * (self.accumulate > 1)
            raise ConfigError(f"batch_size {size} is not divisible by {by}; use a multiple of {least}.")
        return dataclasses.replace(self, batch_size=-(-size // least) * least)

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """The inverse of `to_dict`; missing fields get their defaults, those of the paper in files of version 0.1.

        Raises:
            ConfigError: there is an unknown field.
        """
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ConfigError(
                f"Unknown settings {', '.join(unknown)}; if they come from a newer p2plib, update p2plib."
            )
        old: dict[str, Any] = {"recipe": "paper", "target_channels": 3, "source": "image"}
        values = old | values
        for name, registry in _REGISTRIES.items():
            if name in values:
                registry.reserve(values[name])
        for name in values.get("terms") or ():
            TERMS.reserve(name)
        return cls(**values)

    @classmethod
    def read(cls, path: str | Path) -> TrainConfig:
        """Read a `config.json`.

        Raises:
            ConfigError: the file is missing, not JSON, or holds unknown settings.
        """
        try:
            return cls.from_dict(read_json(path))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path}: cannot be read as a configuration ({error}); mend this file.") from error


_REGISTRIES: dict[str, Registry[Any]] = {
    "generator": GENERATORS,
    "discriminator": DISCRIMINATORS,
    "gan_loss": GAN_LOSSES,
    "task": TASKS,
}
# Annotations are strings at runtime; `get_type_hints` evaluates them to find the choices.
_CHOICES = {
    name: get_args(hint)
    for name, hint in get_type_hints(TrainConfig).items()
    if get_origin(hint) is Literal and name not in _REGISTRIES
}
_FROM_0 = ("gan_weight", "l1_weight", "decay_epochs", "warmup_epochs", "seed", "keep", "validation_pairs", "patience")
_FROM_1 = ("base_filters", "discriminator_filters", "epochs", "batch_size", "checkpoint_every", "sample_every")
_AT_LEAST = {"memory_budget": 0} | dict.fromkeys(_FROM_0, 0) | dict.fromkeys((*_FROM_1, "accumulate"), 1)

CHANGEABLE = frozenset(
    {"epochs", "decay_epochs", "train_time", "learning_rate", "patience", "time_budget", "checkpoint_every", "keep"}
    | {"sample_every", "memory_budget", "tensorboard", "precision", "backend", "xla", "run_dir", "deterministic"}
    | {"distributed"}
)
"""Fields that a resumed run may change; the others define the run."""
