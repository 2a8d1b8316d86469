"""A tool call must be read as the model wrote it; a malformed one is a result, not a crash."""

from __future__ import annotations

import dataclasses

import pytest

from edgephi.generation.timing import Timing
from edgephi.generation.tool_calls import ToolCall, parse_tool_calls


def test_a_list_of_calls_is_read_in_order():
    text = '[{"name": "lamp", "arguments": {"on": true}}, {"name": "door", "arguments": {}}]'
    assert parse_tool_calls(text) == (
        ToolCall(name="lamp", arguments={"on": True}, error=None, text=text),
        ToolCall(name="door", arguments={}, error=None, text=text),
    )


def test_a_single_object_is_one_call():
    (call,) = parse_tool_calls('{"name": "lamp", "arguments": {"room": "hall"}}')
    assert (call.name, call.arguments) == ("lamp", {"room": "hall"})
    (call,) = parse_tool_calls('{"name": "lamp", "parameters": {"room": "hall"}}')  # as some models call them
    assert (call.name, call.arguments, call.error) == ("lamp", {"room": "hall"}, None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('[{"name": "lamp"', "not valid JSON"),
        ("", "not valid JSON"),
        ("[7]", "not an object with a name"),
        ('[{"arguments": {}}]', "not an object with a name"),
        ('[{"name": "lamp", "arguments": "x"}]', "not an object with a name"),
        ("[" * 100_000, "not valid JSON"),
        ("9" * 5000, "not valid JSON"),
        ('{"name": "lamp", "arguments": {"level": NaN}}', "NaN is no number"),
        ('{"name": "lamp", "arguments": {"level": -Infinity}}', "-Infinity is no number"),
        ('{"name": "lamp", "arguments": {"level": 1e999}}', "1e999 is no number"),
        ("[]", "an empty list"),
        ('{"name": ""}', "not an object with a name"),
        ("null", "not an object with a name"),
    ],
)
def test_a_malformed_call_says_why(text: str, error: str):
    (call,) = parse_tool_calls(text)
    assert call.error is not None
    assert error in call.error
    assert (call.name, call.arguments, call.text) == ("", {}, text)


def _timing(new_tokens: int, decode_s: float) -> Timing:
    return Timing(
        prompt_tokens=10,
        cached_tokens=0,
        new_tokens=new_tokens,
        preprocess_s=0,
        encode_s=0,
        prefill_s=0.5,
        ttft_s=0.6,
        decode_s=decode_s,
        peak_rss_bytes=1,
    )


def test_positions_that_were_cached_are_not_read():
    """Counted in, a second turn would claim thousands of tokens a second."""
    timing = dataclasses.replace(_timing(5, 2.0), cached_tokens=5)
    assert timing.prefill_tok_s == (timing.prompt_tokens - 5) / timing.prefill_s


def test_rates_count_the_intervals_between_tokens():
    assert _timing(5, 2.0).decode_tok_s == 2.0
    assert _timing(1, 0.0).decode_tok_s == 0.0
    assert _timing(5, 2.0).prefill_tok_s == 20.0
