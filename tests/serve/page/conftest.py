"""A browser, and the page in it: Debian's Chromium, driven by playwright. Nothing is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.page_server import PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SAMPLES = Path(__file__).parents[3] / "nano/samples"
ARGUMENTS = [
    "--no-sandbox",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    f"--use-file-for-fake-audio-capture={SAMPLES / 'sentence.wav'}%noloop",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer() as started:
        yield started


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an address in a fresh context, and fails the test on any error, CSP report or request to elsewhere."""
    problems: list[str] = []
    contexts = []

    def get(url: str, *, ready: bool = True, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.set_default_timeout(8000)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if "Security Policy" in message.text else None)
        page.on("request", lambda request: problems.append(request.url) if foreign(request.url, url) else None)
        page.goto(url)
        if ready:
            page.wait_for_function("() => document.getElementById('model').textContent !== ''")
        return page

    yield get
    for context in contexts:
        context.close()
    assert problems == []


def foreign(address: str, own: str) -> bool:
    return not address.startswith((own, "data:", "blob:"))


@pytest.fixture
def page(open_page: Callable[..., Page], server: PageServer) -> Page:
    return open_page(server.url)
