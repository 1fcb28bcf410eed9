"""Decodes untrusted uploads: arbitrary bytes in, a uint8 RGB image or a one-sentence error out."""

from __future__ import annotations

import base64
import binascii
import io
import threading

import numpy as np
from PIL import Image, UnidentifiedImageError

from p2plib.data.image import to_rgb
from p2plib.web.limits import DEFAULTS, Limits, RequestError

FORMATS = ("PNG", "JPEG", "WEBP")
"""Formats that Pillow may open, determined by content, never by file name."""

_SET = "(`web --max-mega{}` sets the limit)"
decoding = threading.Lock()
"""One large image is decoded at a time."""


def decode(data: bytes, limits: Limits = DEFAULTS) -> np.ndarray:
    """Read an untrusted image file like `data.image.read_rgb`: upright, 8-bit, on a white background.

    Returns:
        uint8 (H, W, 3).

    Raises:
        RequestError: too large (413), not a PNG, JPEG or WebP (415), or damaged (422).
    """
    check_bytes(data, limits)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:  # reads only the header
            check_size(opened.width, opened.height, limits)
            with decoding:
                return to_rgb(opened)
    except RequestError:
        raise
    except UnidentifiedImageError:
        raise RequestError("This is not a PNG, JPEG or WebP image.", 415) from None
    except Exception:  # on damaged files, decoders raise anything: OSError, SyntaxError, struct.error, ...
        raise RequestError("The image is damaged: it cannot be decoded.", 422) from None


def from_base64(text: str) -> bytes:
    """Decode base64, or a data URL that contains it.

    Raises:
        RequestError: the text is neither.
    """
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise RequestError("A data URL must contain the image in base64.")
    try:
        return base64.b64decode("".join(text.split()), validate=True)  # the `base64` command wraps lines
    except (binascii.Error, ValueError):
        raise RequestError("The image must be base64 or a data URL.") from None


def to_png(image: np.ndarray) -> bytes:
    """Encode a uint8 image (H, W, 3) as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=3)  # much faster than 6, a few percent larger
    return buffer.getvalue()


def too_many_bytes(limits: Limits) -> str:
    """The message for an image file that is too large."""
    return f"The image is too large: at most {limits.upload_bytes / 1e6:g} MB are allowed {_SET.format('bytes')}."


def check_bytes(data: bytes, limits: Limits) -> None:
    """Raise a RequestError if a file is empty or too large."""
    if not data:
        raise RequestError("The image file is empty; choose another one.")
    if len(data) > limits.upload_bytes:
        raise RequestError(too_many_bytes(limits), 413)


def check_size(width: int, height: int, limits: Limits, channels: int = 3) -> None:
    """Raise a RequestError if an image has too many pixels; of more than three channels, fewer are allowed."""
    allowed = limits.pixels * 3 // max(3, channels)
    if width * height > allowed:
        each = f" of {channels} channels" if channels > 3 else ""
        raise RequestError(
            f"The image has too many pixels: at most {allowed / 1e6:g} million{each} are allowed "
            f"{_SET.format('pixels')}.",
            413,
        )
