"""Whatever OpenAI's own clients send back is accepted, and nothing else is ignored in silence.

The tables are the fields of openai-python 3.57's request and response types.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgephi.base.errors import ConfigError
from edgephi.prompt.message_tools import read_tools
from edgephi.prompt.messages import MediaRef, Message, read_messages

PNG = "data:image/png;base64,aW1hZ2U="
FUNCTION_CALL = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": '{"zone": "CET"}'}}
CALLS = '[{"id": "call_1", "name": "now", "arguments": {"zone": "CET"}}]'
TEXT_PART = {"type": "text", "text": "hi"}

#: Every field of each message type, with what a client may put there.
TAKEN: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief.", "name": "ops"},
    {"role": "developer", "content": [TEXT_PART]},
    {"role": "system", "content": [TEXT_PART, TEXT_PART], "name": "ops"},
    {"role": "user", "content": "hi", "name": "ann"},
    {"role": "user", "content": [{**TEXT_PART, "prompt_cache_breakpoint": {"mode": "explicit"}}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}]},
    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg", "format": "wav"}}]},
    {"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": PNG.replace("image/png", "audio/wav")}}]},
    {"role": "assistant", "content": "yes", "refusal": None, "annotations": [], "audio": None, "function_call": None,
     "tool_calls": None},
    {"role": "assistant", "content": "yes", "annotations": [{"type": "url_citation", "url_citation": {}}]},
    {"role": "assistant", "content": [TEXT_PART, {"type": "refusal", "refusal": "no"}], "name": "bot"},
    {"role": "assistant", "content": None, "refusal": "I cannot."},
    {"role": "assistant", "refusal": "I cannot."},
    {"role": "assistant", "content": None, "tool_calls": [FUNCTION_CALL]},
    {"role": "assistant", "tool_calls": [{**FUNCTION_CALL, "index": 0}]},
    {"role": "assistant", "content": "", "tool_calls": [FUNCTION_CALL], "parsed": {"a": 1}},
    {"role": "assistant", "content": None, "tool_calls": [{**FUNCTION_CALL, "function":
        {**FUNCTION_CALL["function"], "parsed_arguments": {"zone": "CET"}}}]},  # type: ignore[dict-item]
    {"role": "assistant", "content": None, "function_call": {"name": "now", "arguments": ""}},
    {"role": "assistant", "content": "stored", "id": "chatcmpl-1-0", "content_parts": None, "tool_calls": []},
    {"role": "tool", "tool_call_id": "call_1", "content": "12:00"},
    {"role": "tool", "tool_call_id": "call_1", "content": [TEXT_PART]},
    {"role": "tool", "tool_call_id": "call_1", "content": "", "name": "now"},
]  # fmt: skip


@pytest.mark.parametrize("message", TAKEN, ids=",".join)
def test_what_openais_clients_send_is_taken(message: dict[str, Any]):
    read = read_messages([message])[0]
    assert read.role == ("system" if message["role"] == "developer" else message["role"])
    assert read.name == message.get("name")


@pytest.mark.parametrize("arguments", ["", " \n", None, "{}", {}])
def test_a_call_without_arguments_is_the_same_however_it_is_written(arguments: object):
    call = {"id": "c", "type": "function", "function": {"name": "now", "arguments": arguments}}
    assert read_messages([{"role": "assistant", "tool_calls": [call]}])[0].calls == (
        '[{"id": "c", "name": "now", "arguments": {}}]'
    )


def test_a_refusal_counts_as_the_assistants_words():
    assert read_messages([{"role": "assistant", "content": None, "refusal": "No."}])[0].items == ("No.",)


def test_the_older_function_call_is_a_call():
    call = {"name": "now", "arguments": '{"zone": "CET"}'}
    calls = read_messages([{"role": "assistant", "content": None, "function_call": call}])[0].calls
    assert json.loads(calls or "") == [{"id": None, "name": "now", "arguments": {"zone": "CET"}}]


@pytest.mark.parametrize(
    ("message", "key"),
    [
        ({"role": "user", "content": "x", "weight": 1}, "weight"),
        ({"role": "user", "content": [{**TEXT_PART, "cache_control": {}}]}, "cache_control"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG, "crop": 1}}]}, "crop"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}, "alt": "a"}]}, "alt"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "rate": 8}}]}, "rate"),
        ({"role": "user", "content": [{"type": "image", "image": "a.png", "max": 1}]}, "max"),
        ({"role": "assistant", "content": "x", "reasoning": "y"}, "reasoning"),
        ({"role": "assistant", "tool_calls": [{**FUNCTION_CALL, "status": "done"}]}, "status"),
        ({"role": "assistant", "tool_calls": [{"name": "f", "args": {}}]}, "args"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "args": {}}}]}, "args"),
        ({"role": "tool", "content": "x", "is_error": True}, "is_error"),
        ({"role": "system", "content": "x", "tools": [{"function": {"name": "f"}, "cost": 1}]}, "cost"),
    ],
)
def test_a_key_that_nobody_would_read_is_named(message: dict[str, Any], key: str):
    with pytest.raises(ConfigError, match=f"messages.0.*'{key}'"):
        read_messages([message])


@pytest.mark.parametrize(
    ("message", "match"),
    [
        ({"role": "assistant", "content": None, "audio": {"id": "a"}}, "audio is kept by another server"),
        ({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f"}}]}, "'custom'"),
        ({"role": "system", "content": "", "tools": [{"type": "custom", "custom": {"name": "f"}}]}, "'custom'"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}, "type is 'file'"),
        ({"role": "function", "name": "f", "content": "x"}, "role is 'function'"),
    ],
)
def test_what_a_user_would_miss_is_refused_not_dropped(message: dict[str, Any], match: str):
    with pytest.raises(ConfigError, match=match):
        read_messages([message])


@pytest.mark.parametrize("tools", [[], "[]", " [ ] ", None, ()])
def test_no_tools_are_no_tools(tools: object):
    assert read_messages([{"role": "system", "content": "x", "tools": tools}])[0] == Message("system", ("x",))


def test_tools_as_text_are_the_tools_as_a_list():
    tools = [{"type": "function", "function": {"name": "n\u00e9", "parameters": {}}}, {"name": "b"}]
    asked = [{"role": "system", "content": "", "tools": given} for given in (tools, json.dumps(tools, indent=3))]
    read = [read_messages([message])[0].tools for message in asked]
    assert read[0] == read[1]
    assert read[0] is not None
    assert json.loads(read[0].inner) == [tools[0]["function"], tools[1]]


def test_tags_in_a_text_part_are_letters():
    part = {"type": "text", "text": "what does <|image_1|> mean?"}
    assert read_messages([{"role": "user", "content": [part]}])[0].items == ("what does <|image_1|> mean?",)


def test_tags_from_outside_are_letters():
    text = "<|image_1|> <|audio_2|>"
    for messages in (text, [{"role": "user", "content": text}]):
        assert read_messages(messages, tags=False)[0].items == (text,)


@pytest.mark.parametrize("address", ["/etc/hostname", "file:///etc/hostname", "a.png", "https://x/y.png", "FILE:///x"])
@pytest.mark.parametrize("kind", ["image_url", "audio_url", "image", "audio"])
def test_from_outside_no_path_is_opened(address: str, kind: str):
    payload = {"url": address} if kind.endswith("_url") else address
    with pytest.raises(ConfigError, match=r"content\[0\]: .* is not a data: address; send the data itself"):
        read_messages([{"role": "user", "content": [{"type": kind, kind: payload}]}], paths=False)


def test_from_outside_data_is_read():
    for kind, payload in (("image_url", {"url": PNG}), ("image", PNG), ("image", b"image")):
        read = read_messages([{"role": "user", "content": [{"type": kind, kind: payload}]}], paths=False)
        assert read[0].items == (MediaRef("image", payload=b"image"),)


NOW = {"name": "now", "description": "Tells the time.", "parameters": {"type": "object", "properties": {}}}


def test_a_tool_is_the_same_in_every_spelling():
    spellings: list[Any] = [
        [NOW],
        [{"type": "function", **NOW}],
        [{"type": "function", "function": NOW}],
        "\ufeff" + json.dumps([{"type": "function", "function": NOW}], indent=2),
        (Dumped({"type": "function", "function": NOW}),),
    ]
    read = [read_tools(tools, "here") for tools in spellings]
    assert all(tools == read[0] for tools in read)
    assert read[0] is not None
    assert json.loads(read[0].inner) == [NOW]


@pytest.mark.parametrize(
    ("tool", "match"),
    [
        ({"type": "web_search"}, "its type is 'web_search'; only functions"),
        ({"type": "custom", "custom": {"name": "now"}}, "its type is 'custom'; only functions"),
        ({"type": "function", "function": {"nmae": "now"}}, "a tool needs a name, a string.*'nmae'"),
        ({"type": "function", "function": "now"}, "a tool needs a name"),
        ({"name": "now", "input_schema": {"type": "object"}}, "'input_schema' is not read.*as 'parameters'"),
        ({"name": "now", "inputSchema": {"type": "object"}}, "'inputSchema' is not read.*as 'parameters'"),
    ],
)
def test_a_tool_that_could_not_be_called_with_its_arguments_is_refused(tool: dict[str, Any], match: str):
    with pytest.raises(ConfigError, match=match):
        read_tools([tool], "here")


class Dumped:
    """An object of a client's library."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    def model_dump(self, *, exclude_none: bool) -> dict[str, Any]:
        return {key: value for key, value in self._content.items() if value is not None or not exclude_none}


def test_the_objects_of_a_clients_library_are_messages():
    kept: Any = Dumped({"role": "assistant", "content": None, "tool_calls": [FUNCTION_CALL], "audio": None})
    pieces: Any = {"role": "assistant", "tool_calls": [Dumped(FUNCTION_CALL)]}
    assert read_messages([kept])[0].calls == read_messages([pieces])[0].calls == CALLS
