"""What programs need that do not follow OpenAI's interface to the letter; each was found in the program's own code."""

from __future__ import annotations

import base64
import itertools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edgephi import Model
from support.bundles import nano_bundle
from support.serve_thread import body

URL = "/v1/chat/completions"
COMMAND = Path(__file__).parents[2] / "nano/samples/command.wav"
#: As OpenAI's client in a page asks whether it may send them.
STAINLESS = "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-retry-count"


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with Model.load(nano_bundle(), threads=1) as model:
        yield model


def test_every_line_of_a_stream_that_is_not_empty_is_data(serve):
    """Local LLM Conversation of Home Assistant reads each of them as JSON, so a comment would end its reply."""
    running = serve(ping_s=0.1)
    times, lines = [0.0], []
    began_s = time.monotonic()
    asked = body("prefill a 4 0.15;hang 0.5;write 3 0.02", stream=True)
    with running.client() as client, client.stream("POST", URL, json=asked) as answer:
        for piece in answer.iter_text():
            times.append(time.monotonic() - began_s)
            lines.append(piece)
    text = "".join(lines)
    assert max(after - before for before, after in itertools.pairwise(times)) < 0.45, times
    written = [line for line in text.splitlines() if line]
    assert written[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in written[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "0 1 2 "
    assert {block[:6] for block in text.split("\n\n")} == {"", "data: "}


def test_a_long_prompt_sends_few_empty_lines(serve):
    """Clients of Go give a stream up after 300 lines without data."""
    running = serve(ping_s=1)
    asked = body("prefill a 600 0.001;write 1 0", stream=True)
    with running.client() as client:
        text = client.post(URL, json=asked).text
    assert text.startswith("\n\n")
    assert text.count("\n\n\n\n") + 1 < 30
    assert text.endswith("data: [DONE]\n\n")


def test_a_recording_in_the_place_of_an_image_is_read(client: httpx.Client):
    """Dify sends one so, with `audio` in its `data:` URL."""
    url = f"data:audio/wav;base64,{base64.b64encode(COMMAND.read_bytes()).decode()}"
    said = {"type": "text", "text": "Transcribe the audio clip into text."}
    content = [{"type": "image_url", "image_url": {"url": url}}, said]
    asked = {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 24}
    answer = client.post(URL, json=asked).json()
    assert answer["choices"][0]["message"]["content"] == "open the kitchen window"
    assert answer["usage"]["prompt_tokens_details"]["audio_tokens"] > 0
    items = [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]
    cost = client.post("/v1/responses/input_tokens", json={"input": items}).json()
    assert [one["type"] for one in cost["media"]] == ["audio"]


def test_the_events_of_a_transcript_have_names(client: httpx.Client):
    """Subtitle Edit passes over events without one."""
    answer = client.post(
        "/v1/audio/transcriptions",
        data={"response_format": "verbose_json", "stream": "true"},
        files={"file": ("a.wav", COMMAND.read_bytes())},
    )
    events = re.findall(r"^event: (.*)\ndata: (.*)$", answer.text, re.MULTILINE)
    assert len(events) == answer.text.count("data: ")
    assert [name for name, _ in events] == [json.loads(data)["type"] for _, data in events]
    assert events[-1][0] == "transcript.text.done"


def test_an_app_that_is_a_page_may_be_allowed(start):
    """Obsidian's plugins ask from `app://obsidian.md`, and OpenAI's client in them with headers of its own."""
    running = start("--cors-origin", "app://obsidian.md", "--cors-origin", "file://")
    with running.client() as client:
        for origin in ("app://obsidian.md", "file://"):
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            allowed = client.options(URL, headers={**asked, "Access-Control-Request-Headers": STAINLESS}).headers
            assert allowed["access-control-allow-origin"] == origin
            names = {name.strip() for name in allowed["access-control-allow-headers"].split(",")}
            assert names >= set(STAINLESS.split(","))
            answer = client.get("/v1/models", headers={"Origin": origin})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        for origin in ("app://other.md", "app://obsidian.md.evil", "null", "https://obsidian.md"):
            assert client.get("/v1/models", headers={"Origin": origin}).status_code == 403
        asked["Access-Control-Request-Headers"] = "x-a; x-b"
        assert "x-b" not in client.options(URL, headers=asked).headers["access-control-allow-headers"]
