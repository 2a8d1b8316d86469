"""Java and JavaScript arguments are read as bfcl-eval 2026.3.23 reads them; every value below is its converter's."""

from __future__ import annotations

import pytest

from edgephi_evaluate.metrics.calls import calls_match
from edgephi_evaluate.metrics.source_values import java_value, javascript_value

JAVA = [
    ("3", "integer", None, 3),
    ("3.0", "integer", None, "3.0"),  # another form than the declared one is a variable's name
    ("7L", "long", None, 7),
    ("7", "long", None, "7"),
    ("2.5f", "float", None, 2.5),
    ("1e-3", "double", None, 0.001),
    ("true", "boolean", None, True),
    ("True", "boolean", None, "True"),
    ('"abc"', "String", None, '"abc"'),
    ("new int[] { 1, 2,3 }", "Array", "integer", [1, 2, 3]),
    ('new String[]{"a"}', "Array", "String", ['"a"']),  # in an array strings keep their quotes
    ('new ArrayList<>(Arrays.asList("a", "b"))', "ArrayList", "String", ["a", "b"]),
    ("new ArrayList<Long>() {{ add(1L); add(2L); }}", "ArrayList", "long", [1, 2]),
    ("new ArrayList<>()", "ArrayList", "long", []),
    ("names", "ArrayList", "String", "names"),
    (
        'new HashMap<>() {{ put("k", 1); put("l", "x"); put("m", \'c\'); }}',
        "HashMap",
        None,
        {"k": 1, "l": "x", "m": "'c'"},
    ),
    ("new HashMap<>()", "HashMap", None, {}),
]
JAVASCRIPT = [
    ("'abc'", "String", None, "abc"),
    ("12n", "Bigint", None, 12),
    ("3", "float", None, 3.0),
    ("1e3", "float", None, "1e3"),
    ("false", "Boolean", None, False),
    ("[1, 'two', true]", "array", None, [1, "two", True]),
    ('["a", "b"]', "array", "String", ["a", "b"]),
    ("new Array(1.5, 2)", "array", "float", [1.5, 2.0]),
    ("[[1, 2], [3, 4]]", "array", "float", [[1, 2], [3, 4]]),
    ("[]", "array", "float", []),
    ("items", "array", "String", "items"),
    ('{\'k\': 1, l: "x", m: ["y"]}', "dict", None, {"k": 1, "l": "x", "m": ["y"]}),
    ("x => x", "any", None, "x => x"),
]


@pytest.mark.parametrize(("text", "kind", "inner", "value"), JAVA)
def test_java(text: str, kind: str, inner: str | None, value: object):
    got = java_value(text, kind, inner)
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(("text", "kind", "inner", "value"), JAVASCRIPT)
def test_javascript(text: str, kind: str, inner: str | None, value: object):
    got = javascript_value(text, kind, inner)
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(("given", "is_right"), [('"4"', True), ("4", False), ('"4.5"', False)])
def test_an_argument_of_another_language_is_right_only_as_text(given: str, is_right: bool):
    functions = '[{"name": "f", "parameters": {"properties": {"n": {"type": "float"}}, "required": ["n"]}}]'
    reply = f'<|tool_call|>[{{"name": "f", "arguments": {{"n": {given}}}}}]<|/tool_call|>'
    assert calls_match(reply, functions, '[{"f": {"n": [4.0]}}]', "simple_javascript") is is_right
