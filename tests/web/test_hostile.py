"""2,000 malformed uploads: each gets an image or one sentence, and the server is as before."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from malformed import FILES, request
from webserver import form, generated, png

from p2plib.data import toy

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore")]

COUNT = 2000
STATM = Path("/proc/self/statm")


def memory() -> float:
    """What this process holds, in MB."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if STATM.exists() else 0.0


def test_every_upload_is_answered_and_nothing_is_left(client):
    image = form(png(toy.city(5, 30)[0]))["data"]["image"][0].getvalue()
    before = generated(client.post("/api/translate", **form(image)).json)
    answers: dict[str, Counter[int]] = {}
    wrong, slowest, used = [], 0.0, []
    for seed in range(COUNT):
        kind, content = request(seed)
        start = time.perf_counter()
        response = client.post("/api/translate", **content)
        slowest = max(slowest, time.perf_counter() - start)
        answers.setdefault(kind, Counter())[response.status_code] += 1
        sentence = response.json.get("error", "")
        fine = response.status_code == 200 and generated(response.json).ndim == 3
        told = 400 <= response.status_code < 500 and sentence.endswith(".") and len(sentence) < 250
        if not (fine or (told and "\n" not in sentence)):
            wrong.append((seed, kind, response.status_code, sentence))
        if seed % 100 == 99:
            used.append(memory())
    print(answers, f"slowest {slowest:.2f} s, memory {used} MB")  # shown where the test fails
    assert wrong == []
    assert set(answers) == {make.__name__ for make in FILES} | {"malformed_form", "malformed_json"}
    assert sum(counts[200] for counts in answers.values()) > 200, "odd images are images"
    assert sum(counts[status] for counts in answers.values() for status in (400, 413, 415, 422)) > 1000
    assert slowest < 10
    assert used[-1] - used[len(used) // 2] < 30, "MB; flat, once what is compiled and cached is there"
    assert used[-1] - used[0] < 150
    assert client.get("/healthz").json["waiting"] == 0
    np.testing.assert_array_equal(generated(client.post("/api/translate", **form(image)).json), before)


def test_sketches_are_as_careful(client):
    for seed in range(150):
        _, content = request(seed)
        response = client.post("/api/sketch", **content)
        if response.status_code == 200:
            assert response.mimetype == "image/png"
        else:
            assert 400 <= response.status_code < 500 and response.json["error"].endswith(".")
