"""A small model behind the web app, in process; and a real server on 127.0.0.1."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from webserver import LIMITS, Server, serving

from p2plib.web import create_app


@pytest.fixture(scope="session")
def app(tiny_run) -> Iterator[Flask]:
    made = create_app([tiny_run], limits=LIMITS)
    yield made
    made.extensions["p2plib"].queue.close()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def run(tiny_run, tmp_path) -> Path:
    """A copy of the tiny run, to be changed."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture
def server(app) -> Iterator[Server]:
    with serving(app) as running:
        yield running
