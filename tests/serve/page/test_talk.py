"""A conversation with the demo's model in the page of the real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from support.page_actions import SAMPLES, replies, say, wait_for_text

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

TOOLS = [
    {"name": "open", "parameters": {"device": "string", "room": "string"}},
    {"name": "set_heater", "parameters": {"room": "string", "degrees": "integer"}},
]


def ask_about_the_sign(page: Page) -> None:
    page.set_input_files("#image-file", SAMPLES / "sign.png")
    page.wait_for_selector("#attached figure")
    say(page, "What does the sign say?")


def test_the_files_are_served_under_a_strict_policy_and_asked_for_again(server: Any):
    first = httpx.get(f"{server.url}/")
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    policy = first.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert first.headers["cache-control"] == "no-cache"
    assert httpx.get(f"{server.url}/", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert httpx.get(f"{server.url}/page/app.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert httpx.get(f"{server.url}/page/style.css").headers["content-type"] == "text/css; charset=utf-8"
    for strange in ("..%2fapp.py", ".hidden", "absent.js", "%2e%2e/app.py"):
        assert httpx.get(f"{server.url}/page/{strange}").status_code == 404


def test_a_reply_is_streamed_with_the_figures_of_the_server(page: Page, bodies: list[dict[str, Any]]):
    ask_about_the_sign(page)
    assert replies(page) == ["WATER"]
    figures = page.locator(".measured").inner_text()
    assert "6 tokens" in figures
    assert "first after" in figures
    assert "of 131,072 tokens used" in page.locator("#context").inner_text()
    [body] = bodies
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert "temperature" not in body


def test_enter_sends_and_shift_enter_breaks(page: Page, bodies: list[dict[str, Any]]):
    page.fill("#text", "one")
    page.press("#text", "Shift+Enter")
    page.keyboard.type("two")
    page.press("#text", "Enter")
    replies(page)
    assert bodies[0]["messages"][0]["content"] == "one\ntwo"


def test_ask_again_sends_the_same_without_the_old_reply(page: Page, bodies: list[dict[str, Any]]):
    ask_about_the_sign(page)
    replies(page)
    page.get_by_role("button", name="Ask again").click()
    assert replies(page) == ["WATER"]
    first, second = bodies
    assert first["messages"] == second["messages"]


def test_an_edited_message_replaces_what_follows(page: Page, bodies: list[dict[str, Any]]):
    for words in ("first", "second"):
        say(page, words)
        replies(page)
    page.get_by_role("button", name="Edit").first.click()
    assert page.input_value("#text") == "first"
    say(page, "changed")
    assert len(replies(page)) == 1
    assert bodies[-1]["messages"] == [{"role": "user", "content": "changed"}]


def test_that_a_message_is_edited_stays_in_view_until_it_is_cancelled(page: Page):
    say(page, "first")
    replies(page)
    page.get_by_role("button", name="Edit").click()
    page.set_input_files("#image-file", SAMPLES / "sign.png")
    page.wait_for_selector("#attached figure")
    assert "You are editing an earlier message" in page.locator("#hint").inner_text()
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#hint").is_hidden()
    assert page.locator("#attached figure").count() == 0
    say(page, "second")
    assert len(replies(page)) == 2


def test_a_message_that_is_edited_keeps_its_image(page: Page, bodies: list[dict[str, Any]]):
    ask_about_the_sign(page)
    replies(page)
    page.get_by_role("button", name="Edit").click()
    page.wait_for_selector("#attached figure")
    page.press("#text", "Enter")
    assert replies(page) == ["WATER"]
    assert bodies[0]["messages"] == bodies[1]["messages"]


def test_settings_go_into_the_request_and_empty_ones_do_not(page: Page, bodies: list[dict[str, Any]]):
    page.click("#open-settings")
    page.get_by_label("System text").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.3")
    page.get_by_label("Most crops of an image").fill("4")
    page.get_by_label("A JSON list").fill(json.dumps(TOOLS))
    page.get_by_label("Top p").fill("7")
    page.keyboard.press("Tab")
    assert page.get_by_label("Top p").get_attribute("aria-invalid") == "true"
    page.keyboard.press("Escape")
    say(page, "hi")
    replies(page)
    [body] = bodies
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["temperature"] == 0.3
    assert body["edgephi"] == {"max_crops": 4}
    assert body["tools"][0] == {"type": "function", "function": TOOLS[0]}
    assert "top_p" not in body


def test_a_command_calls_its_function_and_takes_the_result(page: Page, bodies: list[dict[str, Any]]):
    page.click("#open-settings")
    page.get_by_label("System text").fill("You are a home assistant.")
    page.get_by_label("A JSON list").fill(json.dumps(TOOLS))
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    say(page, "now set the office heater to twelve degrees")
    replies(page)
    assert page.locator(".code .head").inner_text() == "Function call: set_heater"
    assert '"degrees": 12' in page.locator(".code pre").inner_text()
    page.get_by_label("Result of set_heater").fill("done")
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn:nth-child(4):not([aria-busy])")
    call, result = bodies[-1]["messages"][-2:]
    assert call["tool_calls"][0]["function"]["name"] == "set_heater"
    assert result == {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "done"}
    assert page.locator(".problem").count() == 0


def test_a_reply_is_copied_as_it_was_written(page: Page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask_about_the_sign(page)
    replies(page)
    page.locator(".reply").get_by_role("button", name="Copy").click()
    wait_for_text(page, ".reply .actions", "Copied")
    assert page.evaluate("() => navigator.clipboard.readText()") == "WATER"


def test_a_conversation_goes_out_and_in_as_json(page: Page, tmp_path: Path):
    ask_about_the_sign(page)
    replies(page)
    page.click("#open-settings")
    with page.expect_download() as caught:
        page.get_by_role("button", name="Save as JSON").click()
    saved = tmp_path / "saved.json"
    caught.value.save_as(saved)
    value = json.loads(saved.read_text())
    assert value["messages"][1] == {"role": "assistant", "content": "WATER"}
    page.keyboard.press("Escape")
    page.click("#new")
    assert page.locator(".turn").count() == 0
    page.click("#open-settings")
    page.set_input_files("#conversation-file", saved)
    assert replies(page) == ["WATER"]
    assert page.locator(".user img").count() == 1


WRONG = {
    "{": "it is no JSON",
    "{}": "no list of messages",
    '[{"role": "robot"}]': "message 1 has no role",
    '[{"role": "user", "content": [{"type": "video"}]}]': "message 1 has a part that cannot be shown: video",
    '[{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "a"}}]}]': (
        "message 1 has a part that cannot be shown: input_audio"
    ),
}


def test_a_file_that_is_no_conversation_is_refused_in_one_line(page: Page, tmp_path: Path):
    wrong = tmp_path / "wrong.json"
    for content, why in WRONG.items():
        wrong.write_text(content)
        page.click("#open-settings")
        page.set_input_files("#conversation-file", wrong)
        wait_for_text(page, "#hint", why)
        assert page.locator(".turn").count() == 0


def test_a_reload_keeps_the_conversation_and_the_draft_and_a_new_one_can_be_undone(page: Page):
    ask_about_the_sign(page)
    replies(page)
    page.fill("#text", "a draft")
    page.reload()
    assert replies(page) == ["WATER"]
    assert page.input_value("#text") == "a draft"
    page.click("#new")
    assert page.locator(".turn").count() == 0
    page.get_by_role("button", name="Bring the last one back").click()
    assert replies(page) == ["WATER"]


def test_everything_can_be_done_by_keyboard(page: Page):
    page.keyboard.press("Tab")
    names = []
    for _ in range(10):
        names.append(page.evaluate("() => document.activeElement.id"))
        page.keyboard.press("Tab")
    wanted = ["to-chat", "to-transcribe", "to-captions", "new", "open-settings", "text"]
    wanted += ["add-image", "add-camera", "add-audio"]
    assert [name for name in names if name in wanted] == wanted
