"""A conversation in the page: what is sent, what is shown, and what can be done with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.page_server import Gate, PageServer, ending, text

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

CALL = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "open", "arguments": '{"device": "window", "room": "kitchen"}'},
}


def say(page: Page, words: str) -> None:
    page.fill("#text", words)
    page.press("#text", "Enter")


def bodies(server: PageServer) -> list[dict[str, Any]]:
    return [body for path, body in server.script.seen if path == "/v1/chat/completions"]


def replies(page: Page) -> list[str]:
    page.wait_for_selector(".reply:last-child:not([aria-busy])")
    return page.locator(".reply .prose").all_inner_texts()


def test_a_reply_is_streamed_and_its_figures_are_those_of_the_server(page: Page, server: PageServer):
    gate = Gate()
    server.script.stream = [
        text("It says "),
        gate,
        text("**WATER**."),
        *ending(encode=4.2, prefill=6.5, ttft=11, decode=9.2),
    ]
    say(page, "What does the sign say?")
    page.wait_for_function("() => document.querySelector('.prose')?.textContent.trim() === 'It says'")
    gate.open()
    assert replies(page) == ["It says WATER."]
    assert page.locator(".reply strong").inner_text() == "WATER"
    figures = page.locator(".measured").inner_text()
    assert "encode 4.2 s" in figures
    assert "prefill 6.5 s" in figures
    assert "132 tokens, 14 per second" in figures
    assert "first after 11 s" in figures
    assert page.locator("#context").inner_text() == "2,181 of 4,096 tokens used"
    [body] = bodies(server)
    assert body["messages"] == [{"role": "user", "content": "What does the sign say?"}]
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert "temperature" not in body


def test_stages_are_shown_in_order_with_their_progress(page: Page, server: PageServer):
    gates = [Gate() for _ in range(4)]
    server.script.stream = [
        "queued 2",
        gates[0],
        "encode 3/8",
        gates[1],
        "prefill 512/2049",
        gates[2],
        text("a"),
        gates[3],
    ]
    server.script.stream += ending()
    say(page, "hi")
    bars = page.get_by_role("progressbar", name="Progress of the reply")
    for gate, stage in zip(gates, ("queue 2 requests", "encode 3 of 8", "prefill 512 of 2,049", "decode"), strict=True):
        page.wait_for_function(
            "stage => document.querySelector('.stage.now')?.innerText.replaceAll('\\n', ' ').startsWith(stage)",
            arg=stage,
        )
        gate.open()
    assert bars.count() <= 1
    assert replies(page) == ["a"]
    assert bars.count() == 0


@pytest.mark.parametrize("before", ["queued 2", "encode 3/8", "prefill 512/2049", text("words so far")])
def test_escape_stops_in_every_stage_and_the_server_is_left(page: Page, server: PageServer, before: Any):
    server.script.stream = [before, Gate()]
    say(page, "hi")
    page.wait_for_selector(".stage.now")
    page.keyboard.press("Escape")
    expected = ["words so far"] if isinstance(before, dict) else [""]
    assert replies(page) == expected
    assert page.locator(".reply .remark").inner_text() == "Stopped."
    assert server.left.wait(5)
    assert page.evaluate("document.activeElement.id") == "text"


def test_enter_sends_and_shift_enter_breaks(page: Page, server: PageServer):
    page.fill("#text", "one")
    page.press("#text", "Shift+Enter")
    page.keyboard.type("two")
    page.press("#text", "Enter")
    replies(page)
    assert bodies(server)[0]["messages"][0]["content"] == "one\ntwo"


def test_retry_asks_again_without_the_old_reply(page: Page, server: PageServer):
    say(page, "hi")
    replies(page)
    server.script.stream = [text("Another."), *ending()]
    page.get_by_role("button", name="Ask again for this reply").click()
    assert replies(page) == ["Another."]
    first, second = bodies(server)
    assert first["messages"] == second["messages"]


def test_an_edited_message_replaces_what_follows(page: Page, server: PageServer):
    for words in ("first", "second"):
        say(page, words)
        replies(page)
    page.locator(".turn.user").first.hover()
    page.get_by_role("button", name="Edit this message").first.click()
    assert page.input_value("#text") == "first"
    say(page, "changed")
    assert len(replies(page)) == 1
    assert bodies(server)[-1]["messages"] == [{"role": "user", "content": "changed"}]


def test_a_reply_is_copied_as_it_was_written(page: Page, server: PageServer):
    server.script.stream = [text("**bold** and `code`"), *ending()]
    say(page, "hi")
    replies(page)
    page.get_by_role("button", name="Copy this reply").click()
    page.wait_for_function("() => document.getElementById('announce').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == "**bold** and `code`"


def test_a_reply_that_reached_the_limit_can_be_continued(page: Page, server: PageServer):
    server.script.stream = [text("One two"), *ending("length")]
    say(page, "count")
    replies(page)
    server.script.stream = [text(" three"), *ending()]
    page.get_by_role("button", name="Continue").click()
    page.wait_for_function("() => document.querySelector('.prose').textContent === 'One two three'")
    assert bodies(server)[-1]["messages"][-1] == {"role": "assistant", "content": "One two"}


def test_settings_go_into_the_request_and_empty_ones_do_not(page: Page, server: PageServer):
    page.click("#open-settings")
    page.get_by_label("System text").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.3")
    page.get_by_label("Most crops of an image").fill("4")
    page.get_by_label("A JSON list").fill('[{"name": "open", "parameters": {}}]')
    page.get_by_label("Top p").fill("7")
    page.keyboard.press("Tab")
    assert page.get_by_label("Top p").get_attribute("aria-invalid") == "true"
    page.keyboard.press("Escape")
    say(page, "hi")
    replies(page)
    [body] = bodies(server)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["temperature"] == 0.3
    assert body["edgephi"] == {"max_crops": 4}
    assert body["tools"] == [{"type": "function", "function": {"name": "open", "parameters": {}}}]
    assert "top_p" not in body


def test_a_function_call_is_shown_and_its_result_is_sent_back(page: Page, server: PageServer):
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [CALL]}, "finish_reason": None}]}
    server.script.stream = [chunk, *ending("tool_calls")]
    say(page, "open the kitchen window")
    replies(page)
    assert page.locator(".call-name").inner_text() == "Function call: open"
    assert '"room": "kitchen"' in page.locator(".call pre").inner_text()
    server.script.stream = [text("It is open."), *ending()]
    page.get_by_label("Result of open").fill("done")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.reply:last-child .prose').textContent === 'It is open.'")
    messages = bodies(server)[-1]["messages"]
    call = {name: value for name, value in CALL.items() if name != "index"}
    assert messages[1] == {"role": "assistant", "content": None, "tool_calls": [call]}
    assert messages[2] == {"role": "tool", "tool_call_id": "call_1", "content": "done"}


def test_a_conversation_goes_out_and_in_as_json(page: Page, server: PageServer, tmp_path: Path):
    say(page, "hi")
    replies(page)
    page.click("#open-settings")
    with page.expect_download() as caught:
        page.get_by_role("button", name="Save as JSON").click()
    saved = tmp_path / "saved.json"
    caught.value.save_as(saved)
    value = json.loads(saved.read_text())
    assert value["messages"] == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello."}]
    page.keyboard.press("Escape")
    page.click("#new")
    assert page.locator(".turn").count() == 0
    page.click("#open-settings")
    page.set_input_files("#conversation-file", saved)
    assert replies(page) == ["Hello."]


@pytest.mark.parametrize(
    ("content", "why"),
    [("{", "it is no JSON"), ("{}", "no list of messages"), ('[{"role": "robot"}]', "Message 1 has no role")],
)
def test_a_file_that_is_no_conversation_is_refused_in_one_line(page: Page, tmp_path: Path, content: str, why: str):
    wrong = tmp_path / "wrong.json"
    wrong.write_text(content)
    page.click("#open-settings")
    page.set_input_files("#conversation-file", wrong)
    page.wait_for_selector("#hint:not([hidden])")
    assert why in page.locator("#hint").inner_text()


def test_a_reload_keeps_the_conversation_and_the_draft_and_a_new_one_can_be_undone(page: Page, server: PageServer):
    say(page, "hi")
    replies(page)
    page.fill("#text", "a draft")
    page.reload()
    assert replies(page) == ["Hello."]
    assert page.input_value("#text") == "a draft"
    page.click("#new")
    assert page.locator(".turn").count() == 0
    page.get_by_role("button", name="Bring the last one back").click()
    assert replies(page) == ["Hello."]
