"""What phones record comes in MP4: read where the extra `media` is installed, else refused with what can be done."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import pytest

from edgephi import Model
from edgephi_serve.settings import Settings
from support.bundles import nano_bundle
from support.serve_thread import ServeThread

COMMAND = Path(__file__).parents[2] / "nano/samples/command.wav"
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")


@pytest.fixture(scope="module")
def server() -> Iterator[ServeThread]:
    with Model.load(nano_bundle(), threads=1) as model, ServeThread(model, Settings()) as running:
        yield running


def _phone(container: str) -> bytes:
    """A command as a phone's recorder or Safari writes it: AAC."""
    made = io.BytesIO()
    with av.open(str(COMMAND)) as source, av.open(made, "w", format=container) as output:
        stream = output.add_stream("aac", rate=source.streams.audio[0].rate, layout="mono")
        for frame in source.decode(audio=0):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return made.getvalue()


def _transcribed(client: httpx.Client, content: bytes, name: str, form: str) -> httpx.Response:
    files = {"file": (name, content, "audio/mp4")}
    return client.post("/v1/audio/transcriptions", files=files, data={"response_format": form})


def _asked(client: httpx.Client, content: bytes) -> httpx.Response:
    audio = {"type": "input_audio", "input_audio": {"data": base64.b64encode(content).decode(), "format": "mp4"}}
    parts = [audio, {"type": "text", "text": "Transcribe the audio clip into text."}]
    return client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": parts}]})


@pytest.mark.parametrize(
    ("container", "name"),
    [
        ("ipod", "memo.m4a"), pytest.param("mp4", "memo.wav", marks=pytest.mark.slow),
        pytest.param("adts", "memo.aac", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_with_the_extra_it_is_written_down(server, container, name):
    content = _phone(container)
    with server.client() as client:
        answer = _transcribed(client, content, name, "json")
        assert (answer.status_code, answer.json()["text"]) == (200, "open the kitchen window")
        reply = _asked(client, content).json()
    assert reply["choices"][0]["message"]["content"] == "open the kitchen window"
    assert reply["usage"]["prompt_tokens_details"]["audio_tokens"] > 0


def test_without_the_extra_the_format_and_the_ways_out_are_named(server, monkeypatch):
    content = _phone("ipod")
    monkeypatch.setitem(sys.modules, "av", None)
    with server.client() as client:
        for answer in (*(_transcribed(client, content, "memo.m4a", form) for form in FORMATS), _asked(client, content)):
            error = answer.json()["error"]
            assert (answer.status_code, error["type"], error["code"]) == (
                400,
                "invalid_request_error",
                "unsupported_format",
            )
            assert "MP4 with AAC audio" in error["message"]
            assert 'pip install "edgephi[media]"' in error["message"]
            assert "\n" not in error["message"]
            assert COMMAND.name not in error["message"]
        assert client.get("/health").json() == {"status": "ok"}


def test_a_cut_one_is_refused(server):
    content = _phone("mp4")
    with server.client() as client:
        answer = _transcribed(client, content[: len(content) // 2], "memo.m4a", "json")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
