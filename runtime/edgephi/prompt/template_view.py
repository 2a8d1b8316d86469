"""A conversation as a chat template reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgephi.base.errors import ConfigError
from edgephi.prompt.chat_template import ChatTemplate
from edgephi.prompt.message_tools import ToolList
from edgephi.prompt.messages import MediaRef, Message
from edgephi.prompt.provenance import Change

#: Control tokens around the calls of a model whose template does not write them itself.
TOOL_CALL, TOOL_CALL_END = "<|tool_call|>", "<|/tool_call|>"

#: Keys of tools that templates look for; they are nobody's text.
_SHAPE_KEYS = frozenset(
    {"type", "function", "name", "description", "parameters", "properties", "required", "items", "enum", "strict"}
)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A message, and a character for each of its media and call markers, which is looked for in the rendering."""

    message: Message
    media: tuple[str, ...]
    markers: tuple[str, str] | None


class TemplateView:
    """Makes the variables of a rendering.

    A conversation that ends with words of the assistant is open: the reply goes on with them.

    Args:
        template: Says whether it writes tools and calls itself.
        messages: With their media.
        tools: Of the request; where the template has no variable for them, they are in `messages`.
        fresh: Characters that occur nowhere.

    Attributes:
        places: What stands at each of these characters: an image, an audio input, or a control token's spelling.
        is_open: Whether the assistant is to begin a turn.
    """

    def __init__(
        self, template: ChatTemplate, messages: Sequence[Message], tools: ToolList | None, fresh: Iterator[str]
    ) -> None:
        self._template = template
        self._tools = tools
        self.places: dict[str, MediaRef | str] = {}
        self._rest, self._probe = next(fresh), next(fresh)
        self._turns = [self._turn(message, fresh) for message in messages]
        self.is_open = messages[-1].role != "assistant" or messages[-1].calls is not None

    def turns(self, change: Change, probed: int | None = None) -> list[dict[str, Any]]:
        """The messages.

        Args:
            change: Applied to every text of a user's.
            probed: Number of a message whose content is changed.
        """
        turns = [self._view(turn, change) for turn in self._turns]
        if probed is not None:
            _extend(turns[probed], self._probe, self._probe)
        if not self.is_open:
            # The space shows whether the template keeps what stands at the end of a content.
            _extend(turns[-1], "", f"{self._rest} ")
        return turns

    def tools(self, change: Change) -> object:
        """The tools, for a template that has a variable for them."""
        return None if self._tools is None else _changed(json.loads(self._tools.wrapped), change)

    def until_open(self, text: str) -> str:
        """The rendering up to where the reply goes on.

        Raises:
            ConfigError: The template leaves out the end of the assistant's words.
        """
        if self.is_open:
            return text
        end = text.rfind(self._rest)
        if end < 0:
            raise ConfigError("the model's chat template leaves out the assistant's last words, so none can follow")
        return text[:end] if text[end + 1 : end + 2] == " " else text[:end].rstrip()

    def perhaps_dropped(self, text: str) -> list[int]:
        """Numbers of messages whose words are not found in a rendering as they are; an assistant's may be cut."""
        return [
            number
            for number, turn in enumerate(self._turns)
            if turn.message.role != "assistant" and any(words not in text for words in _words(turn.message))
        ]

    def _as_parts(self, turn: _Turn) -> bool:
        """Whether the template is to see a list of parts; media are found by their characters in a string."""
        if turn.media or turn.markers is not None or not self._template.reads_parts:
            return False
        return turn.message.is_parts or not self._template.reads_strings

    def _turn(self, message: Message, fresh: Iterator[str]) -> _Turn:
        media = tuple(self._place(item, fresh) for item in message.items if isinstance(item, MediaRef))
        if message.calls is None or self._template.reads_calls:
            return _Turn(message, media, None)
        return _Turn(message, media, (self._place(TOOL_CALL, fresh), self._place(TOOL_CALL_END, fresh)))

    def _place(self, item: MediaRef | str, fresh: Iterator[str]) -> str:
        character = next(fresh)
        self.places[character] = item
        return character

    def _view(self, turn: _Turn, change: Change) -> dict[str, Any]:
        message, media = turn.message, iter(turn.media)
        content = "".join(change(item) if isinstance(item, str) else next(media) for item in message.items)
        if turn.markers is not None:
            content += turn.markers[0] + change(_inner_calls(message.calls)) + turn.markers[1]
        view: dict[str, Any] = {"role": message.role, "content": content}
        if self._as_parts(turn):
            view["content"] = [
                {"type": "text", "text": change(item)} for item in message.items or ("",) if isinstance(item, str)
            ]
        if message.calls is not None and turn.markers is None:
            view["tool_calls"] = _wrapped_calls(message.calls, change)
            if not message.has_content:
                view["content"] = None
        if message.tools is not None and not self._template.reads_tools:
            view["tools"] = change(message.tools.inner)
        for key, value in (("name", message.name), ("tool_call_id", message.call_id)):
            if value is not None:
                view[key] = change(value)
        return view


def place_tools(
    messages: Sequence[Message], tools: ToolList | None, template: ChatTemplate
) -> tuple[tuple[Message, ...], ToolList | None]:
    """Bring the tools of the request and of its messages to where the template reads them.

    Returns:
        The messages, and the tools for the template's variable, if it has one.

    Raises:
        ConfigError: Tools are given more than once, or the template has no place for them.
    """
    holders = [i for i, message in enumerate(messages) if message.tools is not None]
    if tools is not None and holders:
        raise ConfigError(f"tools are given twice: with the request and in messages[{holders[0]}]; give them once")
    if tools is None and not holders:
        return tuple(messages), None
    if not template.reads_tools and "tools" not in template.source:
        raise ConfigError("this model's chat template has no place for tools; it was not trained to call functions")
    if template.reads_tools:
        if len(holders) > 1:
            raise ConfigError(f"tools are given twice: in messages[{holders[0]}] and messages[{holders[1]}]")
        return tuple(messages), tools or messages[holders[0]].tools
    if tools is None:
        return tuple(messages), None
    systems = [i for i, message in enumerate(messages) if message.role == "system"]
    if not systems:
        return (Message("system", (), tools=tools), *messages), None
    first = systems[0]
    return (*messages[:first], replace(messages[first], tools=tools), *messages[first + 1 :]), None


def all_text(message: Message) -> str:
    """Every text of a message that can come from a user."""
    texts = [item for item in message.items if isinstance(item, str)]
    tools = message.tools.inner + message.tools.wrapped if message.tools else None
    return "".join((*texts, *filter(None, (tools, message.calls, message.name, message.call_id))))


def _extend(turn: dict[str, Any], before: str, after: str) -> None:
    """Add to the words of a turn."""
    content = turn["content"]
    if isinstance(content, list):
        content[0]["text"] = before + content[0]["text"]
        content[-1]["text"] += after
    else:
        turn["content"] = f"{before}{content or ''}{after}"


def _words(message: Message) -> list[str]:
    return [item.strip() for item in message.items if isinstance(item, str) and item.strip()]


def _inner_calls(text: str | None) -> str:
    """Calls as Phi-4 writes them."""
    calls = [{"name": call["name"], "arguments": call["arguments"]} for call in json.loads(text or "[]")]
    return json.dumps(calls, ensure_ascii=False)


def _wrapped_calls(text: str, change: Change) -> list[dict[str, Any]]:
    """Calls as templates read them: OpenAI's, but with the arguments as an object."""
    return [
        {
            **({"id": change(call["id"])} if call["id"] is not None else {}),
            "type": "function",
            "function": {"name": change(call["name"]), "arguments": _changed(call["arguments"], change)},
        }
        for call in json.loads(text)
    ]


def _changed(value: Any, change: Change) -> Any:
    """A JSON value with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, dict):
        return {key if key in _SHAPE_KEYS else change(key): _changed(item, change) for key, item in value.items()}
    return value
