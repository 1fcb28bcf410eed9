"""What browser tests need; without it they are skipped or, where $REQUIRE_BROWSER is set, as it is in CI, fail."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def module(name: str) -> Any:
    """The Python module of this name."""
    try:
        return import_module(name)
    except ImportError:
        return _missing(f"{name.partition('.')[0]} is not here; run: pip install {name.partition('.')[0]}")


def chromium() -> str:
    """The path of Chromium: $CHROMIUM, or the one on the search path."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    return found or _missing("Chromium is not here; run: apt-get install chromium")


def _missing(why: str) -> Any:
    (pytest.fail if os.environ.get("REQUIRE_BROWSER") else pytest.skip)(why)
