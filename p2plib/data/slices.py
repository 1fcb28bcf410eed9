"""Cuts medical volumes into slices, one file each, so that pairs of volumes become pairs of images."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from p2plib.data import medical
from p2plib.data.combine import Written, new_folder, read_folder
from p2plib.data.formats import count_others, files_below, is_hidden
from p2plib.data.layout import side_named, split_named
from p2plib.data.values import count_slices, read_values, write_values
from p2plib.errors import DataError


class _Slice(NamedTuple):
    """Slice `number` of a file, and where it goes, relative to the result."""

    file: Path
    number: int
    name: Path


def slices(data: Path, out: Path, progress: bool = False) -> Written:
    """Write every slice of the volumes in a folder as an NPY file, at the same place in another folder.

    `A/p1.nii.gz` becomes `A/p1-000.npy`, `A/p1-001.npy`, ... So does a folder `A/p1/` with the DICOM files of one
    series, in the order of their place in the body, and a DICOM file of several frames. Volumes of both sides that have
    the same name and the same slices thus become pairs. Values are those of `values.read_values`, such as Hounsfield
    units. Slices are counted from the feet.

    Args:
        data: the folder, at any depth.
        out: the folder to write, which must be new or empty.
        progress: show a bar on stderr.

    Raises:
        DataError: a volume cannot be read, or needs an extra that is not installed; a folder holds several series;
            there are no volumes; or `out` is not empty or not writable. Nothing is written then.
    """
    from tqdm import tqdm

    data = read_folder(data)
    files = [path for path in files_below(data) if not is_hidden(path, data)]
    found = [*_of_files(data, files), *_of_series(data, files)]
    used = {one.file for one in found}
    if not used:
        raise DataError(f"{data}: no NIfTI or DICOM files found.")
    with new_folder(out, data) as place:
        for one in tqdm(found, "slices", unit="slice", disable=not progress):
            target = place / one.name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_values(target, read_values(one.file, one.number))
    counts = Counter(one.name.parent.as_posix() for one in found)
    return Written(out, dict(counts), count_others(data, files, used))


def _of_files(root: Path, files: Sequence[Path]) -> Iterator[_Slice]:
    """The slices of NIfTI volumes, and of DICOM files that hold several."""
    for path in files:
        if medical.is_nifti(path) or (medical.is_dicom(path) and count_slices(path) > 1):
            stem = path.name.removesuffix(".gz").rsplit(".", 1)[0] or path.name
            name = path.relative_to(root).with_name(stem)
            yield from (_Slice(path, i, _numbered(name, i)) for i in range(count_slices(path)))


def _of_series(root: Path, files: Sequence[Path]) -> Iterator[_Slice]:
    """The slices of DICOM series: the files of a folder that hold one each."""
    series: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        if medical.is_dicom(path) and count_slices(path) == 1:
            series[path.parent].append(path)
    for folder, paths in series.items():
        places = {path: medical.place_of_dicom(path) for path in paths}
        if len(names := {name for name, _ in places.values()}) > 1:
            raise DataError(f"{folder}: holds {len(names)} DICOM series; put each into a folder of its own.")
        ordered = sorted(paths, key=lambda path: (places[path][1], path.name))
        name = folder.relative_to(root)
        is_side = folder == root or split_named(folder.name) or side_named(folder.name)
        name = name / "slice" if is_side else name
        yield from (_Slice(path, 0, _numbered(name, i)) for i, path in enumerate(ordered))


def _numbered(name: Path, i: int) -> Path:
    return name.with_name(f"{name.name}-{i:03}.npy")
