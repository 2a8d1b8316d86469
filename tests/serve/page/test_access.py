"""The page for everybody: axe-core finds nothing, at each width, light and dark, and from right to left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from support.page_actions import SAMPLES, replies, say, wait_for_text
from support.page_server import Gate, PageServer, ending, text
from support.page_socket import completed, delta, error, failed, started, tail

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
REPLY = (
    "# Title\n\nSome `code` and a [link](https://a.test)\n\n```py\nx = 1\n```\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n> quote\n\n" + "w" * 300
)
CALL = {"index": 0, "id": "1", "type": "function", "function": {"name": "open", "arguments": '{"room": "kitchen"}'}}
WIDE = "() => document.documentElement.scrollWidth - innerWidth"
SMALL = """() => {
  const controls = [...document.querySelectorAll('button, select, input, textarea, nav a')];
  const heights = controls.filter((node) => node.checkVisibility()).map((node) => {
    const area = node.type === 'checkbox' ? node.parentElement : node;
    return [node.textContent || node.id, area.getBoundingClientRect().height];
  });
  return heights.filter(([, height]) => height < 43.5);
}"""


class Checker:
    """Looks at a page in each state that a test brings it into."""

    def __init__(self, page: Page) -> None:
        axe = pytest.importorskip("axe_playwright_python.base", reason="needs the extra `browser`")
        self._script = axe.AXE_SCRIPT
        self._page = page

    def look(self, state: str) -> None:
        self._page.wait_for_timeout(50)
        if self._page.evaluate("() => window.axe === undefined"):
            self._page.evaluate(self._script)
        found = self._page.evaluate("(rules) => axe.run(rules)", RULES)["violations"]
        faults = [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found]
        assert faults == [], state
        assert self._page.evaluate(WIDE) <= 0, f"{state}: wider than the window"
        assert self._page.evaluate(SMALL) == [], f"{state}: too small for a finger"


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1920, "light")])
def test_no_state_has_a_fault(open_page: Callable[..., Page], scripted: PageServer, width: int, scheme: str):
    page = open_page(
        scripted.url, viewport={"width": width, "height": 740}, color_scheme=scheme, reduced_motion="reduce"
    )
    checker = Checker(page)
    checker.look("welcome")
    scripted.script.cost = {
        "input_tokens": 1841, "seconds": {"encode": 9.6, "prefill": 14.2},
        "media": [{"crops": [4, 3], "scaled": [1792, 1000], "rows": 1833}, {"rows": 20}],
    }  # fmt: skip
    page.set_input_files("#image-file", SAMPLES / "sign.png")
    page.set_input_files("#audio-file", SAMPLES / "command.wav")
    wait_for_text(page, "#context", "1,841 tokens")
    checker.look("attached")
    gate = Gate()
    call = {"choices": [{"index": 0, "delta": {"tool_calls": [CALL]}}]}
    scripted.script.stream = ["prefill 512/2049", gate, text(REPLY), call, *ending(encode=3, prefill=2, decode=1)]
    page.click("#send")
    wait_for_text(page, ".stages", "prefill")
    checker.look("busy")
    gate.open()
    replies(page)
    checker.look("reply")
    page.get_by_role("button", name="Edit").click()
    checker.look("editing")
    page.get_by_role("button", name="Cancel").click()
    scripted.script.status, scripted.script.error = 429, {"message": "16 requests wait already.", "code": "slow_down"}
    say(page, "again")
    page.wait_for_selector(".problem")
    checker.look("refused")
    for button in ("#open-settings", "#add-camera"):
        page.click(button)
        page.wait_for_selector("dialog")
        checker.look(button)
        page.keyboard.press("Escape")
    page.click("#add-recording")
    page.get_by_role("button", name="Done").wait_for()
    checker.look("recording")
    page.get_by_role("button", name="Discard").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_state_of_a_transcript_or_of_the_server_has_a_fault(
    open_page: Callable[..., Page], scripted: PageServer, scheme: str
):
    page = open_page(scripted.url, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    checker = Checker(page)
    page.click("#to-transcribe")
    checker.look("transcribe")
    gate = Gate()
    texts = [("One.", -0.1), ("[...]", None), ("Unsure", -3), ("w" * 200, -0.1)]
    scripted.script.stream = [
        {"type": "transcript.text.segment", "start": at, "end": at + 1, "text": words, "avg_logprob": sure}
        for at, (words, sure) in enumerate(texts)
    ]
    scripted.script.stream += [gate, {"type": "transcript.text.done", "edgephi": {"error": "the file ends early"}}]
    page.set_input_files("#recording-file", SAMPLES / "sentence.wav")
    page.click("#start")
    wait_for_text(page, "#segments", "Unsure")
    checker.look("transcribing")
    gate.open()
    page.wait_for_selector("#save button")
    checker.look("transcribed")
    scripted.script.live.events = [
        *(started("a", 0.5), completed("a", "Good morning all."), started("b", 2), failed("b", "This was left out.")),
        *(started("c", 3), delta("c", "Settled"), tail("c", " and not " + "w" * 200)),
        error("falling_behind", "Behind."),
    ]
    page.click("#to-captions")
    checker.look("captions")
    page.click("#listen")
    wait_for_text(page, "#caption-trouble", "Behind.")
    checker.look("live")
    for state in ("large", "small"):
        page.click("#large")
        checker.look(state)
    page.click("#pause")
    checker.look("paused")
    page.click("#end")
    page.click("#end")
    page.wait_for_selector("#kept")
    checker.look("ended")
    scripted.script.key = "right"
    page.reload()
    page.wait_for_selector("dialog")
    checker.look("key")
    page.keyboard.press("Escape")
    checker.look("without a key")


def test_text_from_right_to_left_is_laid_out_so(staged: Page, scripted: PageServer):
    scripted.script.stream = [text("שלום עולם\n\n- אחת\n- two"), *ending()]
    say(staged, "مرحبا")
    replies(staged)
    direction = "node => getComputedStyle(node).direction"
    assert staged.locator(".bubble p").evaluate(direction) == "rtl"
    assert staged.locator(".prose > p").evaluate(direction) == "rtl"
    assert staged.locator(".prose li").nth(1).evaluate(direction) == "ltr"
    assert staged.evaluate(WIDE) <= 0


def test_what_happens_is_announced(staged: Page, scripted: PageServer):
    gate = Gate()
    scripted.script.stream = [gate, text("The answer."), *ending()]
    say(staged, "hi")
    live: Any = "words => document.getElementById('announce').textContent === words"
    staged.wait_for_function(live, arg="Waiting for the reply")
    gate.open()
    staged.wait_for_function(live, arg="The answer.")
