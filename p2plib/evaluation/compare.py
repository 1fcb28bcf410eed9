"""Several checkpoints on the same images: one table with confidence intervals, one sheet of images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2plib import files
from p2plib.data.dataset import spread
from p2plib.errors import ConfigError, DataError
from p2plib.evaluation.evaluate import Evaluation, evaluate, without_infinity
from p2plib.inference.checkpoint import find, load, short_name

if TYPE_CHECKING:
    from p2plib.evaluation.distances import Extractor
    from p2plib.inference.checkpoint import Checkpoint

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """What a comparison found."""

    evaluations: dict[str, Evaluation]
    """A checkpoint's name: its evaluation. All are of the same images, in the same order."""
    objectives: dict[str, str]
    """A checkpoint's name: what it was trained on, for example "vanilla GAN + 100 L1"."""
    names: tuple[str, str]
    """What source and target are called."""

    @property
    def protocol(self) -> dict[str, Any]:
        """How the numbers came about, as far as it is the same for all."""
        first, *others = (evaluation.protocol for evaluation in self.evaluations.values())
        shared = {key: value for key, value in first.items() if all(other[key] == value for other in others)}
        intervals = f"{LEVEL:.0%}, bootstrap over images, {RESAMPLES} resamples"
        return shared | {"intervals": intervals, "*": f"differs from {next(iter(self.evaluations))}"}

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row a checkpoint and metric: mean, interval, and how much better or worse than the first checkpoint.

        `difference` and its interval are of the differences image by image, which vary less than the means do:
        an interval without 0 in it speaks for a real difference.
        """
        first = next(iter(self.evaluations.values()))
        for name, evaluation in self.evaluations.items():
            for metric, values in evaluation.scores.items():
                low, high = bootstrap(values)
                row = {"checkpoint": name, "metric": metric, "mean": float(np.mean(values)), "low": low, "high": high}
                if evaluation is not first:
                    with np.errstate(invalid="ignore"):  # two infinite values of psnr have no difference
                        gains = np.nan_to_num(values - first.scores[metric], posinf=np.inf, neginf=-np.inf)
                    low, high = bootstrap(gains)
                    row |= {"difference": float(np.mean(gains)), "difference_low": low, "difference_high": high}
                yield row

    def table(self) -> str:
        """The table as text: checkpoints across, then metrics, numbers about the whole set, and the protocol.

        A star marks a mean that differs from the first checkpoint's: the interval of the differences is without 0.
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
        return "\n".join([*map(str.rstrip, text), ", ".join(f"{key} {value}" for key, value in self.protocol.items())])

    def write_json(self, path: str | Path) -> None:
        """Write `{"protocol": {...}, "checkpoints": {name: {...}}, "rows": [...]}`, atomically; infinity is null."""
        checkpoints = {
            name: {"objective": self.objectives[name], "protocol": evaluation.protocol, "sets": evaluation.sets}
            for name, evaluation in self.evaluations.items()
        }
        rows = [without_infinity(row) for row in self.rows()]
        content = {"protocol": self.protocol, "checkpoints": checkpoints, "rows": rows}
        files.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def columns(self, count: int) -> dict[str, np.ndarray]:
        """Images for `figures.image_grid`: source, what each checkpoint made of it, and the expected image.

        Args:
            count: number of images, evenly spaced.
        """
        first = next(iter(self.evaluations.values()))
        shown = spread(range(len(first.images)), count)
        generated = {name: evaluation.generated[shown] for name, evaluation in self.evaluations.items()}
        return {self.names[0]: first.sources[shown]} | generated | {f"expected {self.names[1]}": first.targets[shown]}


def compare(
    checkpoints: Mapping[str, Checkpoint],
    data: str | None = None,
    split: str = "val",
    limit: int = 0,
    noise: int | None = None,
    extractor: Extractor | None = None,
) -> Comparison:
    """Evaluate several checkpoints on the same images.

    Models of different sizes are judged at the largest of them, to which the smaller ones' images are enlarged.

    Args:
        checkpoints: name: what `p2plib.load` returns. Differences are to the first one. A control that was trained on
            L1 alone (`gan_weight` 0) is a checkpoint like any other.
        data: a catalog name or a folder; None takes what the first checkpoint was trained on.
        split: `train`, `val` or `test`.
        limit: at most so many pairs, evenly spaced over the split (0: all).
        noise: see `p2plib.translate`.
        extractor: see `p2plib.evaluate`.

    Raises:
        ConfigError: the checkpoints do different tasks, or translate in different directions.
        DataError: the data set or the split cannot be used, or it lends other pairs to one checkpoint than to another.
    """
    infos = {name: model.info for name, model in checkpoints.items()}
    directions = {name: info.config.direction for name, info in infos.items()}
    tasks = {name: info.config.task for name, info in infos.items()}
    if len(set(tasks.values())) > 1:
        raise ConfigError(f"These checkpoints do different tasks ({tasks}); compare like with like.")
    if len(set(directions.values())) > 1:
        raise ConfigError(
            f"These checkpoints translate in different directions ({directions}); compare like with like."
        )
    first = next(iter(infos.values()))
    size = max(model.size for model in checkpoints.values())
    evaluations = {
        name: evaluate(model, data or first.config.data, split, limit, noise, extractor=extractor, size=size)
        for name, model in checkpoints.items()
    }
    if len({tuple(evaluation.images) for evaluation in evaluations.values()}) > 1:
        raise DataError(
            f"{data or first.config.data}: has no {split} split of its own, and runs with another seed held out other "
            "pairs; give --data with a split that none of them was trained on."
        )
    return Comparison(evaluations, {name: objective(model) for name, model in checkpoints.items()}, first.names)


def load_all(paths: Sequence[str | Path]) -> dict[str, Checkpoint]:
    """Load checkpoints under short names, or under their paths as given where two would be called alike.

    Raises:
        CheckpointError: see `p2plib.load`.
        ConfigError: a checkpoint is named twice.
    """
    if len({find(path).resolve() for path in paths}) < len(paths):
        raise ConfigError("A checkpoint is named twice; name each once.")
    short = list(map(short_name, paths))
    names = short if len(set(short)) == len(short) else list(map(str, paths))
    return {name: load(path) for name, path in zip(names, paths, strict=True)}


def objective(checkpoint: Checkpoint) -> str:
    """What a checkpoint was trained on, in words."""
    config = checkpoint.info.config
    if config.gan_weight == 0:
        return "L1 only"
    weight = "" if config.gan_weight == 1 else f"{config.gan_weight:g} "
    return f"{weight}{config.gan_loss} GAN + {config.l1_weight:g} L1"


def bootstrap(
    values: np.ndarray, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """The confidence interval of a mean by the percentile bootstrap (Efron 1979).

    Args:
        values: (N,), one an image.
        resamples: how often N of the values are drawn with replacement.
        level: the share of resampled means that lie inside.
        seed: of the draws; the same for every metric and checkpoint, so that intervals repeat.

    Returns:
        Lower and upper end.
    """
    draws = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    tail = (1 - level) / 2
    # inverted_cdf picks one of the means: between two infinite ones there is nothing to interpolate
    low, high = np.quantile(values[draws].mean(axis=1), [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)
