"""Function calls by the rules of BFCL's check: name, types and values of every argument.

In its Java and JavaScript categories every argument is a text, which holds source of that language.
"""

from __future__ import annotations

import json
import re
from typing import Any

from edgephi_evaluate.answer import Answer
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.share import Share
from edgephi_evaluate.metrics.source_values import java_value, javascript_value

_TYPES: dict[str, type] = {
    "string": str, "integer": int, "float": float, "number": float, "boolean": bool,
    "array": list, "tuple": list, "dict": dict, "object": dict, "any": str,
    # Java's and JavaScript's.
    "String": str, "char": str, "byte": int, "short": int, "long": int, "Bigint": int, "double": float,
    "Boolean": bool, "Array": list, "ArrayList": list, "HashMap": dict,
}  # fmt: skip
_SEQUENCES = ("array", "tuple", "Array", "ArrayList")
_READERS = {"simple_java": java_value, "simple_javascript": javascript_value}
_CALLS = re.compile(r"<\|tool_call\|>(.*?)(?:<\|/tool_call\|>|$)", re.DOTALL)
_IGNORED = re.compile(r"[ ,./\-_*^]")
#: Of an argument that may be left out.
_OPTIONAL = ""
#: In place of an argument that should be text and is not; equal to no answer.
_NO_TEXT = object()
Call = tuple[str, dict[str, Any]]


def read_calls(text: str) -> list[Call] | None:
    """The calls that a reply holds between its markers; None where they cannot be read.

    The closing marker may be missing, and so may the brackets around a single call, as in the public handler.
    """
    found: list[Call] = []
    for body in _CALLS.findall(text):
        try:
            raw = json.loads(body if body.lstrip().startswith("[") else f"[{body}]")
        except ValueError:
            return None
        for one in raw:
            arguments = one.get("arguments", one.get("parameters")) if isinstance(one, dict) else None
            if not isinstance(arguments, dict) or not isinstance(one.get("name"), str):
                return None
            found.append((one["name"], arguments))
    return found


def calls_match(text: str, functions: str, possible: str, category: str) -> bool:
    """Whether a reply calls what it should.

    Args:
        text: The reply with its markers.
        functions: JSON list of what was offered, with the types that the data declare.
        possible: JSON list of the right calls, each `{name: {argument: [values]}}`; empty where no call is right.
        category: Of BFCL. In a parallel one calls may come in any order.
    """
    calls = read_calls(text)
    if "irrelevance" in category:
        return not calls  # what cannot be read calls nothing
    offered = {one["name"]: one["parameters"] for one in json.loads(functions)}
    wanted = [next(iter(one.items())) for one in json.loads(possible)] if possible else []
    if calls is None or len(calls) != len(wanted):
        return False
    left = [_as_values(call, offered, category) for call in calls]
    for name, values in wanted:
        match = next((call for call in left if _is_right(call, name, values, offered.get(name, {}))), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _as_values(call: Call, offered: dict[str, dict[str, Any]], category: str) -> Call:
    """A call whose arguments are values; source of another language is read as such, and nothing else will do there."""
    read, (name, arguments) = _READERS.get(category), call
    if read is None:
        return call
    properties = offered.get(name, {}).get("properties", {})
    values = {}
    for key, text in arguments.items():
        described = properties.get(key, {})
        inner = described.get("items", {}).get("type")
        values[key] = read(text, described.get("type", "any"), inner) if isinstance(text, str) else _NO_TEXT
    return name, values


def _is_right(call: Call, name: str, values: dict[str, list[Any]], parameters: dict[str, Any]) -> bool:
    given_name, arguments = call
    properties: dict[str, Any] = parameters.get("properties", {})
    if given_name != name or not set(parameters.get("required", ())) <= arguments.keys():
        return False
    if not all(
        key in properties and key in values and _is_value(value, values[key], properties[key])
        for key, value in arguments.items()
    ):
        return False
    return all(_OPTIONAL in allowed for key, allowed in values.items() if key not in arguments)


def _is_value(value: Any, allowed: list[Any], described: dict[str, Any]) -> bool:
    kind = described.get("type", "any")
    wanted: Any = _TYPES.get(kind, str)
    if wanted is float and type(value) is int:
        value = float(value)
    known = next((type(one) for one in allowed if one != _OPTIONAL), None)
    if type(value) is not wanted or (kind in _SEQUENCES and not _has_types(value, described)):
        return type(value) is known and _plain(value) in [_plain(one) for one in allowed]
    if known is not None and known is not wanted and wanted is not float:
        return _plain(value) in [_plain(one) for one in allowed]  # a variable, which is written as a text
    if wanted is dict:
        return any(_is_object(value, one) for one in allowed if isinstance(one, dict))
    if wanted is list and value and all(isinstance(one, dict) for one in value):
        return any(_are_objects(value, one) for one in allowed if isinstance(one, list))
    return _plain(value) in [_plain(one) for one in allowed]


def _has_types(values: list[Any], described: dict[str, Any]) -> bool:
    inner = _TYPES.get(described.get("items", {}).get("type", "any"), str)
    return all(type(one) is inner or (inner is float and type(one) is int) for one in values) or inner is str


def _are_objects(values: list[dict[str, Any]], allowed: list[Any]) -> bool:
    return len(values) == len(allowed) and all(
        isinstance(wanted, dict) and _is_object(one, wanted) for one, wanted in zip(values, allowed, strict=True)
    )


def _is_object(value: dict[str, Any], allowed: dict[str, Any]) -> bool:
    return all(
        key in allowed and _plain(one) in [_plain(wanted) for wanted in allowed[key]] for key, one in value.items()
    ) and all(_OPTIONAL in wanted for key, wanted in allowed.items() if key not in value)


def _plain(value: Any) -> Any:
    """Texts without spaces and most marks, in lower case; lists of them likewise."""
    if isinstance(value, str):
        return _IGNORED.sub("", value).lower().replace("'", '"')
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def _mark(item: Item, answer: Answer) -> float:
    offered = next((turn.tools for turn in item.turns if turn.tools is not None), "[]")
    possible, functions = (*item.answers[:2], *("", offered)[len(item.answers[:2]) :])
    return float(calls_match(answer.marked_text, functions, possible, item.part))


CALLS = Share("calls", "right calls, %", _mark)
