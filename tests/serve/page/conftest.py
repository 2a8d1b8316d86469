"""A browser with a microphone and a camera, and servers for the page in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

from support.page_actions import SAMPLES
from support.page_server import PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DEVICES = [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    f"--use-file-for-fake-audio-capture={SAMPLES / 'sentence.wav'}%noloop",
]


@pytest.fixture(scope="session")
def devices() -> list[str]:
    """The options of a browser with a microphone and a camera that are allowed."""
    return DEVICES


@pytest.fixture(scope="session")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    """With a microphone and a camera that are allowed."""
    opened: AbstractContextManager[Browser] = launch(*DEVICES)
    with opened as browser:
        yield browser


@pytest.fixture
def scripted() -> Iterator[PageServer]:
    """A server for states that the real one with a small model does not reach."""
    with PageServer() as started:
        yield started


@pytest.fixture
def bodies() -> list[dict[str, Any]]:
    """The chat requests that pages sent, in order."""
    return []


@pytest.fixture
def open_page(browser: Browser, bodies: list[dict[str, Any]]) -> Iterator[Callable[..., Page]]:
    """Opens an address in a fresh context; fails the test on any error, CSP report, dialog or request to elsewhere."""
    problems: list[str] = []
    contexts = []

    def get(url: str, *, ready: bool = True, browser: Browser = browser, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(20_000)  # a loaded machine is slow, a fault still ends
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if "Security Policy" in message.text else None)
        page.on("request", lambda request: problems.append(request.url) if is_foreign(request.url, url) else None)
        page.on("request", lambda request: note(request, bodies))
        page.goto(url)
        if ready:
            page.wait_for_function("() => document.getElementById('model').textContent !== ''")
        return page

    yield get
    for context in contexts:
        context.close()
    assert problems == []


def is_foreign(address: str, own: str) -> bool:
    return not address.startswith((own, "data:", "blob:"))


def note(request: Any, bodies: list[dict[str, Any]]) -> None:
    if request.url.endswith("/v1/chat/completions"):
        bodies.append(request.post_data_json)


@pytest.fixture
def page(open_page: Callable[..., Page], server: Any) -> Page:
    """The page of the real server, with the demo's model."""
    return open_page(server.url)


@pytest.fixture
def staged(open_page: Callable[..., Page], scripted: PageServer) -> Page:
    """The page of the scripted server."""
    return open_page(scripted.url)
