"""Limits that protect the web app from untrusted requests."""

from __future__ import annotations

from dataclasses import dataclass

from p2plib.errors import P2PError


@dataclass(frozen=True)
class Limits:
    """Limits per request and in total."""

    upload_bytes: int = 25_000_000
    """Size of an image file, such as a phone photo of 24 megapixels; `web --max-megabytes`."""
    pixels: int = 50_000_000
    """Width times height of an image; checked in the header before decoding. `web --max-megapixels`."""
    tiled_pixels: int = 4_000_000
    """The same for images translated in tiles: about a hundred tiles of 256 pixels. Larger ones are fitted."""
    queue: int = 8
    """Number of requests that may wait for the model."""
    wait_s: float = 60.0
    """Longest wait of a request in seconds."""

    @property
    def body_bytes(self) -> int:
        """Size of a whole request: the image in base64, and some overhead."""
        return self.upload_bytes * 4 // 3 + 65_536


DEFAULTS = Limits()


class RequestError(P2PError):
    """A request that cannot be answered with an image; `status` is the HTTP status."""

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status
