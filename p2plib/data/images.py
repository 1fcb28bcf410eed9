"""Pictures as arrays: read any file as 8-bit RGB, resize, convert to the networks' range and back, save."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from p2plib.errors import DataError
from p2plib.files import replacing

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""File endings (lower case) that count as pictures."""


def within(folder: Path) -> list[Path]:
    """The picture files in a folder, at any depth and sorted; names that begin with a dot are passed over."""
    files = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def read_rgb(path: str | Path) -> np.ndarray:
    """Read a picture file as upright RGB.

    The EXIF orientation is applied, and colours of another profile become sRGB. Greyscale and palette files become
    RGB, 16-bit files are scaled to 8 bits, and transparent parts are laid on white.

    Returns:
        uint8 array (H, W, 3), in [0, 255].

    Raises:
        DataError: the file is missing, is not a picture, or is damaged.
    """
    try:
        with Image.open(path) as image:
            return to_rgb(image)
    except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError) as error:  # TypeError: of EXIF
        raise DataError(f"{path}: cannot be read as a picture ({error}); replace or remove it.") from error


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert a Pillow image of any mode to uint8 RGB (H, W, 3), as `read_rgb` describes."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        if image.mode != "F" or values.max(initial=0) > 255:
            values = values / 257  # 16 bits hold [0, 65535]; Pillow's own conversion clips them to white
        return np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    transparent = has_alpha(image)
    if image.info.get("icc_profile"):
        image = _to_srgb(image, "RGBA" if transparent else "RGB")
    if transparent:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _to_srgb(image: Image.Image, mode: str) -> Image.Image:
    """The picture with its colour profile applied; as it is where the profile is sRGB, damaged, or for another mode."""
    if image.mode == "P":  # its profile is for the colours, not for the indices
        image = image.convert(mode)
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return image
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return converted or image


def has_alpha(image: Image.Image) -> bool:
    """Whether the image carries transparency, as a channel or as a palette entry."""
    return "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a uint8 picture (H, W, C), antialiased; returns uint8 (height, width, C).

    The triangle ("bilinear") filter, widened when shrinking, never overshoots: label colours keep clean edges.
    """
    if picture.shape[:2] == (height, width):
        return picture
    return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def to_float(pictures: np.ndarray) -> np.ndarray:
    """uint8 in [0, 255] to float32 in [-1, 1], the networks' range."""
    return pictures.astype(np.float32) / 127.5 - 1.0


def to_uint8(pictures: np.ndarray) -> np.ndarray:
    """Float in [-1, 1] to uint8 in [0, 255], rounded and clipped: the inverse of `to_float`."""
    return np.clip(np.rint((np.asarray(pictures, np.float32) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def save(path: str | Path, picture: np.ndarray) -> None:
    """Write a uint8 picture (H, W, 3) atomically; the suffix of `path` names the format (JPEG at quality 95)."""
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, quality=95)


def tile(rows: list[list[np.ndarray]], gap: int = 4) -> np.ndarray:
    """Lay equally sized uint8 pictures (H, W, 3) out in rows on white, `gap` pixels apart; returns one picture."""
    height, width = rows[0][0].shape[:2]
    columns = max(map(len, rows))
    sheet = np.full(
        (len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3),
        255,
        np.uint8,
    )
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = picture
    return sheet
