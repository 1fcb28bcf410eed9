"""Checks of settings that concern several fields of `TrainConfig`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2plib.errors import ConfigError

if TYPE_CHECKING:
    from p2plib.config import TrainConfig


def check_values(config: TrainConfig) -> None:
    """Raise a ConfigError unless channels, ranges and windows make sense, alone and together."""
    for side in ("source", "target"):
        channels, window = getattr(config, f"{side}_channels"), getattr(config, f"{side}_window")
        if channels is not None and not 1 <= channels <= 16:
            raise ConfigError(f"{side}_channels is {channels}; it must be from 1 to 16.")
        if bands := getattr(config, f"{side}_bands"):
            object.__setattr__(config, f"{side}_bands", tuple(map(int, bands)))
        for name in (f"{side}_range", f"{side}_window"):
            if (limits := getattr(config, name)) is None:
                continue
            object.__setattr__(config, name, (float(limits[0]), float(limits[1])))
            if not limits[0] < limits[1]:
                raise ConfigError(f"{name} is {limits[0]:g} to {limits[1]:g}; the first must be the smaller one.")
        if getattr(config, side) == "classes" and (channels or window or getattr(config, f"{side}_range")):
            raise ConfigError(f"{side} is classes, which have no channels, range or window; leave these out.")
        if window and not 0 <= window[0] < window[1] <= 100:
            raise ConfigError(f"{side}_window is {window[0]:g} to {window[1]:g}; percentiles are from 0 to 100.")
        if window and getattr(config, f"{side}_range"):
            raise ConfigError(f"{side}_range and {side}_window both choose the range; leave one of them out.")


def check_steps(config: TrainConfig) -> None:
    """Raise a ConfigError unless batches, decay and warm-up fit the training."""
    if config.batch_size % config.accumulate:
        said = f"batch_size {config.batch_size} is not divisible by accumulate {config.accumulate}"
        raise ConfigError(f"{said}; change one of them.")
    if (config.decay_epochs or 0) > config.epochs:
        raise ConfigError(f"decay_epochs ({config.decay_epochs}) exceeds epochs ({config.epochs}); lower it.")
    if config.train_time and config.decay_epochs:
        raise ConfigError("With train_time, the learning rate decays over its second half: leave decay_epochs out.")
    if config.warmup_epochs > config.epochs:
        raise ConfigError(f"warmup_epochs ({config.warmup_epochs}) exceeds epochs ({config.epochs}); lower it.")
    for name in ("gan_weight", "l1_weight"):
        if config.warmup_epochs and getattr(config, name) == 0:
            raise ConfigError(f"An L1 warm-up needs both L1 and GAN; with {name} 0, set warmup_epochs to 0.")
