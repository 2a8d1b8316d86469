"""Requests as programs of other people write them: each is answered, and in OpenAI's form.

The bodies hold `{number.png}` where the program puts the base64 of that file.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import httpx
import msgspec
import pytest

from edgephi_serve.wire.answers import ChatAnswer, Chunk
from support.serve_process import end, launch

pytestmark = pytest.mark.clients

SAMPLES = Path(__file__).parents[3] / "nano/samples"
RECORDS = sorted((Path(__file__).parent / "bodies").glob("*.json"))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    running = launch(tmp_path_factory.mktemp("bodies") / "log", "--max-new-tokens", "32")
    with running.client() as opened:
        yield opened
    end(running)
    assert "failure" not in running.log.read_text()


def _with_samples(text: str) -> str:
    def content(found: re.Match[str]) -> str:
        return base64.b64encode((SAMPLES / found[1]).read_bytes()).decode()

    return re.sub(r"\{(\w+\.(?:png|wav))\}", content, text)


@pytest.mark.parametrize("path", [one for one in RECORDS if '"body"' in one.read_text()], ids=lambda path: path.stem)
def test_a_body_of_another_program_is_answered(client, path):
    record = json.loads(_with_samples(path.read_text()))
    answer = client.post(record["path"], json=record["body"])
    assert answer.status_code == 200, answer.text
    check = _check_response if record["path"] == "/v1/responses" else _check_chat
    check(answer, is_stream=bool(record["body"].get("stream")))


def _check_chat(answer: httpx.Response, *, is_stream: bool) -> None:
    if not is_stream:
        choices = msgspec.json.decode(answer.content, type=ChatAnswer).choices
        assert {choice.finish_reason for choice in choices} <= {"stop", "length", "tool_calls"}
        return
    events = [block[6:] for block in answer.text.split("\n\n") if block.startswith("data: ")]
    assert events.pop() == "[DONE]"
    chunks = [msgspec.json.decode(event, type=Chunk) for event in events]
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    assert [reason for reason in reasons if reason] in (["stop"], ["length"], ["tool_calls"])


def _check_response(answer: httpx.Response, *, is_stream: bool) -> None:
    if not is_stream:
        assert answer.json()["status"] in ("completed", "incomplete")
        return
    kinds = re.findall(r"^event: (.*)$", answer.text, re.MULTILINE)
    assert kinds[0] == "response.created"
    assert kinds[-1] in ("response.completed", "response.incomplete")


@pytest.mark.parametrize("path", [one for one in RECORDS if '"form"' in one.read_text()], ids=lambda path: path.stem)
def test_a_form_of_another_program_is_transcribed(client, path):
    record = json.loads(path.read_text())
    files = {"file": ("audio.wav", (SAMPLES / "command.wav").read_bytes(), "audio/wav")}
    answer = client.post(record["path"], data=record["form"], files=files)
    assert answer.status_code == 200, answer.text
    is_text = record["form"].get("response_format") == "text"
    assert (answer.text.strip() if is_text else answer.json()["text"]) == "open the kitchen window"
