"""`data`: list, download, check, combine and split data sets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from p2plib.cli.texts import explained_by
from p2plib.config import TaskName

# Functions import what they call, so that `--help` is fast, without NumPy and Pillow.


def list_data() -> None:
    """List the data sets of the catalog."""
    from p2plib.data.catalog import CATALOG
    from p2plib.data.download import dataset_dir

    for entry in CATALOG.values():
        here = "embedded" if entry.url is None else "downloaded" if dataset_dir(entry.name).exists() else "not here yet"
        splits = ", ".join(f"{count} {split}" for split, count in entry.splits.items())
        height, width = entry.size
        print(f"{entry.name}: {entry.title} ({here})")
        sides = f"A {entry.names[0]} | B {entry.names[1]}, {width}x{height} each, usually {entry.direction}"
        print(f"    {'photos, for --task colorize or sketch' if entry.photos else sides}; {splits}")
        print(f"    {entry.terms}")


@explained_by("p2plib.data.download:get")
def get(name: Annotated[Positional[str], arg(metavar="NAME")], /, force: bool = False) -> None:
    """Download a data set from the catalog into the user's cache."""
    from p2plib.data import download

    print(download.get(name, force=force))


@explained_by("p2plib.data.check:check")
def check(
    data: Annotated[Positional[str], arg(metavar="PATH-or-NAME")],
    /,
    task: TaskName = "pairs",
    sources: tuple[str, ...] = (),
    sheet: Path = Path("pairs.png"),
) -> int:
    """Open every pair and report problems by file name; the exit status is 1 if pairs are broken.

    Args:
        data: A folder of pairs or photos (see --task), or a catalog name.
        sources: Folders in it that are the source together (see train --sources).
        sheet: Where to write an image of some pairs.
    """
    from p2plib.data import check
    from p2plib.data.image import save_image

    report = check.check(data, task, sources, progress=True)
    print(report.table())
    print(report.next_step(task, sources))
    if any(report.counts.values()):
        save_image(sheet, check.sheet(data, task=task, sources=sources))
        print(f"a sheet of pairs: {sheet}")
    return 1 if report.broken else 0


@explained_by("p2plib.data.combine:combine")
def combine(
    a: Annotated[Positional[Path], arg(metavar="A")],
    b: Annotated[Positional[Path], arg(metavar="B")],
    out: Annotated[Positional[Path], arg(metavar="OUT")],
    /,
    resize: int | None = None,
    label_ids: Literal["A", "B"] | None = None,
) -> None:
    """Join two folders of images into one of side-by-side pairs: A left, B right, matched by name."""
    from p2plib.data.combine import combine

    print(combine(a, b, out, resize, label_ids, progress=sys.stderr.isatty()))


@explained_by("p2plib.data.slices:slices")
def slices(
    data: Annotated[Positional[Path], arg(metavar="FOLDER")],
    out: Annotated[Positional[Path], arg(metavar="OUT")],
    /,
) -> None:
    """Cut the NIfTI and DICOM volumes in a folder into slices, one file each."""
    from p2plib.data.slices import slices

    print(slices(data, out, progress=sys.stderr.isatty()))


@explained_by("p2plib.data.pack:pack")
def pack(
    data: Annotated[Positional[str], arg(metavar="PATH-or-NAME")],
    out: Annotated[Positional[Path], arg(metavar="OUT")],
    /,
    task: TaskName = "pairs",
    sources: tuple[str, ...] = (),
    shard_size: float = 256,
    skip_broken: bool = False,
) -> None:
    """Pack a data set into a few large files, for many pairs or for an object store.

    Args:
        data: A folder of pairs or photos (see --task), or a catalog name.
        sources: Folders in it that are the source together (see train --sources).
    """
    from p2plib.data.pack import pack

    print(pack(data, out, task, sources, shard_size, skip_broken, progress=sys.stderr.isatty()))


@explained_by("p2plib.data.combine:split")
def split(
    data: Annotated[Positional[Path], arg(metavar="FOLDER")],
    /,
    out: Path | None = None,
    val: float = 0.1,
    test: float = 0.0,
    seed: int = 0,
) -> None:
    """Copy a folder of pairs into train, val and test.

    Args:
        out: The output folder; default: FOLDER-split, next to it.
    """
    from p2plib.data.combine import split

    out = out or data.resolve().with_name(f"{data.resolve().name}-split")
    print(split(data, out, val, test, seed, progress=sys.stderr.isatty()))


COMMANDS: dict[str, Callable[..., Any]] = {
    "list": list_data,
    "get": get,
    "check": check,
    "combine": combine,
    "split": split,
    "slices": slices,
    "pack": pack,
}
