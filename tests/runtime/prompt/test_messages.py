"""Every shape of the OpenAI chat format is read, and every other shape is refused with its place."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from edgephi.base.errors import ConfigError
from edgephi.prompt.messages import MediaRef, Message, read_messages

IMAGE = base64.b64encode(b"image").decode()


def _items(content: Any, role: str = "user") -> tuple[Any, ...]:
    return read_messages([{"role": role, "content": content}])[0].items


def test_a_string_is_one_user_turn():
    assert read_messages("hi") == (Message("user", ("hi",)),)


@pytest.mark.parametrize(
    ("part", "ref"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
            MediaRef("image", None, b"image"),
        ),
        ({"type": "image_url", "image_url": {"url": "data:,a%20b"}}, MediaRef("image", None, b"a b")),
        ({"type": "image_url", "image_url": {"url": "file:///a%20b.png"}}, MediaRef("image", None, "/a b.png")),
        ({"type": "image_url", "image_url": {"url": "photos/a.png"}}, MediaRef("image", None, "photos/a.png")),
        ({"type": "image", "image": b"image"}, MediaRef("image", None, b"image")),
        ({"type": "image"}, MediaRef("image")),
        ({"type": "input_audio", "input_audio": {"data": IMAGE, "format": "wav"}}, MediaRef("audio", None, b"image")),
        ({"type": "audio", "audio": "a.wav"}, MediaRef("audio", None, "a.wav")),
        ({"type": "audio"}, MediaRef("audio")),
    ],
)
def test_media_parts_carry_their_media(part: dict[str, Any], ref: MediaRef):
    assert _items([{"type": "text", "text": "see"}, part]) == ("see", ref)


def test_tags_in_a_users_text_are_media():
    assert _items("a<|image_2|>b<|audio_1|>") == ("a", MediaRef("image", 2), "b", MediaRef("audio", 1))


@pytest.mark.parametrize("role", ["system", "assistant", "tool"])
def test_tags_in_other_text_are_just_text(role: str):
    assert _items("<|image_1|>", role) == ("<|image_1|>",)


def test_tools_may_be_text_or_objects_and_openais_wrapping_is_removed():
    tool = {"name": "lamp", "description": "é", "parameters": {}}
    text = '[{"name": "lamp", "description": "é", "parameters": {}}]'
    for tools in (text, [tool], [{"type": "function", "function": tool}]):
        read = read_messages([{"role": "system", "content": "", "tools": tools}])[0].tools
        assert read is not None
        assert read.inner == text
        assert json.loads(read.wrapped) == [{"type": "function", "function": tool}]


@pytest.mark.parametrize("arguments", ['{"room": "hall"}', {"room": "hall"}])
def test_an_assistants_calls_are_read_whatever_their_arguments_are_written_as(arguments: object):
    call = {"id": "1", "type": "function", "function": {"name": "lamp", "arguments": arguments}}
    message = read_messages([{"role": "assistant", "content": None, "tool_calls": [call]}])[0]
    assert message.items == ()
    assert message.calls == '[{"id": "1", "name": "lamp", "arguments": {"room": "hall"}}]'


def test_an_echoed_replys_empty_fields_are_harmless():
    echoed = {"role": "assistant", "content": "hi", "refusal": None, "audio": None, "tool_calls": None}
    assert read_messages([echoed])[0].items == ("hi",)


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ([], "non-empty list"),
        ({"role": "user", "content": "x"}, "non-empty list"),
        (None, "must be a string or"),
        (["hi"], r"messages\[0\]: expected an object"),
        ([{"role": "robot", "content": "x"}], r"messages\[0\]: role is 'robot'; use system"),
        ([{"content": "x"}], "role is None"),
        ([{"role": "user"}], "content is missing"),
        ([{"role": "user", "content": None}], "content is null"),
        ([{"role": "user", "content": 7}], "string or a list of parts, found int"),
        ([{"role": "user", "content": "x", "tools": []}], "a user message has no key 'tools'"),
        ([{"role": "user", "content": "x", "mood": "Ann"}], "a user message has no key 'mood'"),
        ([{"role": "user", "content": "x", "name": 7}], "name is 7; it must be a string"),
        ([{"role": "system", "content": "x", "tools": 5}], "tools must be JSON text or a list"),
        ([{"role": "user", "content": [{"type": "video"}]}], r"content\[0\]: type is 'video'"),
        ([{"role": "user", "content": ["x"]}], r"content\[0\]: expected an object"),
        ([{"role": "user", "content": [{"type": "text"}]}], "needs a string under 'text'"),
        ([{"role": "system", "content": [{"type": "image"}]}], "only a user message can hold an image part"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "needs a string under 'url'"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}], "is not local"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}], "needs a comma"),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "%%"}}]}], "not valid base64"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "needs base64 text under 'data'"),
        ([{"role": "assistant", "content": None, "tool_calls": [{}]}], r"tool_calls\[0\]: needs a name"),
        ([{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}], "arguments are not valid JSON"),
        ([{"role": "system", "content": "", "tools": [{"name": "a", "x": object}]}], "cannot be written as JSON"),
        ([{"role": "system", "content": "", "tools": [{"name": "a", "x": float("nan")}]}], "cannot be written as JSON"),
        ([{"role": "system", "content": "", "tools": "lamp, door"}], "tools are not valid JSON"),
        ([{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "9" * 5000}]}], "are not valid JSON"),
        ([{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "[" * 100_000}]}], "are not valid JSON"),
        ([{"role": "user", "content": "x", 1: "y", "a": "z"}], "a user message has no key 1"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "data:,\ud800"}]}], "not valid Unicode"),
    ],
)
def test_other_shapes_are_refused_with_their_place(messages: Any, match: str):
    with pytest.raises(ConfigError, match=match):
        read_messages(messages)
