"""A browser for tests: the system's Chromium, driven by Playwright, with no way out of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import needs
import pytest

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
LOCAL = ("file:", "data:", "blob:", "http://127.0.0.1:")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    chromium = needs.chromium()
    with needs.module("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser) -> Iterator[Callable[..., Any]]:
    """Opens an empty page; its `errors` are those of its console, its `outside` the requests that left the machine."""
    contexts = []

    def new(**options) -> Any:
        contexts.append(browser.new_context(viewport={"width": 1100, "height": 800}, **options))
        page = contexts[-1].new_page()
        page.errors, page.outside = [], []
        page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(LOCAL) else page.outside.append(request.url))
        return page

    yield new
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page) -> Any:
    return new_page()
