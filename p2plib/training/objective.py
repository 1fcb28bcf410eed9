"""The training objective of a configuration: which terms, with which weights, and the network that they compare by.

Functions import Keras only after the configuration has chosen the backend.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from p2plib import runtime
from p2plib.config import TrainConfig
from p2plib.errors import ConfigError
from p2plib.models import features
from p2plib.recipes import RECIPES
from p2plib.registry import TERMS

if TYPE_CHECKING:
    import keras


CROSS_ENTROPY = 10.0
"""Weight of the cross-entropy of classes, with 1 for the GAN: as that of L1 in the recipe modern."""


def objective(config: TrainConfig) -> dict[str, float]:
    """The weight of each term of the training objective, except D's own loss.

    Where targets are classes, cross-entropy takes the place of L1, unless a weight for either is given; terms that
    compare features of images are left out.

    Raises:
        ConfigError: cross-entropy is asked for, and targets are images.
    """
    weights = {"l1": config.l1_weight, "gan": config.gan_weight} | config.terms
    if config.target != "classes":
        if "cross_entropy" in weights:
            raise ConfigError("The term cross_entropy is for classes; add target classes, or leave it out.")
        return weights
    if config.l1_weight == RECIPES[config.recipe]["l1_weight"]:
        del weights["l1"]
        weights = {"cross_entropy": CROSS_ENTROPY} | weights
    return {name: weight for name, weight in weights.items() if not getattr(TERMS[name], "features", None)}


def class_notes(config: TrainConfig) -> list[str]:
    """One sentence on what trains classes in place of the terms for images; none for images."""
    if config.target != "classes":
        return []
    used = objective(config)
    left_out = [name for name in ("l1", *config.terms) if name not in used]
    instead = f"cross-entropy (weight {used['cross_entropy']:g})" if "cross_entropy" in used else "L1"
    return [f"classes are trained by {instead}" + f"; left out: {', '.join(left_out)}" * bool(left_out)]


def available(config: TrainConfig, say: Callable[[str], None], resumed: bool = False) -> TrainConfig:
    """The settings with terms that this installation can compute, once a backend is chosen.

    Where the recipe wants a feature network that is not installed, feature matching takes its place, and a line says
    so.

    Raises:
        ConfigError: the terms were chosen, or belong to a resumed run, so nothing may take their place.
    """
    missing = [name for name, network in _wanted_features(config).items() if not features.available(network)]
    if not missing:
        return config
    if resumed or config.own_terms:
        raise ConfigError(f"The term {missing[0]} needs a feature network; run: pip install 'p2plib[features]'")
    say(
        "No feature network is installed, so feature matching replaces the perceptual loss; for better images run: "
        "pip install 'p2plib[features]'"
    )
    return dataclasses.replace(config, terms={"feature_matching": 10.0} if config.gan_weight else {})


def _wanted_features(config: TrainConfig) -> dict[str, str]:
    """The feature network of each term that compares features."""
    return {term: name for term in objective(config) if (name := getattr(TERMS[term], "features", None))}


def feature_network(config: TrainConfig, plan: runtime.Plan) -> keras.Model | None:
    """The frozen network that the terms compare features of."""
    names = set(_wanted_features(config).values())
    if len(names) > 1:
        raise ConfigError(f"The terms need different feature networks ({', '.join(sorted(names))}); choose one.")
    if not names:
        return None
    # On CPUs its depthwise convolutions take twice as long in bfloat16.
    with runtime.dtype_policy("float32" if plan.device == "cpu" else plan.precision):
        return features.network(names.pop(), config.shape)
