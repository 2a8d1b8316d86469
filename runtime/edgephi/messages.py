"""Chat messages in the OpenAI shape, read strictly.

Owns the accepted shapes and the media references inside them. Knows nothing about templates or token ids.

    "text"                                     one user turn
    [{"role": R, "content": C, ...}, ...]      R: system, user, assistant, tool
    C: "text", None, or parts: {"type": "text", "text": T}
                               {"type": "image_url", "image_url": {"url": U}}    {"type": "image", "image": M}
                               {"type": "input_audio", "input_audio": {"data": base64}}   {"type": "audio", "audio": M}
    U: a local path, file:// or data: address; M: what `images=` / `audio=` accept, or absent for the next one given
    system may have "tools": JSON text or a list of tools; assistant may have "tool_calls"

`<|image_1|>` and `<|audio_1|>` written in a user's text stand for the first picture and clip given.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, unquote_to_bytes

from edgephi.errors import ConfigError

MediaKind = Literal["image", "audio"]
Messages = str | Sequence[Mapping[str, Any]]

_ROLES = ("system", "user", "assistant", "tool")
_KEYS: dict[str, frozenset[str]] = {
    "system": frozenset({"role", "content", "tools"}),
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls"}),
    "tool": frozenset({"role", "content", "name", "tool_call_id"}),
}
#: Stands in a text for a picture or clip, the first of its kind being 1.
MEDIA_TAG = re.compile(r"<\|(image|audio)_([0-9]{1,6})\|>")


@dataclass(frozen=True, slots=True)
class MediaRef:
    """A place for one picture or clip.

    Attributes:
        kind: What goes there.
        number: 1-based number of the media given beside the messages; None for `payload`, or for the next unused.
        payload: The media itself, when the message carries it.
    """

    kind: MediaKind
    number: int | None = None
    payload: object = None


@dataclass(frozen=True, slots=True)
class Marker:
    """A control token that the message's structure, not its text, asks for."""

    content: str


Item = str | Marker | MediaRef


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: its content cut into text, markers and media; `tools` is JSON text."""

    role: str
    items: tuple[Item, ...]
    tools: str | None = None


def read_messages(raw: Messages) -> tuple[Message, ...]:
    """Read a request's messages.

    Raises:
        ConfigError: An unknown role, key or part. The message names the place.
    """
    if isinstance(raw, str):
        return (Message("user", _tagged(raw)),)
    if isinstance(raw, Mapping | bytes) or not isinstance(raw, Sequence) or not raw:
        raise ConfigError("messages must be a string or a non-empty list of {'role', 'content'} objects")
    return tuple(_message(entry, f"messages[{i}]") for i, entry in enumerate(raw))


def _message(raw: object, where: str) -> Message:
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: expected an object with role and content, found {type(raw).__name__}")
    role = raw.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise ConfigError(f"{where}: role is {role!r}; use {', '.join(_ROLES)}")
    # Clients that echo a reply send its empty fields along as nulls.
    if unknown := sorted((key for key in raw if raw[key] is not None and key not in _KEYS[role]), key=str):
        raise ConfigError(
            f"{where}: a {role} message has no key {unknown[0]!r}; known: {', '.join(sorted(_KEYS[role]))}"
        )
    calls = raw.get("tool_calls")
    if "content" not in raw and not calls:
        raise ConfigError(f"{where}: content is missing")
    items = _content(raw.get("content"), role, where)
    if calls:
        items += (Marker("<|tool_call|>"), _tool_calls(calls, where), Marker("<|/tool_call|>"))
    return Message(role, items, _tools(raw.get("tools"), where))


def _content(raw: object, role: str, where: str) -> tuple[Item, ...]:
    if raw is None:
        if role != "assistant":
            raise ConfigError(f"{where}: content is null; only an assistant's may be")
        return ()
    if isinstance(raw, str):
        return _tagged(raw) if role == "user" else (raw,)
    if not isinstance(raw, Sequence) or isinstance(raw, bytes):
        raise ConfigError(f"{where}: content must be a string or a list of parts, found {type(raw).__name__}")
    items: tuple[Item, ...] = ()
    for i, part in enumerate(raw):
        items += _part(part, role, f"{where}.content[{i}]")
    return items


def _part(raw: object, role: str, where: str) -> tuple[Item, ...]:
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: expected an object with a type, found {type(raw).__name__}")
    kind = raw.get("type")
    if kind == "text":
        text = raw.get("text")
        if not isinstance(text, str):
            raise ConfigError(f"{where}: a text part needs a string under 'text'")
        return _tagged(text) if role == "user" else (text,)
    if kind not in ("image", "image_url", "audio", "input_audio"):
        raise ConfigError(f"{where}: type is {kind!r}; use text, image_url, image, input_audio or audio")
    if role != "user":
        raise ConfigError(f"{where}: only a user message can hold an {kind} part, this is a {role} message")
    payload = raw.get(kind)
    if kind == "image_url":
        return (MediaRef("image", payload=_image_url(payload, where)),)
    if kind == "input_audio":
        return (MediaRef("audio", payload=_input_audio(payload, where)),)
    return (MediaRef("image" if kind == "image" else "audio", payload=payload),)


def _image_url(raw: object, where: str) -> object:
    url = raw.get("url") if isinstance(raw, Mapping) else raw
    if not isinstance(url, str):
        raise ConfigError(f"{where}: image_url needs a string under 'url'")
    if url.startswith("data:"):
        return _data_address(url, where)
    if url.startswith("file://"):
        return unquote(url.removeprefix("file://"))
    if "://" in url:
        raise ConfigError(f"{where}: {url[:80]!r} is not local; download it and give its path or a data: address")
    return url


def _data_address(url: str, where: str) -> bytes:
    header, comma, data = url.partition(",")
    if not comma:
        raise ConfigError(f"{where}: a data: address needs a comma before its data")
    if header.endswith(";base64"):
        return _base64(data, where)
    try:
        return unquote_to_bytes(data)
    except UnicodeEncodeError as error:
        raise ConfigError(f"{where}: a data: address is not valid Unicode ({error.reason})") from None


def _input_audio(raw: object, where: str) -> bytes:
    data = raw.get("data") if isinstance(raw, Mapping) else None
    if not isinstance(data, str):
        raise ConfigError(f"{where}: input_audio needs base64 text under 'data'")
    return _base64(data, where)


def _base64(data: str, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"{where}: not valid base64 ({error})") from error


def _tagged(text: str) -> tuple[Item, ...]:
    """Cut a user's text at its media tags."""
    items: list[Item] = []
    position = 0
    for match in MEDIA_TAG.finditer(text):
        if match.start() > position:
            items.append(text[position : match.start()])
        items.append(MediaRef("image" if match[1] == "image" else "audio", number=int(match[2])))
        position = match.end()
    if position < len(text):
        items.append(text[position:])
    return tuple(items)


def _tools(raw: object, where: str) -> str | None:
    if raw is None:
        return None
    if isinstance(raw, str):
        _parsed(raw, f"{where}: tools")
        return raw
    if not isinstance(raw, Sequence) or not all(isinstance(tool, Mapping) for tool in raw):
        raise ConfigError(f"{where}: tools must be JSON text or a list of objects")
    # OpenAI wraps each tool as {"type": "function", "function": {...}}; the model was trained on the inner object.
    inner = [tool["function"] if isinstance(tool.get("function"), Mapping) else tool for tool in raw]
    return _json(inner, f"{where}.tools")


def _tool_calls(raw: object, where: str) -> str:
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise ConfigError(f"{where}: tool_calls must be a list")
    calls = []
    for i, entry in enumerate(raw):
        call = entry.get("function", entry) if isinstance(entry, Mapping) else None
        if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
            raise ConfigError(f"{where}.tool_calls[{i}]: needs a name and arguments")
        arguments = call.get("arguments", {})
        if isinstance(arguments, str):
            arguments = _parsed(arguments, f"{where}.tool_calls[{i}]: arguments")
        calls.append({"name": call["name"], "arguments": arguments})
    return _json(calls, f"{where}.tool_calls")


def _parsed(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what} are not valid JSON ({error})") from error


def _json(value: object, where: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=dict)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: cannot be written as JSON ({error})") from error
