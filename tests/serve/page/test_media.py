"""Images and audio on their way through the page to the real server."""

from __future__ import annotations

import base64
import io
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from support.page_actions import SAMPLES, hand_over, image_bytes, parts_of, replies, say, wait_for_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

MOST_PIXELS = 40 * 448 * 448
SPOKEN = "the small cat likes my red circle"


def attach(page: Page, kind: str, path: Path) -> None:
    before = page.locator("#attached figure").count()
    page.set_input_files(f"#{kind}-file", path)
    page.wait_for_function("n => document.querySelectorAll('#attached figure').length > n", arg=before)


def sent_image(page: Page, bodies: list[dict[str, Any]], path: Path) -> bytes:
    attach(page, "image", path)
    page.click("#send")
    replies(page)
    return image_bytes(parts_of(bodies[-1])[0])


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_an_image_is_dropped_or_pasted(page: Page, kind: str):
    hand_over(page, "dragover", "body", SAMPLES / "sign.png", "image/png")
    assert page.locator("#drop").is_visible()
    hand_over(page, "drop" if kind == "drop" else "paste", "#text", SAMPLES / "sign.png", "image/png")
    page.wait_for_selector("#attached figure")
    assert page.locator("#drop").is_visible() is (kind == "paste")
    say(page, "What does the sign say?")
    assert replies(page) == ["WATER"]


def test_a_question_is_spoken_beside_an_image(page: Page):
    attach(page, "image", SAMPLES / "spoken-number.png")
    attach(page, "audio", SAMPLES / "spoken-number-question.wav")
    page.click("#send")
    assert replies(page)[0].strip() != ""
    assert page.locator(".user audio").evaluate("player => player.error") is None
    assert page.locator(".problem").count() == 0


def test_a_small_image_is_sent_as_it_is_with_its_detail(page: Page, bodies: list[dict[str, Any]]):
    attach(page, "image", SAMPLES / "sign.png")
    page.get_by_label("Low detail").check()
    page.click("#send")
    replies(page)
    [part] = parts_of(bodies[0])
    assert image_bytes(part) == (SAMPLES / "sign.png").read_bytes()
    assert part["image_url"]["detail"] == "low"


def test_a_large_image_is_scaled_down_in_the_browser(page: Page, bodies: list[dict[str, Any]], tmp_path: Path):
    Image.linear_gradient("L").resize((6000, 3000)).convert("RGB").save(tmp_path / "large.png")
    image = Image.open(io.BytesIO(sent_image(page, bodies, tmp_path / "large.png")))
    assert 0.98 * MOST_PIXELS < image.width * image.height < 1.01 * MOST_PIXELS
    assert image.width / image.height == pytest.approx(2, rel=0.001)


def test_a_photo_of_a_telephone_stands_upright(page: Page, bodies: list[dict[str, Any]], tmp_path: Path):
    photo = Image.new("RGB", (4000, 3000), "red")
    photo.paste("blue", (0, 0, 4000, 300))
    exif = Image.Exif()
    exif[0x0112] = 6  # its upper edge is on the right
    photo.save(tmp_path / "photo.jpg", exif=exif)
    image = Image.open(io.BytesIO(sent_image(page, bodies, tmp_path / "photo.jpg")))
    assert image.height > image.width
    assert image.getpixel((image.width - 20, 900))[2] > 200
    assert image.getpixel((20, 900))[0] > 200


def test_the_camera_gives_an_image(page: Page, bodies: list[dict[str, Any]]):
    page.click("#add-camera")
    page.wait_for_function("() => document.querySelector('dialog video')?.videoWidth > 0")
    page.get_by_role("button", name="Other camera").click()
    page.get_by_role("button", name="Take image").click()
    page.wait_for_selector("#attached figure")
    page.click("#send")
    replies(page)
    frame = Image.open(io.BytesIO(image_bytes(parts_of(bodies[0])[0])))
    assert frame.format == "JPEG"
    assert frame.getcolors(1) is None  # the fake camera shows a figure on a ground


def test_what_is_said_into_the_microphone_is_sent_as_wav(page: Page, bodies: list[dict[str, Any]]):
    page.click("#add-recording")
    wait_for_text(page, "#recording", "0:02")
    assert page.locator("#recording meter").evaluate("meter => meter.value") > 0
    page.get_by_role("button", name="Done").click()
    page.wait_for_selector("#attached figure")
    page.click("#send")
    replies(page)
    [part] = parts_of(bodies[0])
    with wave.open(io.BytesIO(base64.b64decode(part["input_audio"]["data"]))) as recording:
        assert (recording.getframerate(), recording.getnchannels(), recording.getsampwidth()) == (16000, 1, 2)
        assert 1.5 < recording.getnframes() / 16000 < 6


def test_what_is_said_into_the_microphone_is_transcribed(page: Page):
    page.click("#to-transcribe")
    page.click("#record")
    wait_for_text(page, "#level", "0:02")
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Done").click()
    page.click("#start")
    page.wait_for_selector("#save button")
    assert SPOKEN.rsplit(maxsplit=1)[-1] in page.locator("#segments [role=textbox]").last.inner_text()


def test_a_recording_can_be_discarded(page: Page, bodies: list[dict[str, Any]]):
    page.click("#add-recording")
    page.get_by_role("button", name="Discard").click()
    page.wait_for_selector("#text")
    assert page.locator("#attached figure").count() == 0
    assert bodies == []


def test_a_device_that_is_not_allowed_is_named(launch: Any, open_page: Callable[..., Page], server: Any):
    with launch("--use-fake-device-for-media-stream", "--deny-permission-prompts") as browser:
        page = open_page(server.url, browser=browser)
        for button, noun in (("#add-recording", "microphone"), ("#add-camera", "camera")):
            page.click(button)
            wait_for_text(page, "#hint", f"The {noun} is blocked")
        page.click("#to-transcribe")
        page.click("#record")
        wait_for_text(page, "#trouble", "The microphone is blocked")
        page.context.close()


def test_a_file_that_cannot_be_taken_is_named(page: Page):
    for name, kind, why in (
        ("broken.png", "image/png", "broken.png is no image that this browser can read"),
        ("notes.pdf", "application/pdf", "notes.pdf is neither an image nor audio"),
    ):
        page.set_input_files("#image-file", {"name": name, "mimeType": kind, "buffer": b"no image"})
        wait_for_text(page, "#hint", why)
        assert page.locator("#attached figure").count() == 0


def test_audio_that_is_too_large_for_a_message_is_refused_before_it_is_sent(page: Page, tmp_path: Path):
    (tmp_path / "long.wav").write_bytes(bytes(21_000_000))
    page.set_input_files("#audio-file", tmp_path / "long.wav")
    wait_for_text(page, "#hint", "long.wav is 21.0 MB; a message takes 20.0 MB of audio. Use Transcribe")


def test_what_the_server_cannot_read_becomes_wav_in_the_browser(page: Page, tmp_path: Path):
    av = pytest.importorskip("av")
    spoken, written = tmp_path / "spoken.m4a", SAMPLES / "sentence.wav"
    with av.open(str(written)) as source, av.open(str(spoken), "w", format="mp4") as target:
        stream = target.add_stream("aac", rate=source.streams.audio[0].rate)
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    page.click("#to-transcribe")
    page.set_input_files("#recording-file", spoken)
    with page.expect_request("**/v1/audio/transcriptions") as sent:
        page.click("#start")
    page.wait_for_selector("#save button")
    assert b"RIFF" in (sent.value.post_data_buffer or b"RIFF")
    assert page.locator("#segments [role=textbox]").inner_text() == SPOKEN


def test_the_crops_of_an_image_and_its_cost_are_those_of_the_server(page: Page):
    with page.expect_response("**/v1/chat/completions/input_tokens") as answer:
        page.set_input_files("#image-file", SAMPLES / "sign.png")
    cost = answer.value.json()
    [plan] = cost["media"]
    columns, rows = plan["crops"]
    wait_for_text(page, "#attached", f"{columns} \u00d7 {rows} crops, {plan['rows']} tokens")
    wait_for_text(page, "#context", f"{cost['input_tokens']} tokens")
    assert (page.locator(".across").count(), page.locator(".down").count()) == (columns - 1, rows - 1)
    page.get_by_label("Low detail").check()
    wait_for_text(page, "#attached", "1 crop, ")
    assert page.locator(".grid > span").count() == 0
