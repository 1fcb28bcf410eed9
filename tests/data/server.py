"""An HTTP server on 127.0.0.1 that misbehaves on demand: each request gets the next of a list of answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

import loopback

Answer = Callable[["Handler"], None]


class Handler(loopback.Handler):
    server: Server

    def do_GET(self) -> None:  # noqa: N802
        self.server.requests.append(dict(self.headers))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        with suppress(ConnectionError):  # the client went away
            answer(self)

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


class Server(loopback.Server):
    """Takes `answers` in turn, the last one for ever; keeps the headers of all requests."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.url += "/tiny.tar.gz"
        self.answers: list[Answer] = []
        self.requests: list[dict[str, str]] = []


def sends(
    body: bytes,
    *,
    etag: str | None = '"one"',
    modified: str | None = None,
    kind: str = "application/x-gzip",
    cut: int | None = None,
    stall: int | None = None,
    length: bool = True,
    ranges: bool = True,
    heeds_if_range: bool = True,
) -> Answer:
    """A file: whole, or broken off at byte `cut`, or silent from byte `stall` on until the server is released."""

    def answer(handler: Handler) -> None:
        wanted = re.match(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        same = not heeds_if_range or handler.headers.get("If-Range") in (etag, modified)
        start = int(wanted[1]) if wanted and ranges and same else 0
        headers: dict[str, object] = {"Content_Type": kind}
        headers |= {"ETag": etag} if etag else {}
        headers |= {"Last_Modified": modified} if modified else {}
        headers |= {"Content_Length": len(body) - start} if length else {}
        if start:
            handler.head(206, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}", **headers)
        else:
            handler.head(200, **headers)
        handler.wfile.write(body[start : cut if stall is None else stall])
        if stall is not None:
            handler.server.stalled.set()
            handler.server.released.wait(20)

    return answer


def says(status: int, body: bytes = b"", **headers: object) -> Answer:
    """Any other answer; headers with `_` for `-`."""

    def answer(handler: Handler) -> None:
        handler.head(status, **({"Content_Length": len(body)} | headers))
        handler.wfile.write(body)

    return answer
