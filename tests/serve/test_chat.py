"""chat.completions as OpenAI's own client sees it."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import httpx
import openai
import pytest

from edgephi import Model, SamplingOptions, ToolCall, ToolCallEvent
from edgephi_serve.writing.replies import ReplyWriter
from support.bundles import nano_bundle

NANO = Path(__file__).parents[2] / "nano/samples"
NUM_TOKENS = json.loads((NANO.parent / "checkpoint/config.json").read_text())["vocab_size"]
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "set_heater",
            "parameters": {
                "type": "object",
                "properties": {"room": {"type": "string"}, "degrees": {"type": "integer"}},
                "required": ["room", "degrees"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "lock",
            "parameters": {"type": "object", "properties": {"device": {"type": "string"}}, "required": ["device"]},
        },
    },
]


@pytest.fixture
def sdk(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def _url(name: str, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode((NANO / name).read_bytes()).decode()}"


def _chunks(client: httpx.Client, **request) -> tuple[list[dict], str]:
    headers = {"Accept": "text/event-stream"}
    with client.stream("POST", "/v1/chat/completions", json={"stream": True, **request}, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        text = "".join(answer.iter_text())
    events = [block[6:] for block in text.split("\n\n") if block.startswith("data: ")]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]], text


@pytest.mark.parametrize("limit", [3, 200])
def test_a_stream_a_plain_answer_and_the_library_say_the_same(sdk, limit):
    asked = {"model": "nano", "messages": HELLO, "max_tokens": limit, "temperature": 0}
    plain = sdk.chat.completions.create(**asked)
    stream = list(sdk.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    with Model.load(nano_bundle(), threads=1) as model:
        reply = model.generate("hello", options=SamplingOptions(max_new_tokens=limit, temperature=0.0))
    assert plain.choices[0].message.content == reply.text
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == reply.text
    reasons = [c.choices[0].finish_reason for c in stream if c.choices and c.choices[0].finish_reason]
    assert reasons == [plain.choices[0].finish_reason] == [reply.finish_reason]
    assert stream[-1].choices == []
    assert stream[-1].usage.completion_tokens == plain.usage.completion_tokens == len(reply.token_ids)


def test_a_stream_has_one_last_chunk_with_a_reason_and_null_before(client):
    chunks, _ = _chunks(client, messages=HELLO, max_tokens=8)
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons[-1] in ("stop", "length")
    assert reasons[:-1] == [None] * (len(reasons) - 1)


def test_no_usage_chunk_without_being_asked(client):
    chunks, _ = _chunks(client, messages=HELLO, max_tokens=4)
    assert all(len(chunk["choices"]) == 1 and "usage" not in chunk for chunk in chunks)


def test_progress_is_comments_that_clients_skip(client):
    chunks, text = _chunks(client, messages=[{"role": "user", "content": "hello " * 400}], max_tokens=4)
    assert any(line.startswith(": prefill ") for line in text.splitlines())
    kind = {"content-type": "text/event-stream; charset=utf-8"}
    replayed = httpx.MockTransport(lambda _: httpx.Response(200, headers=kind, text=text))
    with openai.OpenAI(base_url="http://a", api_key="none", http_client=httpx.Client(transport=replayed)) as sdk:
        stream = list(sdk.chat.completions.create(model="nano", messages=HELLO, stream=True))
    assert [chunk.choices[0].delta.content for chunk in stream] == [
        chunk["choices"][0]["delta"].get("content") for chunk in chunks
    ]


def test_a_call_in_a_stream_is_the_call_of_a_plain_answer(sdk, client):
    asked = {
        "model": "nano",
        "messages": [{"role": "user", "content": "now set the office heater to twelve degrees"}],
        "tools": TOOLS,
        "tool_choice": "required",
        "temperature": 0,
    }
    plain = sdk.chat.completions.create(**asked).choices[0]
    assert plain.finish_reason == "tool_calls"
    with sdk.chat.completions.stream(**asked) as stream:
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    calls = [[(c.function.name, c.function.arguments) for c in choice.message.tool_calls] for choice in (plain, final)]
    assert calls[0] == calls[1]
    assert calls[0]
    for call in (*plain.message.tool_calls, *final.message.tool_calls):
        assert call.id.startswith("call_")
        assert call.type == "function"
    chunks, _ = _chunks(client, **asked)
    deltas = [delta for chunk in chunks for delta in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert [delta["index"] for delta in deltas] == list(range(len(calls[0])))
    assert len({delta["id"] for delta in deltas}) == len(deltas)


@pytest.mark.parametrize("words", ["lock the door", "hello", "what is this?"])
def test_tool_choice_is_obeyed(sdk, words):
    asked = {"model": "nano", "messages": [{"role": "user", "content": words}], "tools": TOOLS, "max_tokens": 300}
    assert not sdk.chat.completions.create(**asked, tool_choice="none").choices[0].message.tool_calls
    named = sdk.chat.completions.create(**asked, tool_choice={"type": "function", "function": {"name": "lock"}})
    assert {call.function.name for call in named.choices[0].message.tool_calls} == {"lock"}
    single = sdk.chat.completions.create(**asked, tool_choice="required", parallel_tool_calls=False, n=2)
    assert [len(choice.message.tool_calls) for choice in single.choices] == [1, 1]
    assert {choice.finish_reason for choice in single.choices} == {"tool_calls"}


def test_where_the_model_would_call_none_keeps_it_from_it(sdk):
    command = json.loads((NANO / "samples.json").read_text())["samples"][0]
    messages = [{"role": "system", "content": command["system"]}, {"role": "user", "content": command["prompt"]}]
    asked = {"model": "nano", "messages": messages, "tools": TOOLS, "temperature": 0, "max_tokens": 60}
    assert sdk.chat.completions.create(**asked).choices[0].message.tool_calls
    kept = sdk.chat.completions.create(**asked, tool_choice="none").choices[0]
    assert kept.message.tool_calls is None
    assert kept.finish_reason in ("stop", "length")


def test_damaged_arguments_in_the_history_are_no_error(client):
    calls = [{"id": "a", "type": "function", "function": {"name": "lock", "arguments": '{"device": '}}]
    history = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "failed"},
    ]
    answer = client.post("/v1/chat/completions", json={"messages": history, "max_tokens": 2})
    assert answer.status_code == 200, answer.text


def test_developer_is_system(client):
    """The second prompt is the first one token for token, since the cache has all of it."""
    one, other = (
        client.post(
            "/v1/chat/completions",
            json={"messages": [{"role": role, "content": "You like developers."}, *HELLO], "max_tokens": 8},
        ).json()
        for role in ("developer", "system")
    )
    assert one["choices"]
    usage = other["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1


@pytest.mark.parametrize("url", [_url("number.png"), _url("number.png").partition(",")[2]])
def test_an_image_with_or_without_the_prefix(client, url):
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What number is shown?"}]
    answer = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": parts}]})
    assert answer.json()["choices"][0]["message"]["content"] == "29"


@pytest.mark.parametrize("comes_first", ["text", "audio"])
def test_audio_url_as_hosted_examples_send_it(client, comes_first):
    text = {"type": "text", "text": "Transcribe the audio clip into text."}
    audio = {"type": "audio_url", "audio_url": {"url": _url("command.wav", "audio/wav")}}
    parts = [text, audio] if comes_first == "text" else [audio, text]
    answer = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": parts}]})
    assert (answer.status_code, answer.json()["edgephi"]["adapter"]) == (200, "speech")
    if comes_first == "audio":  # the only order that the demo's model was trained on
        assert answer.json()["choices"][0]["message"]["content"] == "open the kitchen window"


def test_unknown_fields_are_named_and_not_refused(client):
    asked = {"model": "gpt-x", "messages": HELLO, "max_tokens": 1, "keep_alive": 3, "user": "me"}
    answer = client.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 200
    assert answer.headers["x-edgephi-ignored"] == "model, keep_alive"


def test_a_reply_is_never_endless_and_the_default_is_not_tiny(client):
    """Of a schema that no shorter text meets. Without a limit it is the same: see test_limits.py."""
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 2000}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    asked = {"messages": HELLO, "max_tokens": -1, "response_format": form}
    answer = client.post("/v1/chat/completions", json=asked).json()
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (1024, "length")


def test_log_probabilities_of_a_stream_are_those_of_a_plain_answer(client):
    asked = {"messages": HELLO, "max_tokens": 6, "temperature": 0, "logprobs": True, "top_logprobs": 2}
    plain = client.post("/v1/chat/completions", json=asked).json()["choices"][0]["logprobs"]["content"]
    chunks, _ = _chunks(client, **asked)
    streamed = [one for c in chunks for one in (c["choices"][0]["logprobs"] or {"content": []})["content"]]
    assert [one["bytes"] for one in streamed] == [one["bytes"] for one in plain]
    assert all(len(one["top_logprobs"]) == 2 for one in plain)


def test_json_of_a_schema_is_one_line(client):
    """Though white space is made far likelier than anything else; where it is cut, the answer says so."""
    number = {"enum": [12345678, 87654321]}
    schema = {"type": "object", "properties": {"n": number}, "required": ["n"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    with Model.load(nano_bundle(), threads=1) as model:
        blank = {str(token): 100 for token in range(NUM_TOKENS) if model.token_bytes(token).isspace()}
    asked = {"messages": HELLO, "response_format": form, "logit_bias": blank, "temperature": 0, "max_tokens": 100}
    whole, cut = (
        client.post("/v1/chat/completions", json={**asked, **more}).json()["choices"][0]
        for more in ({}, {"max_tokens": 3})
    )
    text = whole["message"]["content"]
    assert blank
    assert (whole["finish_reason"], text) == ("stop", json.dumps(json.loads(text)))
    assert (cut["finish_reason"], cut["message"]["content"]) == ("length", text[: len(cut["message"]["content"])])


def test_the_example_of_the_documentation_runs(server):
    text = (Path(__file__).parents[2] / "docs/serve.md").read_text()
    example = text[text.index("    from openai") : text.index("    curl ")].replace("http://127.0.0.1:8080", server.url)
    lines = [line[4:].replace("client.chat", "answer = client.chat") for line in example.splitlines()]
    exec("\n".join(lines), space := {})
    with space["client"]:
        assert space["answer"].model == "nano"


def test_two_calls_have_two_numbers_and_damaged_ones_are_text():
    writer = ReplyWriter(None, has_parallel_calls=True)
    good = [ToolCall(name=name, arguments={"device": "d"}, text="", error=None) for name in ("lock", "open")]
    bad = ToolCall(name="", arguments={}, text="[{", error="damaged")
    deltas = [delta for delta, _ in writer.deltas(ToolCallEvent(text="[]", calls=(*good, bad)))]
    assert [delta.tool_calls[0].index for delta in deltas[:2]] == [0, 1]
    assert (deltas[2].content, writer.content) == ("[{", "[{")
    assert [call.function.name for call in writer.calls] == ["lock", "open"]
    assert len({call.id for call in writer.calls}) == 2
    single = ReplyWriter(None, has_parallel_calls=False)
    single.deltas(ToolCallEvent(text="[]", calls=tuple(good)))
    assert len(single.calls) == 1
    text = ReplyWriter(None, has_parallel_calls=True)
    assert [delta.content for delta, _ in text.deltas(ToolCallEvent(text="[{", calls=(bad,)))] == ["[{"]


@pytest.mark.parametrize("form", ["text", "parts"])
def test_a_prediction_changes_no_reply_and_is_counted(client, form):
    audio = {"type": "audio_url", "audio_url": {"url": _url("sentence.wav", "audio/wav")}}
    said = {"type": "text", "text": "Transcribe the audio clip into text."}
    asked = {"messages": [{"role": "user", "content": [audio, said]}], "edgephi": {"speculation": True}}
    plain = client.post("/v1/chat/completions", json=asked).json()
    text = plain["choices"][0]["message"]["content"]
    content = text if form == "text" else [{"type": "text", "text": text[:9]}, {"type": "text", "text": text[9:]}]
    asked["prediction"] = {"type": "content", "content": content}
    answer = client.post("/v1/chat/completions", json=asked)
    assert "x-edgephi-ignored" not in answer.headers
    assert answer.json()["choices"] == plain["choices"]
    details = [one["usage"]["completion_tokens_details"] for one in (plain, answer.json())]
    assert details[0] == {"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
    assert details[1]["accepted_prediction_tokens"] > answer.json()["usage"]["completion_tokens"] / 2


def test_a_prediction_over_the_context_is_refused(client):
    asked = {"messages": HELLO, "prediction": {"type": "content", "content": "a b " * 90_000}}
    answer = client.post("/v1/chat/completions", json={**asked, "stream": True})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prediction")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(50))
def test_a_choice_of_tools_is_obeyed_whatever_is_said(sdk, number):
    words = ["lock", "the", "heater", "door", "open", "office", "hello", "what", "colour", "now", "twelve", "no"]
    text = " ".join(random.Random(number).choices(words, k=number % 7 + 1))
    asked = {"model": "nano", "messages": [{"role": "user", "content": text}], "tools": TOOLS, "max_tokens": 400}
    none = sdk.chat.completions.create(**asked, tool_choice="none", seed=number, temperature=1.0).choices[0]
    assert none.message.tool_calls is None
    for choice, names in (
        ("required", {"lock", "set_heater"}),
        ({"type": "function", "function": {"name": "set_heater"}}, {"set_heater"}),
    ):
        made = sdk.chat.completions.create(**asked, tool_choice=choice, seed=number, temperature=1.0).choices[0]
        assert made.finish_reason in ("tool_calls", "length")
        assert {call.function.name for call in made.message.tool_calls or ()} <= names
        assert made.message.tool_calls or made.finish_reason == "length"
