"""A headless Chromium on the live page; what it must never do: errors, warnings of scripts, requests to elsewhere."""

import base64
import io
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


WEBGL = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def chromium() -> str:
    """The system's browser; the test is skipped where there is none."""
    pytest.importorskip("playwright", reason="needs playwright (pip install playwright)")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return found


class Page:
    """The page in a browser, with what a test asks of it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", self._hear)
        page.on("request", self._watch)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning") and "GL Driver Message" not in message.text:
            self.problems.append(f"{message.type}: {message.text}")

    def _watch(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.problems.append(f"request to {request.url}")

    def open(self) -> None:
        """Load it, and wait for the first answer."""
        self.page.goto(self.url)
        self.wait_for_looks(1)

    def looks(self) -> int:
        """Answers shown so far."""
        return int(self.page.evaluate("Number(document.body.dataset.looks ?? 0)"))

    def wait_for_looks(self, count: int, seconds: float = 120) -> None:
        """Wait until so many answers have been shown."""
        self.wait(lambda: self.looks() >= count, f"{count} looks; there were {self.looks()}", seconds)

    def wait(self, condition: Any, what: str, seconds: float = 60) -> None:
        """Wait for a condition; conditions of the page itself would need `eval`, which it forbids."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"waited for {what}; {self.problems}"
            time.sleep(0.05)

    def colours(self, selector: str) -> np.ndarray:
        """An element's pixels, as shown: (row, column, 3). Slow: the whole page is drawn for it."""
        return _pixels(self.page.locator(selector).screenshot())

    def canvas(self, selector: str) -> np.ndarray:
        """A canvas' own pixels (row, column, 3); not of the 3-D view, which keeps none."""
        address = self.page.evaluate("name => document.querySelector(name).toDataURL()", selector)
        return _pixels(base64.b64decode(address.partition(",")[2]))

    def text(self, selector: str) -> str:
        """An element's text."""
        return self.page.locator(selector).inner_text()


@contextmanager
def chromium_running(*switches: str) -> Iterator[Any]:
    """A headless browser; Playwright allows one at a time in a thread.

    Args:
        switches: of Chromium.
    """
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*WEBGL, *switches])
        yield browser
        browser.close()


@contextmanager
def browser_page(browser: Any, url: str, **context: Any) -> Iterator[Page]:
    """The page of a server in a window of its own; not opened yet.

    Args:
        browser: of `chromium_running`.
        url: of the server.
        context: of Playwright: viewport, touch, permissions, …
    """
    defaults = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
    window = browser.new_context(**(defaults | context))
    page = window.new_page()
    page.set_default_timeout(60_000)
    yield Page(page, url)
    window.close()
