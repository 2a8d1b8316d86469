"""Bodies as programs of many kinds send them: each is answered, whatever it holds beside what is known."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

NANO = Path(__file__).parents[2] / "nano/samples"
URL = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "lock",
        "description": "",
        "parameters": {"type": "object", "properties": {"device": {"type": "string"}}, "required": ["device"]},
        "strict": False,
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "lock", "arguments": '{"device":"door"}'}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "done"}


def _data(name: str, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode((NANO / name).read_bytes()).decode()}"


IMAGE = {"type": "image_url", "image_url": {"url": _data("number.png", "image/png"), "detail": "auto"}}
SPEECH = {"type": "audio_url", "audio_url": {"url": _data("command.wav", "audio/wav")}}
BODIES: dict[str, dict[str, Any]] = {
    "a chat page": {
        "stream": True, "model": "phi", "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
        "stream_options": {"include_usage": True}, "temperature": 0.7, "metadata": {"chat_id": "c", "task": "title"},
        "features": {"web_search": False}, "session_id": "s", "chat_id": "c", "id": "m", "background_tasks": {},
    },
    "a home assistant": {
        "model": "phi", "messages": [{"role": "developer", "content": "You control a house."}, *HELLO],
        "max_completion_tokens": 150, "top_p": 1.0, "temperature": 1.0, "user": "01J", "tools": [TOOL],
        "parallel_tool_calls": False, "stream": True, "store": False, "reasoning_effort": "low",
    },
    "a workflow engine": {
        "model": "phi", "messages": HELLO, "n": 1, "temperature": 0.7, "top_p": 1, "frequency_penalty": 0,
        "presence_penalty": 0, "response_format": {"type": "text"}, "stream": True, "max_tokens": -1,
    },
    "an editor": {
        "model": "phi", "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}], "stream": True,
        "max_tokens": 256, "stop": ["```", "</s>"], "options": {"num_ctx": 4096}, "raw": True, "keep_alive": 1800,
    },
    "a chat with nulls": {
        "model": None, "messages": [{"role": "user", "content": "hello", "name": None}], "max_tokens": None,
        "temperature": None, "tools": None, "tool_choice": None, "stop": None, "seed": None, "stream": None,
        "response_format": None, "logit_bias": None, "logprobs": None, "top_logprobs": None, "n": None, "user": None,
        "functions": None, "function_call": None, "audio": None, "parallel_tool_calls": None, "stream_options": None,
    },
    "a voice agent": {
        "model": "phi", "messages": [{"role": "system", "content": "Speak."}, {"role": "assistant", "content": "Hi."},
                                     *HELLO],
        "stream": True, "stream_options": {"include_usage": True}, "temperature": 0.8, "service_tier": "default",
        "prompt_cache_key": "k", "verbosity": "low",
    },
    "a history of calls with null content": {
        "messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT], "tools": [TOOL],
    },
    "a history of calls with empty content": {
        "messages": [*HELLO, {"role": "assistant", "content": "", "tool_calls": [CALL]}, RESULT, *HELLO],
        "tools": [TOOL], "tool_choice": "auto",
    },
    "a history with null content and nothing else": {
        "messages": [*HELLO, {"role": "assistant", "content": None}, *HELLO],
    },
    "a history of echoed messages": {
        "messages": [*HELLO, {"role": "assistant", "content": "Hi.", "refusal": None, "annotations": [], "audio": None,
                              "tool_calls": None, "function_call": None, "reasoning_content": ""}, *HELLO],
    },
    "a history of old calls": {
        "messages": [*HELLO, {"role": "assistant", "content": None,
                              "function_call": {"name": "lock", "arguments": "{}"}}, *HELLO],
    },
    "arguments as an object": {
        "messages": [*HELLO, {"role": "assistant", "tool_calls": [
            {**CALL, "index": 0, "function": {"name": "lock", "arguments": {"device": "door"}}}]}, RESULT],
        "tools": [TOOL],
    },
    "arguments that are damaged": {
        "messages": [*HELLO, {"role": "assistant", "content": "", "tool_calls": [
            {**CALL, "function": {"name": "lock", "arguments": '{"device": "do'}}]}, RESULT],
        "tools": [TOOL],
    },
    "a tool's result in parts": {
        "messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                     {**RESULT, "name": "lock", "content": [{"type": "text", "text": "done"}]}],
        "tools": [TOOL],
    },
    "an image first": {"messages": [{"role": "user", "content": [IMAGE, {"type": "text", "text": "What number?"}]}]},
    "an image as a string": {
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "What number?"}, {"type": "image_url", "image_url": IMAGE["image_url"]["url"]}]}],
    },
    "a hosted model's sample of audio": {
        "messages": [{"role": "system", "content": "You are an AI assistant for translating and transcribing audio."},
                     {"role": "user", "content": [{"type": "text", "text": "Transcribe."}, SPEECH]}],
        "temperature": 0, "top_p": 1, "max_tokens": 64, "model": "Phi-4-multimodal-instruct", "stream": True,
    },
    "audio as openai's": {
        "modalities": ["text"],
        "messages": [{"role": "user", "content": [
            {"type": "input_audio", "input_audio": {"data": SPEECH["audio_url"]["url"].partition(",")[2],
                                                    "format": "mp3"}}]}],
    },
    "a schema by a framework": {
        "messages": HELLO, "response_format": {"type": "json_schema", "json_schema": {
            "name": "Reply", "strict": True, "schema": {
                "$defs": {"Kind": {"enum": ["a", "b"], "title": "Kind", "type": "string"}}, "title": "Reply",
                "type": "object", "properties": {"kind": {"$ref": "#/$defs/Kind"}}, "required": ["kind"],
                "additionalProperties": False}}},
    },
    "an edit": {
        "messages": HELLO, "prediction": {"type": "content", "content": [{"type": "text", "text": "hello there"}]},
    },
    "an evaluation": {
        "messages": HELLO, "temperature": 0.0, "seed": 1234, "logprobs": True, "top_logprobs": 5, "max_tokens": 3,
        "stop": "\n\n", "n": 2, "logit_bias": {"5": -100}, "repetition_penalty": 1.1, "top_k": 40, "min_p": 0.05,
        "skip_special_tokens": False, "spaces_between_special_tokens": False, "best_of": 1, "ignore_eos": False,
    },
}  # fmt: skip


RESPONSES = "/v1/responses"
FLAT_TOOL = {"type": "function", **TOOL["function"]}
FLAT_CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "lock",
    "arguments": "{}",
    "status": "completed",
}
FLAT_RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
RESPONSES_BODIES: dict[str, dict[str, Any]] = {
    "a line": {"model": "phi", "input": "hello"},
    "an agent": {
        "model": "phi", "instructions": "Be brief.", "input": [*HELLO, FLAT_CALL, FLAT_RESULT],
        "tools": [FLAT_TOOL], "tool_choice": "auto", "parallel_tool_calls": False, "reasoning": {"effort": "low"},
        "store": False, "stream": True, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k",
    },
    "an echoed answer": {
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": None, "content": [
                {"type": "output_text", "text": "Hi.", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "No."}]},
            FLAT_CALL, {**FLAT_CALL, "call_id": "call_2"}, FLAT_RESULT,
            {**FLAT_RESULT, "call_id": "call_2", "output": [{"type": "input_text", "text": "done"}]},
            {"role": "developer", "content": [{"type": "input_text", "text": "Go on."}]},
        ],
        "tools": [FLAT_TOOL],
    },
    "an image and audio": {
        "input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": IMAGE["image_url"]["url"], "detail": "low", "file_id": None},
            {"type": "input_audio", "input_audio": {"data": SPEECH["audio_url"]["url"].partition(",")[2],
                                                    "format": "wav"}}]}],
    },
    "a schema": {
        "input": "hello", "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "a", "strict": True,
            "schema": {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}}, "required": ["kind"]}}},
    },
    "nulls": {
        "model": None, "input": "hello", "instructions": None, "max_output_tokens": None, "tools": None, "text": None,
        "previous_response_id": None, "conversation": None, "background": False, "metadata": None, "prompt": None,
        "tool_choice": None, "stream": None, "temperature": None, "top_p": None, "include": None, "truncation": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", RESPONSES_BODIES)
def test_a_request_for_a_response_is_answered(client, name):
    body = {"max_output_tokens": 24, **RESPONSES_BODIES[name]}
    answer = client.post(RESPONSES, json=body)
    assert answer.status_code == 200, answer.text
    if body.get("stream"):
        last = json.loads(answer.text.removesuffix("\n\n").rpartition("\ndata: ")[2])
        assert last["type"] in ("response.completed", "response.incomplete")
    else:
        assert answer.json()["status"] in ("completed", "incomplete")


@pytest.mark.parametrize("name", BODIES)
def test_a_body_of_a_real_kind_is_answered(client, name):
    body = {"max_tokens": 24, **BODIES[name]}
    answer = client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    if body.get("stream"):
        assert answer.text.endswith("data: [DONE]\n\n")
        assert '"error"' not in answer.text
    else:
        assert answer.json()["choices"][0]["finish_reason"] in ("stop", "length", "tool_calls")


def test_a_stream_is_of_the_grammar_of_events(client):
    """Every line is a comment, a field or the end of an event; data is one line and JSON, or the end."""
    asked = {"messages": [{"role": "user", "content": "hello " * 300}], "stream": True}
    content = client.post(URL, json=asked, headers={"Accept": "text/event-stream"}).content
    assert b"\r" not in content
    assert content.endswith(b"\n\n")
    for block in content.decode().removesuffix("\n\n").split("\n\n"):
        assert "\n" not in block
        assert block.startswith((": ", "data: "))
        if block.startswith("data: {"):
            json.loads(block[6:])


def _wild(rng: random.Random, value: Any, depth: int = 0) -> Any:
    """A value like it, or none at all."""
    pick = rng.random()
    if pick < 0.08 or depth > 6:
        return rng.choice([None, True, -1, 0, 1e308, 2**70, "", "\u0000", "\ud800", [], {}, "x" * 3000, [[]], {"": 0}])
    if isinstance(value, dict):
        made = {key: _wild(rng, held, depth + 1) for key, held in value.items() if rng.random() > 0.05}
        return {**made, **({"type": rng.choice(["text", "file", "image_url", 3])} if rng.random() < 0.05 else {})}
    if isinstance(value, list):
        return [_wild(rng, held, depth + 1) for held in value for _ in range(rng.choice([0, 1, 1, 1, 1, 1, 1, 2]))]
    if isinstance(value, str) and rng.random() < 0.2:
        place = rng.randrange(len(value) + 1)
        return value[:place] + rng.choice(["", "\u202e", "<|end|>", "\n", "%s", "=", "\U0001f600"]) + value[place + 1 :]
    return value


def _damaged(rng: random.Random, content: bytes) -> bytes:
    """The same with some bytes changed, cut or added."""
    made = bytearray(content)
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(made) + 1)
        made[place : place + rng.choice([0, 0, 1, 50])] = rng.randbytes(rng.choice([0, 1, 4]))
    return bytes(made)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))])
def test_a_changed_body_is_answered_or_refused(client, server, seed, fuzz_count):
    rng = random.Random(seed)
    for number in range(fuzz_count):
        if rng.random() < 0.3:
            url, body = RESPONSES, {**rng.choice(list(RESPONSES_BODIES.values())), "max_output_tokens": 2}
        else:
            url, body = URL, {**rng.choice(list(BODIES.values())), "max_tokens": 2}
        body = _wild(rng, body)
        content = json.dumps(body).encode() if rng.random() < 0.8 else _damaged(rng, json.dumps(body).encode())
        answer = client.post(url, content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 400, 404), (seed, number, content[:2000], answer.text)
        if answer.status_code != 200:
            assert answer.json()["error"]["message"], (seed, number)
    assert client.get("/health").status_code == 200
    assert "failure" not in server.log.read_text()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_changed_form_is_answered_or_refused(client, server, seed, fuzz_count):
    rng = random.Random(seed)
    parts = {"response_format": "verbose_json", "stream": "true", "language": "en", "max_segment_s": "5"}
    head = "".join(f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in parts.items())
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: audio/wav\r\n\r\n'
    audio = (NANO / "command.wav").read_bytes()[:20_000]
    for number in range(fuzz_count):
        front, back = _damaged(rng, head.encode() + file), _damaged(rng, b"\r\n--b--\r\n")
        content = front + (_damaged(rng, audio) if rng.random() < 0.5 else audio)
        content += back if rng.random() < 0.5 else b"\r\n--b--\r\n"
        answer = client.post(
            "/v1/audio/transcriptions", content=content, headers={"content-type": "multipart/form-data; boundary=b"}
        )
        assert answer.status_code in (200, 400), (seed, number, answer.text)
    assert client.get("/health").status_code == 200
    assert "failure" not in server.log.read_text()


@pytest.mark.parametrize("granularities", [None, [], [""], ["segment"], ["segment", "word"]])
@pytest.mark.parametrize("brackets", [pytest.param("", marks=pytest.mark.slow), "[]"])
def test_granularities_may_be_left_out(client, granularities, brackets):
    fields = {"response_format": "verbose_json"}
    if granularities is not None:
        fields[f"timestamp_granularities{brackets}"] = granularities
    files = {"file": ("a.wav", (NANO / "command.wav").read_bytes())}
    answer = client.post("/v1/audio/transcriptions", files=files, data=fields)
    assert answer.json()["text"] == "open the kitchen window"


def test_the_cache_survives_what_pages_ask_beside_the_chat(client):
    """A page asks for a title and tags with other prompts between two turns; the chat is still cached after that."""

    def ask(messages: list[dict]) -> dict:
        return client.post(URL, json={"messages": messages, "max_tokens": 8, "temperature": 0}).json()

    turn = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": "tell me of cats " * 20}]
    first = ask(turn)
    ask([{"role": "user", "content": "Write a title for this chat: " + "cats " * 40}])
    ask([{"role": "user", "content": "Write tags for this chat: " + "cats " * 40}])
    reply = {"role": "assistant", "content": first["choices"][0]["message"]["content"]}
    second = ask([*turn, reply, {"role": "user", "content": "and dogs"}])
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] - 1
