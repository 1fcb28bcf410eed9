"""The web app for tests: images as requests, answers as images, a real server on 127.0.0.1."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from flask import Flask
from PIL import Image
from waitress import wasyncore

from p2plib.web import Limits
from p2plib.web.serve import bind, make_server

LIMITS = Limits(upload_bytes=300_000, pixels=1_000_000, tiled_pixels=200_000, queue=3, wait_s=30)


def png(image: np.ndarray | Image.Image, format: str = "PNG", **options) -> bytes:
    """An image as the content of a file."""
    buffer = io.BytesIO()
    opened = image if isinstance(image, Image.Image) else Image.fromarray(image)
    opened.save(buffer, format, **options)
    return buffer.getvalue()


def form(image: bytes, **fields: object) -> dict:
    """Arguments that make the test client send a form."""
    return {"data": {"image": (io.BytesIO(image), "a.png"), **fields}, "content_type": "multipart/form-data"}


def generated(answer: dict) -> np.ndarray:
    """The image in an answer, uint8 (H, W, 3)."""
    head, _, data = answer["generated"].partition(",")
    assert head == "data:image/png;base64"
    image = np.array(Image.open(io.BytesIO(base64.b64decode(data))))
    assert image.shape == (answer["height"], answer["width"], 3)
    return image


@dataclass(frozen=True)
class Server:
    """A running server."""

    app: Flask
    port: int

    @property
    def queue(self) -> Any:
        """Where requests wait for the model."""
        return self.app.extensions["p2plib"].queue


@contextmanager
def serving(app: Flask, limits: Limits = LIMITS) -> Iterator[Server]:
    """`app` behind waitress, on a free port of 127.0.0.1."""
    server = make_server(app, bind("127.0.0.1", 0), limits)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield Server(app, server.effective_port)
    server.task_dispatcher.shutdown(timeout=5)
    with suppress(OSError):  # woken by an earlier pull, the server's thread may have closed the pipe
        server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))  # in the server's own thread
    thread.join(10)
    assert not thread.is_alive()
