"""Messages of a chat request as the runtime takes them: text is letters, and media are bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from edgephi_serve.errors import invalid
from edgephi_serve.reading.media import check_url, media_bytes
from edgephi_serve.settings import Limits
from edgephi_serve.wire.chat import (
    AssistantMessage,
    AudioUrlPart,
    CalledFunction,
    DeveloperMessage,
    ImagePart,
    InputAudioPart,
    Message,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)

MessageDict = dict[str, Any]
MediaPart = ImagePart | AudioUrlPart | InputAudioPart
_TAG = re.compile(r"<\|(image|audio)_([0-9]{1,6})\|>")


def check_messages(messages: list[Message], limits: Limits) -> None:
    """Refuse what can be seen without decoding.

    Raises:
        ApiError: No or too many messages or images, or media that is not in the request itself.
    """
    if not 1 <= len(messages) <= limits.messages:
        raise invalid(f"messages has {len(messages):,} entries; use 1 to {limits.messages:,}.", param="messages")
    images = 0
    for where, part in _media(messages):
        check_url(_address(part), where, _kind(part))
        images += _kind(part) == "image"
    if images > limits.images:
        raise invalid(f"The request has {images} images; send {limits.images} or fewer.", param="messages")


def lowest_detail(messages: list[Message]) -> bool:
    """Whether any image is to be looked at in low detail.

    Raises:
        ApiError: A detail that is none.
    """
    low = False
    for where, part in _media(messages):
        if isinstance(part, ImagePart) and not isinstance(part.image_url, str):
            detail = part.image_url.detail
            if detail not in (None, "auto", "low", "high"):
                raise invalid(f"{where}.detail is {detail!r:.20}; use auto, low or high.", param=f"{where}.detail")
            low = low or detail == "low"
    return low


def count_content(messages: list[Message]) -> tuple[int, int]:
    """Letters of text, and images and recordings."""
    letters = media = 0
    for message in messages:
        if isinstance(message.content, str):
            letters += len(message.content)
        for part in message.content if isinstance(message.content, list) else ():
            if isinstance(part, TextPart):
                letters += len(part.text)
            elif not isinstance(part, RefusalPart):
                media += 1
    return letters, media


def runtime_messages(messages: list[Message]) -> list[MessageDict]:
    """The messages for `Model.stream`. Media are decoded from base64 here, which takes a while for large ones.

    Raises:
        ApiError: Damaged base64.
    """
    return [_message(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _media(messages: list[Message]) -> Iterator[tuple[str, MediaPart]]:
    for i, message in enumerate(messages):
        if isinstance(message, UserMessage) and not isinstance(message.content, str):
            for j, part in enumerate(message.content):
                if not isinstance(part, TextPart):
                    yield f"messages[{i}].content[{j}].{_field(part)}", part


def _field(part: MediaPart) -> str:
    match part:
        case ImagePart():
            return "image_url"
        case AudioUrlPart():
            return "audio_url"
        case InputAudioPart():
            return "input_audio"


def _kind(part: MediaPart) -> str:
    """What a part holds. Dify writes a recording as an `image_url` whose `data:` URL says that it is one."""
    is_image = isinstance(part, ImagePart) and _address(part)[:11].lower() != "data:audio/"
    return "image" if is_image else "audio"


def _address(part: MediaPart) -> str:
    match part:
        case ImagePart(image_url=given):
            return given if isinstance(given, str) else given.url
        case AudioUrlPart(audio_url=given):
            return given if isinstance(given, str) else given.url
        case InputAudioPart(input_audio=given):
            return given.data


def _message(message: Message, where: str) -> MessageDict:
    match message:
        case SystemMessage() | DeveloperMessage():
            return {"role": "system", "content": _words(message.content)}
        case ToolMessage():
            return {"role": "tool", "content": _words(message.content), "tool_call_id": message.tool_call_id}
        case AssistantMessage():
            return _assistant(message)
        case UserMessage():
            if isinstance(message.content, str):
                return {"role": "user", "content": message.content}
            return {"role": "user", "content": _user_parts(message, where)}


def _words(content: str | list[TextPart]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _assistant(message: AssistantMessage) -> MessageDict:
    content = message.content
    if isinstance(content, list):
        content = "".join(part.refusal if isinstance(part, RefusalPart) else part.text for part in content)
    calls = [(call.id, call.function) for call in message.tool_calls or ()]
    if not calls and message.function_call is not None:
        calls = [(None, message.function_call)]
    given: MessageDict = {"role": "assistant", "content": content if calls or content is not None else ""}
    if message.refusal is not None:
        given["refusal"] = message.refusal
    if calls:
        given["tool_calls"] = [_call(name, function) for name, function in calls]
    return given


def _call(call_id: str | None, function: CalledFunction) -> MessageDict:
    """A call of the history. Arguments that a model wrote wrongly stay what they are: a text."""
    arguments = function.arguments
    if isinstance(arguments, str) and arguments.strip():
        try:
            json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = json.dumps(arguments)
    return {"id": call_id, "type": "function", "function": {"name": function.name, "arguments": arguments}}


def _user_parts(message: UserMessage, where: str) -> list[MessageDict]:
    content = message.content if isinstance(message.content, list) else []
    media: dict[str, list[MessageDict]] = {"image": [], "audio": []}
    parts: list[MessageDict] = []
    for j, part in enumerate(content):
        if isinstance(part, TextPart):
            parts.append({"type": "text", "text": part.text})
            continue
        kind, place = _kind(part), f"{where}.content[{j}].{_field(part)}"
        media[kind].append({"type": kind, kind: media_bytes(_address(part), place, kind)})
        parts.append(media[kind][-1])
    return _placed(parts, media) or parts


def _placed(parts: list[MessageDict], media: dict[str, list[MessageDict]]) -> list[MessageDict] | None:
    """The parts with media where tags such as `<|image_1|>` stand; None unless the tags name each once, in order."""
    texts = "".join(part["text"] for part in parts if part["type"] == "text")
    tags = _TAG.findall(texts)
    wanted = {kind: [str(n) for n in range(1, len(items) + 1)] for kind, items in media.items()}
    if not tags or any([n for kind, n in tags if kind == one] != numbers for one, numbers in wanted.items()):
        return None
    placed: list[MessageDict] = []
    for piece in re.split(r"(<\|(?:image|audio)_[0-9]{1,6}\|>)", texts):
        found = _TAG.fullmatch(piece)
        if found is not None:
            placed.append(media[found[1]][int(found[2]) - 1])
        elif piece:
            placed.append({"type": "text", "text": piece})
    return placed
