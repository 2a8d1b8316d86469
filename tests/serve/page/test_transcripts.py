"""Transcripts in the page: by the real server, and what a scripted one shows of gaps, doubt and failure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from support.page_actions import SAMPLES, transcribe_a_long_one, wait_for_text
from support.page_server import Cut, Gate, PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

SPOKEN = "the small cat likes my red circle"


def segment(start: float, text: str, logprob: float | None = -0.1) -> dict[str, Any]:
    return {
        "type": "transcript.text.segment", "start": start, "end": start + 2, "text": text, "avg_logprob": logprob,
    }  # fmt: skip


def done(text: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "transcript.text.done", "text": text, **more}


def transcribe(page: Page) -> None:
    page.click("#to-transcribe")
    page.set_input_files("#recording-file", SAMPLES / "sentence.wav")
    page.click("#start")


def saved(page: Page, name: str, folder: Path) -> str:
    with page.expect_download() as caught:
        page.get_by_role("button", name=name, exact=True).click()
    assert caught.value.suggested_filename == f"sentence.{name}"
    caught.value.save_as(folder / name)
    return (folder / name).read_text()


def test_a_recording_becomes_segments_and_files_as_the_server_writes_them(page: Page, server: Any, tmp_path: Path):
    transcribe(page)
    page.wait_for_selector("#save button")
    assert page.locator("#segments [role=textbox]").all_inner_texts() == [SPOKEN]
    assert page.locator("#status").inner_text().startswith("1 segment, ")
    recording = (SAMPLES / "sentence.wav").read_bytes()
    for name in ("srt", "txt"):
        data = {"response_format": "text" if name == "txt" else name}
        own = httpx.post(f"{server.url}/v1/audio/transcriptions", data=data, files={"file": ("a.wav", recording)})
        assert saved(page, name, tmp_path) == own.text
    assert saved(page, "vtt", tmp_path).startswith("WEBVTT\n\n1\n00:00:00.")
    assert json.loads(saved(page, "json", tmp_path))["segments"][0]["text"] == SPOKEN


def test_a_segment_is_edited_in_place_and_played(page: Page, tmp_path: Path):
    transcribe(page)
    page.wait_for_selector("#save button")
    text = page.locator("#segments [role=textbox]")
    text.fill("The small cat.")
    text.press("Enter")
    assert saved(page, "txt", tmp_path) == "The small cat.\n"
    page.get_by_role("button", name="Play from 0:00").click()
    page.wait_for_function("() => !document.getElementById('player').paused")


def test_a_recording_is_translated(page: Page):
    page.click("#to-transcribe")
    page.select_option("#task", label="Translate into German")
    with page.expect_request("**/v1/audio/translations"):
        transcribe(page)
    page.wait_for_selector("#save button, #trouble:not(:empty)")
    assert page.locator("#trouble").is_hidden()


def test_stopping_stops_the_work_of_the_server(page: Page, server: Any, tmp_path: Path):
    def state() -> tuple[float, float]:
        figures = httpx.get(f"{server.url}/metrics").text
        cancelled = re.search(r'edgephi_cancelled_total{by="client"} (\S+)', figures)
        running = re.search(r"^edgephi_requests_running (\S+)", figures, re.MULTILINE)
        return float(cancelled[1]) if cancelled else 0, float(running[1])

    cancelled, _ = state()
    transcribe_a_long_one(page, tmp_path)
    page.locator("#halt").click()
    wait_for_text(page, "#status", "Stopped.")
    for _ in range(50):
        if state() == (cancelled + 1, 0):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"cancelled before {cancelled}, now cancelled and running {state()}")


def test_segments_come_one_by_one_with_gaps_and_doubt(staged: Page, scripted: PageServer, tmp_path: Path):
    gate = Gate()
    scripted.script.stream = [
        "prefill 1/2",
        segment(0, "One."),
        gate,
        segment(2, "[...]", None),
        segment(3725.5, "Two & <b>", -2),
    ]
    scripted.script.stream.append(done())
    transcribe(staged)
    wait_for_text(staged, "#segments", "One.")
    assert staged.locator("#reached").is_visible()
    gate.open()
    staged.wait_for_selector("#save button")
    assert staged.locator("#segments li").all_inner_texts() == [
        "0:00\nOne.",
        "0:02\n\nnot understood",
        "1:02:05\nTwo & <b>",
    ]
    assert staged.locator(".unsure").inner_text() == "Two & <b>"
    assert "2\n01:02:05,500 --> 01:02:07,500\nTwo & <b>\n" in saved(staged, "srt", tmp_path)
    assert "01:02:05.500 --> 01:02:07.500\nTwo &amp; &lt;b&gt;\n" in saved(staged, "vtt", tmp_path)


def test_long_text_is_broken_into_lines_of_a_subtitle(staged: Page, scripted: PageServer, tmp_path: Path):
    words = "the quick brown fox jumps over the lazy dog and runs far away"
    scripted.script.stream = [segment(0, words), done()]
    transcribe(staged)
    staged.wait_for_selector("#save button")
    lines = saved(staged, "srt", tmp_path).split("\n")[2:-1]
    assert " ".join(lines) == words
    assert len(lines) == 2
    assert max(map(len, lines)) <= 42


@pytest.mark.parametrize("way", ["Escape", "Stop"])
def test_a_transcript_is_stopped_and_what_came_stays(staged: Page, scripted: PageServer, way: str):
    scripted.script.stream = [segment(0, "One."), Gate()]
    transcribe(staged)
    wait_for_text(staged, "#segments", "One.")
    if way == "Stop":
        staged.locator("#transcribe").get_by_role("button", name="Stop").click()
    else:
        staged.keyboard.press("Escape")
    wait_for_text(staged, "#status", "Stopped.")
    assert scripted.left.wait(5)
    assert staged.get_by_role("button", name="srt").is_visible()


def test_escape_in_one_view_leaves_the_work_of_the_other(staged: Page, scripted: PageServer):
    scripted.script.stream = [segment(0, "One."), Gate()]
    transcribe(staged)
    wait_for_text(staged, "#segments", "One.")
    staged.click("#to-chat")
    staged.wait_for_selector("#text")
    staged.keyboard.press("Escape")
    staged.click("#to-transcribe")
    staged.wait_for_selector("#halt")
    staged.keyboard.press("Escape")
    wait_for_text(staged, "#status", "Stopped.")


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (Cut(), "The connection to the server broke."),
        ({"error": {"message": "No memory is left."}}, "No memory is left."),
        (done(edgephi={"complete": False, "error": "the file ends early"}), "the file ends early"),
    ],
)
def test_a_transcript_that_fails_keeps_what_came_and_says_why(staged: Page, scripted: PageServer, last: Any, why: str):
    scripted.script.stream = [segment(0, "One."), last]
    transcribe(staged)
    wait_for_text(staged, "#trouble", why)
    staged.wait_for_selector("#save button")


def test_silence_and_what_is_no_audio_are_named(staged: Page, scripted: PageServer):
    scripted.script.stream = [done()]
    transcribe(staged)
    wait_for_text(staged, "#status", "No speech was found.")
    assert staged.locator("#save button").count() == 0
    staged.set_input_files("#recording-file", {"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"})
    wait_for_text(staged, "#trouble", "a.pdf is no audio.")
