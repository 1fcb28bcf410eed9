"""The recipes: named sets of defaults for the objective and the networks."""

from __future__ import annotations

from typing import Any

_MODERN: dict[str, Any] = {
    "generator": "lean",
    "upsampling": "resize",
    "l1_weight": 10.0,
    "gan_weight": 1.0,
    "terms": {"perceptual": 30.0},
    "ema": 0.995,
    "norm": "instance",
    "dropout": 0.5,
    "batch_size": 4,
    "learning_rate": 4e-4,
}
RECIPES: dict[str, dict[str, Any]] = {
    "modern": _MODERN,
    "maps": _MODERN | {"l1_weight": 100.0, "terms": {"perceptual": 10.0, "perceptual_l1": 5.0}},
    "measured": _MODERN | {"l1_weight": 100.0, "gan_weight": 0.0, "terms": {}, "norm": "batch", "dropout": 0.0},
    "paper": {
        "generator": "unet",
        "upsampling": "transpose",
        "l1_weight": 100.0,
        "gan_weight": 1.0,
        "terms": {},
        "ema": 0.0,
        "norm": "instance",
        "dropout": 0.5,
        "batch_size": 1,
        "learning_rate": 2e-4,
    },
}
"""The settings that a recipe decides, unless they are given. `modern`: what has been learned since 2017. `maps`: the
same for targets of flat colors and thin lines, such as maps and labels, whose colors must not drift. `measured`: for
measured values, such as heights, whose errors count and not their looks: L1 alone, and batch normalization, since
instance normalization takes the mean of each image away. `paper`: Isola et al. 2017."""
