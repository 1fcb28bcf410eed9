"""Translates whole folders of image files, and continues where an interrupted call stopped.

Folders are searched to any depth and mirrored: `photos/trip/a.jpg` of the input `photos` becomes `out/trip/a.png`.
Class masks of numbers become palette PNGs, with the names of the classes in the text chunk "classes". Results that PNG
cannot hold, and those of GeoTIFFs, which keep their georeference, become `.tif`. A GeoTIFF is read and
written row by row, if the model sees images at their own scale (`load` "crop"), so it may be larger than memory.
If the source is several folders, these are expected in an input; else a file holds all channels itself.
Names that start with a dot are skipped, as is an `out` inside an input. Broken images are reported and left out.

Each result holds a record of how it was made (PNG text chunk "p2plib", or TIFF's description): the model's description,
the settings, and the size and modification time of its source. A later call skips results whose record still matches.

Results are upright, and sRGB where they are 8-bit RGB. They keep the EXIF fields that also describe the result: title,
dates, author, copyright and GPS position. Camera, exposure, orientation and thumbnail are dropped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin
from tqdm import tqdm

from p2plib.data import rasters
from p2plib.data.ahead import ahead
from p2plib.data.formats import READABLE, files_below, is_image, unsupported
from p2plib.data.image import count_images
from p2plib.data.kind import ImageKind
from p2plib.data.stack import partners, read_stacked
from p2plib.data.values import DESCRIPTION, read_description, write_values
from p2plib.errors import DataError, WriteError
from p2plib.files import part_name, replacing
from p2plib.inference.rows import BATCH, is_streamed, write_rows
from p2plib.inference.translate import translate

if TYPE_CHECKING:
    from p2plib.inference.checkpoint import Checkpoint

AHEAD = 3
"""Images decoded ahead while the network runs; one of 8192x8192 pixels takes 200 MB."""
_TAGS = ("ImageDescription", "DateTime", "Artist", "Copyright")
_TAGS_OF_TAKING = ("DateTimeOriginal", "OffsetTimeOriginal")


@dataclass(frozen=True)
class Translated:
    """The outcome for each image, in the order of the inputs."""

    written: list[Path] = field(default_factory=list)
    """Results written by this call."""
    skipped: list[Path] = field(default_factory=list)
    """Existing results from the same files, model and settings."""
    failed: dict[Path, str] = field(default_factory=dict)
    """Images that cannot be read, with the reasons."""
    several: dict[Path, int] = field(default_factory=dict)
    """Files that hold several images, pages or frames, and how many; the first of each is translated."""


@dataclass(frozen=True)
class _Job:
    """One image to translate, and the record of its result."""

    source: Path
    target: Path
    record: str


def translate_files(
    checkpoint: Checkpoint,
    inputs: Sequence[str | Path],
    out: str | Path,
    noise: int | None = None,
    fit: bool = False,
    compare: bool = False,
    force: bool = False,
    progress: bool = False,
) -> Translated:
    """Translate image files into files of the same names in `out`; see the top of this file.

    Args:
        checkpoint: from `p2plib.load`.
        inputs: image files, or folders of them. Each image is used whole: side-by-side pairs are not split.
        out: output folder, created if missing; files of the same names are replaced.
        noise: see `translate`.
        fit: see `translate`.
        compare: write source | generated, side by side.
        force: redo everything instead of skipping existing results.
        progress: show progress bars on stderr.

    Raises:
        DataError: an input is missing or would be overwritten, two share an output file, or `out` is not writable.
        ConfigError: see `translate`.
    """
    jobs = _jobs(inputs, Path(out), _record(checkpoint, noise, fit, compare), *checkpoint.kinds)
    _remove_leftovers(jobs)
    done = Translated(skipped=[] if force else [job.target for job in jobs if _is_finished(job)])
    todo = _others(jobs, done.skipped)
    small = todo if fit or compare else _without_large(checkpoint, todo, done, noise, progress)
    with tqdm(total=len(small), desc="images", unit="image", disable=not progress) as bar:
        for batch in _batches(small, checkpoint, done):
            generated = translate(checkpoint, [image for _, image in batch], noise, BATCH, fit, progress)
            for (job, image), result in zip(batch, generated, strict=True):
                shown, kind = (_beside(checkpoint, image, result), None) if compare else (result, checkpoint.kinds[1])
                write_result(job.target, shown, kind, job.source, job.record)
            bar.update(len(batch))
    done.written.extend(job.target for job in todo if job.source not in done.failed)
    return done


def _beside(checkpoint: Checkpoint, image: np.ndarray, result: np.ndarray) -> np.ndarray:
    source, target = checkpoint.kinds
    return np.hstack([source.preview(image), target.preview(result)])


def _others(jobs: Sequence[_Job], finished: Sequence[Path]) -> list[_Job]:
    known = set(finished)
    return [job for job in jobs if job.target not in known]


def _is_finished(job: _Job) -> bool:
    return read_description(job.target) == job.record


def _without_large(
    checkpoint: Checkpoint, jobs: Sequence[_Job], done: Translated, noise: int | None, progress: bool
) -> list[_Job]:
    """Translate the large rasters row by row, and return the other jobs. What cannot be read is noted in `done`."""
    large = [job for job in jobs if is_streamed(checkpoint, job.source)]
    for job in large:
        try:
            write_rows(checkpoint, job.source, job.target, job.record, noise, progress)
        except DataError as error:
            done.failed[job.source] = str(error)
    return _others(jobs, [job.target for job in large])


def _batches(jobs: Sequence[_Job], checkpoint: Checkpoint, done: Translated) -> Iterator[list[tuple[_Job, np.ndarray]]]:
    """Yield decoded images: up to `BATCH` if they fit the model, larger ones alone. What is odd is noted in `done`."""
    small: list[tuple[_Job, np.ndarray]] = []
    (height, width), source = checkpoint.shape, checkpoint.kinds[0]
    for job, (image, count) in ahead(lambda job: _read(job, source), jobs, AHEAD):
        if count > 1:
            done.several[job.source] = count
        if isinstance(image, DataError):
            done.failed[job.source] = str(image)
        elif image.shape[0] > height or image.shape[1] > width:
            yield [(job, image)]
        else:
            small.append((job, image))
        if len(small) == BATCH:
            yield small
            small = []
    if small:
        yield small


def _jobs(
    inputs: Sequence[str | Path], out: Path, record: dict[str, Any], source: ImageKind, kind: ImageKind
) -> list[_Job]:
    """List all images to translate, checked before anything is written."""
    named = [item for entry in inputs for item in _images(Path(entry), out, source)]
    found = [(file, out / name.with_suffix(result_suffix(file, kind, record["compare"]))) for file, name in named]
    if not found:
        raise DataError("There is nothing to translate; give image files or folders.")
    sources = {file.resolve() for file, _ in found}
    first: dict[Path, Path] = {}
    for file, target in found:
        if target.resolve() in sources:
            raise DataError(f"{target} is one of the inputs and would be overwritten; choose another output folder.")
        if target in first:
            raise DataError(
                f"{first[target]} and {file} would both be written to {target}; rename one, or translate them into "
                "different folders."
            )
        first[target] = file
    return [_Job(file, target, json.dumps(record | _state(file, source))) for file, target in found]


def result_suffix(source: Path | None, target: ImageKind, compare: bool = False) -> str:
    """The format of a result: PNG where it holds the values, TIFF otherwise and to keep a georeference."""
    fits = (target.dtype, target.channels) in {("uint8", 1), ("uint8", 3), ("uint8", 4), ("uint16", 1)}
    return ".png" if compare or (fits and not (source and rasters.has_place(source))) else ".tif"


def _images(entry: Path, out: Path, source: ImageKind) -> Iterator[tuple[Path, Path]]:
    """Yield the image files of an input, each with its path below the output folder; of a stack, the first part's."""
    if source.parts and (first := entry / source.parts[0].name).is_dir():
        entry = first
    if entry.is_file():
        yield entry, Path(entry.name)
        return
    if not entry.is_dir():
        raise DataError(f"{entry}: no such file or folder.")
    folder, results = entry.resolve(), out.resolve()
    if folder == results:
        raise DataError(f"{out}: results cannot go into the input folder; choose another output folder.")
    inside = results.relative_to(folder).parts if results.is_relative_to(folder) else None
    files = [file for file in files_below(entry) if is_image(file, entry) or unsupported(file, entry)]
    names = [(file, file.relative_to(entry)) for file in files]
    names = [(file, name) for file, name in names if inside is None or name.parts[: len(inside)] != inside]
    yield from names
    if not names:
        raise DataError(f"{entry}: no images in this folder ({READABLE}).")


def _record(checkpoint: Checkpoint, noise: int | None, fit: bool, compare: bool) -> dict[str, Any]:
    """Record how this call makes its results, without the sources. No paths: results may be published."""
    model = hashlib.sha256(checkpoint.info.to_json().encode()).hexdigest()[:16]
    return {"model": model, "step": checkpoint.info.step, "noise": noise, "fit": fit, "compare": compare}


def _state(file: Path, source: ImageKind) -> dict[str, int]:
    files = [file]
    with contextlib.suppress(DataError):  # reported when it is read
        files = [*partners(file, source)]
    states = [path.stat() for path in files]
    return {
        "source_bytes": sum(state.st_size for state in states),
        "source_time": max(state.st_mtime_ns for state in states),
    }


def _remove_leftovers(jobs: list[_Job]) -> None:
    """Remove temporary files that a killed call left for these results, and nothing else in `out`."""
    names = {part_name(job.target.stem) for job in jobs}
    for folder in {job.target.parent for job in jobs}:
        for path in [*folder.glob(".*.part.png"), *folder.glob(".*.part.tif")]:
            if path.name[1:].rsplit(".", 3)[0] in names:
                path.unlink(missing_ok=True)


def _read(job: _Job, kind: ImageKind) -> tuple[np.ndarray | DataError, int]:
    """The first image of a file, or why it cannot be read, and how many the file holds."""
    try:
        if why := unsupported(job.source, job.source.parent):
            raise DataError(f"{job.source}: {why}.")
        image = read_stacked(job.source, kind, missing=kind.low)
        if not kind.plain:
            return image, 1
        with Image.open(job.source) as opened:
            return image, count_images(opened)
    except DataError as error:
        return error, 1


def write_result(
    path: Path, image: np.ndarray, kind: ImageKind | None = None, source: Path | None = None, record: str = ""
) -> None:
    """Write a result as `translate_files` does.

    Args:
        path: the file, ending as `result_suffix` says.
        image: stored values (H, W, C).
        kind: what they are; None: 8-bit RGB.
        source: the file it was made of, whose georeference and EXIF fields it keeps; see the top of this file.
        record: how it was made.

    Raises:
        DataError: it cannot be written.
    """
    texts = PngImagePlugin.PngInfo()
    if record:
        texts.add_text(DESCRIPTION, record)
    try:
        opened = _with_palette(image, kind, texts) if kind and kind.form == "ids" else None
        if path.suffix == ".tif" or not (opened or image.shape[-1] == 3):
            write_values(path, image, source if source and rasters.has_place(source) else None, record)
            return
        with replacing(path) as temporary:
            exif = _exif(source) if source else b""
            (opened or Image.fromarray(image)).save(temporary, pnginfo=texts, exif=exif)
    except WriteError as error:
        raise DataError(f"{error} What is finished stays, and the same command goes on there.") from error


def _with_palette(numbers: np.ndarray, kind: ImageKind, record: PngImagePlugin.PngInfo) -> Image.Image:
    """Class numbers (H, W, 1) as an image whose palette has the colors of the classes; their names go to the record."""
    colors = np.zeros((256, 3), np.uint8)
    colors[list(kind.ids)] = list(kind.classes.values())
    opened = Image.fromarray(numbers[..., 0])
    opened.putpalette(colors.tobytes())
    record.add_itxt("classes", json.dumps(dict(zip(kind.classes, kind.ids, strict=True)), ensure_ascii=False))
    return opened


def _exif(source: Path) -> bytes:
    """The EXIF fields to keep (see the top of this file); empty if they are damaged."""
    with contextlib.suppress(Exception), Image.open(source) as opened:
        old, kept = opened.getexif(), Image.Exif()
        taken = old.get_ifd(ExifTags.IFD.Exif)
        for name in _TAGS:
            if ExifTags.Base[name] in old:
                kept[ExifTags.Base[name]] = old[ExifTags.Base[name]]
        dates = {tag: taken[tag] for name in _TAGS_OF_TAKING if (tag := ExifTags.Base[name]) in taken}
        for ifd, values in ((ExifTags.IFD.Exif, dates), (ExifTags.IFD.GPSInfo, old.get_ifd(ExifTags.IFD.GPSInfo))):
            if values:
                kept[ifd] = dict(values)
        return kept.tobytes() if len(kept) else b""
    return b""
