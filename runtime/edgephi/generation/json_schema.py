"""JSON schemas as callers write them: the wrapping is removed, and annotations are separated from rules."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, NoReturn

from edgephi.base.errors import ConfigError

#: Formats that llguidance enforces; JSON Schema makes every other one an annotation.
ENFORCED_FORMATS = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "unknown", "uri", "uuid"}
)
_RULES = frozenset({
    "$dynamicRef", "$ref", "additionalItems", "additionalProperties", "allOf", "anyOf", "const", "contains",
    "dependencies", "dependentRequired", "dependentSchemas", "else", "enum", "exclusiveMaximum",
    "exclusiveMinimum", "format", "if", "items", "maxContains", "maxItems", "maxLength", "maxProperties",
    "maximum", "minContains", "minItems", "minLength", "minProperties", "minimum", "multipleOf", "not", "oneOf",
    "pattern", "patternProperties", "prefixItems", "properties", "propertyNames", "required", "then", "type",
    "unevaluatedItems", "unevaluatedProperties", "uniqueItems",
})  # fmt: skip
_ANNOTATIONS = frozenset({
    "$anchor", "$comment", "$defs", "$dynamicAnchor", "$id", "$schema", "$vocabulary", "contentEncoding",
    "contentMediaType", "contentSchema", "default", "definitions", "deprecated", "description", "discriminator",
    "example", "examples", "externalDocs", "id", "name", "nullable", "readOnly", "strict", "title", "writeOnly",
    "xml",
})  # fmt: skip
#: Rules of draft 3, JSON Type Definition and Ajv, which nobody would enforce, and llguidance's own switches.
_OTHER_DIALECTS = frozenset({
    "$recursiveRef", "allRequired", "anyRequired", "deepProperties", "deepRequired", "disallow", "divisibleBy",
    "elements", "extends", "formatExclusiveMaximum", "formatExclusiveMinimum", "formatMaximum", "formatMinimum",
    "instanceof", "oneRequired", "optionalProperties", "patternRequired", "prohibited", "regexp", "select",
    "typeof", "uniqueItemProperties", "values", "x-guidance",
})  # fmt: skip
#: Beside these, which properties are left for `unevaluatedProperties` is not known from the schema alone.
_IN_PLACE = frozenset(
    {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas", "additionalProperties"}
)
_SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SCHEMA_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains",
            "propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema")  # fmt: skip
#: Keys of OpenAI's wrapper around a schema, in its two forms.
_WRAPPER_KEYS = frozenset({"name", "description", "strict", "schema", "type"})
_JSON_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def is_rule(key: str) -> bool:
    """Whether a keyword limits what JSON may be."""
    return key in _RULES


def read_schema(given: object) -> str:
    """A schema as text that llguidance enforces in full.

    OpenAI's `{"name", "strict", "schema"}` and `{"type": "json_schema", "json_schema": {...}}` are unwrapped, a byte
    order mark is dropped, and formats that are not enforced, which are annotations in JSON Schema, are left out.

    Args:
        given: JSON text, or the object it describes.

    Raises:
        ConfigError: Not JSON, not an object, a keyword that is no rule but is spelled almost like one, or no rule at
            all, so that any JSON would do.
    """
    schema = _unwrapped(_parsed(given))
    try:
        schema = json.loads(json.dumps(schema, allow_nan=False, default=_as_object))
        schema = _cleaned(schema, "schema")
    except ConfigError:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the JSON schema cannot be written as JSON ({error})") from None
    if not isinstance(schema, dict) or _allows_all(schema):
        raise ConfigError(
            f"the JSON schema {json.dumps(schema)[:60]} allows any JSON, so nothing would be enforced; "
            "say what it must be, such as {'type': 'object', 'properties': {...}}"
        )
    return json.dumps(schema)


def _parsed(given: object) -> Mapping[str, Any] | bool:
    if isinstance(given, str):
        try:
            given = json.loads(given.removeprefix("\ufeff"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"the JSON schema is not valid JSON ({error})") from None
    if hasattr(given, "model_json_schema"):
        raise ConfigError("the JSON schema is a class of pydantic; give what its model_json_schema() returns")
    if not isinstance(given, Mapping | bool):
        raise ConfigError(f"the JSON schema is {given!r:.60}; use an object, such as {{'type': 'object'}}")
    return given


def _unwrapped(given: Mapping[str, Any] | bool) -> Mapping[str, Any] | bool:
    """The schema inside OpenAI's `response_format`, or what was given if it is a schema itself."""
    if isinstance(given, bool):
        return given
    if given.get("type") == "json_object" and not _RULES & (given.keys() - {"type"}):
        return {"type": "object"}
    if given.get("type") == "json_schema" and "json_schema" in given:
        given = _inner(given, "json_schema")
    kind = given.get("type")
    is_schema = isinstance(kind, list) or (isinstance(kind, str) and kind in _JSON_TYPES)
    if "schema" in given and not is_schema and given.keys() <= _WRAPPER_KEYS:
        return _inner(given, "schema")
    if given.get("type") == "json_schema" or ("strict" in given and "name" in given and not _RULES & given.keys()):
        raise ConfigError("the JSON schema is OpenAI's wrapper without a schema in it; put it under 'schema'")
    return given


def _inner(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    inner = given[key]
    if not isinstance(inner, Mapping):
        raise ConfigError(f"the JSON schema's {key!r} is {inner!r:.60}; it must be an object")
    return inner


def _cleaned(schema: Any, where: str) -> Any:
    """A schema without annotations that llguidance would take for rules, in every schema inside it too."""
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        _check_keyword(key, value, where)
        if _is_without_effect(key, value):
            continue
        if key in _SCHEMA_MAPS and isinstance(value, dict):
            result[key] = {name: _cleaned(inner, f"{where}.{key}.{name}") for name, inner in value.items()}
        elif key in (*_SCHEMA_LISTS, "items") and isinstance(value, list):
            result[key] = [_cleaned(inner, f"{where}.{key}[{i}]") for i, inner in enumerate(value)]
        elif key in _SCHEMAS:
            result[key] = _cleaned(value, f"{where}.{key}")
        else:
            result[key] = value
    if "prefixItems" in result and "additionalItems" in result:
        raise ConfigError(
            f"the JSON schema has prefixItems beside additionalItems in {where}; put the rest under items"
        )
    if "unevaluatedProperties" in result and _IN_PLACE.isdisjoint(result):
        result["additionalProperties"] = result.pop("unevaluatedProperties")
    return result


def _is_without_effect(key: str, value: object) -> bool:
    """Whether a rule allows whatever comes, so that it need not be enforced."""
    match key:
        case "format":
            return value not in ENFORCED_FORMATS
        case "uniqueItems":
            return value is False
        case "unevaluatedItems" | "unevaluatedProperties":
            return value is True or value == {}
        case "propertyNames":  # names are strings
            return value is True or value in ({}, {"type": "string"})
        case _:
            return False


def _allows_all(schema: object) -> bool:
    """Whether it can be seen at once that a schema allows any JSON."""
    if not isinstance(schema, dict):
        return schema is True
    return all(_allows_all_by(key, value) for key, value in schema.items() if key in _RULES)


def _allows_all_by(key: str, value: Any) -> bool:
    match key:
        case "type":
            return (
                isinstance(value, list) and {"integer", *(one for one in value if isinstance(one, str))} >= _JSON_TYPES
            )
        case "properties" | "patternProperties":
            return isinstance(value, dict) and all(map(_allows_all, value.values()))
        case "additionalProperties" | "items" | "additionalItems":
            return _allows_all(value)
        case "anyOf":
            return isinstance(value, list) and any(map(_allows_all, value))
        case "allOf" | "prefixItems" | "required":
            return isinstance(value, list) and all(map(_allows_all, value))
        case _:
            return False


def _as_object(value: object) -> object:
    """A mapping that is no dict, as `json.dumps` asks."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _check_keyword(key: str, value: object, where: str) -> None:
    """Refuse a misspelled rule: as an unknown keyword it would be an annotation, and nothing would be enforced."""
    if key in _OTHER_DIALECTS or (key == "required" and isinstance(value, bool)):
        raise ConfigError(
            f"the JSON schema has {key!r}: {json.dumps(value):.40} in {where}, which is of another dialect and "
            "would not be enforced; say it with the keywords of JSON Schema 2020-12, or leave it out"
        )
    if key in _RULES or key in _ANNOTATIONS:
        return
    if close := difflib.get_close_matches(key, _RULES, n=1, cutoff=0.75):
        raise ConfigError(f"the JSON schema has an unknown keyword {key!r} in {where}; did you mean {close[0]!r}?")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
