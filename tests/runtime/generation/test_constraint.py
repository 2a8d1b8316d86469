"""A constrained reply must be what was asked for, and whatever cannot be must be refused in one line."""

from __future__ import annotations

import itertools
import json
import re
import sys
from typing import Any

import numpy as np
import pytest

from edgephi.base.errors import ConfigError, EdgeError
from edgephi.generation.constraint import (
    ConstraintCompiler,
    ConstraintSpec,
    Grammar,
    JsonSchema,
    Regex,
    check_constraint,
)
from edgephi.generation.sampler import Sampler, SamplingOptions
from edgephi.prompt.tokenizer import Tokenizer
from support.vocabulary import SPECIAL_TOKENS, build_tokenizer, special_id

VOCAB = 400
EOS = (special_id("<|end|>"), special_id("<|endoftext|>"))
TOKENIZER = Tokenizer(build_tokenizer().to_str(), "tokenizer.json")
BYTES = [TOKENIZER.token_bytes(token_id) for token_id in range(VOCAB)]
COMPILER = ConstraintCompiler(TOKENIZER, eos=EOS, vocab_size=VOCAB)

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "é🙂", '"\\']}, "maxItems": 3},
        "ok": {"type": ["boolean", "null"]},
    },
    "required": ["name", "age", "tags", "ok"],
    "additionalProperties": False,
}
ARITHMETIC = 'start: sum\nsum: item ("+" item){0,3}\nitem: /[0-9]{1,3}/ | "(" sum ")"\n'


def _reply(spec: ConstraintSpec, seed: int, temperature: float, limit: int = 300) -> tuple[str, bool]:
    """The reply of a model with random logits, and whether the constraint was met."""
    rng = np.random.default_rng(seed)
    options = SamplingOptions(temperature=temperature, seed=seed, top_p=0.95, top_k=100)
    sampler, said = Sampler(options, constraint=COMPILER.start(spec)), []
    for _ in range(limit):
        token_id = sampler.choose(rng.standard_normal(VOCAB).astype(np.float32) * 3).token_id
        sampler.accept(token_id)
        if token_id in EOS:
            return TOKENIZER.decode(said), True
        said.append(token_id)
        assert not TOKENIZER.is_control(token_id)
        if sampler.is_done:
            return TOKENIZER.decode(said), True
    return TOKENIZER.decode(said), False


def _is_person(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and list(value) == ["name", "age", "tags", "ok"]
        and isinstance(value["name"], str)
        and 1 <= len(value["name"]) <= 6
        and type(value["age"]) is int
        and 0 <= value["age"] <= 120
        and len(value["tags"]) <= 3
        and set(value["tags"]) <= {"a", "é🙂", '"\\'}
        and value["ok"] in (True, False, None)
    )


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_every_reply_under_a_schema_is_json_that_it_allows(temperature: float):
    for seed in range(25):
        text, met = _reply(JsonSchema(PERSON), seed, temperature)
        assert met
        assert _is_person(json.loads(text)), text


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("pattern", ["yes|no", r"[0-9]{3}-[a-c]+", "(é|🙂|What is){1,4}", "a(b|c)?d", "(?i)ab?"])
def test_every_reply_under_an_expression_matches_it(pattern: str, temperature: float):
    for seed in range(10):
        text, met = _reply(Regex(pattern), seed, temperature)
        assert re.fullmatch(pattern, text) or not met, text
        assert met or len(text) > 100  # only an endless part may go on


def test_every_reply_under_a_grammar_is_a_sentence_of_it():
    for seed in range(20):
        text, met = _reply(Grammar(ARITHMETIC), seed, 1.0)
        if met:
            assert re.fullmatch(r"[0-9+()]+", text)
            compile(re.sub(r"\d+", "1", text), "sum", "eval")  # balanced, no sign without a number


def test_the_allowed_tokens_are_exactly_those_that_lead_to_a_complete_reply():
    """Against all sentences of a small language, in bytes: merged tokens, half characters, ends, control tokens."""
    words = ["What", " is", "é", "🙂", "ing"]
    language = {"".join(chosen).encode() for n in (1, 2) for chosen in itertools.product(words, repeat=n)}
    beginnings = {sentence[:end] for sentence in language for end in range(len(sentence) + 1)}
    rng = np.random.default_rng(0)
    for _ in range(20):
        constraint, said = COMPILER.start(Regex(f"({'|'.join(words)}){{1,2}}")), b""
        while not constraint.is_done:
            logits = np.zeros(VOCAB, np.float32)
            constraint.mask(logits)
            expected = {i for i in range(VOCAB) if BYTES[i] and said + BYTES[i] in beginnings}
            expected |= set(EOS) if said in language else set()
            assert set(np.flatnonzero(logits == 0).tolist()) == expected
            token_id = int(rng.choice(sorted(expected - set(EOS))))
            constraint.accept(token_id)
            said += BYTES[token_id]
        assert said in language


def test_the_tokens_of_a_good_text_are_all_allowed_and_then_the_end():
    """The model's own way to write a valid reply is never cut off."""
    text = json.dumps({"name": "turn", "age": 7, "tags": ["a"], "ok": True}, ensure_ascii=False)
    constraint = COMPILER.start(JsonSchema(PERSON))
    for token_id in TOKENIZER.encode_text(text):
        logits = np.zeros(VOCAB, np.float32)
        constraint.mask(logits)
        assert logits[token_id] == 0
        constraint.accept(token_id)
    assert constraint.is_done


def test_an_open_end_may_end_or_go_on():
    constraint = COMPILER.start(Regex("a+"))
    (a,) = TOKENIZER.encode_text("a")
    constraint.accept(a)
    logits = np.zeros(VOCAB, np.float32)
    constraint.mask(logits)
    assert set(np.flatnonzero(logits == 0).tolist()) == {a, *EOS}
    assert not constraint.is_done
    constraint.accept(EOS[1])
    assert constraint.is_done


@pytest.mark.parametrize("spec", [Regex(r"(.|\n)+"), Grammar("start: /(.|\\n)+/"), Grammar("start: <[^5]>+")])
def test_control_tokens_are_never_allowed_inside(spec: ConstraintSpec):
    logits = np.zeros(VOCAB, np.float32)
    COMPILER.start(spec).mask(logits)
    assert np.count_nonzero(logits == 0) > 100
    assert not np.any(logits[[special_id(name) for name in SPECIAL_TOKENS]] == 0)


def test_each_reply_has_a_constraint_of_its_own():
    spec = Regex("ab")
    first, second = COMPILER.start(spec), COMPILER.start(spec)
    first.accept(TOKENIZER.encode_text("a")[0])
    logits = np.zeros(VOCAB, np.float32)
    second.mask(logits)
    assert np.flatnonzero(logits == 0).tolist() == TOKENIZER.encode_text("a")


def test_a_token_that_is_not_allowed_is_refused():
    constraint = COMPILER.start(Regex("ab"))
    with pytest.raises(EdgeError, match="the regular expression does not allow token"):
        constraint.accept(TOKENIZER.encode_text("x")[0])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: JsonSchema("{"), "the JSON schema is not valid JSON"),
        (lambda: JsonSchema('{"minimum": NaN}'), "NaN is no JSON number"),
        (lambda: JsonSchema("[1]"), r"the JSON schema is \[1\]; use an object"),
        (lambda: JsonSchema({"enum": {1, 2}}), "cannot be written as JSON"),
        (lambda: JsonSchema({"minimum": float("inf")}), "cannot be written as JSON"),
        (lambda: Regex(""), "pattern is ''"),
        (lambda: Regex(7), "pattern is 7"),  # type: ignore[arg-type]
        (lambda: Grammar(" " * 0), "lark is ''"),
    ],
)
def test_what_is_no_constraint_is_refused_when_it_is_made(make: Any, match: str):
    with pytest.raises(ConfigError, match=match):
        make()


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (JsonSchema({"type": "nope"}), "the JSON schema cannot be used: Invalid type: nope"),
        (JsonSchema({"type": "object", "dependentRequired": {}}), "dependentRequired"),
        (JsonSchema({"type": "string", "minLength": 5, "maxLength": 2}), r"minLength \(5\) is greater"),
        (JsonSchema({"$ref": "http://example.com/x.json"}), "not present in a registry"),
        (Regex("a("), "the regular expression cannot be used: unclosed group"),
        (Regex("(?=a)b"), "look-ahead"),
        (Grammar("start: foo"), 'the grammar cannot be used: .*unknown name: "foo"'),
        (Grammar("start: \x00"), "the grammar cannot be used"),
    ],
)
def test_a_mistake_is_named_in_one_line_without_a_model(spec: ConstraintSpec, match: str):
    with pytest.raises(ConfigError, match=match) as caught:
        check_constraint(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (Regex(r"[^\s\S]"), "no reply can meet the regular expression"),
        (Grammar("start: start"), "no reply can meet the grammar"),
        (Grammar('start: <|user|> "a"'), 'unknown special token: "<|user|>"'),
        (Grammar(f'start: <[{special_id("<|user|>")}]> "a"'), "no reply can meet the grammar"),
    ],
)
def test_what_no_reply_can_meet_is_refused_before_the_first_token(spec: ConstraintSpec, match: str):
    with pytest.raises(ConfigError, match=match) as caught:
        COMPILER.start(spec)
    assert "\n" not in str(caught.value)


def test_a_repeated_constraint_is_compiled_once_and_each_reply_has_its_own(monkeypatch: pytest.MonkeyPatch):
    compiled: list[ConstraintSpec] = []
    monkeypatch.setattr("edgephi.generation.constraint.check_constraint", compiled.append)
    compiler = ConstraintCompiler(TOKENIZER, eos=EOS, vocab_size=VOCAB)
    first, second = compiler.start(Regex("ab")), compiler.start(Regex("ab"))
    first.accept(TOKENIZER.encode_text("a")[0])
    third = compiler.start(Regex("ab"))
    assert compiled == [Regex("ab")]
    for constraint, expected in ((first, "b"), (second, "a"), (third, "a")):
        logits = np.zeros(VOCAB, np.float32)
        constraint.mask(logits)
        allowed = {BYTES[token_id][:1].decode() for token_id in np.flatnonzero(np.isfinite(logits))}
        assert allowed == {expected}
    for number in range(8):  # so many others that the first is not kept
        compiler.start(Regex(f"{number}"))
    compiler.start(Regex("ab"))
    assert compiled.count(Regex("ab")) == 2


def test_a_schema_is_the_same_as_text_and_as_an_object():
    assert JsonSchema(PERSON) == JsonSchema(json.dumps(PERSON))
    assert hash(JsonSchema(PERSON)) == hash(JsonSchema(json.dumps(PERSON)))


def test_without_the_library_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(EdgeError, match=r'needs llguidance; run: pip install "edgephi\[constrain\]"'):
        check_constraint(Regex("a"))
