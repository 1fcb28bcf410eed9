"""What the web app lets strangers do at most."""

from __future__ import annotations

from dataclasses import dataclass

from p2plib.errors import P2PError


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may ask for."""

    upload_bytes: int = 10_000_000
    """Size of an image file."""
    pixels: int = 24_000_000
    """Width times height of an image, a phone's photo; read from its header, before a pixel is decoded."""
    tiled_pixels: int = 4_000_000
    """The same, where the model goes over the image in tiles: at 256 pixels, about a hundred runs."""
    queue: int = 8
    """Requests that wait while the model runs for another."""
    wait_s: float = 60.0
    """How long one of them waits at most, in seconds."""

    @property
    def body_bytes(self) -> int:
        """Size of a whole request: the image in base64, and a little around it."""
        return self.upload_bytes * 4 // 3 + 65_536


DEFAULTS = Limits()


class RequestError(P2PError):
    """A request that cannot be answered with an image; `status` is that of HTTP."""

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status
