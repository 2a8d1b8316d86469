"""The tools and tool calls of messages: OpenAI's shapes and the model's own, as JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgephi.base.errors import ConfigError

#: Tools as a caller gives them: JSON text of a list, or the list.
Tools = str | Sequence[Mapping[str, Any]]

_WRAPPER_KEYS = frozenset({"type", "function"})
#: Where tools of other interfaces have what OpenAI's have under `parameters`.
_OTHER_SCHEMA_KEYS = frozenset({"input_schema", "inputSchema", "parametersJsonSchema", "parameters_json_schema"})
# `index` comes from streamed pieces, `parsed_arguments` from OpenAI's own client; neither says anything new.
_CALL_KEYS = frozenset({"id", "type", "function", "index"})
_CALLED_KEYS = frozenset({"name", "arguments", "parsed_arguments"})


@dataclass(frozen=True, slots=True)
class ToolList:
    """Tools of a request.

    Attributes:
        inner: JSON text of the functions themselves, which Phi-4 was trained on.
        wrapped: JSON text of the list with OpenAI's wrapping, which other models' templates read.
    """

    inner: str
    wrapped: str


def read_tools(raw: object, where: str) -> ToolList | None:
    """Tools in OpenAI's wrapping or without; None and an empty list are no tools.

    Raises:
        ConfigError: Not a list of objects, an unknown key beside `function`, or a value that JSON cannot hold.
    """
    raw = [as_mapping(tool) for tool in raw] if isinstance(raw, list | tuple) else raw
    if isinstance(raw, str):
        raw = parsed(raw, f"{where}: tools")
    if raw is None or (isinstance(raw, Sequence) and not raw):
        return None
    if not isinstance(raw, Sequence) or isinstance(raw, bytes) or not all(isinstance(tool, Mapping) for tool in raw):
        raise ConfigError(f"{where}: tools must be JSON text or a list of objects")
    inner, wrapped = [], []
    for i, tool in enumerate(raw):
        function = _function(tool, f"{where}: tools[{i}]")
        inner.append(function)
        wrapped.append(
            tool if isinstance(tool.get("function"), Mapping) else {"type": "function", "function": function}
        )
    return ToolList(as_json(inner, f"{where}.tools"), as_json(wrapped, f"{where}.tools"))


def _function(tool: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """What a tool says about its function, out of OpenAI's wrapping, that of its Responses included."""
    kind = tool.get("type")
    if kind not in (None, "function") and ("name" not in tool or isinstance(tool.get(str(kind)), Mapping)):
        raise ConfigError(f"{where}: its type is {kind!r:.40}; only functions can be called")
    function = tool
    if isinstance(tool.get("function"), Mapping):
        check_keys(tool, _WRAPPER_KEYS, where)
        function = tool["function"]
    elif kind == "function":
        function = {key: value for key, value in tool.items() if key != "type"}
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise ConfigError(f"{where}: a tool needs a name, a string, so that it can be called; found {_keys(function)}")
    if schema := _OTHER_SCHEMA_KEYS & function.keys():
        raise ConfigError(f"{where}: {min(schema)!r} is not read; give the schema of the arguments as 'parameters'")
    return function


def _keys(value: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, value))[:80] or "no key"


def read_calls(raw: object, where: str) -> str | None:
    """JSON text of an assistant's calls, each `{"id", "name", "arguments"}`; None where there are none.

    Raises:
        ConfigError: Not calls of functions, an unknown key, or arguments that are not JSON.
    """
    if not raw:
        return None
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise ConfigError(f"{where}: tool_calls must be a list")
    return as_json([_call(entry, f"{where}.tool_calls[{i}]") for i, entry in enumerate(raw)], f"{where}.tool_calls")


def as_mapping(value: object) -> object:
    """An object of OpenAI's client as the mapping that it describes; anything else as it is."""
    dump = None if isinstance(value, Mapping | type) else getattr(value, "model_dump", None)
    return dump(exclude_none=True) if callable(dump) else value


def _call(entry: object, where: str) -> dict[str, object]:
    entry = as_mapping(entry)
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: needs a name and arguments")
    if entry.get("type") not in (None, "function"):
        raise ConfigError(f"{where}: its type is {entry['type']!r:.40}; only functions can be called")
    call = entry.get("function", entry)
    if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
        raise ConfigError(f"{where}: needs a name and arguments")
    if call is entry:
        check_keys(call, _CALL_KEYS | _CALLED_KEYS, where)
    else:
        check_keys(entry, _CALL_KEYS, where)
        check_keys(call, _CALLED_KEYS, f"{where}.function")
    arguments = call.get("arguments")
    if isinstance(arguments, str):
        arguments = parsed(arguments, f"{where}: arguments") if arguments.strip() else None
    return {"id": entry.get("id"), "name": call["name"], "arguments": {} if arguments is None else arguments}


def check_keys(raw: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    """Refuse a key that nobody would read; one whose value is null says nothing.

    Raises:
        ConfigError: It names the key.
    """
    if unknown := sorted((key for key in raw if raw[key] is not None and key not in known), key=str):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")


def parsed(text: str, what: str) -> object:
    """The value of JSON text.

    Raises:
        ConfigError: It is not JSON.
    """
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what} are not valid JSON ({error})") from error


def as_json(value: object, where: str) -> str:
    """A value as JSON text on one line.

    Raises:
        ConfigError: JSON cannot hold it.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=dict)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: cannot be written as JSON ({error})") from error
