"""Sketches of photos, made by scikit-image without a neural network, and random variations like those of a hand."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, PngImagePlugin
from tqdm import tqdm

from p2plib.data.download import cache_dir
from p2plib.data.image import read_rgb, resize_image
from p2plib.errors import DataError, WriteError
from p2plib.files import replacing

VERSION = 1
"""Version of the drawings. Raise it with every change that is visible in them, so that cached ones are not used."""
WEAK = 0.3
"""A line continues while its slope is at least this share of the slope that starts a line."""
FAINTEST = 0.01
"""Slopes below this, in brightness per pixel, count as noise in any photo."""
_said: set[str] = set()
_saying = threading.Lock()
CELLS = 4
"""Cells per side of the grid whose corners `augment_strokes` shifts; points in between shift in proportion."""
SHIFT = 0.012
"""Standard deviation of these shifts, as a share of the side: 3 pixels of 256."""
GAPS = 5
"""The highest number of gaps in the strokes."""
GAP = 0.03
"""Width of a gap, as a share of the side."""


@dataclass(frozen=True)
class Style:
    """How a photo is drawn.

    Attributes:
        method: "canny" draws lines of even thickness along edges (Canny 1986); "dog" draws what is darker than its
            surroundings, in grays, as a pencil does (difference of Gaussians; Winnemoeller et al. 2012).
        sigma: standard deviation of the Gaussian blur, in pixels of the drawing. A higher value leaves out more detail.
        strength: canny: the slope that starts a line, as a share of the photo's steepest slopes, so that dim photos
            have lines, too. dog: how dark a difference becomes.
        thickness: thickness of canny's lines, in pixels of the drawing.
        smallest: canny's lines with fewer pixels than this are left out.
        size: the photo is shrunk to this many pixels on its longer side first, and the drawing is enlarged afterward,
            so that lines look the same for photos of any size.
    """

    method: Literal["canny", "dog"] = "canny"
    sigma: float = 2.0
    strength: float = 0.35
    thickness: int = 1
    smallest: int = 30
    size: int = 256


EDGES = Style()
"""Thin black lines, tuned to look like those of edges2shoes; `benchmarks/sketches.py` compares them."""
PENCIL = Style(method="dog", sigma=1.0, strength=18.0)
"""Soft grays."""


def available() -> bool:
    """Whether scikit-image, which sketches need, is installed."""
    return find_spec("skimage") is not None


def require() -> None:
    """Raise a DataError that says how to install scikit-image, if it is missing."""
    if not available():
        raise DataError("scikit-image is not installed, which sketches need; run: pip install 'p2plib[sketch]'")


def sketch(image: np.ndarray, style: Style = EDGES) -> np.ndarray:
    """Draw a photo: dark strokes on white. The same photo always gives the same drawing.

    Args:
        image: uint8 (H, W, 3), of any size.
        style: how to draw it.

    Returns:
        uint8 (H, W, 3), gray: the three channels are equal.

    Raises:
        DataError: scikit-image is not installed.
    """
    return _enlarge(_draw(image, style), image.shape[:2])


def cached_sketch(path: Path, style: Style = EDGES, image: np.ndarray | None = None) -> np.ndarray:
    """The sketch of a photo file, drawn once and then kept in the user's cache, next to the downloaded data sets.

    The key is the photo's content and the style: a changed photo is drawn again, a copied one is not. If the cache is
    not writable, sketches are drawn each time, and a line says so.

    Args:
        path: an image file.
        style: how to draw it.
        image: the result of `read_rgb(path)`, if it is known already.

    Returns:
        uint8 (H, W, 3), of the size of `image`.

    Raises:
        DataError: the file cannot be read as an image, or scikit-image is not installed.
    """
    kept = cache_dir() / "sketches" / _key(path, style)
    with contextlib.suppress(OSError, SyntaxError, ValueError, KeyError), Image.open(kept) as opened:
        height, width = json.loads(opened.info["size"])
        return _enlarge(np.asarray(opened), (height, width))
    image = read_rgb(path) if image is None else image
    drawn = _draw(image, style)
    try:
        _keep(kept, drawn, image.shape[:2])
    except WriteError as error:
        _say_once(f"sketches are drawn anew each time: {cache_dir()} cannot be written ({error.reason})")
    return _enlarge(drawn, image.shape[:2])


def augment_strokes(sketch: np.ndarray, seed: int | Sequence[int]) -> np.ndarray:
    """Vary a sketch as an unsteady hand would: bend lines by a few pixels, break some, and make them thicker.

    Args:
        sketch: uint8 (H, W, 3), dark strokes on white.
        seed: 0 or more; the same seed gives the same result.

    Returns:
        uint8 (H, W, 3). White paper stays white.
    """
    random = np.random.default_rng(seed)
    drawn = _thicken(_bend(sketch, random), int(random.integers(3)))
    return _tear(drawn, random)


def _draw(image: np.ndarray, style: Style) -> np.ndarray:
    """The drawing at its own size: uint8 (H, W)."""
    require()
    height, width = image.shape[:2]
    scale = min(1.0, style.size / max(height, width))
    small = resize_image(image, max(1, round(height * scale)), max(1, round(width * scale)))
    brightness = np.asarray(Image.fromarray(small).convert("L"), np.float32) / 255
    return _lines(brightness, style) if style.method == "canny" else _shades(brightness, style)


def _lines(brightness: np.ndarray, style: Style) -> np.ndarray:
    from skimage import feature, filters, measure

    slopes = filters.sobel(filters.gaussian(brightness, style.sigma, mode="nearest")) / 2**0.5  # brightness per pixel
    steep = 8 * max(FAINTEST, style.strength * np.percentile(slopes, 99.5))  # canny's Sobel filter sums to 8
    edges = feature.canny(brightness, style.sigma, WEAK * steep, steep, mode="nearest")
    pieces = measure.label(edges)
    kept = edges & (np.bincount(pieces.ravel())[pieces] >= style.smallest)
    return _thicken(np.where(kept, 0, 255).astype(np.uint8), style.thickness - 1)


def _shades(brightness: np.ndarray, style: Style) -> np.ndarray:
    from skimage import filters

    difference = filters.difference_of_gaussians(brightness, style.sigma, mode="nearest")
    light = 1 + np.tanh(style.strength * np.minimum(difference + 0.005, 0))  # small differences stay white
    return np.rint(255 * light).astype(np.uint8)


def _enlarge(drawn: np.ndarray, size: Sequence[int]) -> np.ndarray:
    return np.repeat(resize_image(drawn, size[0], size[1])[..., None], 3, axis=-1)


def _key(path: Path, style: Style) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); replace or remove it.") from error
    how = json.dumps([VERSION, dataclasses.asdict(style)]).encode()
    digest = hashlib.sha256(how + content).hexdigest()
    return f"{digest[:2]}/{digest[2:34]}.png"


def _keep(path: Path, drawn: np.ndarray, size: tuple[int, ...]) -> None:
    """Write the drawing at its own size, with the photo's size as a note: enlarged drawings would fill the disk."""
    notes = PngImagePlugin.PngInfo()
    notes.add_text("size", json.dumps(size))
    with replacing(path) as temporary:
        Image.fromarray(drawn).save(temporary, pnginfo=notes)


def _say_once(line: str) -> None:
    with _saying:
        if line not in _said:
            tqdm.write(line, file=sys.stderr)
        _said.add(line)


def _bend(sketch: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Shift the corners of a coarse grid at random, and the points in between in proportion."""
    height, width = sketch.shape[:2]
    rows, columns = (np.linspace(0, side, min(CELLS, side) + 1).round() for side in (height, width))
    corners = np.stack(np.meshgrid(columns, rows), axis=-1)
    shifted = corners + random.normal(0, SHIFT * max(height, width), corners.shape)
    mesh = []
    for i in range(len(rows) - 1):
        for j in range(len(columns) - 1):
            box = (*corners[i, j].astype(int), *corners[i + 1, j + 1].astype(int))
            quad = [shifted[i, j], shifted[i + 1, j], shifted[i + 1, j + 1], shifted[i, j + 1]]
            mesh.append((box, tuple(np.concatenate(quad))))
    opened = Image.fromarray(sketch)
    bent = opened.transform(
        opened.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR, fillcolor=(255, 255, 255)
    )
    return np.array(bent)


def _thicken(drawn: np.ndarray, by: int) -> np.ndarray:
    """Strokes `by` pixels thicker, in both directions."""
    drawn = drawn.copy()
    for _ in range(by):
        drawn[1:] = np.minimum(drawn[1:], drawn[:-1])
        drawn[:, 1:] = np.minimum(drawn[:, 1:], drawn[:, :-1])
    return drawn


def _tear(drawn: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """White squares over some places of the strokes."""
    ink = np.argwhere(drawn[..., 0] < 128)
    width = max(2, round(GAP * max(drawn.shape[:2])))
    places = random.integers(max(1, len(ink)), size=random.integers(GAPS + 1))
    for y, x in ink[places] if len(ink) else ():
        top, left = max(0, y - width // 2), max(0, x - width // 2)
        drawn[top : top + width, left : left + width] = 255
    return drawn
