"""`/v1/responses` as OpenAI's own client sees it: the events in their order, the forms, and every refusal."""

from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec
import openai
import pydantic
import pytest

from edgephi import Model, ToolCall, ToolCallEvent
from edgephi_serve.reading.responses import read_responses
from edgephi_serve.settings import Settings, Times
from edgephi_serve.wire.answers import CallDelta, Function
from edgephi_serve.wire.chat import AssistantMessage
from edgephi_serve.wire.response_answers import AnyResponseEvent, ResponseAnswer
from edgephi_serve.writing.replies import ReplyWriter
from edgephi_serve.writing.response_items import ItemWriter
from support.bundles import nano_bundle
from support.serve_thread import ScriptedModel, ServeThread

NANO = Path(__file__).parents[2] / "nano/samples"
URL = "/v1/responses"
EVENTS = {"Accept": "text/event-stream"}
HEATER = {
    "type": "function",
    "name": "set_heater",
    "parameters": {
        "type": "object",
        "properties": {"room": {"type": "string"}, "degrees": {"type": "integer"}},
        "required": ["room", "degrees"],
        "additionalProperties": False,
    },
    "strict": True,
}
COMMAND = "now set the office heater to twelve degrees"
SPEECH = {
    "type": "input_audio",
    "input_audio": {"data": base64.b64encode((NANO / "sentence.wav").read_bytes()).decode(), "format": "wav"},
}
SPOKEN = [{"role": "user", "content": [SPEECH, {"type": "input_text", "text": "Transcribe the audio clip into text."}]}]


@pytest.fixture
def sdk(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def _events(client: httpx.Client, **request: Any) -> list[Any]:
    """The events of a stream, each read as its type; comments are passed over."""
    answer = client.post(URL, json={"stream": True, **request}, headers=EVENTS)
    assert answer.status_code == 200, answer.text
    events = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        if block.startswith(": "):
            continue
        kind, data = block.split("\n")
        events.append(msgspec.json.decode(data.removeprefix("data: "), type=AnyResponseEvent))
        assert kind == f"event: {json.loads(data.removeprefix('data: '))['type']}"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return events


def _kinds(events: list[Any]) -> list[str]:
    """The types of events; runs of the same count once."""
    kinds = [str(type(event).__struct_config__.tag).removeprefix("response.") for event in events]
    return [kind for kind, _ in itertools.groupby(kinds)]


MESSAGE = [
    "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
    "output_item.done",
]  # fmt: skip
CALL = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"]


def test_the_events_of_a_text_come_in_their_order(client):
    events = _events(client, input=SPOKEN, temperature=0)
    assert _kinds(events) == ["created", "in_progress", *MESSAGE, "completed"]
    text = "".join(event.delta for event in events if hasattr(event, "delta"))
    last = events[-1].response
    assert text == last.output[0].content[0].text == "the small cat likes my red circle"
    assert len({event.response.id for event in events if hasattr(event, "response")}) == 1
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {last.output[0].id}
    assert (events[0].response.status, events[0].response.output, events[0].response.usage) == ("in_progress", [], None)
    assert last.usage.total_tokens == last.usage.input_tokens + last.usage.output_tokens


def test_the_events_of_a_call_come_in_their_order(client):
    events = _events(client, input=COMMAND, tools=[HEATER], tool_choice="required", temperature=0)
    assert _kinds(events) == ["created", "in_progress", *CALL, "completed"]
    call = events[-1].response.output[0]
    assert (call.name, json.loads(call.arguments)) == ("set_heater", {"room": "office", "degrees": 12})
    assert call.call_id.startswith("call_")
    assert call.id.startswith("fc_")


def test_a_cut_reply_is_incomplete_and_says_why(client):
    events = _events(client, input=SPOKEN, max_output_tokens=3, temperature=0)
    assert _kinds(events) == ["created", "in_progress", *MESSAGE, "incomplete"]
    whole = msgspec.json.decode(
        client.post(URL, json={"input": SPOKEN, "max_output_tokens": 3, "temperature": 0}).content, type=ResponseAnswer
    )
    for response in (events[-1].response, whole):
        assert response.status == response.output[0].status == "incomplete"
        assert response.incomplete_details.reason == "max_output_tokens"
        assert response.usage.output_tokens == 3


def test_text_around_calls_is_items_in_their_order():
    """The markers of calls part the words of a reply, and every item keeps its own number."""
    items = ItemWriter()
    function = Function(name="lock", arguments="{}")
    events = [
        *items.add_text("First ", []), *items.add_text("words.", []),
        *items.add_call(CallDelta(index=0, id="call_1", function=function)),
        *items.add_call(CallDelta(index=1, id="call_2", function=function)),
        *items.add_text("Last.", []), *items.end([], is_cut=False),
    ]  # fmt: skip
    assert [type(item).__name__ for item in items.done] == ["MessageItem", "CallItem", "CallItem", "MessageItem"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.output_index for event in events] == sorted(event.output_index for event in events)
    assert items.done[0].content[0].text == "First words."
    empty = ItemWriter()
    assert list(empty.end([], is_cut=False))
    assert empty.done[0].content[0].text == ""


def test_a_damaged_call_is_text_as_in_a_chat():
    bad = ToolCall(name="", arguments={}, text="[{", error="damaged")
    deltas = ReplyWriter(None, has_parallel_calls=True).deltas(ToolCallEvent(text="[{", calls=(bad,)))
    items = ItemWriter()
    for delta, _ in deltas:
        list(items.add_text(delta.content, []))
    list(items.end([], is_cut=False))
    assert items.done[0].content[0].text == "[{"


def test_a_conversation_with_a_call_goes_on_as_in_a_chat(client, sdk):
    first = sdk.responses.create(model="nano", input=COMMAND, tools=[HEATER], tool_choice="required", temperature=0)
    call = first.output[0]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "done"}
    said = [{"role": "user", "content": COMMAND}, call.to_dict(), result]
    again = sdk.responses.create(model="nano", instructions="Be kind.", input=said, tools=[HEATER], temperature=0)
    function = {"name": call.name, "arguments": call.arguments}
    messages = [
        {"role": "system", "content": "Be kind."}, {"role": "user", "content": COMMAND},
        {"role": "assistant", "content": None, "tool_calls": [{"id": call.call_id, "type": "function",
                                                               "function": function}]},
        {"role": "tool", "tool_call_id": call.call_id, "content": "done"},
    ]  # fmt: skip
    wrapped = {"type": "function", "function": {key: value for key, value in HEATER.items() if key != "type"}}
    asked = {"messages": messages, "tools": [wrapped], "temperature": 0}
    chat = client.post("/v1/chat/completions", json=asked).json()
    assert again.usage.input_tokens == chat["usage"]["prompt_tokens"]
    assert again.output_text == (chat["choices"][0]["message"]["content"] or "")
    assert len(again.output) == 1 or chat["choices"][0]["message"]["tool_calls"]


def test_the_cost_is_what_the_response_takes(client, sdk):
    for given in ({"input": SPOKEN}, {"input": COMMAND, "instructions": "Be kind.", "tools": [HEATER]}):
        count = client.post(f"{URL}/input_tokens", json=given).json()
        assert sdk.responses.input_tokens.count(model="nano", **given).input_tokens == count["input_tokens"]
        usage = sdk.responses.create(model="nano", max_output_tokens=1, **given).usage
        details = usage.input_tokens_details
        assert usage.input_tokens == count["input_tokens"]
        kinds = {"text": details.text_tokens, "image": details.image_tokens, "audio": details.audio_tokens}
        assert kinds == count["details"]
    refused = client.post(f"{URL}/input_tokens", json={"instructions": "x", "input": "a " * 150_000})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input")


class Shade(pydantic.BaseModel):
    shade: Literal["light", "dark"]


def test_structured_output_is_parsed(sdk):
    made = sdk.responses.parse(model="nano", input="hello", text_format=Shade, temperature=0)
    assert made.output_parsed.shade in ("light", "dark")
    with sdk.responses.stream(model="nano", input="hello", text_format=Shade, temperature=0) as stream:
        assert [event.parsed for event in stream if event.type == "response.output_text.done"] == [made.output_parsed]
    assert made.text.format.type == "json_schema"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"instructions": "Be brief.", "metadata": {"a": "b"}}, {"instructions": "Be brief.", "metadata": {"a": "b"}}),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 4}),
        ({}, {"tool_choice": "auto", "tools": [], "text": {"format": {"type": "text"}}, "store": False}),
        ({"tools": [HEATER]}, {"tools": [{**HEATER, "description": None}], "parallel_tool_calls": True}),
        ({"text": {"format": {"type": "json_object"}}}, {"text": {"format": {"type": "json_object"}}}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
    ],
)
def test_an_answer_repeats_what_was_asked(client, asked, found):
    answer = client.post(URL, json={"input": "hello", "max_output_tokens": 4, **asked}).json()
    assert {key: answer[key] for key in found} == found
    assert (answer["object"], answer["model"], answer["error"]) == ("response", "nano", None)
    assert answer["edgephi"]["adapter"] == "none"


def test_log_probabilities_are_there_when_asked_for(client):
    asked = {"input": SPOKEN, "temperature": 0, "max_output_tokens": 5}
    plain = client.post(URL, json=asked).json()["output"][0]["content"][0]
    assert plain["logprobs"] == []
    for more in ({"include": ["message.output_text.logprobs"]}, {"top_logprobs": 2}):
        part = client.post(URL, json={**asked, **more}).json()["output"][0]["content"][0]
        assert len(part["logprobs"]) == 5
        assert all(len(one["top_logprobs"]) == more.get("top_logprobs", 0) for one in part["logprobs"])
    events = _events(client, **asked, top_logprobs=1)
    streamed = [one for event in events if hasattr(event, "delta") for one in event.logprobs]
    done = next(event for event in events if type(event).__name__ == "OutputTextDone")
    assert streamed == done.logprobs[: len(streamed)]
    assert len(done.logprobs) == 5


UNSUPPORTED = {
    "previous_response_id": {"previous_response_id": "resp_1"},
    "conversation": {"conversation": "conv_1"},
    "prompt": {"prompt": {"id": "pmpt_1"}},
    "background": {"background": True},
    "tools[0].type": {"tools": [{"type": "web_search"}]},
    "tools[1].type": {"tools": [HEATER, {"type": "mcp", "server_label": "a", "server_url": "http://a"}]},
    "tool_choice.type": {"tools": [HEATER], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
    "input[0]": {"input": [{"type": "item_reference", "id": "msg_1"}]},
    "input[0].content[1]": {"input": [{"role": "user", "content": [
        {"type": "input_text", "text": "x"}, {"type": "input_file", "file_id": "file_1"}]}]},
    "input[0].content[0].file_id": {"input": [{"role": "user", "content": [
        {"type": "input_image", "file_id": "file_1"}]}]},
}  # fmt: skip
INVALID = {
    "input": [{"input": []}, {"input": 3}],
    "input[0].type": [{"input": [{"type": "computer_call"}]}],
    "input[0].role": [{"input": [{"role": "tool", "content": "x"}]}],
    "input[1].content[0]": [
        {"input": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [SPEECH]}]},
        {"input": [{"role": "user", "content": "x"}, {"role": "system", "content": [SPEECH]}]},
        {"input": [{"role": "user", "content": "x"},
                   {"role": "user", "content": [{"type": "refusal", "refusal": "x"}]}]},
    ],
    "input[0].content[0].image_url": [
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://127.0.0.1/a.png"}]}]},
        {"instructions": "x",
         "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/hostname"}]}]},
    ],
    "max_output_tokens": [{"max_output_tokens": 0}],
    "temperature": [{"temperature": 3}],
    "top_logprobs": [{"top_logprobs": 30}],
    "text.format": [{"text": {"format": {"type": "json_schema", "name": "a"}}}],
    "text.format.type": [{"text": {"format": {"type": "grammar"}}}],
    "tools[0]": [{"tools": [{"type": "function"}]}],
    "tool_choice": [{"tool_choice": "required"},
                    {"tools": [HEATER], "tool_choice": {"type": "function", "name": "lock"}}],
    "edgephi.max_crops": [{"edgephi": {"max_crops": 0}}],
}  # fmt: skip


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("param", UNSUPPORTED)
def test_what_needs_anything_kept_is_refused(client, param, is_stream):
    answer = client.post(URL, json={"input": "hello", **UNSUPPORTED[param], "stream": is_stream})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, "unsupported_parameter")


@pytest.mark.parametrize(("param", "asked"), [(param, asked) for param, each in INVALID.items() for asked in each])
def test_a_mistake_is_named_by_its_place_in_this_request(client, param, asked):
    start = {} if param == "input" else {"input": "hello"}
    answer = client.post(URL, json={**start, **asked})
    error = answer.json()["error"]
    assert (answer.status_code, answer.headers["x-should-retry"]) == (400, "false"), answer.text
    assert param in (error["param"], error["message"].partition(":")[0]), error
    assert "messages" not in error["message"]
    assert "completion" not in error["message"]


def test_what_the_runtime_refuses_is_named_by_its_place_too(client):
    content = [{"type": "input_image", "image_url": "data:;base64," + base64.b64encode(b"no image" * 20).decode()}]
    for asked in ({"input": [{"role": "user", "content": content}]}, {"input": "a " * 150_000}):
        answer = client.post(URL, json={"instructions": "x", **asked, "stream": True})
        assert answer.status_code == 400
        assert "messages" not in str(answer.json()["error"]["param"])
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("context_length_exceeded", "input")


def test_what_has_no_effect_is_named(client):
    asked = {
        "model": "gpt-x", "input": [{"role": "user", "content": "hello"}, {"type": "reasoning", "summary": []}],
        "truncation": "auto", "include": ["file_search_call.results", "reasoning.encrypted_content"], "seed": 3,
        "store": True, "reasoning": {"effort": "high"}, "max_output_tokens": 1,
    }  # fmt: skip
    answer = client.post(URL, json=asked)
    named = answer.headers["x-edgephi-ignored"].split(", ")
    assert named == ["model", "include.file_search_call.results", "input.reasoning", "seed", "truncation"]


def test_a_failure_on_the_way_is_the_last_event():
    settings = Settings(times=Times(ping_s=0.05))
    with Model.load(nano_bundle(), threads=1) as model, ServeThread(ScriptedModel(model), settings) as running:
        for script in ("write 2 0;fail", "hang 0.2;fail"):
            with running.client() as client:
                events = _events(client, input=script)
            assert _kinds(events)[:2] == ["created", "in_progress"]
            assert _kinds(events)[-1] == "failed"
            assert (events[-1].response.status, events[-1].response.error.code) == ("failed", "internal")
            assert "canary" not in events[-1].response.error.message


def test_a_response_that_waits_is_not_silent():
    with Model.load(nano_bundle(), threads=1) as model:
        settings = Settings(times=Times(ping_s=0.05))
        with ServeThread(ScriptedModel(model), settings) as running, running.client() as client:
            text = client.post(URL, json={"input": "hang 0.3;write 1 0", "stream": True}, headers=EVENTS).text
    assert text.startswith(": ")
    assert text.count(": waiting") + text.count(": preprocess") >= 2


def test_calls_of_one_turn_are_one_message():
    """As a chat has them; apart, the model would see a turn without an answer between them."""
    call = {"type": "function_call", "name": "set_heater", "arguments": "{}"}
    items = [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {**call, "call_id": "1"},
        {**call, "call_id": "2"}, {"type": "function_call_output", "call_id": "1", "output": "c"},
        {**call, "call_id": "3"},
    ]  # fmt: skip
    work = read_responses(json.dumps({"input": items}).encode(), Settings(), ("nano",))
    found = [
        (message.content, [call.id for call in message.tool_calls or ()])
        for message in work.chat.messages
        if isinstance(message, AssistantMessage)
    ]
    assert found == [("b", ["1", "2"]), (None, ["3"])]
    assert work.places == ("input[0]", "input[1]", "input[4]", "input[5]")
