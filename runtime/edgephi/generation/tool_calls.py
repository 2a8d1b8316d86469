"""Tool calls that a model writes: the record, and the parser of the text between their markers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A function the model asks for.

    Attributes:
        name: Of the function; empty when `error` is set.
        arguments: By name; empty when `error` is set.
        error: Why the model's text is not a call; None when it is one.
        text: The JSON as the model wrote it.
    """

    name: str
    arguments: dict[str, Any]
    error: str | None
    text: str


def parse_tool_calls(text: str) -> tuple[ToolCall, ...]:
    """Read the JSON between a tool call's markers: an object or a list of {name, arguments}.

    A malformed one becomes a call with `error` set: what the model wrote is a result, not an exception.
    """
    try:
        raw = json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        return (_malformed(f"not valid JSON ({error})", text),)
    if raw == []:
        return (_malformed("an empty list", text),)
    entries = raw if isinstance(raw, list) else [raw]
    return tuple(_tool_call(entry, text) for entry in entries)


def _tool_call(raw: object, text: str) -> ToolCall:
    arguments = raw.get("arguments", raw.get("parameters", {})) if isinstance(raw, dict) else None
    name = raw.get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        return _malformed("not an object with a name and arguments", text)
    return ToolCall(name=name, arguments=arguments, error=None, text=text)


def _malformed(error: str, text: str) -> ToolCall:
    return ToolCall(name="", arguments={}, error=error, text=text)


def _finite(number: str) -> float:
    """JSON has no infinity, and none may come in as a number too large to hold."""
    value = float(number)
    return value if math.isfinite(value) else _refuse_number(number)


def _refuse_number(number: str) -> NoReturn:
    raise ValueError(f"{number} is no number that JSON or a double can hold")
