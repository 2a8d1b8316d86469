"""Which functions a reply may call: the tools of a request, and OpenAI's `tool_choice`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgephi.base.errors import ConfigError
from edgephi.prompt.message_tools import ToolList, Tools, as_json, as_mapping, read_tools
from edgephi.prompt.messages import Messages

#: `auto`: the model decides, and a call that it opens is held to the tools; `none`: no tool is offered or called;
#: `required`: the reply is calls of these tools and nothing else; an object that names a function: of that one.
ToolChoice = Literal["auto", "none", "required"] | Mapping[str, Any]
_MODES = ("auto", "none", "required")


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The tools of a request, and how they may be called.

    Attributes:
        messages: Without tools where `mode` is set.
        tools: Offered to the model, if no message offers them.
        mode: None for a reply that is not held to anything.
    """

    messages: Messages
    tools: ToolList | None
    mode: Literal["auto", "none", "required"] | None

    @property
    def functions(self) -> list[Mapping[str, Any]]:
        """The tools' own descriptions."""
        functions: list[Mapping[str, Any]] = json.loads(self.tools.inner) if self.tools is not None else []
        return functions


def read_tool_use(messages: Messages, tools: Tools | None, choice: ToolChoice | None) -> ToolUse:
    """Bring the tools of the request and of its messages together with the choice.

    Raises:
        ConfigError: Tools that cannot be used or are given twice, a choice that is none, or one without its tools.
    """
    listed = read_tools(tools, "the request")
    if choice is None:
        return ToolUse(messages, listed, None)
    mode, name = _read_choice(choice)
    if not isinstance(messages, str):
        messages = [m if isinstance(m, Mapping) else as_mapping(m) for m in messages]
        holders = [m for m in messages if isinstance(m, Mapping) and m.get("tools") is not None]
        inside = [held for holder in holders if (held := read_tools(holder["tools"], "messages")) is not None]
        if len(inside) + (listed is not None) > 1:
            raise ConfigError("tools are given more than once, with the request or in messages; give them once")
        listed = inside[0] if inside else listed
        messages = [{**m, "tools": None} if any(m is h for h in holders) else m for m in messages]
    if mode == "none":
        return ToolUse(messages, None, "none")
    if listed is None:
        raise ConfigError(f"tool_choice is {choice!r:.80}, but no tools are given")
    return ToolUse(messages, listed if name is None else _only(listed, name), mode)


def _read_choice(choice: ToolChoice) -> tuple[Literal["auto", "none", "required"], str | None]:
    """The mode, and the function that must be called."""
    if isinstance(choice, str) and choice in _MODES:
        return choice, None
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        inner = choice.get("function", choice)
        if isinstance(inner, Mapping) and isinstance(name := inner.get("name"), str):
            return "required", name
    raise ConfigError(
        f"tool_choice is {choice!r:.80}; use 'auto', 'none', 'required' or "
        "{'type': 'function', 'function': {'name': NAME}}"
    )


def _only(tools: ToolList, name: str) -> ToolList:
    inner, wrapped = json.loads(tools.inner), json.loads(tools.wrapped)
    kept = [i for i, function in enumerate(inner) if function.get("name") == name]
    if not kept:
        names = ", ".join(str(function.get("name")) for function in inner)
        raise ConfigError(f"tool_choice names the function {name!r:.60}, which is not among the tools: {names:.200}")
    return ToolList(as_json([inner[i] for i in kept], "tools"), as_json([wrapped[i] for i in kept], "tools"))
