"""Compares checkpoints on the same images: a table with confidence intervals and a sheet of images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib import files
from p2plib.data.pairs import spread
from p2plib.errors import ConfigError, DataError
from p2plib.evaluation.evaluate import KEPT, Evaluation, evaluate, in_words, say_shape, without_infinity
from p2plib.hub.names import parse
from p2plib.inference.checkpoint import find, load, short_name

if TYPE_CHECKING:
    from p2plib.evaluation.distances import Extractor
    from p2plib.inference.checkpoint import Checkpoint

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """The results of a comparison."""

    evaluations: dict[str, Evaluation]
    """Evaluations by checkpoint name, all on the same images in the same order."""
    objectives: dict[str, str]
    """A checkpoint's name: what it was trained on, for example "vanilla GAN + 100 L1"."""
    names: tuple[str, str]
    """Names of source and target."""

    @property
    def protocol(self) -> dict[str, Any]:
        """The evaluation protocol that all checkpoints share."""
        first, *others = (evaluation.protocol for evaluation in self.evaluations.values())
        shared = {key: value for key, value in first.items() if all(other[key] == value for other in others)}
        intervals = f"{LEVEL:.0%}, bootstrap over images, {RESAMPLES} resamples"
        return shared | {"intervals": intervals, "*": f"differs from {next(iter(self.evaluations))}"}

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per checkpoint and metric: mean, interval, and difference to the first checkpoint.

        `difference` and its interval come from paired differences per image, which vary less than the means. An
        interval that excludes 0 suggests a real difference.
        """
        first = next(iter(self.evaluations.values()))
        for name, evaluation in self.evaluations.items():
            for metric, values in evaluation.scores.items():
                low, high = bootstrap(values)
                row = {"checkpoint": name, "metric": metric, "mean": float(np.mean(values)), "low": low, "high": high}
                if evaluation is not first:
                    with np.errstate(invalid="ignore"):  # the difference of two infinite PSNRs is NaN
                        gains = np.nan_to_num(values - first.scores[metric], posinf=np.inf, neginf=-np.inf)
                    low, high = bootstrap(gains)
                    row |= {"difference": float(np.mean(gains)), "difference_low": low, "difference_high": high}
                yield row

    def table(self) -> str:
        """Format as text: what each checkpoint was trained on, metrics, set-level numbers, and the protocol.

        A star marks a mean that differs from the first checkpoint's: the interval of the difference excludes 0.
        """
        lines: dict[str, list[str]] = {"": list(self.evaluations), "objective": list(self.objectives.values())}
        for row in self.rows():
            star = " *" if "difference" in row and not row["difference_low"] <= 0 <= row["difference_high"] else ""
            cell = f"{row['mean']:.4f} [{row['low']:.4f}, {row['high']:.4f}]{star}"
            lines.setdefault(row["metric"], []).append(cell)
        for evaluation in self.evaluations.values():
            for name, value in evaluation.sets.items():
                lines.setdefault(name, []).append(f"{value:.4f}")
        width = max(map(len, lines)) + 2
        wide = max(len(cell) for cells in lines.values() for cell in cells) + 2
        text = [f"{name:{width}}" + "".join(cell.ljust(wide) for cell in cells) for name, cells in lines.items()]
        return "\n".join([*map(str.rstrip, text), in_words(self.protocol)])

    def write_json(self, path: str | Path) -> None:
        """Write `{"protocol": {...}, "checkpoints": {name: {...}}, "rows": [...]}`, atomically, infinity as null."""
        checkpoints = {
            name: {"objective": self.objectives[name], "protocol": evaluation.protocol, "sets": evaluation.sets}
            for name, evaluation in self.evaluations.items()
        }
        rows = [without_infinity(row) for row in self.rows()]
        content = {"protocol": self.protocol, "checkpoints": checkpoints, "rows": rows}
        files.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def columns(self, count: int) -> dict[str, np.ndarray]:
        """Images for `figures.image_grid`: source, one generated image per checkpoint, and expected image.

        Args:
            count: number of images, evenly spaced over those that the evaluations hold.
        """
        first = next(iter(self.evaluations.values()))
        shown = spread(range(len(first.sources)), count)
        generated = {name: evaluation.generated[shown] for name, evaluation in self.evaluations.items()}
        return {self.names[0]: first.sources[shown]} | generated | {f"expected {self.names[1]}": first.targets[shown]}


def compare(
    checkpoints: Mapping[str, Checkpoint],
    data: str | None = None,
    split: str = "val",
    limit: int = 0,
    noise: int | None = None,
    extractor: Extractor | None = None,
    keep: int = KEPT,
) -> Comparison:
    """Evaluate several checkpoints on the same images.

    Models of different sizes are compared at the largest size; images of smaller models are enlarged (of crops: tiled).

    Args:
        checkpoints: models from `p2plib.load`, by name. Differences are to the first one.
        data: a catalog name or a folder; None means the training data of the first checkpoint.
        split: `train`, `val` or `test`.
        limit: maximum number of pairs, evenly spaced over the split (0: all).
        noise: see `p2plib.translate`.
        extractor: see `p2plib.evaluate`.
        keep: how many images each evaluation holds.

    Raises:
        ConfigError: the checkpoints differ in task, direction or `load`, and so in the images they are scored on.
        DataError: the data set or the split cannot be used, or the checkpoints held out different pairs of it.
    """
    _need_alike(checkpoints)
    first = next(iter(checkpoints.values())).info
    size = say_shape(max(model.shape for model in checkpoints.values()))
    evaluations = {
        name: evaluate(model, data or first.config.data, split, limit, noise, extractor=extractor, size=size, keep=keep)
        for name, model in checkpoints.items()
    }
    if len({tuple(evaluation.images) for evaluation in evaluations.values()}) > 1:
        raise DataError(
            f"{data or first.config.data}: has no {split} split of its own, and runs with another seed held out other "
            "pairs; give --data with a split that none of the models was trained on."
        )
    return Comparison(evaluations, {name: objective(model) for name, model in checkpoints.items()}, first.names)


def _need_alike(checkpoints: Mapping[str, Checkpoint]) -> None:
    """Raise a ConfigError if models cannot be scored on the same images."""
    for kind in ("task", "direction", "load"):
        found = {name: getattr(model.info.config, kind) for name, model in checkpoints.items()}
        if len(set(found.values())) > 1:
            raise ConfigError(f"These checkpoints have different {kind}s ({found}); compare models of one {kind}.")


def load_all(paths: Sequence[str | Path]) -> dict[str, Checkpoint]:
    """Load checkpoints by short name, or by path as given if two short names would be equal.

    Raises:
        CheckpointError: see `p2plib.load`.
        ConfigError: a checkpoint is named twice.
    """
    found = list(map(find, paths))
    if len({path.resolve() for path in found}) < len(paths):
        raise ConfigError("A checkpoint is named twice; name each once.")
    short = list(map(short_name, paths))
    names = short if len(set(short)) == len(short) else [str(parse(path) or files.readable(path)) for path in paths]
    return {name: load(path) for name, path in zip(names, found, strict=True)}


def objective(checkpoint: Checkpoint) -> str:
    """The training objective of a checkpoint in words."""
    config = checkpoint.info.config
    more = "".join(f" + {weight:g} {name}" for name, weight in config.terms.items())
    first = "classes" if config.target == "classes" else f"{config.l1_weight:g} L1"
    if config.gan_weight == 0:
        return f"{first}{more}" if more else "L1 only"
    weight = "" if config.gan_weight == 1 else f"{config.gan_weight:g} "
    return f"{weight}{config.gan_loss} GAN + {first}{more}"


def bootstrap(
    values: np.ndarray, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """The confidence interval of a mean by the percentile bootstrap (Efron 1979).

    Args:
        values: (N,), one per image.
        resamples: number of bootstrap samples.
        level: confidence level.
        seed: random seed; the same for every metric and checkpoint, so that intervals are reproducible.

    Returns:
        Lower and upper bound.
    """
    rng, count = np.random.default_rng(seed), len(values)  # one sample at a time: all would be 2,000 times the values
    means = [values[rng.integers(0, count, count)].mean() for _ in range(resamples)]
    tail = (1 - level) / 2
    # inverted_cdf picks one of the means: interpolation between infinite ones would give NaN
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)
