"""Chat messages in the OpenAI shape, read strictly: what is not read is refused, but for a short list.

    "text"                                     one user turn
    [{"role": R, "content": C, ...}, ...]      R: system, developer (the same), user, assistant, tool
    C: "text", None, or parts: {"type": "text", "text": T}
                               {"type": "image_url", "image_url": {"url": U}}    {"type": "image", "image": M}
                               {"type": "input_audio", "input_audio": {"data": base64}}   {"type": "audio", "audio": M}
    U: a local path, file:// or data: address; M: what `images=` / `audio=` accept, or absent for the next one given
    system may have "tools": JSON text or a list of tools; assistant may have "tool_calls"

`<|image_1|>` and `<|audio_1|>` written in a user's string stand for the first image and audio input; in a text part
they are letters.

Of what OpenAI's clients send, these have no effect: an assistant's `annotations`, `parsed`, `id` and `content_parts`,
an image's `detail`, the `format` of audio (bytes are looked at), `prompt_cache_breakpoint`, and whatever is null.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from edgephi.base.errors import ConfigError
from edgephi.prompt.message_tools import ToolList, as_mapping, check_keys, read_calls, read_tools
from edgephi.sources.data_url import is_data_address, read_base64, read_data_address
from edgephi.sources.source import ImageSource

if TYPE_CHECKING:
    from edgephi.audio.features import AudioInput

MediaKind = Literal["image", "audio"]
Messages = str | Sequence[Mapping[str, Any]]

_ROLES = ("system", "developer", "user", "assistant", "tool")
_KEYS: dict[str, frozenset[str]] = {
    "system": frozenset({"role", "content", "name", "tools"}),
    "developer": frozenset({"role", "content", "name", "tools"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name", "refusal", "tool_calls", "function_call"}),
    "tool": frozenset({"role", "content", "name", "tool_call_id"}),
}
#: Keys of a reply as OpenAI's clients keep it, which say nothing that the conversation does not.
_ECHOED = frozenset({"annotations", "parsed", "id", "content_parts"})
_PART_KEYS: dict[str, frozenset[str]] = {
    "text": frozenset({"type", "text", "prompt_cache_breakpoint"}),
    "refusal": frozenset({"type", "refusal"}),
    "image_url": frozenset({"type", "image_url", "prompt_cache_breakpoint"}),
    "audio_url": frozenset({"type", "audio_url"}),
    "input_audio": frozenset({"type", "input_audio", "prompt_cache_breakpoint"}),
    "image": frozenset({"type", "image"}),
    "audio": frozenset({"type", "audio"}),
}
_MEDIA: dict[str, MediaKind] = {
    "image_url": "image", "image": "image", "audio_url": "audio", "input_audio": "audio", "audio": "audio"
}  # fmt: skip
#: Stands in a text for an image or audio input, the first of its kind being 1.
MEDIA_TAG = re.compile(r"<\|(image|audio)_([0-9]{1,6})\|>")


@dataclass(frozen=True, slots=True)
class MediaRef:
    """A place for one image or audio input.

    Attributes:
        kind: What goes there.
        number: 1-based number of the media given beside the messages; None for `payload`, or for the next unused.
        payload: The media itself, when the message carries it.
    """

    kind: MediaKind
    number: int | None = None
    payload: ImageSource | AudioInput | None = None


Item = str | MediaRef


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTrust:
    """How far messages are trusted; those of a server's clients should be given neither.

    Attributes:
        tags: `<|image_1|>` in a user's string stands for an image; otherwise it is letters.
        paths: An address may be a path on this machine; otherwise it must hold the data itself.
    """

    tags: bool = True
    paths: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """One turn.

    Attributes:
        role: system, user, assistant or tool.
        items: Its content cut into text and media.
        tools: A system message's; None where it has none.
        calls: JSON text of an assistant's calls, each `{"id", "name", "arguments"}`; None where there are none.
        name: Of the speaker, or of the function that a tool message answers for.
        call_id: The call that a tool message answers.
        has_content: Whether the content was given, be it empty.
        is_parts: Whether it was given as a list of parts.
    """

    role: str
    items: tuple[Item, ...]
    tools: ToolList | None = None
    calls: str | None = None
    name: str | None = None
    call_id: str | None = None
    has_content: bool = True
    is_parts: bool = False


def read_messages(raw: Messages, *, tags: bool = True, paths: bool = True) -> tuple[Message, ...]:
    """Read a request's messages.

    Args:
        raw: The messages.
        tags: See MessageTrust.
        paths: See MessageTrust.

    Raises:
        ConfigError: An unknown role, key or part. The message names the place.
    """
    outside = MessageTrust(tags=tags, paths=paths)
    if isinstance(raw, str):
        return (Message("user", _string(raw, "user", outside)),)
    if isinstance(raw, Mapping | bytes) or not isinstance(raw, Sequence) or not raw:
        raise ConfigError("messages must be a string or a non-empty list of {'role', 'content'} objects")
    return tuple(_message(as_mapping(entry), f"messages[{i}]", outside) for i, entry in enumerate(raw))


def _message(raw: object, where: str, outside: MessageTrust) -> Message:
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: expected an object with role and content, found {type(raw).__name__}")
    role = raw.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise ConfigError(f"{where}: role is {role!r}; use {', '.join(_ROLES)}")
    _check_message_keys(raw, role, where)
    calls = read_calls(_all_calls(raw), where)
    if "content" not in raw and not calls and raw.get("refusal") is None:
        raise ConfigError(f"{where}: content is missing")
    items = _content(raw.get("content"), role, where, outside)
    if raw.get("refusal") is not None:
        items += (_text(raw, "refusal", where),)
    return Message(
        "system" if role == "developer" else role,
        items,
        tools=read_tools(raw.get("tools"), where),
        calls=calls,
        name=_optional_text(raw, "name", where),
        call_id=_optional_text(raw, "tool_call_id", where),
        has_content=raw.get("content") is not None or bool(items),
        is_parts=isinstance(raw.get("content"), Sequence) and not isinstance(raw.get("content"), str),
    )


def _check_message_keys(raw: Mapping[str, Any], role: str, where: str) -> None:
    # Clients that echo a reply send its empty fields along as nulls.
    known = _KEYS[role] | (_ECHOED if role == "assistant" else frozenset())
    if unknown := sorted((key for key in raw if raw[key] is not None and key not in known), key=str):
        if role == "assistant" and unknown[0] == "audio":
            raise ConfigError(f"{where}: an assistant's audio is kept by another server; give its words as content")
        raise ConfigError(
            f"{where}: {_a(role)} message has no key {unknown[0]!r}; known: {', '.join(sorted(_KEYS[role]))}"
        )


def _a(role: str) -> str:
    return f"an {role}" if role == "assistant" else f"a {role}"


def _all_calls(raw: Mapping[str, Any]) -> object:
    """`tool_calls`, or the one call of OpenAI's older `function_call`."""
    calls, older = raw.get("tool_calls"), raw.get("function_call")
    return calls if older is None or calls else [older]


def _content(raw: object, role: str, where: str, outside: MessageTrust) -> tuple[Item, ...]:
    if raw is None:
        if role != "assistant":
            raise ConfigError(f"{where}: content is null; only an assistant's may be")
        return ()
    if isinstance(raw, str):
        return _string(raw, role, outside)
    if not isinstance(raw, Sequence) or isinstance(raw, bytes):
        raise ConfigError(f"{where}: content must be a string or a list of parts, found {type(raw).__name__}")
    return tuple(_part(part, role, f"{where}.content[{i}]", outside) for i, part in enumerate(raw))


def _part(raw: object, role: str, where: str, outside: MessageTrust) -> Item:
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: expected an object with a type, found {type(raw).__name__}")
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in _PART_KEYS:
        raise ConfigError(f"{where}: type is {kind!r:.60}; use text, image_url, image, input_audio or audio")
    check_keys(raw, _PART_KEYS[kind], where)
    if kind == "text":
        return _text(raw, "text", where)
    if kind == "refusal":
        return _text(raw, "refusal", where)
    if role != "user":
        raise ConfigError(f"{where}: only a user message can hold an {kind} part, this is {_a(role)} message")
    payload = raw.get(kind)
    if kind.endswith("_url"):
        payload = _address(payload, kind, where, outside)
    elif kind == "input_audio":
        payload = _input_audio(payload, where)
    elif isinstance(payload, str) and not outside.paths:
        payload = _address(payload, kind, where, outside)
    return MediaRef(_MEDIA[kind], payload=payload)


def _address(raw: object, kind: str, where: str, outside: MessageTrust) -> str | bytes:
    url = raw.get("url") if isinstance(raw, Mapping) else raw
    if not isinstance(url, str):
        raise ConfigError(f"{where}: {kind} needs a string under 'url'")
    if isinstance(raw, Mapping):
        check_keys(raw, frozenset({"url", "detail"}), where)
    if is_data_address(url):
        return read_data_address(url, where)
    if not outside.paths:
        raise ConfigError(f"{where}: {url[:60]!r} is not a data: address; send the data itself")
    if url[:7].lower() == "file://":
        return unquote(url[7:])
    if "://" in url:
        raise ConfigError(f"{where}: {url[:80]!r} is not local; download it and give its path or a data: address")
    return url


def _input_audio(raw: object, where: str) -> bytes:
    data = raw.get("data") if isinstance(raw, Mapping) else None
    if not isinstance(data, str) or not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: input_audio needs base64 text under 'data'")
    check_keys(raw, frozenset({"data", "format"}), where)
    return read_data_address(data, where) if is_data_address(data) else read_base64(data, where)


def _text(raw: Mapping[str, Any], key: str, where: str) -> str:
    text = raw.get(key)
    if not isinstance(text, str):
        raise ConfigError(f"{where}: a {key} part needs a string under {key!r}")
    return text


def _optional_text(raw: Mapping[str, Any], key: str, where: str) -> str | None:
    value = raw.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{where}: {key} is {value!r:.60}; it must be a string")
    return value


def _string(text: str, role: str, outside: MessageTrust) -> tuple[Item, ...]:
    """A content that is one string; a user's is cut at its media tags."""
    if role != "user" or not outside.tags:
        return (text,) if text or role != "user" else ()
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
