"""Source pictures in, generated pictures out: the one engine behind notebooks, command line and validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from p2plib import runtime
from p2plib.data import images
from p2plib.errors import DataError

if TYPE_CHECKING:
    import keras

    from p2plib.checkpoint import Checkpoint


def translate(
    checkpoint: Checkpoint, pictures: Sequence[np.ndarray], noise: int | None = None, batch_size: int = 8
) -> list[np.ndarray]:
    """Translate pictures of any size.

    The generator works at its own size, `checkpoint.size`; other pictures are resized there and back.

    Args:
        checkpoint: what `p2plib.load` returns.
        pictures: uint8 arrays (H, W, 3).
        noise: None switches dropout off: the same picture every time. A number seeds the paper's test-time dropout;
            a picture then gets the same noise alone or among others.
        batch_size: pictures in a call of the network; it does not change the result.

    Returns:
        uint8 arrays, each of the size of its source.
    """
    size = checkpoint.size
    sources = np.stack([images.resize(picture, size, size) for picture in pictures])
    generated = generate(checkpoint.generator, sources, noise, batch_size)
    return [images.resize(new, *old.shape[:2]) for new, old in zip(generated, pictures, strict=True)]


def generate(generator: keras.Model, sources: np.ndarray, noise: int | None = None, batch_size: int = 8) -> np.ndarray:
    """Run the generator on uint8 pictures (N, S, S, 3) of its own size; returns the same shape, uint8."""
    with runtime.one_device():
        if noise is not None:
            return np.concatenate([_with_noise(generator, source[None], noise) for source in sources])
        chunks = [sources[i : i + batch_size] for i in range(0, len(sources), batch_size)]
        return np.concatenate([_predict(generator, chunk, len(chunks[0])) for chunk in chunks])


def _predict(generator: keras.Model, chunk: np.ndarray, full: int) -> np.ndarray:
    """One call of the network, filled up to a constant batch size, since another shape is compiled anew."""
    filled = np.concatenate([chunk, np.zeros((full - len(chunk), *chunk.shape[1:]), np.uint8)])
    return images.to_uint8(generator.predict_on_batch(images.to_float(filled)))[: len(chunk)]


def _with_noise(generator: keras.Model, source: np.ndarray, noise: int) -> np.ndarray:
    """One picture with dropout on. Alone, since the mask depends on the batch it is drawn for."""
    from keras import ops

    from p2plib.models.layers import set_dropout_seeds

    set_dropout_seeds(generator, noise)
    return images.to_uint8(ops.convert_to_numpy(generator(images.to_float(source), training=True)))


def translate_files(
    checkpoint: Checkpoint,
    inputs: Sequence[str | Path],
    out: str | Path,
    noise: int | None = None,
) -> list[Path]:
    """Translate picture files into the folder `out`, as PNG files of the same names.

    Args:
        checkpoint: what `p2plib.load` returns.
        inputs: picture files, or folders whose pictures are meant. A picture is taken whole: one that holds a pair
            side by side is not cut.
        out: folder, made if missing; files of the same names in it are replaced.
        noise: see `translate`.

    Returns:
        The files written.

    Raises:
        DataError: an input is missing or unreadable, or two inputs would give one output file.
    """
    files = [file for entry in inputs for file in _pictures(Path(entry))]
    if not files:
        raise DataError("There is nothing to translate; give picture files or folders.")
    targets = [Path(out) / f"{file.stem}.png" for file in files]
    twice = {target for target in targets if targets.count(target) > 1}
    if twice:
        raise DataError(f"Several inputs would be written to {min(twice)}; translate them into different folders.")
    for file, target in zip(files, targets, strict=True):
        images.save(target, translate(checkpoint, [images.read_rgb(file)], noise)[0])
    return targets


def _pictures(path: Path) -> list[Path]:
    if path.is_dir():
        shown = (file for file in path.iterdir() if not file.name.startswith("."))
        found = sorted(file for file in shown if file.suffix.lower() in images.SUFFIXES)
        if not found:
            raise DataError(f"{path}: no pictures in this folder (JPEG, PNG or WebP).")
        return found
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder.")
    return [path]
