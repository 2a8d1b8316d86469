"""What the page says when the server is loading, locked, busy or away, and that it keeps to itself."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from support.page_actions import SAMPLES, replies, say, wait_for_text
from support.page_server import PAGE, Cut, Gate, PageServer, ending, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

LOADING = {"message": "The model is loading.", "code": "model_loading"}


def notice(page: Page, words: str) -> None:
    page.wait_for_function("words => document.getElementById('notice').innerText.includes(words)", arg=words)


def test_while_the_model_loads_text_is_kept_and_sent_afterwards(open_page: Callable[..., Page], scripted: PageServer):
    scripted.script.status, scripted.script.error, scripted.script.headers = 503, LOADING, {"Retry-After": "1"}
    page = open_page(scripted.url, ready=False)
    notice(page, "The model is loading")
    page.fill("#text", "hello")
    page.press("#text", "Enter")
    assert page.input_value("#text") == "hello"
    assert page.is_disabled("#send")
    scripted.script.status = 200
    page.wait_for_selector("#notice", state="hidden")
    page.click("#send")
    page.wait_for_selector(".measured")
    assert page.input_value("#text") == ""


def test_a_server_with_a_key_asks_for_it_once_and_a_wrong_one_again(
    open_page: Callable[..., Page], scripted: PageServer
):
    scripted.script.key = "right"
    page = open_page(scripted.url, ready=False)
    page.locator("#key-input").fill("wrong")
    page.keyboard.press("Enter")
    page.locator("dialog").get_by_text("The server refused the key").wait_for()
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
        page.get_by_role("button", name="Ask again").click()
        page.wait_for_function("() => document.querySelector('.prose')?.textContent === 'Hello.'")
    assert page.input_value("#text") == "nor me"


def test_a_connection_that_breaks_keeps_what_came(staged: Page, scripted: PageServer):
    scripted.script.stream = [text("half a sen"), Cut()]
    staged.fill("#text", "hi")
    staged.press("#text", "Enter")
    staged.wait_for_selector(".problem")
    assert staged.locator(".prose").inner_text() == "half a sen"
    assert staged.locator(".problem").inner_text() == "The connection to the server broke."


def test_an_error_within_the_stream_and_a_refusal_are_shown_in_the_servers_words(staged: Page, scripted: PageServer):
    scripted.script.stream = [text("a"), {"error": {"message": "This machine has no memory left.", "code": "internal"}}]
    staged.fill("#text", "hi")
    staged.press("#text", "Enter")
    staged.wait_for_selector(".problem")
    assert staged.locator(".problem").inner_text() == "This machine has no memory left."
    scripted.script.status, scripted.script.error = 429, {"message": "16 requests wait already.", "code": "slow_down"}
    staged.get_by_role("button", name="Ask again").click()
    staged.get_by_text("16 requests wait already.").first.wait_for()
    assert staged.locator("#notice").is_hidden()


def test_offline_is_noticed_and_ends_by_itself(staged: Page):
    staged.context.set_offline(True)
    notice(staged, "does not answer")
    staged.fill("#text", "kept")
    staged.context.set_offline(False)
    staged.wait_for_selector("#notice", state="hidden")
    assert staged.input_value("#text") == "kept"


def test_where_microphone_and_camera_are_not_allowed_the_page_says_why_and_how(open_page: Callable[..., Page]):
    address = own_address()
    with PageServer(host=address) as elsewhere:
        page = open_page(elsewhere.url, ready=False)
        page.wait_for_function("() => document.getElementById('model').textContent !== ''")
        assert page.evaluate("window.isSecureContext") is False
        for button, noun in (("#add-recording", "microphone"), ("#add-camera", "camera")):
            page.click(button)
            page.wait_for_selector(f"#hint:has-text('{noun}')")
            assert "https or localhost" in page.locator("#hint").inner_text()
            assert "--tls-cert" in page.locator("#hint").inner_text()
        page.click("#to-captions")
        page.click("#listen")
        page.wait_for_selector("#caption-trouble:has-text('https or localhost')")


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
    open_page: Callable[..., Page], scripted: PageServer
):
    scripted.script.model["architecture"] = {"input_modalities": ["text"], "output_modalities": ["text"]}
    page = open_page(scripted.url)
    for button, adapter in (("#add-image", "vision"), ("#add-audio", "speech")):
        page.click(button)
        page.wait_for_selector(f"#hint:has-text('--adapters {adapter}')")
    page.click("#to-transcribe")
    page.get_by_text("This model folder takes no audio.").last.wait_for()


@pytest.mark.parametrize("before", ["queued 2", "encode 3/8", "prefill 512/2049", text("words so far")])
def test_escape_stops_in_every_stage_and_the_server_is_left(staged: Page, scripted: PageServer, before: Any):
    scripted.script.stream = [before, Gate()]
    say(staged, "hi")
    wait_for_text(
        staged, ".turn.reply", "words so far" if isinstance(before, dict) else before.split()[0].removesuffix("d")
    )
    staged.keyboard.press("Escape")
    assert replies(staged) == ["words so far" if isinstance(before, dict) else ""]
    assert staged.locator(".reply .remark").inner_text() == "Stopped."
    assert scripted.left.wait(5)


def test_stages_are_shown_in_order_with_their_progress(staged: Page, scripted: PageServer):
    gates = [Gate() for _ in range(4)]
    scripted.script.stream = [
        "queued 2",
        gates[0],
        "encode 3/8",
        gates[1],
        "prefill 512/2049",
        gates[2],
        text("a"),
        gates[3],
    ]
    scripted.script.stream += ending(encode=4.2, prefill=6.5, ttft=11, decode=9.2)
    say(staged, "hi")
    stages = ("queue 2 requests before this one", "encode 3 of 8", "prefill 512 of 2,049", "decode")
    for gate, stage in zip(gates, stages, strict=True):
        wait_for_text(staged, ".stages", stage)
        gate.open()
    assert replies(staged) == ["a"]
    assert staged.locator("progress:visible").count() == 0
    figures = staged.locator(".measured").inner_text()
    for figure in ("encode 4.2 s", "prefill 6.5 s", "132 tokens, 14 per second", "first after 11 s"):
        assert figure in figures
    assert staged.locator("#context").inner_text() == "2,181 of 4,096 tokens used"


def test_the_crops_and_the_cost_of_an_image_are_shown_before_it_is_sent(staged: Page, scripted: PageServer):
    scripted.script.cost = {
        "input_tokens": 1841, "seconds": {"encode": 9.6, "prefill": 14.2},
        "media": [{"type": "image", "crops": [4, 3], "scaled": [1792, 1000], "rows": 1833}],
    }  # fmt: skip
    staged.set_input_files("#image-file", SAMPLES / "sign.png")
    wait_for_text(staged, "#context", "1,841 tokens, about 24 s until the reply begins")
    assert "4 \u00d7 3 crops, 1,833 tokens" in staged.locator("#attached").inner_text()
    across = staged.locator(".across").evaluate_all("lines => lines.map((line) => line.style.left)")
    assert across == ["25%", "50%", "75%"]
    assert staged.locator(".down").evaluate_all("lines => lines.map((line) => line.style.top)") == ["44.8%", "89.6%"]
    scripted.script.cost = {
        "input_tokens": 265,
        "media": [{"type": "image", "crops": [1, 1], "scaled": [448, 250], "rows": 257}],
    }
    staged.get_by_label("Low detail").check()
    wait_for_text(staged, "#attached", "1 crop, 257 tokens")
    asked = [body for path, body in scripted.script.seen if path.endswith("/input_tokens")]
    details = [body["messages"][0]["content"][0]["image_url"]["detail"] for body in asked]
    assert details == ["auto", "low"]


def test_the_page_is_small_and_is_painted_at_once(staged: Page):
    paint = staged.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert 0 < paint < 1500
    assert sum(path.stat().st_size for path in PAGE.iterdir()) <= 80_000
