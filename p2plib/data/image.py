"""Images as arrays: read any file as 8-bit RGB, resize, convert to the networks' range and back, save.

Files of more bits or other channels are read as they are by `values`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from p2plib.data.held import as_path
from p2plib.errors import ConfigError, DataError
from p2plib.files import replacing

DEFAULT_MAX_PIXELS = 1_000_000_000
MAX_PIXELS_VARIABLE = "P2PLIB_MAX_PIXELS"

GAP = 4
"""Pixels between the images of a sheet."""
TINT = 4
"""Levels between the channels of a gray image at most; lossy formats add up to 2."""


def sides(image_size: int | Shape) -> Shape:
    """Height and width of images whose size is given as one number or both."""
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def max_pixels() -> int:
    """Width times height of the largest image file that is read: `$P2PLIB_MAX_PIXELS`, or 1,000 million by default.

    It replaces Pillow's own limit, which is made for uploads by strangers; those have their own in `web.limits`.

    Raises:
        ConfigError: the variable is no positive number.
    """
    try:
        limit = int(float(os.environ.get(MAX_PIXELS_VARIABLE) or DEFAULT_MAX_PIXELS))
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise ConfigError(f"{MAX_PIXELS_VARIABLE} must be a number of pixels, such as 1e9; change it or unset it.")
    return limit


Image.MAX_IMAGE_PIXELS = None  # see `max_pixels`
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # 64 MB: editors write long histories into PNG files

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
Shape = tuple[int, int]
"""Height and width in pixels."""


def read_rgb(path: str | Path) -> np.ndarray:
    """Read an image file as upright RGB.

    The EXIF orientation is applied, and colors of another profile become sRGB, except those of labels: see
    `has_few_colors`. Grayscale and palette files become RGB, 16-bit files are scaled to 8 bits, and transparent parts
    are laid on white. Of several images in a file, the first is read.

    Args:
        path: the file.

    Returns:
        uint8 array (H, W, 3), in [0, 255].

    Raises:
        DataError: the file is missing, is not an image, is damaged, or has more than `max_pixels`.
    """
    return read_oriented(path)[0]


def read_oriented(path: str | Path, upright: bool = True) -> tuple[np.ndarray, int | None]:
    """As `read_rgb`, with the EXIF orientation of the file beside; it is applied only if `upright`."""
    with _readable(path) as opened:
        if opened.width * opened.height > (limit := max_pixels()):
            raise DataError(
                f"{path}: {opened.width}x{opened.height} is more than {limit / 1e6:g} million pixels; set "
                f"{MAX_PIXELS_VARIABLE} to a larger number to read it, which takes 3 bytes a pixel and more."
            )
        return to_rgb(opened, upright), exif_orientation(opened)


@contextmanager
def _readable(path: str | Path) -> Iterator[Image.Image]:
    """An open image file. What goes wrong with it in this block is raised as a DataError that says what the file is."""
    try:
        with open_image(path) as opened:
            yield opened
    except (OSError, SyntaxError, ValueError, TypeError) as error:  # TypeError: of EXIF
        why = why_unreadable(as_path(path), error)
        raise DataError(f"{path}: cannot be read as an image ({why}); replace or remove it.") from error


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """Open an image file with Pillow; whatever else has its name, such as a named pipe, might block for ever."""
    path = as_path(path)
    if path.exists() and not path.is_file():
        raise OSError("it is no file")
    with path.open("rb") as file, Image.open(file) as opened:
        yield opened


def why_unreadable(path: Path, error: Exception) -> str:
    """Why a file cannot be read: what it is instead of an image, if that can be told, or else what Pillow says."""
    if path.is_symlink() and not path.exists():
        return "a link to a file that is not here"
    if path.exists() and not path.is_file():
        return str(error)
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    for start, what in _INSTEAD.items():
        if start in head:
            return what
    return "it holds no image data" if isinstance(error, Image.UnidentifiedImageError) else str(error)


_INSTEAD = {
    b"version https://git-lfs": "a Git LFS pointer; fetch the image with `git lfs pull`",
    b"/annex/objects/": "a git-annex pointer; fetch the image with `git annex get`",
    b"ftyphei": "a HEIC file, which is not supported; save it as JPEG or PNG",
    b"ftypmif1": "a HEIF file, which is not supported; save it as JPEG or PNG",
    b"<!DOCTYPE": "a web page was saved instead",
    b"<html": "a web page was saved instead",
    b"\0" * 64: "it holds nothing but zeros; copy it again",
}
"""What begins files that are named like images, and what they are."""


def header(path: Path, upright: bool = False) -> tuple[int, int] | None:
    """Height and width of an image as stored, or upright, from its header; None if it cannot be read."""
    try:
        with open_image(path) as opened:
            lying = upright and (exif_orientation(opened) or 1) >= 5
            return (opened.width, opened.height) if lying else (opened.height, opened.width)
    except (OSError, SyntaxError, ValueError, TypeError):
        return None


def count_images(opened: Image.Image) -> int:
    """How many images a file holds: pages or frames; 1 for photos of phones, which have previews of themselves beside.

    What is damaged behind the first image counts as nothing.
    """
    try:
        return 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)
    except (OSError, SyntaxError, ValueError, TypeError):
        return 1


def exif_orientation(opened: Image.Image) -> int | None:
    """The EXIF orientation of an image, 1 to 8; None if it has none.

    Pixels are never decoded for it. A PNG file that says it behind its pixels has none until they are.
    """
    if opened.format == "PNG" and not {"exif", "Raw profile type exif", "xmp"} & opened.info.keys():
        return None  # Pillow would decode the image to look behind it
    try:
        found = opened.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, TypeError):
        return None
    return found if found in range(1, 9) else None


def to_rgb(opened: Image.Image, upright: bool = True) -> np.ndarray:
    """Convert a Pillow image of any mode to uint8 RGB (H, W, 3), as `read_rgb` describes."""
    if upright:
        opened = ImageOps.exif_transpose(opened)
    if opened.mode.startswith("I") or opened.mode == "F":
        values = np.asarray(opened, np.float64)
        if opened.mode == "F" and not np.isfinite(values).all():
            raise ValueError("it holds values that are no numbers")
        if opened.mode != "F" or values.max(initial=0) > 255:
            values = values / 257  # 16 bits hold [0, 65535]; Pillow's own conversion clips them to white
        return np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    transparent = has_alpha(opened)
    if opened.info.get("icc_profile") and not has_few_colors(opened):
        opened = _to_srgb(opened, "RGBA" if transparent else "RGB")
    if transparent:
        opened = opened.convert("RGBA")
        opened = Image.alpha_composite(Image.new("RGBA", opened.size, "white"), opened)
    return np.array(opened.convert("RGB"))


def has_few_colors(opened: Image.Image) -> bool:
    """Whether an image consists of few colors, as labels do: at most 256, of a grayscale image 64.

    The colors of labels stand for classes, so they are kept as stored, whatever color profile an editor added.
    """
    limit = 64 if opened.mode in ("L", "LA", "La", "1") else 256
    return opened.mode in ("P", "PA") or opened.getcolors(limit) is not None


def color_profile(opened: Image.Image) -> str | None:
    """The name of an image's color profile, if it has one other than sRGB that can be read."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(opened.info["icc_profile"]))
        name = ImageCms.getProfileDescription(profile).strip()
    except (KeyError, ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return None if "sRGB" in name else name


def _to_srgb(opened: Image.Image, mode: str) -> Image.Image:
    """The image with its color profile applied; as it is where the profile is sRGB, damaged, or for another mode."""
    if opened.mode == "P":  # its profile is for the colors, not for the indices
        opened = opened.convert(mode)
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(opened.info["icc_profile"]))
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return opened
        converted = ImageCms.profileToProfile(opened, profile, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return opened
    return converted or opened


def has_alpha(opened: Image.Image) -> bool:
    """Whether the image carries transparency, as a channel or as a palette entry."""
    return "A" in opened.getbands() or "a" in opened.getbands() or "transparency" in opened.info


def is_gray(image: np.ndarray) -> bool:
    """Whether red, green and blue of a uint8 image (..., 3) differ nowhere by more than `TINT` levels."""
    red, green, blue = np.moveaxis(image, -1, 0)
    highest, lowest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return bool((highest - lowest).max(initial=0) <= TINT)


def class_colors() -> np.ndarray:
    """A color for each class number, uint8 (256, 3): those of PASCAL VOC, whose bits alternate in the channels."""
    number = np.arange(256)[:, None]
    bits = [(number >> (3 * level + np.arange(3)) & 1) << (7 - level) for level in range(8)]
    return np.sum(bits, axis=0).astype(np.uint8)


def read_class_numbers(path: str | Path) -> np.ndarray:
    """Read an image whose gray values or palette indices are class numbers: uint8 (H, W), as stored.

    Raises:
        DataError: it cannot be read, is in color, or holds numbers above 255.
    """
    with _readable(path) as opened:
        numbers, mode = np.asarray(opened), opened.mode
    if numbers.ndim != 2 or mode == "F" or numbers.max(initial=0) > 255 or numbers.min(initial=0) < 0:
        raise DataError(f"{path}: holds no class numbers from 0 to 255, for which it must be gray or of a palette.")
    return numbers.astype(np.uint8)


def resize_image(image: np.ndarray, height: int, width: int, labels: bool = False) -> np.ndarray:
    """Resize an image (H, W, C) or (H, W), antialiased unless it is `labels`; returns (height, width, C) of its type.

    The triangle ("bilinear") filter, widened when shrinking, never overshoots: label colors keep clean edges.
    """
    if image.shape[:2] == (height, width):
        return image
    size, filter = (width, height), Image.Resampling.NEAREST if labels else Image.Resampling.BILINEAR
    if image.dtype == np.uint8 and (image.ndim == 2 or image.shape[-1] == 3):
        return np.array(Image.fromarray(image).resize(size, filter))
    channels = [
        Image.fromarray(channel.astype(np.float32)).resize(size, filter) for channel in np.moveaxis(image, -1, 0)
    ]
    values = np.stack([np.asarray(channel) for channel in channels], -1)
    return (values if image.dtype == np.float32 else np.rint(values)).astype(image.dtype)


def shrink_image(image: np.ndarray, side: int | None) -> np.ndarray:
    """Shrink a uint8 image until its shorter side has `side` pixels; None leaves it as it is."""
    scale = (side or np.inf) / min(image.shape[:2])
    height, width = (round(length * scale) if scale < 1 else length for length in image.shape[:2])
    return resize_image(image, height, width)


def enlarge_image(image: np.ndarray, size: int | Shape, labels: bool = False) -> np.ndarray:
    """Enlarge an image until `size` (one side or both) fits into it; one that is large enough stays as it is.

    `labels`: see `resize_image`.
    """
    scale = max(side / length for side, length in zip(sides(size), image.shape[:2], strict=True))
    height, width = (round(length * scale) if scale > 1 else length for length in image.shape[:2])
    return resize_image(image, height, width, labels)


def window(image: np.ndarray, size: int | Shape, where: Sequence[float] | np.ndarray = (0.5, 0.5)) -> np.ndarray:
    """Cut a rectangle out of an image, at its own scale.

    Args:
        image: (H, W, C), no smaller than `size`.
        size: height and width of the rectangle, or one number for both.
        where: down and across, from 0 to below 1: equal parts of this range are the possible places. Default: center.

    Returns:
        (height, width, C).
    """
    height, width = sides(size)
    spare = image.shape[0] - height, image.shape[1] - width
    top, left = (int(float(part) * (room + 1)) for part, room in zip(where, spare, strict=True))
    return image[top : top + height, left : left + width]


def to_float(images: np.ndarray) -> np.ndarray:
    """uint8 in [0, 255] to float32 in [-1, 1], the networks' range."""
    values = images.astype(np.float32)
    values /= 127.5
    values -= 1.0
    return values


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Float in [-1, 1] to uint8 in [0, 255], rounded and clipped: the inverse of `to_float`."""
    return np.clip(np.rint((np.asarray(images, np.float32) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def save_image(path: str | Path, image: np.ndarray) -> None:
    """Write a uint8 image (H, W, 3) atomically; the suffix of `path` names the format (JPEG at quality 95)."""
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, quality=95)


def tile_images(rows: list[list[np.ndarray]], gap: int = GAP) -> np.ndarray:
    """Lay equally sized uint8 images (H, W, 3) out in rows on white, `gap` pixels apart; returns one image."""
    height, width = rows[0][0].shape[:2]
    columns = max(map(len, rows))
    sheet = np.full(
        (len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3),
        255,
        np.uint8,
    )
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = image
    return sheet
