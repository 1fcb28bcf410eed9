"""Registries: the generators, losses, feature networks, tasks and metrics that a configuration can name.

A registry maps each built-in name to a module, which is imported when the name is first used, so names can be listed
before a Keras backend is chosen. A new generator, loss term, task or metric is a file of its own and one line here.
Other programs and notebook cells add theirs with a decorator:

    >>> from p2plib.registry import GENERATORS
    >>> @GENERATORS.register("mine")
    ... def mine(*, image_size, base_filters, **settings): ...
    >>> p2plib.train(p2plib.TrainConfig(generator="mine"))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Generic, TypeVar

from p2plib.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """Functions or classes of one kind, by name.

    Args:
        kind: the word for them in messages, for example "generator".
        builtin: for each built-in name, the module that registers it when it is imported.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self.builtin = dict(builtin)
        self._things: dict[str, T] = {}
        self._elsewhere: set[str] = set()

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds a function or class, or replaces one, so that a notebook cell can run twice.

        Raises:
            ConfigError: the name is built in.
        """

        def add(thing: T) -> T:
            if self.builtin.get(name, thing.__module__) != thing.__module__:
                raise ConfigError(f"The {self.kind} {name!r} is built in; choose another name for yours.")
            self._things[name] = thing
            return thing

        return add

    def __getitem__(self, name: str) -> T:
        """The function or class called `name`.

        Raises:
            ConfigError: there is none; the message lists all names.
        """
        self.check(name)
        if name not in self._things and name in self.builtin:
            import_module(self.builtin[name])
        if name not in self._things:
            raise ConfigError(f"The {self.kind} {name!r} is not built in: register it here as where it was trained.")
        return self._things[name]

    def reserve(self, name: str) -> None:
        """Accept a name that a file mentions: a checkpoint works without what was registered to train it."""
        self._elsewhere.add(name)

    def __contains__(self, name: object) -> bool:
        """Whether the name is known, if only from a file."""
        return name in self.builtin or name in self._things or name in self._elsewhere

    def __iter__(self) -> Iterator[str]:
        """The names, built-in ones first."""
        return iter({**self.builtin, **self._things})

    def __len__(self) -> int:
        """The number of names."""
        return len(list(iter(self)))

    @property
    def added(self) -> list[str]:
        """The names that are not built in."""
        return [name for name in self if name not in self.builtin]

    def check(self, name: str) -> None:
        """Raise a ConfigError if the name is unknown; the message lists all names and suggests the closest one."""
        if name not in self:
            close = get_close_matches(str(name).lower(), list(self), n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ConfigError(f"{self.kind} is {name!r}; it must be one of {', '.join(self)}.{hint}")


GENERATORS: Registry[Callable[..., Any]] = Registry(
    "generator",
    {
        "lean": "p2plib.models.lean",
        "unet": "p2plib.models.unet",
        "resnet6": "p2plib.models.resnet",
        "resnet9": "p2plib.models.resnet",
    },
)
"""Functions that build a generator; see `models.build_generator` for their arguments."""

DISCRIMINATORS: Registry[Callable[..., Any]] = Registry(
    "discriminator", {"patchgan": "p2plib.models.patchgan", "multiscale": "p2plib.models.multiscale"}
)
"""Functions that build a discriminator; see `models.build_discriminator` for their arguments."""

GAN_LOSSES: Registry[Any] = Registry(
    "gan_loss", dict.fromkeys(("vanilla", "lsgan", "hinge"), "p2plib.training.gan_losses")
)
"""Classes with the losses of generator and discriminator; see `training.gan_losses.GANLoss`."""

TERMS: Registry[Callable[..., Any]] = Registry(
    "term",
    dict.fromkeys(
        (
            *("l1", "gan", "discriminator", "r1", "cross_entropy"),
            *("perceptual", "perceptual_l1", "feature_matching", "focal_frequency"),
        ),
        "p2plib.training.terms",
    ),
)
"""Terms of the training objective: functions that take a `training.terms.Step` and return a scalar."""

FEATURES: Registry[Callable[..., Any]] = Registry(
    "feature network",
    {"lite0": "p2plib.models.efficientnet", "lite2": "p2plib.models.efficientnet", "vgg16": "p2plib.models.vgg"},
)
"""Functions that build a network for perceptual losses and metrics from `image_size` and `blocks`; see
`models.features.network`."""

TASKS: Registry[Any] = Registry(
    "task",
    {
        "pairs": "p2plib.data.tasks.pairs",
        "colorize": "p2plib.data.tasks.colorize",
        "sketch": "p2plib.data.tasks.sketch",
    },
)
"""Subclasses of `data.tasks.base.Task`."""

METRICS: Registry[Callable[..., Any]] = Registry(
    "metric",
    {
        **dict.fromkeys(("l1", "psnr", "ssim", "ms_ssim", "ab", "ab_grey"), "p2plib.evaluation.metrics"),
        "perceptual": "p2plib.evaluation.perceptual",
    },
)
"""Metrics of images: functions that take targets, generated and sources, uint8 (N, H, W, 3), and return (N,) values."""
