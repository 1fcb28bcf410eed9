"""A real server on 127.0.0.1: many clients, slow ones, clients that go away; and the command that starts it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from webserver import LIMITS, form, generated, png, serving

import p2plib
from p2plib.cli.main import main
from p2plib.data import toy
from p2plib.data.image import resize_image
from p2plib.web import Limits, create_app
from p2plib.web.serve import _greeting

TENSORFLOW_SAYS = re.compile(r"WARNING: All log messages before absl|[IWE]0000 ")
"""Lines that some builds of TensorFlow write to stderr whatever their log level is."""
IMAGES = [resize_image(toy.city(i, 40)[0], 20 + i, 40 - i) for i in range(10)]


def ask(
    port: int, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
) -> tuple[int, dict, dict]:
    """Status, headers, and the JSON of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"Content-Type": kind} if body else {})
    response = connection.getresponse()
    try:
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()


def order(image: np.ndarray) -> bytes:
    return json.dumps({"image": base64.b64encode(png(image)).decode()}).encode()


def raw(image: np.ndarray) -> bytes:
    """A whole request as it goes through the wire."""
    body = order(image)
    head = f"POST /api/translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@contextmanager
def setting(event: threading.Event) -> Iterator[None]:
    """Set the event at the end, so that a test that fails does not hang."""
    try:
        yield
    finally:
        event.set()


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_hundred_at_once_are_all_served_alike(server, tiny_run):
    model, refusals = p2plib.load(tiny_run), []
    expected = [p2plib.translate(model, [image])[0] for image in IMAGES]

    def request(i: int) -> np.ndarray:
        rng = np.random.default_rng(i)
        for _ in range(300):
            status, headers, answer = ask(server.port, "POST", "/api/translate", order(IMAGES[i % 10]))
            if status == 200:
                return generated(answer)
            assert status == 503
            assert 1 <= int(headers["Retry-After"]) <= 60
            assert "try again" in answer["error"]
            refusals.append(i)
            time.sleep(rng.uniform(0.05, 0.2))  # a real client waits for whole seconds
        raise AssertionError("never served")

    with ThreadPoolExecutor(200) as pool:
        results = list(pool.map(request, range(200)))
    assert len(results) == 200
    for i, result in enumerate(results):
        assert np.abs(result.astype(int) - expected[i % 10]).max() <= 1
    assert server.queue.waiting == 0


def test_a_full_queue_answers_at_once_and_lets_others_in_later(server):
    release = threading.Event()
    with ThreadPoolExecutor(10) as pool, setting(release):
        first = pool.submit(server.queue.run, release.wait)
        until(lambda: server.queue._inside == 1)
        others = [
            pool.submit(ask, server.port, "POST", "/api/translate", order(IMAGES[0])) for _ in range(LIMITS.queue)
        ]
        until(lambda: server.queue.waiting == LIMITS.queue)
        start = time.monotonic()
        status, headers, answer = ask(server.port, "POST", "/api/translate", order(IMAGES[0]))
        assert (status, set(answer)) == (503, {"error"})
        assert int(headers["Retry-After"]) >= 1
        assert ask(server.port, "GET", "/healthz")[2]["waiting"] == LIMITS.queue
        assert time.monotonic() - start < 5
        release.set()
        assert first.result(10).result
        assert [other.result(30)[0] for other in others] == [200] * LIMITS.queue


def test_clients_that_go_away_block_nobody(server):
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool, setting(release):
        pool.submit(server.queue.run, release.wait)
        until(lambda: server.queue._inside == 1)
        connections = []
        for i in range(LIMITS.queue):
            connections.append(socket.create_connection(("127.0.0.1", server.port)))
            connections[i].sendall(raw(IMAGES[i]))
        until(lambda: server.queue.waiting == LIMITS.queue)
        for connection in connections:
            connection.close()
        until(lambda: server.queue.waiting == 0)
        release.set()
    assert ask(server.port, "POST", "/api/translate", order(IMAGES[0]))[0] == 200


def test_dropped_connections_are_survived(server):
    whole = raw(IMAGES[0])
    for length in (0, 1, 20, 100, 150, len(whole) // 2, len(whole) - 1, len(whole)):
        for reset in (False, True):
            connection = socket.create_connection(("127.0.0.1", server.port))
            if reset:  # close with RST, as a phone that loses its network
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(whole[:length])
            connection.close()
    until(lambda: server.queue._inside == 0)
    assert ask(server.port, "POST", "/api/translate", order(IMAGES[0]))[0] == 200


def test_slow_clients_get_their_image_and_delay_nobody(server):
    whole = raw(IMAGES[0])
    head, tail = whole[:40], whole[40:]

    def slowly(_: int) -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            for byte in head:
                connection.sendall(bytes([byte]))
                time.sleep(0.03)
            connection.sendall(tail)
            return connection.recv(1000)

    with ThreadPoolExecutor(30) as pool:
        slow = [pool.submit(slowly, i) for i in range(30)]
        served = 0
        while not all(future.done() for future in slow):
            start = time.monotonic()
            assert ask(server.port, "GET", "/healthz")[0] == 200
            assert ask(server.port, "POST", "/api/translate", order(IMAGES[1]))[0] in (200, 503)
            assert time.monotonic() - start < 5
            served += 1
        assert served > 2
        assert {future.result()[9:12] for future in slow} <= {b"200", b"503"}


def test_requests_too_large_are_refused_in_words(server):
    status, _, answer = ask(server.port, "POST", "/api/translate", bytes(LIMITS.body_bytes + 1000))
    assert (status, answer["error"]) == (
        413,
        "The image is too large: at most 0.3 MB are allowed (`web --max-megabytes` sets the limit).",
    )
    with pytest.raises((OSError, ValueError)):  # far too large: no JSON, or the connection breaks
        ask(server.port, "POST", "/api/translate", bytes(5_000_000))
    assert ask(server.port, "GET", "/healthz")[0] == 200


written: list[str] = []
watching = threading.Event()


def watch(event: str, arguments: tuple) -> None:
    """Note what this process opens to write; an audit hook cannot be taken away again."""
    if not watching.is_set():
        return
    if event.startswith("tempfile.") or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        written.append(f"{event} {arguments}")


def test_no_file_of_a_user_touches_the_disk(app):
    limits = Limits()
    large = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
    other = create_app([app.extensions["p2plib"].find(None).path], limits=limits)
    sys.addaudithook(watch)
    with serving(other, limits) as running:
        warm = other.test_client().post("/api/translate", **form(png(IMAGES[0])))
        assert warm.status_code == 200
        watching.set()
        body = json.dumps({"image": base64.b64encode(png(large)).decode(), "fit": 1}).encode()
        status, _, answer = ask(running.port, "POST", "/api/translate", body)
        head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        fit = b'\r\n--x\r\nContent-Disposition: form-data; name="fit"\r\n\r\n1\r\n--x--\r\n'
        body_kind = "multipart/form-data; boundary=x"
        sent = ask(running.port, "POST", "/api/translate", head + png(large) + fit, body_kind)
        watching.clear()
    other.extensions["p2plib"].queue.close()
    assert len(body) > 3_000_000
    assert (status, sent[0], generated(answer).shape) == (200, 200, large.shape)
    assert written == []


@pytest.mark.parametrize("models", [1, 4], ids=["one that is named", "those that come with p2plib"])
def test_the_command_serves_until_ctrl_c(tiny_run, models):
    named = [str(tiny_run)] if models == 1 else []
    command = [sys.executable, "-m", "p2plib", "web", *named, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            greeting = next(line for line in process.stdout if not line.startswith("runtime:"))
            port = int(re.search(r"http://127\.0\.0\.1:(\d+) ", greeting)[1])
            assert "only this computer can reach it. Press Ctrl-C to stop." in greeting
            assert ask(port, "GET", "/healthz")[2] == {"status": "ok", "models": models, "waiting": 0}
            assert ask(port, "POST", "/api/translate", order(IMAGES[0]))[0] == 200
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "stopped\n")
    assert [line for line in err.splitlines() if not TENSORFLOW_SAYS.match(line)] == []


def test_who_can_reach_it_is_said():
    assert "everyone on your network" in _greeting("0.0.0.0", 80)
    assert "http://127.0.0.1:80 " in _greeting("0.0.0.0", 80)
    for host in ("localhost", "127.0.0.1", "::1"):
        assert "only this computer" in _greeting(host, 80)
    assert "http://[::1]:80 " in _greeting("::1", 80)


def fails(capsys, *arguments: object) -> str:
    assert main(["web", *map(str, arguments)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_what_cannot_be_served_is_one_sentence(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port} is in use" in fails(capsys, "a.keras", "--port", port)
    assert "Port 70000 does not exist" in fails(capsys, "a.keras", "--port", 70000)
    assert "nowhere.invalid is no address" in fails(capsys, "a.keras", "--host", "nowhere.invalid", "--port", 0)
    assert "192.0.2.1 is no address" in fails(capsys, "a.keras", "--host", "192.0.2.1", "--port", 0)


def test_a_missing_model_or_example_is_one_sentence(capsys, tiny_run, tmp_path):
    assert "a.keras: no such checkpoint" in fails(capsys, tmp_path / "a.keras", "--port", 0)
    assert "no images for examples" in fails(capsys, tiny_run, "--examples", tmp_path, "--port", 0)


@pytest.mark.parametrize("package", ["flask", "waitress"])
def test_a_missing_package_is_one_sentence(package):
    code = (
        f"import sys; sys.modules['{package}'] = None; from p2plib.cli.main import main; sys.exit(main(['web', 'a']))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == f"error: {package} is not installed; run: pip install 'p2plib[web]'\n"
