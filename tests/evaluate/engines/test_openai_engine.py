"""The same items must get the same replies from `edgephi serve` as from the library."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgephi import Model
from edgephi.base.errors import ConfigError, EdgeError
from edgephi_evaluate.engines.edgephi_engine import EdgephiEngine
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.engines.openai_engine import OpenAIEngine
from edgephi_evaluate.item import Item, Media, Turn
from edgephi_evaluate.readers.rows import media_file
from support.bundles import nano_bundle
from support.serve_process import end, launch

SAMPLES = Path(__file__).parents[3] / "nano" / "samples"
RULES = AnswerRules(max_new_tokens=40)


def _item(text: str, *files: str, tools: str | None = None) -> Item:
    media = [media_file(SAMPLES / name, "test") for name in files]
    system = () if tools is None else (Turn(role="system", text="You are a home assistant.", tools=tools),)
    return Item(
        id="1",
        turns=(*system, Turn(role="user", text=text)),
        images=tuple(one for one in media if one.name.endswith("png")),
        audio=tuple(one for one in media if one.name.endswith("wav")),
        answers=("",),
        group="1",
    )


@pytest.mark.slow
def test_the_server_answers_as_the_library(tmp_path: Path):
    items = [
        _item("Transcribe the audio clip into text.", "sentence.wav"),
        _item("<|image_1|>What does the sign say?", "sign.png"),
        _item("", "spoken-number.png", "spoken-number-question.wav"),
        _item("Repeat: red lamp"),
    ]
    with Model.load(nano_bundle()) as model:
        library = [EdgephiEngine(model, nano_bundle()).answer(item, RULES) for item in items]
    running = launch(tmp_path / "log")
    try:
        engine = OpenAIEngine(f"{running.url}/v1", "nano")
        served = [engine.answer(item, RULES) for item in items]
        engine.close()
    finally:
        end(running)
    assert [one.text for one in served] == [one.text for one in library]
    assert [one.new_tokens for one in served] == [one.new_tokens for one in library]
    assert all(one.text for one in library)


@contextmanager
def _server(status: int, body: object) -> Iterator[str]:
    """Answers everything alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def _ask(status: int, body: object, rules: AnswerRules = RULES):
    with _server(status, body) as url:
        engine = OpenAIEngine(url, "m")
        try:
            return engine.answer(_item("hi"), rules)
        finally:
            engine.close()


def test_calls_of_a_server_stand_between_the_markers():
    call = {"function": {"name": "ring", "arguments": '{"room": "hall"}'}}
    answer = _ask(
        200, {"choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    )
    assert answer.text == ""
    assert answer.marked_text == '<|tool_call|>[{"name": "ring", "arguments": {"room": "hall"}}]<|/tool_call|>'


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (429, {"error": {"message": "too many wait"}}, "answered 429: too many wait"),
        (500, "no object", "answered 500: without a message"),
        (200, {"choices": []}, "is no chat completion"),
    ],
)
def test_a_refusal_says_what_the_server_said(status: int, body: object, words: str):
    with pytest.raises(EdgeError, match=words):
        _ask(status, body)


def test_what_the_interface_cannot_ask_for_is_refused():
    with pytest.raises(ConfigError, match="measure this suite with edgephi"):
        _ask(200, {}, AnswerRules(max_new_tokens=4, adapter="none"))
    with pytest.raises(EdgeError, match="cannot be reached"):
        OpenAIEngine("http://127.0.0.1:9/v1", "m").answer(_item("hi"), RULES)
    broken = Item(id="7", turns=(Turn(role="user", text="<|image_1|>"),), group="7")
    with pytest.raises(ConfigError, match="item 7: <|image_1|> and 0 image inputs".replace("|", r"\|")):
        OpenAIEngine("http://127.0.0.1:9/v1", "m").answer(broken, RULES)


def test_formats_are_known_by_their_first_bytes():
    def media(data: bytes) -> Media:
        return Media(name="x", size_bytes=len(data), block="", read=lambda: data)

    item = Item(
        id="1", turns=(Turn(role="user", text="x"),), images=(media(b"\xff\xd8j"),), audio=(media(b"fLaC"),), group="1"
    )
    (message,) = OpenAIEngine("http://h/v1", "m").body(item, RULES)["messages"]
    assert [part["type"] for part in message["content"]] == ["image_url", "input_audio", "text"]
    assert message["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert message["content"][1]["input_audio"]["format"] == "flac"
