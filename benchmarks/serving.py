"""The web app under load: `make bench`, or `python benchmarks/serving.py [CHECKPOINT]`.

Clients send a 256x256 image over and over to a server on 127.0.0.1, each for as long as `SECONDS`; one that is told
to come back later does so. Latency is what a person feels: from the first sending to the image. Beside it stands that
of `p2plib.translate` without a server. Without a checkpoint, a full-size generator with random weights is used.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from floor import save_random_model
from PIL import Image

import p2plib
from p2plib.data import toy

CLIENTS = (1, 4, 16)
SECONDS = 15


def bare(checkpoint: Path, image: np.ndarray) -> list[float]:
    """Seconds of each of some calls of the model, the first ones left out."""
    model, times = p2plib.load(checkpoint), []
    end = time.perf_counter() + SECONDS / 2
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        p2plib.translate(model, [image])
        times.append(time.perf_counter() - start)
    return times[2:]


@contextmanager
def server(checkpoint: Path) -> Iterator[int]:
    """The web app in a process of its own; gives its port."""
    command = [sys.executable, "-m", "p2plib", "web", str(checkpoint), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        greeting = next(line for line in process.stdout if "http://" in line)
        try:
            yield int(greeting.split("127.0.0.1:")[1].split()[0])
        finally:
            process.terminate()


def client(port: int, body: bytes, end: float, times: list[float], refused: list[int]) -> None:
    """Ask for images until `end`; collects seconds an image, and refusals."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while (start := time.perf_counter()) < end:
        while True:
            connection.request("POST", "/api/translate", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                break
            assert response.status == 503, response.status
            refused.append(1)
            time.sleep(int(response.headers["Retry-After"]))
        times.append(time.perf_counter() - start)


def load(port: int, body: bytes, clients: int) -> tuple[list[float], int, float]:
    """Seconds an image, refusals, and images a second of so many clients at a time."""
    times: list[float] = []
    refused: list[int] = []
    start = time.perf_counter()
    arguments = (port, body, start + SECONDS, times, refused)
    threads = [threading.Thread(target=client, args=arguments) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, len(refused), len(times) / (time.perf_counter() - start)


def row(name: str, times: list[float], rate: float, refused: int | str = "-") -> str:
    """One line of the table."""
    p50, p95 = np.percentile(times, (50, 95))
    return f"{name:20}{rate:12.2f}{p50:9.3f}{p95:9.3f}{refused:>9}"


def main() -> None:
    """Measure and print a table."""
    from p2plib.runtime import describe

    machine = describe()
    print(f"serving: {machine['processor']}, {machine['cores']} cores, {machine['gpus'] or 'no GPU'}")
    image = toy.city(0, 256)[0]
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    body = json.dumps({"image": base64.b64encode(buffer.getvalue()).decode()}).encode()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(sys.argv[1]) if sys.argv[1:] else Path(folder) / "random.keras"
        if not sys.argv[1:]:
            save_random_model(checkpoint)
        times = bare(checkpoint, image)
        print(f"{'case':20}{'requests/s':>12}{'p50 s':>9}{'p95 s':>9}{'refused':>9}")
        print(row("bare model", times, len(times) / sum(times)), flush=True)
        with server(checkpoint) as port:
            for clients in CLIENTS:
                times, refused, rate = load(port, body, clients)
                print(row(f"{clients} client{'s' * (clients > 1)}", times, rate, refused), flush=True)


if __name__ == "__main__":
    main()
