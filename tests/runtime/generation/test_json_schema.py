"""A schema is enforced in full, or refused with the reason: never taken and then not followed."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import llguidance
import pytest

from edgephi.base.errors import ConfigError
from edgephi.generation.constraint import JsonSchema, Regex, check_constraint
from edgephi.generation.json_schema import ENFORCED_FORMATS, read_schema

INNER = {"type": "object", "properties": {"schema": {"type": "string"}}, "required": ["schema"]}
OTHER = {"anyOf": [{"const": 1}, {"type": "array", "items": {"type": "null"}}]}


@pytest.mark.parametrize("inner", [INNER, OTHER])
@pytest.mark.parametrize(
    "wrapping",
    [
        lambda s: {"name": "x", "strict": True, "schema": s},
        lambda s: {"name": "x", "description": "d", "schema": s, "strict": False},
        lambda s: {"schema": s},
        lambda s: {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": s}},
        lambda s: {"type": "json_schema", "name": "x", "strict": True, "schema": s},
        lambda s: s,
    ],
)
def test_openais_wrapping_is_taken_off(inner: dict[str, Any], wrapping: Any):
    given = wrapping(inner)
    assert json.loads(read_schema(given)) == inner
    assert json.loads(read_schema("\ufeff" + json.dumps(given))) == inner


def test_a_schema_that_has_a_property_named_schema_is_no_wrapper():
    given = {"type": "object", "properties": {"schema": {}, "format": {"type": "string"}, "name": {}}}
    assert json.loads(read_schema(given)) == given


def test_json_mode_is_any_object():
    assert json.loads(read_schema({"type": "json_object"})) == {"type": "object"}


@pytest.mark.parametrize(
    "given",
    [{}, True, {"title": "t"}, {"$schema": "s", "description": "d"}, {"format": "password"}, {"schema": {}},
     {"name": "x", "strict": True, "schema": {}}, {"$defs": {"a": {"type": "string"}}}, "{}", "true",
     {"properties": {}}, {"required": []}, {"additionalProperties": True}, {"anyOf": [{"type": "null"}, {}]},
     {"allOf": [{}, {"title": "t"}]}, {"items": {}}, {"uniqueItems": False}, {"propertyNames": {"type": "string"}},
     {"type": ["array", "boolean", "null", "number", "object", "string"]}, {"properties": {"a": {"title": "A"}}}],
)  # fmt: skip
def test_a_schema_that_enforces_nothing_is_refused(given: object):
    with pytest.raises(ConfigError, match="allows any JSON, so nothing would be enforced"):
        JsonSchema(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"name": "x", "strict": True}, {"type": "json_schema"}])
def test_a_wrapper_without_a_schema_is_refused(given: dict[str, Any]):
    with pytest.raises(ConfigError, match="wrapper without a schema"):
        JsonSchema(given)


@pytest.mark.parametrize("pattern", ["(?s).*", r"[\s\S]*"])
def test_an_expression_that_enforces_nothing_is_refused(pattern: str):
    with pytest.raises(ConfigError, match="nothing would be enforced"):
        Regex(pattern)


@pytest.mark.parametrize("given", ["no", "[]", 5, None, "NaN", {"schema": 3}])
def test_what_is_no_schema_is_refused(given: object):
    with pytest.raises(ConfigError, match="the JSON schema"):
        JsonSchema(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["top", "property", "item", "definition", "choice"])
@pytest.mark.parametrize(
    "word",
    ["password", "path", "uri-reference", "regex", "binary", "int32", "float", "color", "iri", 7],
)
def test_a_format_that_cannot_be_enforced_is_an_annotation(word: object, where: str):
    inner = {"type": "string", "format": word}
    schema: dict[str, Any] = {
        "top": inner,
        "property": {"type": "object", "properties": {"format": inner}, "required": ["format"]},
        "item": {"type": "array", "items": inner},
        "definition": {"$ref": "#/$defs/x", "$defs": {"x": inner}},
        "choice": {"anyOf": [{"type": "null"}, inner]},
    }[where]
    check_constraint(JsonSchema(schema))


def test_a_format_word_in_data_stays():
    schema = {"enum": [{"format": "password"}], "examples": [{"format": "x"}]}
    assert json.loads(read_schema(schema)) == schema


@pytest.mark.parametrize("word", sorted(ENFORCED_FORMATS - {"unknown"}))
def test_a_format_that_llguidance_enforces_stays(word: str):
    assert json.loads(read_schema({"type": "string", "format": word}))["format"] == word
    grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps({"type": "string", "format": word}))
    assert not llguidance.LLMatcher.validate_grammar_with_warnings(grammar)[0]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("requried", "required"), ("property", "properties"), ("maxlength", "maxLength"), ("anyof", "anyOf")]
)  # fmt: skip
def test_a_misspelled_rule_is_reported_instead_of_being_skipped(word: str, meant: str):
    schema = {"type": "object", "properties": {"a": {"type": "string", word: ["a"]}}}
    with pytest.raises(ConfigError, match=f"unknown keyword '{word}' in schema.properties.a; did you mean '{meant}'"):
        JsonSchema(schema)


def test_words_of_openapi_and_vendors_are_annotations():
    schema = {"type": "string", "nullable": True, "example": "x", "x-order": 3, "xml": {}, "discriminator": {}}
    check_constraint(JsonSchema(schema))


@pytest.mark.parametrize(
    "rule",
    [{"divisibleBy": 2}, {"disallow": "string"}, {"extends": {"minimum": 5}}, {"optionalProperties": {"a": {}}},
     {"formatMinimum": "2020-01-01"}, {"required": True}, {"uniqueItemProperties": ["a"]}, {"$recursiveRef": "#"},
     {"x-guidance": {"lenient": True}}],
)  # fmt: skip
@pytest.mark.parametrize("where", ["top", "property", "tuple"])
def test_a_rule_of_another_dialect_is_refused_by_name(rule: dict[str, Any], where: str):
    inner = {"type": "integer", **rule}
    given = {
        "top": inner,
        "property": {"type": "object", "properties": {"a": inner}},
        "tuple": {"type": "array", "items": [inner]},
    }[where]
    with pytest.raises(ConfigError, match=re.escape(repr(next(iter(rule)))) + ".*another dialect"):
        JsonSchema(given)


def test_the_rest_of_a_tuple_in_the_words_of_two_drafts_is_refused():
    """To llguidance the one is leave to ignore the other."""
    with pytest.raises(ConfigError, match="prefixItems beside additionalItems"):
        JsonSchema({"type": "array", "prefixItems": [{"type": "integer"}], "additionalItems": False})


@pytest.mark.parametrize(
    "rule",
    [{"uniqueItems": False}, {"unevaluatedItems": True}, {"unevaluatedProperties": {}}, {"propertyNames": {}},
     {"propertyNames": {"type": "string"}}],
)  # fmt: skip
def test_a_rule_that_forbids_nothing_is_no_reason_to_refuse(rule: dict[str, Any]):
    assert json.loads(read_schema({"type": ["array", "object"], **rule})) == {"type": ["array", "object"]}


def test_unevaluated_properties_are_additional_ones_where_nothing_else_evaluates_them():
    given = {"type": "object", "properties": {"a": {"type": "null"}}, "unevaluatedProperties": False}
    check_constraint(JsonSchema(given))
    assert json.loads(read_schema(given))["additionalProperties"] is False
    with pytest.raises(ConfigError, match="unevaluatedProperties"):
        check_constraint(JsonSchema({**given, "allOf": [{"properties": {"b": {"type": "null"}}}]}))


def test_a_class_of_pydantic_gets_the_word_that_leads_on():
    class Answer:
        @classmethod
        def model_json_schema(cls) -> dict[str, Any]:
            return {}

    with pytest.raises(ConfigError, match=r"give what its model_json_schema\(\) returns"):
        JsonSchema(Answer)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [{}, {"string": 1}, 3, None, True])
def test_a_type_that_is_no_name_is_no_bug(kind: object):
    with suppress(ConfigError):
        read_schema({"type": kind, "properties": {"a": {"type": "string"}}})


@pytest.mark.parametrize("kind", [[["string"]], [{}], [{"type": "string"}, "null"], [None], [3]])
def test_a_list_of_types_that_holds_others_is_no_bug(kind: object):
    """Such a schema comes from a client, and only llguidance can say what is wrong with it."""
    schema = JsonSchema({"type": kind})
    with pytest.raises(ConfigError, match="cannot be used"):
        check_constraint(schema)
