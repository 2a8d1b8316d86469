"""Requests as programs of other people write them: each is answered, and in OpenAI's form.

Those in `bodies/recorded` were sent by the program and the version that are named there, to a server that kept them;
texts of more than 300 characters are cut. Those in `bodies/written` were written after the code of programs that were
not run, with words of our own; `written` says which code, and of which commit or version. Those of Azure's samples,
Home Assistant, LibreChat and Zed were read in an index of public code, whose commits may be of a fork. A request for
what this server does not do is `refused`. `{number.png}` stands where the base64 of that file was.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from edgephi_serve.wire.answers import ChatAnswer, Chunk
from support.serve_process import end, launch

pytestmark = pytest.mark.clients

SAMPLES = Path(__file__).parents[3] / "nano/samples"
BODIES = Path(__file__).parent / "bodies"


def _with_samples(text: str) -> str:
    def content(found: re.Match[str]) -> str:
        return base64.b64encode((SAMPLES / found[1]).read_bytes()).decode()

    return re.sub(r"\{(\w+\.(?:png|wav))\}", content, text)


def _requests(kind: str) -> list[Any]:
    """Every request with a body, or with a form."""
    return [
        pytest.param(request, path.parent.name == "recorded", id=f"{path.stem}-{number}")
        for path in sorted(BODIES.glob("*/*.json"))
        for number, request in enumerate(json.loads(path.read_text())["requests"])
        if kind in request
    ]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    running = launch(tmp_path_factory.mktemp("bodies") / "log", "--max-new-tokens", "16")
    with running.client() as opened:
        yield opened
    end(running)
    assert "failure" not in running.log.read_text()


@pytest.mark.parametrize(("request_", "is_recorded"), _requests("body"))
def test_a_body_of_another_program_is_answered(client, request_, is_recorded):
    body = json.loads(_with_samples(json.dumps(request_["body"])))
    answer = client.post(request_["path"], json=body)
    if "refused" in request_:
        assert answer.status_code == 400
        assert answer.json()["error"].items() >= request_["refused"].items()
        return
    assert answer.status_code == 200, answer.text
    check = _check_response if request_["path"] == "/v1/responses" else _check_chat
    check(answer, is_stream=bool(body.get("stream")))
    if is_recorded:
        assert answer.headers.get("x-edgephi-ignored") == request_.get("ignored")


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


@pytest.mark.parametrize(("request_", "is_recorded"), _requests("form"))
def test_a_form_of_another_program_is_transcribed(client, request_, is_recorded):
    given = request_.get("file", {"name": "audio.wav", "type": "audio/wav"})
    file = (given["name"], (SAMPLES / "command.wav").read_bytes(), given["type"])
    form = request_["form"]
    answer = client.post(request_["path"], data=form, files={"file": file})
    assert answer.status_code == 200, answer.text
    if is_recorded:
        assert answer.headers.get("x-edgephi-ignored") == request_.get("ignored")
    assert "open the kitchen window" in " ".join(_text(answer, form).split())


def _text(answer: httpx.Response, form: dict[str, Any]) -> str:
    if form.get("stream") == "true":
        return json.loads(answer.text.strip().rpartition("data: ")[2])["text"]
    if form.get("response_format") in ("text", "srt", "vtt"):
        return answer.text
    return answer.json()["text"]
