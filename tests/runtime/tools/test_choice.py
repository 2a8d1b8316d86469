"""A call that is asked for is a call of the given tools, whatever the model would rather say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from edgephi import ConfigError, DoneEvent, JsonSchema, Model, Regex, Reply, SamplingOptions, TextEvent, ToolCallEvent
from edgephi.generation.constraint import Grammar, check_constraint
from edgephi.generation.output_text import ReplyText
from edgephi.prompt.tokenizer import Tokenizer
from edgephi.tools.call_grammar import call_grammar
from edgephi.tools.choice import read_tool_use
from support.bundles import small_bundle
from support.vocabulary import build_tokenizer, special_id

LAMP = {"type": "function", "function": {"name": "lamp", "parameters": {
    "type": "object", "properties": {"room": {"enum": ["hall", "küche"]}, "level": {"$ref": "#/$defs/level"}},
    "required": ["room", "level"], "$defs": {"level": {"type": "integer", "minimum": 1, "maximum": 3}},
}}}  # fmt: skip
NOW = {"name": 'now "x" \\', "parameters": {"type": "object", "properties": {}}}
TOOLS: list[dict[str, Any]] = [LAMP, NOW]
CALLED = {"type": "function", "function": {"name": "lamp"}}
WILD = {"temperature": 3.0, "max_new_tokens": 400}
CALL, CALL_END = special_id("<|tool_call|>"), special_id("<|/tool_call|>")


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model.load(small_bundle(), threads=1) as loaded:
        yield loaded


def _asked(model: Model, seed: int, **kwargs: Any) -> tuple[Reply, list[str], list[ToolCallEvent]]:
    options = SamplingOptions(seed=seed, **{**WILD, **kwargs.pop("options", {})})
    events = list(model.stream("hello", options=options, **kwargs))
    done = events[-1]
    assert isinstance(done, DoneEvent)
    words = [event.text for event in events if isinstance(event, TextEvent)]
    calls = [event for event in events if isinstance(event, ToolCallEvent)]
    shown = "".join(event.text for event in events if isinstance(event, TextEvent | ToolCallEvent))
    assert shown == done.reply.text
    assert [call for event in calls for call in event.calls] == list(done.reply.tool_calls)
    return done.reply, words, calls


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("choice", ["required", CALLED, {"type": "function", "name": "lamp"}])
def test_a_required_call_is_made_by_a_model_that_knows_nothing(model: Model, choice: Any, seed: int):
    reply, words, calls = _asked(model, seed, tools=TOOLS, tool_choice=choice)
    assert (words, len(calls)) == ([], 1)
    assert (reply.token_ids[0], reply.token_ids[-1]) == (CALL, CALL_END)
    assert reply.finish_reason == "stop"
    for call in reply.tool_calls:
        assert call.error is None
        if call.name == "lamp":
            assert call.arguments["room"] in ("hall", "küche")
            assert call.arguments["level"] in (1, 2, 3)
            assert set(call.arguments) == {"room", "level"}
        else:
            assert (call.name, call.arguments, choice) == (NOW["name"], {}, "required")


@pytest.mark.parametrize("seed", range(3))
def test_a_call_that_the_model_opens_is_held_to_the_tools(model: Model, seed: int):
    options = {"logit_bias": {CALL: 60, CALL_END: 60}, "max_new_tokens": 700}
    reply, _, _ = _asked(model, seed, tools=TOOLS, tool_choice="auto", options=options)
    closed = reply.token_ids.count(CALL_END)
    assert closed >= 1
    for call in reply.tool_calls[:closed]:
        assert call.error is None
        assert call.name in ("lamp", NOW["name"])


def test_none_makes_no_call_and_offers_no_tool(model: Model):
    options = {"logit_bias": {CALL: 100}, "max_new_tokens": 30}
    reply, _, calls = _asked(model, 0, tools=TOOLS, tool_choice="none", options=options)
    assert (calls, CALL in reply.token_ids) == ([], False)
    assert reply.timing.prompt_tokens == _asked(model, 0, options=options)[0].timing.prompt_tokens


def test_auto_lets_constrained_words_or_a_call_come_but_nothing_else(model: Model):
    spec = {"constraint": Regex("yes|no")}
    seen = set()
    for seed in range(12):
        options = {**spec, "logit_bias": {CALL: 6}}
        reply, words, calls = _asked(model, seed, tools=[NOW], tool_choice="auto", options=options)
        seen.add("call" if calls else "".join(words))
        assert reply.finish_reason == "stop"
        assert "".join(words) in ("yes", "no", "")
    assert "call" in seen
    assert len(seen) > 1
    none = _asked(model, 0, tools=[NOW], tool_choice="none", options={**spec, "logit_bias": {CALL: 100}})
    assert "".join(none[1]) in ("yes", "no")


def test_only_the_named_function_is_offered(model: Model):
    one = _asked(model, 0, tools=[LAMP])[0].timing.prompt_tokens
    assert _asked(model, 0, tools=TOOLS, tool_choice=CALLED)[0].timing.prompt_tokens == one


def test_tools_of_the_request_are_the_tools_of_a_system_message(model: Model):
    few = SamplingOptions(max_new_tokens=2)
    inside = [{"role": "system", "content": "S", "tools": TOOLS}, {"role": "user", "content": "x"}]
    beside = [{"role": "system", "content": "S"}, {"role": "user", "content": "x"}]
    expected = model.generate(inside, options=few)
    for tools in (TOOLS, json.dumps(TOOLS), tuple(TOOLS)):
        reply = model.generate(beside, tools=tools, options=few)
        assert reply.token_ids == expected.token_ids
        assert reply.timing.prompt_tokens == expected.timing.prompt_tokens
    choice = model.generate(inside, tool_choice="required", options=SamplingOptions(**WILD))
    assert choice.tool_calls[0].error is None


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"tool_choice": "required"}, "no tools are given"),
        ({"tool_choice": "auto", "tools": []}, "no tools are given"),
        ({"tool_choice": "any", "tools": TOOLS}, "tool_choice is 'any'; use 'auto'"),
        ({"tool_choice": {"type": "allowed_tools"}, "tools": TOOLS}, "use 'auto'"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}, "tools": TOOLS}, "not among the tools: lamp"),
        ({"tools": [{"description": "d"}], "tool_choice": "required"}, "a tool needs a name"),
        ({"tools": [{"name": "f", "parameters": ["a"]}], "tool_choice": "required"}, "'f' are .*must be an object"),
        ({"tools": 7}, "tools must be JSON text or a list"),
        ({"tools": "lamp"}, "not valid JSON"),
        ({"tools": TOOLS, "tool_choice": "required", "options": SamplingOptions(constraint=Regex("a"))}, "give one"),
        ({"tools": [{"name": "f", "parameters": {"type": "object", "properties": {"a": {"not": {}}}}}],
          "tool_choice": "required"}, "cannot be used"),
        ({"tools": [{"name": "f", "parameters": {"type": "object", "properties": {"a": {"requried": []}}}}],
          "tool_choice": "required"}, "parameters of the tool 'f': .*did you mean 'required'"),
    ],
)  # fmt: skip
def test_a_choice_that_cannot_be_kept_is_refused(model: Model, kwargs: dict[str, Any], match: str):
    with pytest.raises(ConfigError, match=match):
        model.generate("hello", **kwargs)


def test_tools_in_two_places_are_refused(model: Model):
    turns = [{"role": "system", "content": "", "tools": TOOLS}, {"role": "user", "content": "x"}]
    for choice in (None, "auto"):
        with pytest.raises(ConfigError, match="give them once"):
            model.generate(turns, tools=TOOLS, tool_choice=choice)


@pytest.mark.parametrize(
    ("parameters", "taken", "refused"),
    [
        ({"room": "string", "n": "int"}, {"room": "x", "n": 3}, {"room": "x", "n": "3"}),
        ({"room": "string", "n": "int"}, {"room": "", "n": 0}, {"room": "x"}),
        ({"city": {"type": "str", "default": "Oslo"}}, {}, {"town": "x"}),
        ({"on": {"type": "bool, optional"}, "f": "float"}, {"f": 1.5}, {"on": 1, "f": 1.5}),
        ({"who": {"type": "list[str]"}, "what": "anything"}, {"who": [], "what": {}}, {"who": 1, "what": 1}),
        ({"type": "string"}, {"type": "x"}, {"type": 1}),
        ({"kind": {"type": "str", "enum": ["a", "b"]}}, {"kind": "b"}, {"kind": "c"}),
        ({"to": {"type": "str", "maxLength": 2, "required": True}}, {"to": "ab"}, {"to": "abc"}),
        ({"to": {"type": "str", "required": False}}, {}, {"to": 1}),
        (
            {"anyOf": [{"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}]},
            {"a": 1},
            {"anyOf": []},
        ),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"required": ["a"], "properties": {"a": {"const": 1}}}}}, {"a": 1}, {}),
        ({"properties": {"a": {"type": "null"}}, "unevaluatedProperties": False}, {"a": None}, {"b": None}),
        ({"properties": {"a": {}}, "allOf": [{"properties": {"b": {"const": 1}}}]}, {"a": 0, "b": 1}, {"b": 2}),
        ({"properties": {"a": {}}, "patternProperties": {"^x": {"const": 1}}}, {"x": 1}, {"x": 2}),
        (None, {}, {"a": 1}),
        ({}, {}, {"a": 1}),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": "b"}),
        ({"properties": {"a": {"type": "null"}}}, {"a": None}, {"b": None}),
    ],
)
def test_arguments_follow_either_way_of_describing_them(parameters: Any, taken: Any, refused: Any):
    import llguidance  # noqa: PLC0415 - to ask the grammar itself

    source = call_grammar([{"name": "f", "parameters": parameters}]).replace(" <|/tool_call|>", "")
    check_constraint(Grammar(source))
    tokenizer = llguidance.LLTokenizer("byte")

    def allows(arguments: Any) -> bool:
        matcher = llguidance.LLMatcher(tokenizer, llguidance.LLMatcher.grammar_from_lark(source))
        text = json.dumps([{"name": "f", "arguments": arguments}])
        return bool(matcher.consume_tokens(tokenizer.tokenize_str(text)) and matcher.is_accepting())

    assert allows(taken)
    assert not allows(refused)


def test_words_before_between_and_after_calls_are_distinguished():
    tokenizer = Tokenizer(build_tokenizer().to_str(), "t")
    writer = ReplyText(tokenizer, ("END",))
    first, second = '[{"name": "a", "arguments": {}}]', "no call E"
    texts: list[str] = []
    text = tokenizer.encode_text
    for token_id in (
        *text("so E"),
        CALL,
        *text(first),
        CALL_END,
        *text(" and "),
        CALL,
        *text(second),
        CALL_END,
        *text("!"),
    ):
        texts += [words] if (words := writer.push(token_id)) else []
        texts += [f"<{event.text}|{len(event.calls)}|{event.calls[0].error}>" for event in writer.take_calls()]
    texts.append(writer.finish())
    assert "".join(texts).startswith(f"so E<{first}|1|None> and <{second}|1|not valid JSON")
    assert texts[-2:] == ["!", ""]
    assert writer.text == f"so E{first} and {second}!"


def test_a_schemas_text_can_never_hold_a_marker(model: Model):
    options = SamplingOptions(
        constraint=JsonSchema({"type": "string", "maxLength": 20}), logit_bias={CALL: 100}, max_new_tokens=60, seed=1
    )
    assert CALL not in model.generate("hello", options=options).token_ids


def test_no_tools_say_nothing():
    use = read_tool_use("hi", [], None)
    assert (use.tools, use.mode, use.functions) == (None, None, [])
