"""The model card: describes a checkpoint from the records of its run.

Facts that are not recorded appear as unknown. The card holds no dates, local paths or user names, so the same records
always give the same text.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from p2plib import files
from p2plib.config import TrainConfig
from p2plib.data.catalog import CATALOG, Entry
from p2plib.data.dataset import open_dataset
from p2plib.data.image import save_image
from p2plib.data.pairs import spread
from p2plib.errors import ConfigError, DataError
from p2plib.evaluation.evaluate import Evaluation, evaluate, in_words, sized
from p2plib.export.sheet import SAMPLES, sample
from p2plib.hub.names import parse
from p2plib.inference import checkpoint
from p2plib.inference.checkpoint import CheckpointInfo
from p2plib.registry import TASKS
from p2plib.runtime import Plan
from p2plib.training.run import read_log

FEW_PAIRS = 1000
"""Below this number of training pairs, the card warns that they are few."""
UNKNOWN = "unknown"
SPLITS = {"train": "training", "val": "validation"}
SCALES = {
    "l1": "L1 on [-1, 1], lower is better",
    "psnr": "PSNR in dB, for images on [0, 1], higher is better",
    "ssim": "SSIM, for images on [0, 1], higher is better",
    "ms_ssim": "MS-SSIM, for images on [0, 1], higher is better",
    "perceptual": "Perceptual distance (features of EfficientNet-Lite2), lower is better",
    "ab": "Mean color error in a and b of CIE Lab, lower is better",
    "ab_grey": "Mean color error of the gray image, for comparison",
    "accuracy": "Pixel accuracy, each pixel in the class of the nearest color",
    "swd": "Sliced Wasserstein distance of patches, times 1000, lower is better",
    "kid": "KID, lower is better",
    "kid_se": "Standard error of KID",
    "fid": "FID, lower is better",
    "colourfulness": "Colorfulness (Hasler and Suesstrunk), closer to that of real images is better",
    "colourfulness_real": "Colorfulness of the real images",
    "class_accuracy": "Mean accuracy per class",
    "mean_iou": "Mean IoU of the classes",
}

HEADER = """\
---
{license}library_name: keras
pipeline_tag: image-to-image
tags:
- pix2pix
- image-to-image
- keras
---

"""
"""Metadata for the Hugging Face Hub, harmless elsewhere. The license is the owner's to name: none is put in here."""


def write_card(
    folder: str | Path,
    path: str | Path,
    evaluation: Evaluation | None = None,
    name: str | None = None,
    note: str = "",
) -> Path:
    """Write the model card, `README.md`, and its sample image, `sample.jpg`, into `folder`.

    Without an evaluation, the checkpoint is scored on as many validation pairs as its training used
    (`validation_pairs`). If the data are not available, the card has no sample, and its metrics are those stored in
    the checkpoint.

    Args:
        folder: output folder, created if missing; both files are replaced.
        path: a `.keras` file, or a run folder (its best generator).
        evaluation: result of `p2plib.evaluate` for this checkpoint.
        name: path in the usage example; None means the checkpoint's file name.
        note: a further sentence on its use.

    Returns:
        The path of `README.md`.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    folder = Path(folder)
    evaluation = evaluation or evaluated(path)
    text = model_card(path, evaluation, name, note=note)
    if evaluation is None:
        (folder / "sample.jpg").unlink(missing_ok=True)
    else:
        save_image(folder / "sample.jpg", sample(evaluation, checkpoint.read_info(checkpoint.find(path)).kinds or ()))
    files.write_text(folder / "README.md", text)
    return folder / "README.md"


def model_card(
    path: str | Path,
    evaluation: Evaluation | None = None,
    name: str | None = None,
    license: str | None = None,
    published: Path | None = None,
    note: str = "",
) -> str:
    """Build the model card as Markdown; see `write_card`. It shows `sample.jpg` if there is an evaluation.

    Args:
        path: see `write_card`.
        evaluation: see `write_card`.
        name: see `write_card`.
        license: named in the metadata, if it is given.
        published: the file that goes out in place of the one at `path`.
        note: see `write_card`.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    file = checkpoint.find(path)
    run, out = file.parent.parent, published or file
    in_run = file.parent.name == "checkpoints" and (run / "config.json").exists()
    info = checkpoint.read_info(file)
    counts = _counts(info.config)
    sections = [
        HEADER.format(license=f"license: {json.dumps(license)}\n" if license else "") + _title(info),
        _sample_section(info, evaluation) if evaluation else "",
        "## Use\n\n" + f"{_use(name or file.name, info)} {note}".strip(),
        "## Data\n\n" + _table(_data(info.config, counts)),
        "## Metrics\n\n" + (_scores(evaluation) if evaluation else _own_scores(info)),
        "## Training\n\n" + _table(_training(info, run if in_run else None)),
        "## Settings\n\n" + _settings(info.config),
        "## Limits\n\n" + _list(_limits(info, file, counts, evaluation)),
        "## File\n\n" + _table({"file": out.name, "bytes": out.stat().st_size, "SHA-256": _sha256(out)}),
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def training_facts(run: Path, rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Hardware, versions and training time of a run, as far as recorded in its folder and log rows."""
    facts: dict[str, Any] = {"epochs done": len(rows)}
    if rows:
        facts |= {"training time": timedelta(seconds=round(rows[-1]["seconds"]))}
        facts |= {"images per second": f"{rows[-1]['pictures_per_second']:.1f}"}
    record = run / "environment.json"
    if not record.exists():
        return facts
    try:
        environment = files.read_json(record)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{record}: cannot be read ({error}); restore it, or remove it to do without the facts about the machine."
        ) from error
    versions = {"python": environment["python"]} | environment["versions"]
    return facts | {
        "plan": Plan(**environment["plan"]),
        "processor": f"{environment['processor']}, {environment['cores']} cores",
        "GPUs": ", ".join(environment["gpus"]) or "none",
        "system": environment["system"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "git revision": environment["git_revision"] or "none",
    }


def evaluated(path: str | Path) -> Evaluation | None:
    """Score a checkpoint on as many validation pairs as its training used; None if the data are not here."""
    model = checkpoint.load(path)
    try:
        return evaluate(model, limit=model.info.config.validation_pairs, keep=SAMPLES)
    except DataError:
        return None


def _counts(config: TrainConfig) -> dict[str, int]:
    """Number of pairs per split: counted, or else from the catalog; unknown splits are missing."""
    try:
        dataset = open_dataset(config)
        return {split: len(dataset[split]) for split in SPLITS}
    except DataError:
        return dict(CATALOG[config.data].splits) if config.data in CATALOG else {}


def _entry(config: TrainConfig) -> Entry | None:
    return CATALOG.get(config.data)


def data_name(data: str) -> str:
    """The name of a data set, or the last part of a folder's path; the rest may reveal user names."""
    return data if data in CATALOG else re.split(r"[\\/]", data.rstrip("\\/"))[-1] or UNKNOWN


def without_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the last part of each local path in its place, for the rest may reveal user names."""
    init = config.get("init")
    names = {"data": data_name(config["data"]), "init": init if not init or parse(init) else data_name(init)}
    return dict(config) | names | {"run_dir": None}


def _title(info: CheckpointInfo) -> str:
    source, target = map(_text, info.names)
    entry, (height, width) = _entry(info.config), info.config.shape
    data = f"“{_text(entry.title)}” ({entry.name})" if entry else f"the folder “{_text(data_name(info.config.data))}”"
    does = f"takes a “{source}” image and generates the matching “{target}” image"
    made, works = "image pairs", "in RGB"
    if info.kinds:
        works = f"from {' to '.join(_text(kind.describe()) for kind in info.kinds)}"
    task = TASKS[info.config.task]()
    if task.from_photos:
        made = "photos"
    if task.keeps_lightness:
        does = "colorizes a black-and-white photo, or recolors a color photo"
        works = "and predicts a and b of CIE Lab; the result keeps the photo's own lightness, at any size"
    return (
        f"# {source} to {target}, by pix2pix\n\n"
        f"This model {does}. It is the generator of a conditional GAN (pix2pix, "
        f"[Isola et al. 2017](https://arxiv.org/abs/1611.07004)), trained with p2plib on {made} of {data}. It works at "
        f"{height} x {width} pixels, {works}."
    )


def _sample_section(info: CheckpointInfo, evaluation: Evaluation) -> str:
    shown = [evaluation.images[i] for i in spread(evaluation.shown, SAMPLES)]
    source, target = map(_text, info.names)
    split = _text(evaluation.protocol["split"])
    return (
        f"![Rows of {source}, generated {target}, expected {target}](sample.jpg)\n\n"
        f"*{source} | generated {target} | expected {target}: {_text(', '.join(shown))}, of the {split} split, evenly "
        "spaced, not cherry-picked.*"
    )


def _use(name: str, info: CheckpointInfo) -> str:
    noise = "Dropout is off at inference, so an image always gives the same result"
    can_turn_on = info.config.dropout and (name.endswith(".keras") or "://" in name)  # an exported model has none
    seed = "; `noise=1` (`--noise 1`) turns it on, with a seed" if can_turn_on else ""
    kinds = [f"{kind.dtype} (height, width, {kind.channels})" for kind in info.kinds or ()]
    arrays = f"{kinds[0]} to {kinds[1]}" if kinds else "uint8 arrays (height, width, 3)"
    return (
        f"```python\nimport p2plib\nmodel = p2plib.load({json.dumps(name)})\n"
        f"[generated] = p2plib.translate(model, [image])  # {arrays}\n```\n\n"
        f"```\npython -m p2plib translate {files.shell(name)} image.png --out translated\n```\n\n{noise}{seed}."
    )


def _data(config: TrainConfig, counts: Mapping[str, int]) -> dict[str, Any]:
    entry = _entry(config)
    known = {"title": entry.title, "terms": entry.terms, "citation": entry.citation} if entry else {"terms": UNKNOWN}
    pairs = {f"{word} pairs": counts.get(split, UNKNOWN) for split, word in SPLITS.items()}
    return {"name": data_name(config.data)} | known | pairs | {"direction": f"{config.direction} (A is the left half)"}


def _scores(evaluation: Evaluation) -> str:
    protocol = evaluation.protocol | {"data": data_name(str(evaluation.protocol["data"]))}
    protocol.pop("noise")  # "dropout" says it in words
    how = in_words(protocol, _text)
    numbers = {SCALES.get(name, name): f"{value:.4f}" for name, value in evaluation.mean.items()}
    numbers |= {SCALES.get(name, name): f"{value:.4f}" for name, value in evaluation.sets.items()}
    cut = "Both sides were resized to that size, without crops."
    if protocol.get("crops") == "center":
        cut = "Both sides are the center of the images, at their own scale."
    return f"{_table(numbers)}\n\nProtocol: {how}. {cut}"


def _own_scores(info: CheckpointInfo) -> str:
    if not info.metrics:
        return "Unknown: the checkpoint holds none, and the data were not available for this card."
    numbers = {SCALES.get(name, name): f"{value:.4f}" for name, value in info.metrics.items()}
    most = info.config.validation_pairs
    which = f"at most {most} validation pairs, evenly spaced" if most else "all validation pairs"
    return (
        f"{_table(numbers)}\n\nThese numbers were computed during training: means over {which}, "
        f"{sized(info.config.image_size, info.config.load == 'crop')}, dropout off. The data were not "
        "available for this card."
    )


def _training(info: CheckpointInfo, run: Path | None) -> dict[str, Any]:
    done = {"this checkpoint": f"epoch {info.epoch}, step {info.step}"}
    if run is None:
        return done | {"time, hardware, versions": UNKNOWN}
    facts = training_facts(run, read_log(run / "log.csv"))
    return done | facts | ({} if "versions" in facts else {"hardware, versions": UNKNOWN})


def _settings(config: TrainConfig) -> str:
    """Settings that differ from the defaults, then all; without `run_dir`, a local path."""
    defaults = TrainConfig().to_dict()
    values = without_paths(config.to_dict())
    del values["run_dir"]
    chosen = {f"`{name}`": value for name, value in values.items() if value != defaults[name]}
    everything = _table({f"`{name}`": value for name, value in values.items()})
    first = f"Different from p2plib's defaults:\n\n{_table(chosen)}" if chosen else "All are p2plib's defaults."
    return f"{first}\n\n<details><summary>All settings</summary>\n\n{everything}\n\n</details>"


def _limits(
    info: CheckpointInfo, file: Path, counts: Mapping[str, int], evaluation: Evaluation | None
) -> Iterable[str]:
    """Limits that follow from the records and from the kind of model."""
    config, train, (height, width) = info.config, counts.get("train"), info.config.shape
    few = "" if train is None or train >= FEW_PAIRS else " These are few: expect poor results on images unlike them."
    yield f"It was trained on a single data set of {train or 'an unknown number of'} training pairs.{few}"
    yield "It was not tested on other kinds of images."
    yield "Its output is a guess in the style of its training images, not a record of what is there."
    if TASKS[config.task].keeps_lightness:
        yield f"Its colors have {height} x {width} pixels, enlarged to the photo, so colors of small objects bleed."
    else:
        yield f"It sees {height} x {width} pixels at a time, without finer detail or anything beyond them."
    if config.gan_weight == 0:
        yield "It was trained without a discriminator: expect images that are too smooth."
    if not config.train_time and info.epoch < config.epochs:
        yield f"It was saved after epoch {info.epoch} of {config.epochs} planned epochs."
    if file.name == "best.keras":
        yield "It is the best of its run on the validation images, so validation metrics flatter it slightly."
    tested = evaluation.protocol["split"] if evaluation else "val"
    if tested != "test":
        yield f"Its metrics come from the {_text(tested)} split; it was not scored on a test split for this card."
    if entry := _entry(config):
        yield f"The terms of the data may limit the use of the model: “{_text(entry.terms)}”"
    else:
        yield "The terms of the data are unknown here; they may limit the use of the model."


def _table(facts: Mapping[str, Any]) -> str:
    """A two-column table; names in backticks stay code."""
    rows = [f"| {name if name.startswith('`') else _text(name)} | {_text(value)} |" for name, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _text(value: Any) -> str:
    """Any value as plain text: escape Markdown and HTML markup, and join lines."""
    return re.sub(r"([\\`*_\[\]<>#|&~])", r"\\\1", " ".join(str(value).split()))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
