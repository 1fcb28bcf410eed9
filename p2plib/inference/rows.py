"""Large rasters, translated row by row."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from p2plib.data import rasters
from p2plib.data.image import Shape
from p2plib.data.kind import ImageKind
from p2plib.data.stack import partners
from p2plib.data.stored import holds, is_missing
from p2plib.errors import DataError
from p2plib.inference.translate import translate_rows

if TYPE_CHECKING:
    from p2plib.inference.checkpoint import Checkpoint

BATCH = 8
"""Images per call of the network, if they are no larger than the model."""
STREAMED = 1 << 24
"""Rasters of more pixels than this are translated row by row where possible."""


def is_streamed(checkpoint: Checkpoint, source: Path) -> bool:
    """Whether a file is translated row by row: a large raster, and a model that sees images at their own scale."""
    if checkpoint.info.scale or checkpoint.task.keeps_lightness or not rasters.has_place(source):
        return False
    height, width, *_ = rasters.raster_header(source).stored
    return height * width > STREAMED


def write_rows(
    checkpoint: Checkpoint, path: Path, result: Path, record: str, noise: int | None = None, progress: bool = False
) -> None:
    """Translate a raster, or the rasters of a stack, in bounded memory.

    What has no data in the (first) source has none in the result, if its type allows that.

    Args:
        checkpoint: from `p2plib.load`.
        path: the raster; of a stack, that of the first part.
        result: the GeoTIFF to write.
        record: a text that it keeps as its description.
        noise: see `translate`.
        progress: show a progress bar on stderr.

    Raises:
        DataError: it cannot be read, or holds something else than the model was trained on.
    """
    source, target = checkpoint.kinds
    files = partners(path, source)
    kinds = source.parts if len(files) > 1 else (source,)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(rasters.open_raster(file)) for file in files]
        first = opened[0]
        shape = first.height, first.width
        for raster, kind in zip(opened, kinds, strict=True):
            _refuse_others(raster, kind, shape)

        def read(top: int, bottom: int) -> np.ndarray:
            parts = [_filled(raster, kind, top, bottom) for raster, kind in zip(opened, kinds, strict=True)]
            return np.concatenate(parts, axis=-1).astype(source.dtype, copy=False)

        rows, top = translate_rows(checkpoint, read, shape, noise, BATCH, progress), 0
        size = (*shape, target.channels, target.dtype)
        with rasters.create_raster(result, *size, like=path, description=record) as written:
            for values in rows:
                if first.nodata is not None and holds(target.dtype, first.nodata):
                    values[is_missing(first.read(top, 0, len(values), first.width), first.nodata)] = first.nodata
                written.write(values, top, 0)
                top += len(values)


def _filled(raster: rasters.Raster, kind: ImageKind, top: int, bottom: int) -> np.ndarray:
    """Rows of a raster, with the lowest value where there is none."""
    values = raster.read(top, 0, bottom - top, raster.width)
    values[is_missing(values, raster.nodata)] = kind.low
    return values


def _refuse_others(raster: rasters.Raster, kind: ImageKind, shape: Shape) -> None:
    """Raise a DataError unless a raster is of this kind and size."""
    if (raster.height, raster.width, raster.channels, raster.dtype) != (*shape, kind.channels, kind.dtype):
        found = f"{raster.width}x{raster.height} pixels of {raster.channels} channels of {raster.dtype}"
        wanted = f"{shape[1]}x{shape[0]} of {kind.channels} of {kind.dtype}"
        raise DataError(f"{raster.path}: holds {found}, not {wanted}; convert it.")
