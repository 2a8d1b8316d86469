"""A server that is killed while the page uses it: the page says so in a line, keeps all that came, and works on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.page_actions import SAMPLES, replies, say, transcribe_a_long_one, wait_for_text
from support.serve_process import end, launch

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser

BROKE = "The connection to the server broke."


class Restartable:
    """The program on one port, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        self._running = launch(self._log, "--realtime", "1")
        self.url = self._running.url

    def kill(self) -> None:
        self._running.process.kill()
        self._running.process.wait(10)

    def restart(self, page: Page) -> None:
        """Start it again, and wait until the page has noticed."""
        wait_for_text(page, "#notice", "The server does not answer.")
        end(self._running)
        self._running = launch(self._log, "--realtime", "1", "--port", self.url.rpartition(":")[2])
        page.wait_for_selector("#notice", state="hidden")

    def close(self) -> None:
        end(self._running)


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restartable]:
    """Every test restarts what it killed."""
    started = Restartable(tmp_path_factory.mktemp("killed"))
    yield started
    started.close()


def ask_for_a_long_reply(route: Route) -> None:
    """What the model says to the tests is short."""
    body = json.loads(route.request.post_data or "")
    route.continue_(post_data=json.dumps({**body, "edgephi": {"regex": "(more and ){2000}"}, "max_tokens": 8000}))


def test_in_the_middle_of_a_reply(open_page: Any, mortal: Restartable):
    page = open_page(mortal.url)
    page.route("**/v1/chat/completions", ask_for_a_long_reply)
    say(page, "Tell me more.")
    wait_for_text(page, ".prose", "more and more and")
    page.fill("#text", "a draft")
    page.click("#add-recording")
    page.get_by_role("button", name="Done").wait_for()
    mortal.kill()
    [reply] = replies(page)
    assert reply.startswith("more and more and")
    assert page.locator(".problem").inner_text() == BROKE
    wait_for_text(page, "#recording", "0:01")  # it needs no server
    page.get_by_role("button", name="Done").click()
    page.set_input_files("#image-file", SAMPLES / "sign.png")
    page.wait_for_selector("#attached img")
    assert page.locator("#attached audio").count() == 1
    assert page.is_disabled("#send")
    page.click("#add-recording")
    wait_for_text(page, "#hint", "The server does not answer.")
    page.unroute("**/v1/chat/completions")
    mortal.restart(page)
    page.get_by_role("button", name="Ask again").click()
    assert len(replies(page)) == 1
    assert page.locator(".problem").count() == 0
    assert page.input_value("#text") == "a draft"
    page.click("#send")
    assert len(replies(page)) == 2
    assert page.locator(".problem").count() == 0


def test_in_the_middle_of_a_recording_that_is_transcribed(open_page: Any, mortal: Restartable, tmp_path: Path):
    page = open_page(mortal.url)
    transcribe_a_long_one(page, tmp_path)
    mortal.kill()
    wait_for_text(page, "#trouble", BROKE)
    texts = page.locator("#segments [role=textbox]").all_inner_texts()
    assert texts
    with page.expect_download() as caught:
        page.get_by_role("button", name="srt").click()
    caught.value.save_as(tmp_path / "long.srt")
    assert (tmp_path / "long.srt").read_text().count(" --> ") == len(texts)
    assert page.is_disabled("#start")
    mortal.restart(page)
    assert page.locator("#segments [role=textbox]").all_inner_texts() == texts
    page.click("#start")
    page.wait_for_selector("#segments li")
    page.click("#halt")
    wait_for_text(page, "#status", "Stopped.")


def test_in_the_middle_of_captions(open_page: Any, mortal: Restartable):
    first, second = open_page(mortal.url), open_page(mortal.url)
    for page in (first, second):
        page.click("#to-captions")
    first.click("#listen")
    wait_for_text(first, "#spoken", "the")
    second.click("#listen")
    wait_for_text(second, "#caption-trouble", "The server has no free place for live captions.")
    mortal.kill()
    wait_for_text(first, "#caption-trouble", BROKE)
    words = first.locator("#spoken p").all_inner_texts()
    assert words[0].startswith("the")
    assert first.locator("#files").get_by_role("button", name="srt").is_visible()
    mortal.restart(first)
    first.click("#listen")
    first.wait_for_function("count => document.querySelectorAll('#spoken p').length > count", arg=len(words))
    assert first.locator("#caption-trouble").is_hidden()
    assert first.locator("#spoken p").all_inner_texts()[: len(words)] == words
    first.click("#end")
    first.wait_for_selector("#listen")
