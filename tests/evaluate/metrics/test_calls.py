"""Function calls are judged as BFCL's check of Python calls judges them."""

from __future__ import annotations

import json

import pytest

from edgephi_evaluate.metrics.calls import calls_match, read_calls

FUNCTIONS = json.dumps(
    [
        {
            "name": "book",
            "parameters": {
                "type": "dict",
                "properties": {
                    "city": {"type": "string"},
                    "nights": {"type": "integer"},
                    "price": {"type": "float"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "guest": {"type": "dict", "properties": {}},
                },
                "required": ["city"],
            },
        },
        {"name": "ring", "parameters": {"type": "dict", "properties": {}, "required": []}},
    ]
)
POSSIBLE = json.dumps(
    [
        {
            "book": {
                "city": ["New York", "NYC"],
                "nights": [2, ""],
                "price": [10.0, ""],
                "tags": [["Quiet", "sea"], ""],
                "guest": [{"name": ["Ann"], "age": [3, ""]}, ""],
            }
        }
    ]
)


def _reply(*calls: object) -> str:
    return f"<|tool_call|>{json.dumps(list(calls))}<|/tool_call|>"


def _call(**arguments: object) -> dict[str, object]:
    return {"name": "book", "arguments": arguments}


@pytest.mark.parametrize(
    ("arguments", "is_right"),
    [
        ({"city": "new-york"}, True),  # optional arguments may be absent, and marks do not count
        ({"city": "Boston"}, False),
        ({"nights": 2}, False),  # a required one is missing
        ({"city": "NYC", "nights": 2, "price": 10}, True),  # an int serves for a float
        ({"city": "NYC", "nights": "2"}, False),
        ({"city": "NYC", "nights": 2.0}, False),
        ({"city": "NYC", "colour": "red"}, False),
        ({"city": "NYC", "tags": ["quiet", "Sea"]}, True),
        ({"city": "NYC", "tags": ["sea", "quiet"]}, False),
        ({"city": "NYC", "guest": {"name": "ann"}}, True),
        ({"city": "NYC", "guest": {"name": "ann", "age": 4}}, False),
        ({"city": "NYC", "guest": {"age": 3}}, False),
    ],
)
def test_arguments_are_judged_by_name_type_and_value(arguments: dict[str, object], is_right: bool):
    assert calls_match(_reply(_call(**arguments)), FUNCTIONS, POSSIBLE, "simple_python") is is_right


def test_parallel_calls_may_come_in_any_order_but_not_twice():
    ring = {"name": "ring", "arguments": {}}
    possible = json.dumps([{"book": {"city": ["NYC"]}}, {"ring": {}}])
    assert calls_match(_reply(ring, _call(city="NYC")), FUNCTIONS, possible, "parallel")
    assert not calls_match(_reply(ring, ring), FUNCTIONS, possible, "parallel")
    assert not calls_match(_reply(ring), FUNCTIONS, possible, "parallel")


def test_no_call_is_right_where_no_function_fits():
    assert calls_match("I cannot.", FUNCTIONS, "", "irrelevance")
    assert not calls_match(_reply({"name": "ring", "arguments": {}}), FUNCTIONS, "", "irrelevance")


def test_markers_and_brackets_may_be_missing_as_in_the_public_handler():
    assert read_calls('<|tool_call|>{"name": "ring", "arguments": {}}') == [("ring", {})]
    assert read_calls('<|tool_call|>[{"name": "ring", "parameters": {}}]<|/tool_call|>') == [("ring", {})]
    assert read_calls("<|tool_call|>ring()<|/tool_call|>") is None
    assert read_calls("no call") == []
