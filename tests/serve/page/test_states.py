"""What the page says when the server is loading, locked, busy or away, and that it keeps to itself."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from support.page_server import Cut, PageServer, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

LOADING = {"message": "The model is loading.", "code": "model_loading"}


def notice(page: Page, words: str) -> None:
    page.wait_for_function("words => document.getElementById('notice').innerText.includes(words)", arg=words)


def test_while_the_model_loads_text_is_kept_and_sent_afterwards(open_page: Callable[..., Page], server: PageServer):
    server.script.status, server.script.error, server.script.headers = 503, LOADING, {"Retry-After": "1"}
    page = open_page(server.url, ready=False)
    notice(page, "The model is loading")
    page.fill("#text", "hello")
    page.press("#text", "Enter")
    assert page.input_value("#text") == "hello"
    assert page.is_disabled("#send")
    server.script.status = 200
    page.wait_for_selector("#notice", state="hidden")
    page.click("#send")
    page.wait_for_selector(".measured, .reply .turn-actions")
    assert page.input_value("#text") == ""


def test_a_server_with_a_key_asks_for_it_once_and_a_wrong_one_again(open_page: Callable[..., Page], server: PageServer):
    server.script.key = "right"
    page = open_page(server.url, ready=False)
    page.locator("#key-input").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("The server refused this key").wait_for()
    page.locator("#key-input").fill("right")
    page.keyboard.press("Enter")
    page.wait_for_selector("#notice", state="hidden")
    page.reload()
    page.wait_for_function("() => document.getElementById('model').textContent === 'nano-int4'")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("localStorage.length + document.cookie.length") == 0


def test_a_server_that_goes_away_is_named_and_the_text_stays(open_page: Callable[..., Page]):
    with PageServer() as first:
        page = open_page(first.url)
        port = first.server_address[1]
    page.fill("#text", "do not lose me")
    page.press("#text", "Enter")
    page.wait_for_selector(".problem")
    assert page.locator(".problem").inner_text() == "The server does not answer."
    notice(page, "What you wrote is kept")
    assert "do not lose me" in page.locator(".turn.user").inner_text()
    page.fill("#text", "nor me")
    with PageServer(port=port):
        page.wait_for_selector("#notice", state="hidden")
        page.get_by_role("button", name="Ask again for this reply").click()
        page.wait_for_function("() => document.querySelector('.prose')?.textContent === 'Hello.'")
    assert page.input_value("#text") == "nor me"


def test_a_connection_that_breaks_keeps_what_came(page: Page, server: PageServer):
    server.script.stream = [text("half a sen"), Cut()]
    page.fill("#text", "hi")
    page.press("#text", "Enter")
    page.wait_for_selector(".problem")
    assert page.locator(".prose").inner_text() == "half a sen"
    assert page.locator(".problem").inner_text() == "The connection to the server broke."


def test_an_error_within_the_stream_and_a_refusal_are_shown_in_the_servers_words(page: Page, server: PageServer):
    server.script.stream = [text("a"), {"error": {"message": "This machine has no memory left.", "code": "internal"}}]
    page.fill("#text", "hi")
    page.press("#text", "Enter")
    page.wait_for_selector(".problem")
    assert page.locator(".problem").inner_text() == "This machine has no memory left."
    server.script.status, server.script.error = 429, {"message": "16 requests wait already.", "code": "slow_down"}
    page.get_by_role("button", name="Ask again for this reply").click()
    page.get_by_text("16 requests wait already.").first.wait_for()
    assert page.locator("#notice").is_hidden()


def test_offline_is_noticed_and_ends_by_itself(page: Page):
    page.context.set_offline(True)
    notice(page, "does not answer")
    page.fill("#text", "kept")
    page.context.set_offline(False)
    page.wait_for_selector("#notice", state="hidden")
    assert page.input_value("#text") == "kept"


def test_where_microphone_and_camera_are_not_allowed_the_page_says_why_and_how(open_page: Callable[..., Page]):
    address = own_address()
    with PageServer(host=address) as server:
        page = open_page(server.url, ready=False)
        page.wait_for_function("() => document.getElementById('model').textContent !== ''")
        assert page.evaluate("window.isSecureContext") is False
        for button, noun in (("#add-recording", "microphone"), ("#add-camera", "camera")):
            page.click(button)
            page.wait_for_selector(f"#hint:has-text('{noun}')")
            assert "https or localhost" in page.locator("#hint").inner_text()
            assert "--tls-cert" in page.locator("#hint").inner_text()


def own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = str(probe.getsockname()[0])
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    return address


def test_without_vision_or_speech_the_page_says_which_export_has_them(
    open_page: Callable[..., Page], server: PageServer
):
    server.script.model["architecture"] = {"input_modalities": ["text"], "output_modalities": ["text"]}
    page = open_page(server.url)
    for button, adapter in (("#add-image", "vision"), ("#add-audio", "speech")):
        page.click(button)
        page.wait_for_selector(f"#hint:has-text('--adapters {adapter}')")
    page.click("#to-transcribe")
    page.get_by_text("This model folder takes no audio.").last.wait_for()


def test_the_page_is_painted_at_once(page: Page):
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
    assert 0 < paint < 1500
