"""Live captions in the page, by a scripted server: what is settled, what is not, and how a session ends."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from support.page_actions import SAMPLES, wait_for_text
from support.page_server import Cut, Gate, PageServer
from support.page_socket import completed, delta, error, failed, started, stopped, tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=hit=1>\u202egnp.exe"
TWO = [
    *(started("a", 0.5), delta("a", "Good"), tail("a", " morning all"), delta("a", " morning"), stopped("a", 2)),
    *(completed("a", "Good morning all."), started("b", 3.25), stopped("b", 4), completed("b", "Next.")),
]


#: One second of a tone, at the rate of the device, as the audio worklet hands it on.
CAPTURE = """async ([rate, frequency]) => {
  const context = new OfflineAudioContext(1, 1.2 * rate, rate);
  await context.audioWorklet.addModule('page/capture.js');
  const node = new AudioWorkletNode(context, 'capture', { channelCount: 1, channelCountMode: 'explicit' });
  const samples = [];
  node.port.onmessage = ({ data }) => samples.push(...data);
  const tone = new OscillatorNode(context, { frequency });
  tone.connect(node).connect(context.destination);
  tone.start();
  await context.startRendering();
  while (samples.length < 16000) await new Promise((resolve) => setTimeout(resolve, 10));
  return samples.slice(0, 16000);
}"""


def start(page: Page) -> None:
    page.click("#to-captions")
    page.click("#listen")


def words(page: Page) -> list[str]:
    return page.locator("#spoken p").all_inner_texts()


def saved(page: Page, name: str, folder: Path) -> str:
    with page.expect_download() as caught:
        page.locator("#files").get_by_role("button", name=name, exact=True).click()
    assert caught.value.suggested_filename == f"captions.{name}"
    caught.value.save_as(folder / name)
    return (folder / name).read_text()


def test_settled_words_stay_and_unsettled_ones_are_grey_and_kept_from_screen_readers(
    staged: Page, scripted: PageServer
):
    gate = Gate()
    scripted.script.live.events = [*TWO[:3], gate, *TWO[3:]]
    start(staged)
    wait_for_text(staged, "#spoken", "Good morning all")
    assert staged.locator(".tail").inner_text() == " morning all"
    assert staged.locator(".tail").get_attribute("aria-hidden") == "true"
    assert staged.locator("#spoken").get_attribute("aria-live") == "polite"
    colours = staged.evaluate(
        "() => ['.tail', '#spoken p'].map((name) => getComputedStyle(document.querySelector(name)).color)"
    )
    assert colours[0] != colours[1]
    wait_for_text(staged, "#lag", "0.5 s behind")
    added = staged.evaluate_handle(
        """() => {
          const added = [];
          const note = ({ addedNodes }) => addedNodes.forEach((node) => added.push(node.textContent));
          const observer = new MutationObserver((changes) => changes.forEach(note));
          observer.observe(document.querySelector('#spoken p'), { childList: true });
          return added;
        }"""
    )
    gate.open()
    wait_for_text(staged, "#spoken", "Next.")
    assert words(staged) == ["Good morning all.", "Next."]
    assert added.json_value() == [" morning", " all."]  # nothing that was settled is said again
    assert staged.locator("#spoken .time").all_inner_texts() == ["0:00", "0:03"]


def test_the_record_is_saved_with_the_times_of_speech(staged: Page, scripted: PageServer, tmp_path: Path):
    scripted.script.live.events = TWO
    start(staged)
    wait_for_text(staged, "#spoken", "Next.")
    staged.click("#end")
    staged.wait_for_selector("#kept")
    assert saved(staged, "txt", tmp_path) == "Good morning all.\nNext.\n"
    assert saved(staged, "srt", tmp_path) == (
        "1\n00:00:00,500 --> 00:00:02,000\nGood morning all.\n\n2\n00:00:03,250 --> 00:00:04,000\nNext.\n"
    )
    staged.click("#clear")
    assert words(staged) == []
    assert staged.locator("#kept").is_hidden()


def test_audio_is_sent_as_pcm_of_16_khz_and_captions_go_on_in_a_second_session(staged: Page, scripted: PageServer):
    live = scripted.script.live
    live.events = [started("a", 0), completed("a", "One.")]
    start(staged)
    wait_for_text(staged, "#spoken", "One.")
    staged.wait_for_timeout(2200)
    staged.click("#end")
    staged.wait_for_selector("#listen")
    update, *rest = live.seen
    assert update["session"]["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 16000}
    assert update["session"]["include"] == ["edgephi.tail"]
    pushed = [base64.b64decode(one["audio"]) for one in rest if one["type"].endswith("append")]
    samples = np.frombuffer(b"".join(pushed), np.int16)
    assert 1.8 < len(samples) / 16000 < 5
    assert np.abs(samples.astype(np.int32)).max() > 1000
    live.events = [started("b", 0.5), completed("b", "Two.")]
    staged.click("#listen")
    wait_for_text(staged, "#spoken", "Two.")
    assert words(staged) == ["One.", "Two."]
    assert staged.locator("#spoken .time").last.inner_text() != "0:00"
    staged.click("#end")
    staged.get_by_role("button", name="Transcribe the whole").click()
    wait_for_text(staged, "#about", "captions.wav")
    staged.wait_for_function("() => document.getElementById('player').duration > 1.8")


def test_stop_waits_for_the_last_words_and_a_second_stop_does_not(staged: Page, scripted: PageServer):
    live = scripted.script.live
    live.events = [started("a", 0), delta("a", "Good"), tail("a", " morning")]
    live.commit = [stopped("a", 1), {"type": "input_audio_buffer.committed", "item_id": "a"}]
    start(staged)
    wait_for_text(staged, "#spoken", "Good morning")
    staged.click("#end")
    wait_for_text(staged, "#lag", "Writing down the last words")
    staged.click("#end")
    staged.wait_for_selector("#listen")
    assert words(staged) == ["Good morning"]
    live.commit.append(completed("a", "Good morning all."))
    staged.click("#clear")
    staged.click("#listen")
    wait_for_text(staged, "#spoken", "Good morning")
    staged.click("#end")
    wait_for_text(staged, "#spoken", "Good morning all.")
    staged.wait_for_selector("#listen")


def test_a_pause_ends_what_is_said_and_sends_nothing_until_it_ends(staged: Page, scripted: PageServer):
    live = scripted.script.live
    start(staged)
    wait_for_text(staged, "#lag", "Listening")
    staged.get_by_role("button", name="Pause").click()
    wait_for_text(staged, "#lag", "Paused")
    staged.wait_for_timeout(200)
    assert live.seen[-1]["type"] == "input_audio_buffer.commit"
    assert staged.locator("#caption-trouble").is_hidden()  # that nothing was said is no trouble
    staged.get_by_role("button", name="Resume").click()
    staged.wait_for_timeout(400)
    assert live.seen[-1]["type"] == "input_audio_buffer.append"
    staged.keyboard.press("Escape")
    staged.wait_for_selector("#listen")


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ([Cut()], "The connection to the server broke."),
        ([error("session_expired", "The session has lasted 60 minutes."), 1001], "The session has lasted 60 minutes."),
    ],
)
def test_a_session_that_ends_keeps_all_words_and_says_why(
    staged: Page, scripted: PageServer, last: list[Any], why: str, tmp_path: Path
):
    scripted.script.live.events = [started("a", 0), delta("a", "Good"), tail("a", " morning"), *last]
    start(staged)
    wait_for_text(staged, "#caption-trouble", why)
    assert words(staged) == ["Good morning"]
    assert saved(staged, "txt", tmp_path) == "Good morning\n"
    assert staged.locator("#listen").is_visible()


def test_a_microphone_that_is_unplugged_ends_the_session_and_is_named(staged: Page, scripted: PageServer):
    scripted.script.live.events = TWO
    staged.evaluate(
        """() => {
          const devices = navigator.mediaDevices;
          const open = devices.getUserMedia.bind(devices);
          devices.getUserMedia = async (constraints) => {
            window.stream = await open(constraints);
            return window.stream;
          };
        }"""
    )
    start(staged)
    wait_for_text(staged, "#spoken", "Next.")
    staged.evaluate("() => window.stream.getTracks()[0].dispatchEvent(new Event('ended'))")
    wait_for_text(staged, "#caption-trouble", "The microphone has gone away.")
    staged.wait_for_selector("#kept")
    assert words(staged) == ["Good morning all.", "Next."]


def test_a_server_that_is_behind_says_so_until_it_keeps_up_and_what_it_leaves_out_is_named(
    staged: Page, scripted: PageServer
):
    gate = Gate()
    scripted.script.live.events = [
        *(started("a", 0), stopped("a", 0.2), error("falling_behind", "The machine is behind."), gate),
        *(failed("a", "This speech was left out."), started("b", 1), tail("b", "on")),
    ]
    start(staged)
    wait_for_text(staged, "#caption-trouble", "The machine is behind.")
    lag = "parseFloat(/, ([0-9.]+) s/.exec(document.getElementById('lag').textContent)?.[1])"
    staged.wait_for_function(f"() => {lag} >= 1")
    gate.open()
    wait_for_text(staged, "#spoken", "on")
    assert staged.locator("#caption-trouble").is_hidden()
    assert staged.locator("#spoken .remark").inner_text().strip() == "This speech was left out."


def test_a_refused_session_is_explained(staged: Page, scripted: PageServer):
    scripted.script.live.is_full = True
    start(staged)
    wait_for_text(staged, "#caption-trouble", "The server has no free place for live captions.")
    assert staged.locator("#listen").is_enabled()


def test_the_key_goes_with_the_session_and_one_that_a_browser_cannot_send_is_named(
    open_page: Callable[..., Page], scripted: PageServer
):
    scripted.script.key = "right"
    scripted.script.live.events = TWO
    page = open_page(scripted.url, ready=False)
    page.locator("#key-input").fill("right")
    page.keyboard.press("Enter")
    page.wait_for_selector("#notice", state="hidden")
    start(page)
    wait_for_text(page, "#spoken", "Next.")
    assert scripted.script.live.protocols == ["realtime", "openai-insecure-api-key.right"]
    page.click("#end")
    page.evaluate("() => sessionStorage.setItem('edgephi.key', '\"a/b=\"')")
    page.click("#listen")
    wait_for_text(page, "#caption-trouble", "A browser can send this key")


def test_without_speech_in_the_folder_the_page_says_which_export_has_it(
    open_page: Callable[..., Page], scripted: PageServer
):
    scripted.script.model["architecture"] = {"input_modalities": ["text"], "output_modalities": ["text"]}
    page = open_page(scripted.url)
    page.click("#to-captions")
    wait_for_text(page, "#caption-trouble", "--adapters speech")
    assert page.is_disabled("#listen")


def test_large_text_fills_the_screen_and_escape_only_ends_that(staged: Page, scripted: PageServer):
    scripted.script.live.events = [started("a", 0), completed("a", "Large words.")]
    start(staged)
    wait_for_text(staged, "#spoken", "Large words.")
    size = "() => parseFloat(getComputedStyle(document.querySelector('#spoken p')).fontSize)"
    before = staged.evaluate(size)
    staged.get_by_role("button", name="Large text").click()
    assert staged.evaluate(size) >= 1.75 * before
    assert staged.locator("#to-chat").is_hidden()
    assert staged.locator("#large").get_attribute("aria-pressed") == "true"
    staged.keyboard.press("Escape")
    staged.wait_for_selector("#to-chat")
    assert staged.evaluate(size) == before
    assert staged.locator("#end").is_visible()


def test_hostile_words_stay_text(staged: Page, scripted: PageServer):
    scripted.script.live.events = [
        *(started("a", 0), delta("a", HOSTILE), tail("a", HOSTILE), completed("a", HOSTILE)),
        *(started("b", 1), failed("b", HOSTILE), error("x", HOSTILE)),
    ]
    start(staged)
    wait_for_text(staged, "#caption-trouble", HOSTILE)
    assert words(staged)[0] == HOSTILE
    assert staged.evaluate("() => window.hit") is None
    assert staged.locator("img").count() == 0


def test_what_is_said_into_the_microphone_is_shown_as_the_server_transcribes_the_file(page: Page, server: Any):
    recording = (SAMPLES / "sentence.wav").read_bytes()
    form = {"data": {"response_format": "text"}, "files": {"file": ("a.wav", recording)}}
    own = httpx.post(f"{server.url}/v1/audio/transcriptions", **form).text
    start(page)
    wait_for_text(page, "#spoken", own.split()[-1])
    page.click("#end")
    page.wait_for_selector("#listen")
    assert words(page) == own.splitlines()


def test_a_tone_has_its_frequency_and_level_whatever_the_rate_of_the_device(staged: Page):
    for rate in (8000, 16000, 22050, 44100, 48000, 96000):
        samples = np.array(staged.evaluate(CAPTURE, [rate, 1000]))[1600:]
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        assert np.argmax(spectrum) * 16000 / len(samples) == pytest.approx(1000, abs=2), rate
        assert np.sqrt(np.mean(samples**2)) == pytest.approx(np.sqrt(0.5), rel=0.01), rate


def test_a_tone_beyond_what_16_khz_can_hold_does_not_come_back_as_another(staged: Page):
    for rate in (44100, 48000):
        samples = np.array(staged.evaluate(CAPTURE, [rate, 10_500]))[1600:]
        assert np.sqrt(np.mean(samples**2)) < 0.003, rate
