"""The web app on a port of this computer, until Ctrl-C."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

import waitress
from flask import Flask
from waitress.server import BaseWSGIServer

from p2plib.errors import ConfigError
from p2plib.web.app import create_app
from p2plib.web.limits import DEFAULTS, Limits

SPARE_THREADS = 8
"""Threads beside those that may wait for the model: they decode, refuse, and answer everything else."""
CONNECTIONS = 64
"""Open connections at a time; each may hold an upload in memory. Further ones wait until they are accepted."""
SILENCE_SECONDS = 20
"""A client that neither sends nor reads for so long is cut off."""


def serve(
    checkpoints: Sequence[Path],
    host: str = "127.0.0.1",
    port: int = 5000,
    examples: Path | None = None,
    limits: Limits = DEFAULTS,
) -> None:
    """Serve the web app until Ctrl-C; prints its address.

    Args:
        checkpoints: what `p2plib.load` takes; the first one is the default.
        host: address to listen on. Only this computer reaches the default; 0.0.0.0 lets the whole network in.
        port: port to listen on; 0 takes any free one.
        examples: folder of images to try the models with; None takes each model's own kind.
        limits: what requests may ask for.

    Raises:
        ConfigError: the host or the port cannot be used.
        CheckpointError: a model cannot be loaded.
    """
    with bind(host, port) as listener:  # first, since loading models takes longer
        app = create_app(checkpoints, examples, limits)
        server = make_server(app, listener, limits)
        print(_greeting(host, listener.getsockname()[1]), flush=True)  # noqa: T201
        try:
            server.run()  # Ctrl-C ends it
        finally:
            app.extensions["p2plib"].queue.close()
            server.close()
    print("stopped", flush=True)  # noqa: T201


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: the host or the port cannot be used; the message says what to do.
    """
    if not 0 <= port < 65536:
        raise ConfigError(f"Port {port} does not exist; choose one from 1024 to 65535.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"{host} is no address of this computer; leave --host out, or use 0.0.0.0.") from error
    try:
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        why = {
            "EADDRINUSE": "in use, maybe by another program or by a server that still runs",
            "EACCES": "reserved for the system",
        }
        code = errno.errorcode.get(error.errno or 0, "")
        if code in why:
            raise ConfigError(f"Port {port} is {why[code]}; choose another one with --port.") from error
        raise ConfigError(f"{host} is no address of this computer; leave --host out, or use 0.0.0.0.") from error


def make_server(app: Flask, listener: socket.socket, limits: Limits = DEFAULTS) -> BaseWSGIServer:
    """A waitress server for `app` on a listening socket; its `run` serves until it is interrupted."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # that requests wait is no news
    body = 2 * limits.body_bytes  # up to here the app itself refuses, with a sentence; beyond, waitress hangs up
    return waitress.create_server(
        app,
        sockets=[listener],
        threads=limits.queue + 1 + SPARE_THREADS,
        connection_limit=CONNECTIONS,
        channel_timeout=SILENCE_SECONDS,
        cleanup_interval=SILENCE_SECONDS,
        channel_request_lookahead=1,  # notice clients that go away
        max_request_header_size=32_768,
        max_request_body_size=body,
        inbuf_overflow=body + 1,  # memory, not temporary files
        outbuf_overflow=2**30,
        log_socket_errors=False,
        asyncore_use_poll=True,  # select() fails where a process has more than 1024 files open
        ident=None,
    )


def _greeting(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    who = "only this computer can reach it" if _is_loopback(host) else "everyone in your network can reach it"
    return f"p2plib is at http://{shown}:{port} - {who}. Press Ctrl-C to stop."


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
