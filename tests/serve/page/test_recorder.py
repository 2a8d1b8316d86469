"""Recordings of the browser's own MediaRecorder, which other pages and apps send to the server."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from support.page_actions import SAMPLES

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

#: What the microphone gives within some time, in blocks of some time (0: one block); in milliseconds.
RECORD = """async ([mimeType, time, block]) => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream, { mimeType });
  const blocks = [];
  recorder.ondataavailable = ({ data }) => blocks.push(data);
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  if (block) recorder.start(block);
  else recorder.start();
  await new Promise((resolve) => setTimeout(resolve, time));
  recorder.stop();
  await stopped;
  stream.getTracks().forEach((track) => track.stop());
  return new Uint8Array(await new Blob(blocks).arrayBuffer()).toBase64();
}"""


def transcript(server: Any, name: str, content: bytes) -> str:
    form = {"data": {"response_format": "text"}, "files": {"file": (name, content)}}
    answer = httpx.post(f"{server.url}/v1/audio/transcriptions", **form, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize("block", [0, 100])
def test_webm_with_opus_is_transcribed_as_the_wav_is(page: Page, server: Any, block: int):
    recorded = base64.b64decode(page.evaluate(RECORD, ["audio/webm;codecs=opus", 3200, block]))
    assert recorded[:4] == b"\x1aE\xdf\xa3"  # Matroska
    written = transcript(server, "sentence.wav", (SAMPLES / "sentence.wav").read_bytes())
    assert transcript(server, "recording.webm", recorded) == written
