"""The grammar of tool calls: JSON between the model's two markers, with arguments that each tool's schema allows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edgephi.base.errors import ConfigError
from edgephi.generation.json_schema import is_rule, read_schema
from edgephi.prompt.template_view import TOOL_CALL_END

_JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
#: How descriptions in the style of Phi-4's documentation call types.
_TYPES = {
    "str": "string", "string": "string", "int": "integer", "integer": "integer", "float": "number", "number": "number",
    "bool": "boolean", "boolean": "boolean", "list": "array", "array": "array", "dict": "object", "object": "object",
}  # fmt: skip

#: Keywords that may name properties beside `properties`, or say whether there may be others.
_OTHER_PROPERTIES = frozenset(
    {"$ref", "additionalProperties", "allOf", "anyOf", "oneOf", "patternProperties", "unevaluatedProperties"}
)


def call_grammar(functions: Sequence[Mapping[str, Any]]) -> str:
    """The grammar of what may follow the opening marker, the closing one included, in llguidance's dialect of Lark.

    Args:
        functions: Each with a `name` and perhaps `parameters`: a JSON schema, or types by name as Phi-4 was trained on;
            of these, one with a default or called optional may be left out.

    Raises:
        ConfigError: A function without a name, or a schema that cannot be followed.
    """
    rules = [f'start: "[" call (", " call)* "]" {TOOL_CALL_END}', "call: " + " | ".join(_names(functions))]
    for number, function in enumerate(functions):
        opening = f'{{"name": {json.dumps(_name(function), ensure_ascii=False)}, "arguments": '
        rules.append(f'call{number}: {json.dumps(opening, ensure_ascii=False)} args{number} "}}"')
        rules.append(f"args{number}: %json {_schema(function)}")
    return "\n".join(rules) + "\n"


def _names(functions: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"call{number}" for number in range(len(functions))]


def _name(function: Mapping[str, Any]) -> str:
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"a tool has no name, so it cannot be called: {json.dumps(function)[:80]}")
    return name


def _schema(function: Mapping[str, Any]) -> str:
    """The JSON schema of a function's arguments, which can have no others."""
    given = function.get("parameters")
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(
            f"the parameters of the tool {_name(function)!r:.60} are {given!r:.40}; they must be an object"
        )
    parameters = given or {}
    if not _is_schema(parameters):
        parameters = {
            "properties": {name: _plain_type(value) for name, value in parameters.items()},
            "required": [name for name, value in parameters.items() if not _is_optional(value)],
        }
    schema = {"type": "object", **parameters}
    if "properties" in schema and _OTHER_PROPERTIES.isdisjoint(schema):
        schema["additionalProperties"] = False
    try:
        cleaned = json.loads(read_schema(schema))
    except ConfigError as error:
        raise ConfigError(f"the parameters of the tool {_name(function)!r:.60}: {error}") from error
    return json.dumps({**cleaned, "x-guidance": _JSON_STYLE})


def _is_schema(parameters: Mapping[str, Any]) -> bool:
    """Whether parameters are a JSON schema, and not types by name."""
    if parameters.get("type") == "object" or isinstance(parameters.get("properties"), Mapping):
        return True
    return isinstance(parameters.get("$ref"), str) or any(
        isinstance(parameters.get(key), list) for key in ("allOf", "anyOf", "oneOf")
    )


def _is_optional(value: object) -> bool:
    if not isinstance(value, Mapping):
        return "optional" in str(value).lower()
    return "optional" in str(value.get("type")).lower() or "default" in value or value.get("required") is False


def _plain_type(value: object) -> dict[str, Any]:
    """The schema of a parameter that is described by its type, or by an object with its type."""
    described = value if isinstance(value, Mapping) else {"type": value}
    word = str(described.get("type", "")).lower().replace("[", ",").partition(",")[0].strip()
    schema: dict[str, Any] = {"type": _TYPES[word]} if word in _TYPES else {}
    rules = {key: rule for key, rule in described.items() if is_rule(key) and key not in ("type", "required")}
    return schema | rules
