"""Publishes a trained model: its checkpoint, exports, card with sample sheet, and metrics, to a hub.

What leaves is made up and listed before anything is sent. No path of this computer leaves: the descriptions in
checkpoint and exports name data and models by the last part of their path, as the card does. The last file is a
manifest, by which `p2plib.load` verifies the others.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2plib.data.catalog import CATALOG
from p2plib.data.image import save_image
from p2plib.errors import CheckpointError, ConfigError
from p2plib.evaluation.evaluate import Evaluation, without_infinity
from p2plib.export import card
from p2plib.export.sheet import sample
from p2plib.files import write_text
from p2plib.hub import huggingface, kaggle_models, manifest
from p2plib.hub.faults import explained, quiet
from p2plib.hub.fetch import require
from p2plib.hub.names import Name, parse
from p2plib.inference import checkpoint
from p2plib.inference.checkpoint import INFO, CheckpointInfo
from p2plib.inference.engines import format_of

METRICS = "metrics.json"
"""Means of the metrics, and their protocol."""
_RESULTS = "result_grid.png"
"""The sheet of a run's report; it goes along if the data for a new one are not here."""


@dataclass
class Parcel:
    """What is to leave, by its path on the hub."""

    info: CheckpointInfo
    files: dict[str, Path] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    """What a person should know about a file, beside its name."""
    left_out: list[str] = field(default_factory=list)
    """Lines about what stays here, and why."""

    def lines(self) -> Iterator[str]:
        """A table of the files with their sizes."""
        sizes = {name: path.stat().st_size for name, path in sorted(self.files.items())}
        for name, size in sizes.items():
            remark = f"  ({self.remarks[name]})" if name in self.remarks else ""
            yield f"{size / 1e6:10.3f} MB  {name}{remark}"
        yield f"{sum(sizes.values()) / 1e6:10.3f} MB  in {len(sizes)} files"
        yield from self.left_out


def publish(
    run: str | Path,
    to: str,
    license: str | None = None,
    file: str | None = None,
    public: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None] = print,
) -> str | None:
    """Publish a model to the Hugging Face Hub or to Kaggle; what is there under this name becomes its former version.

    Args:
        run: a run folder (its best generator), or a .keras file.
        to: hf://OWNER/NAME or kaggle://OWNER/MODEL. It is created if it does not exist.
        license: of the model, as the hub calls it: mit, on Kaggle MIT. The terms of the data may limit the choice.
        file: another checkpoint of the run, such as last.keras.
        public: let everybody see it; by default, only you can. Kaggle offers this on the model's page only.
        dry_run: only list what would leave.
        say: called with each line of the list.

    Returns:
        The address of the model; None after a dry run.

    Raises:
        CheckpointError, ConfigError: there is no such checkpoint, the license is not named, `to` is no name of a model.
        HubError: the hub's package is missing, or the hub did not take it; what it had is unchanged.

    Example:
        >>> publish("runs/maps", "hf://alice/maps", license="mit", dry_run=True)
    """
    name = _target(to, public)
    path = _checkpoint(run, file)
    license = _named(license, info := checkpoint.read_info(path))
    if not dry_run:
        require(name)
    with tempfile.TemporaryDirectory(prefix="p2plib-publish-") as folder:
        parcel = pack(path, info, name, license, Path(folder))
        for line in (_title(name, public, license, dry_run), *parcel.lines()):
            say(line)
        return None if dry_run else _send(name, parcel, license, public)


def pack(path: Path, info: CheckpointInfo, name: Name, license: str, folder: Path) -> Parcel:
    """Make up what leaves.

    Args:
        path: the checkpoint.
        info: its description.
        name: where it goes.
        license: its license.
        folder: an empty folder for files that are made for this.
    """
    parcel = Parcel(info, {path.name: folder / path.name})
    _copy_checkpoint(path, folder / path.name)
    evaluation = card.evaluated(path)
    text = card.model_card(path, evaluation, str(name), license, folder / path.name)
    write_text(folder / "README.md", text)
    write_text(folder / METRICS, json.dumps(_metrics(info, evaluation), indent=1, allow_nan=False) + "\n")
    parcel.files |= {"README.md": folder / "README.md", METRICS: folder / METRICS}
    if evaluation is not None:
        save_image(folder / "sample.jpg", sample(evaluation, info.kinds or ()))
        parcel.files["sample.jpg"] = folder / "sample.jpg"
        parcel.remarks["sample.jpg"] = f"shows images of the {evaluation.protocol['split']} split"
    elif path.parent.name == "checkpoints" and (sheet := path.parent.parent / _RESULTS).is_file():
        parcel.files[_RESULTS] = sheet
        parcel.remarks[_RESULTS] = "shows images of the val split"
    _add_exports(parcel, path, folder)
    entries = [manifest.describe(local, name) for name, local in parcel.files.items()]
    write_text(folder / manifest.MANIFEST, manifest.to_json(entries))
    parcel.files[manifest.MANIFEST] = folder / manifest.MANIFEST
    return parcel


def _target(to: str, public: bool) -> Name:
    name = parse(to)
    if name is None or name.revision or name.file:
        raise ConfigError(f"{to}: is no place for a model; give hf://OWNER/NAME or kaggle://OWNER/MODEL.")
    if public and name.hub == "kaggle":
        raise ConfigError(
            "kagglehub makes models private; leave --public out, and make it public on its page afterwards."
        )
    return name


def _checkpoint(run: str | Path, file: str | None) -> Path:
    """The checkpoint to publish."""
    if parse(run):
        raise ConfigError(f"{run}: is on a hub already; give a run folder or a .keras file of this computer.")
    path = checkpoint.find(Path(run, "checkpoints", file) if file else run)
    if path.is_dir():
        raise CheckpointError(f"{path}: an export goes with its checkpoint; give the run folder or a .keras file.")
    return path


def _title(name: Name, public: bool, license: str, dry_run: bool) -> str:
    seen = "private, unless it is public there already" if name.hub == "kaggle" else "public" if public else "private"
    return f"{'Would leave' if dry_run else 'Leaves'} this computer for {name} ({seen}; license {license}):"


def _named(license: str | None, info: CheckpointInfo) -> str:
    """The license, which nobody but the owner can choose."""
    if license and license.strip():
        return license.strip()
    entry = CATALOG.get(info.config.data)
    terms = f"are “{entry.terms}”" if entry else "are not known here"
    raise ConfigError(
        "Name the license that you publish the model under, such as --license mit or --license cc-by-4.0 (on Kaggle: "
        f"--license MIT or --license 'CC BY 4.0'); p2plib does not choose it for you, and the terms of the training "
        f"data {terms}."
    )


def _copy_checkpoint(source: Path, target: Path) -> None:
    """Copy a checkpoint without the paths of this computer; the same file gives the same copy, to the byte."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            if member.filename == INFO:
                new.writestr(member, _without_paths(old.read(member).decode()))
                continue
            with old.open(member) as content, new.open(member, "w", force_zip64=True) as copy:
                shutil.copyfileobj(content, copy)


def _without_paths(text: str) -> str:
    """The description of a checkpoint or an export, with the last part of each path in its place."""
    values = json.loads(text)
    return json.dumps(values | {"config": card.without_paths(values["config"])}, indent=1)


def _metrics(info: CheckpointInfo, evaluation: Evaluation | None) -> dict[str, Any]:
    done = {"epoch": info.epoch, "step": info.step}
    if evaluation is None:
        return done | {"mean": without_infinity(info.metrics), "protocol": "computed during training"}
    protocol = evaluation.protocol | {"data": card.data_name(str(evaluation.protocol["data"]))}
    return done | {"mean": without_infinity(evaluation.mean), "sets": evaluation.sets, "protocol": protocol}


def _add_exports(parcel: Parcel, path: Path, folder: Path) -> None:
    """Add the exports beside the checkpoint that were made of it."""
    home = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    for export in sorted(home.joinpath("export").glob("*")):
        if export.name.startswith(".") or not (export / INFO).is_file() or format_of(export) is None:
            continue
        text = (export / INFO).read_text(encoding="utf-8")
        info = checkpoint.read_info(export)
        if (info.step, info.epoch) != (parcel.info.step, parcel.info.epoch):
            parcel.left_out.append(
                f"stays here: export/{export.name}, made of step {info.step}, not of this step {parcel.info.step}"
            )
            continue
        for file in sorted(export.rglob("*")):
            inside = file.relative_to(export)
            if file.is_file() and not file.is_symlink() and not any(part.startswith(".") for part in inside.parts):
                parcel.files[f"export/{export.name}/{inside.as_posix()}"] = file
        described = folder / "export" / export.name / INFO
        write_text(described, _without_paths(text))
        parcel.files[f"export/{export.name}/{INFO}"] = described


def _send(name: Name, parcel: Parcel, license: str, public: bool) -> str:
    note = f"Step {parcel.info.step}, epoch {parcel.info.epoch}, by p2plib"
    try:
        with quiet():
            if name.hub == "hf":
                return huggingface.publish(name, parcel.files, note, public)
            return kaggle_models.publish(name, parcel.files, note, license)
    except Exception as error:  # each package has its own, and some of them change with its version
        raise explained(name, error, sending=True) from error
