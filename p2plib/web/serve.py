"""Serves the web app on a port of this computer until Ctrl-C."""

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
"""Threads in addition to those that may wait for the model: they decode, reject, and answer everything else."""
CONNECTIONS = 64
"""Maximum number of open connections; each may hold an upload in memory. Further ones wait."""
SILENCE_SECONDS = 20
"""A client that is idle for this long is disconnected."""


def serve(
    checkpoints: Sequence[Path],
    host: str = "127.0.0.1",
    port: int = 5000,
    examples: Path | None = None,
    limits: Limits = DEFAULTS,
) -> None:
    """Print the address and serve the web app until Ctrl-C.

    Args:
        checkpoints: paths for `p2plib.load`; the first one is the default.
        host: address to listen on. The default is reachable from this computer only, 0.0.0.0 from the whole network.
        port: port to listen on; 0 means any free port.
        examples: folder of images to try the models with; default: validation or toy images.
        limits: limits of requests.

    Raises:
        ConfigError: the host or the port cannot be used.
        CheckpointError: a model cannot be loaded.
    """
    with bind(host, port) as listener:  # before the models, which take long to load
        app = create_app(checkpoints, examples, limits)
        server = make_server(app, listener, limits)
        print(_greeting(host, listener.getsockname()[1]), flush=True)  # noqa: T201
        try:
            server.run()  # until Ctrl-C
        finally:
            app.extensions["p2plib"].queue.close()
            server.close()
    print("stopped", flush=True)  # noqa: T201


def bind(host: str, port: int) -> socket.socket:
    """Open a listening socket.

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
            "EADDRINUSE": "in use, perhaps by another program or an earlier server",
            "EACCES": "reserved for the system",
        }
        code = errno.errorcode.get(error.errno or 0, "")
        if code in why:
            raise ConfigError(f"Port {port} is {why[code]}; choose another one with --port.") from error
        raise ConfigError(f"{host} is no address of this computer; leave --host out, or use 0.0.0.0.") from error


def make_server(app: Flask, listener: socket.socket, limits: Limits = DEFAULTS) -> BaseWSGIServer:
    """Create a waitress server for `app` on a listening socket; its `run` serves until interrupted."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # waiting requests are normal
    body = 2 * limits.body_bytes  # up to this size, the app rejects with a message; beyond, waitress disconnects
    return waitress.create_server(
        app,
        sockets=[listener],
        threads=limits.queue + 1 + SPARE_THREADS,
        connection_limit=CONNECTIONS,
        channel_timeout=SILENCE_SECONDS,
        cleanup_interval=SILENCE_SECONDS,
        channel_request_lookahead=1,  # detects disconnected clients
        max_request_header_size=32_768,
        max_request_body_size=body,
        inbuf_overflow=body + 1,  # use memory, not temporary files
        outbuf_overflow=2**30,
        log_socket_errors=False,
        asyncore_use_poll=True,  # select() fails with more than 1024 open files
        ident=None,
    )


def _greeting(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    who = "only this computer can reach it" if _is_loopback(host) else "everyone on your network can reach it"
    return f"p2plib is at http://{shown}:{port} - {who}. Press Ctrl-C to stop."


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
