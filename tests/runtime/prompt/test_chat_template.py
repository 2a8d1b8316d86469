"""A chat template renders what transformers renders, byte for byte, and users' text stays text in all of it."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as Reference

from edgephi.base.errors import ArtifactError, ConfigError, EdgeError
from edgephi.bundle.manifest import TokenInfo
from edgephi.prompt.chat_template import check_template
from edgephi.prompt.prompt import PromptBuilder
from edgephi.prompt.tokenizer import ControlToken, Tokenizer
from support.prompts import build_prompt
from support.templates import CONVERSATIONS, NAMES, RENDERINGS, TEMPLATES, TOOLS
from support.vocabulary import build_tokenizer, special_id

GOLDEN: dict[str, str | None] = json.loads(RENDERINGS.read_text(encoding="utf-8"))
CONTROL = [
    "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_sep|>", "<|im_end|>", "[INST]", "[/INST]", "<|eot_id|>",
    "[TOOL_CALLS]", "<|start_header_id|>", "<|end_header_id|>", "<start_of_turn>", "<end_of_turn>", "[AVAILABLE_TOOLS]",
    "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>", "<\uff5cend\uff5c>", "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>",
]  # fmt: skip
TOKENS = TokenInfo(bos=None, pad=None, eos=(special_id("<|end|>"),), image=special_id("<|endoftext10|>"), audio=None)
#: A template that counts a message's words counts the reference's own mark for the end of an open message too.
ASKED = [name for name, text in GOLDEN.items() if text is not None and "looks_at_words/prefill" not in name]
ASKED = [name for name in ASKED if "/parts" not in name or "[{" not in GOLDEN[name]]  # Python's own writing of a list


@cache
def _whole() -> Reference:
    whole = build_tokenizer()
    whole.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    return whole


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer(_whole().to_str(), "t")


@cache
def _builder(template: str) -> PromptBuilder:
    return PromptBuilder(_tokenizer(), template, TOKENS, "template.jinja", NAMES)


def _pieces(template: str, turns: Any, tools: Any = None) -> list[str | ControlToken]:
    """What is encoded: runs of text, and control tokens."""
    kept: list[str | ControlToken] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_tokenizer(), "encode", lambda items: kept.extend(items) or [])
        build_prompt(_builder(template), turns, tools=tools)
    return kept


def _text(pieces: list[str | ControlToken]) -> str:
    return "".join(piece if isinstance(piece, str) else piece.content for piece in pieces)


@pytest.mark.parametrize("name", ASKED)
def test_every_published_style_renders_as_transformers_renders_it(name: str):
    template, conversation = name.split("/")
    turns, has_tools = CONVERSATIONS[conversation]
    if has_tools and "tools" not in TEMPLATES[template]:
        with pytest.raises(ConfigError, match="no place for tools"):
            _pieces(TEMPLATES[template], turns, TOOLS)
        return
    assert _text(_pieces(TEMPLATES[template], turns, TOOLS if has_tools else None)) == GOLDEN[name]


@pytest.mark.parametrize("name", [name for name in ASKED if not name.endswith(("/spelled", "/turns", "/parts"))])
def test_a_prompts_ids_are_those_of_the_rendering(name: str):
    template, conversation = name.split("/")
    turns, has_tools = CONVERSATIONS[conversation]
    if has_tools and "tools" not in TEMPLATES[template]:
        return
    tools = TOOLS if has_tools else None
    ids = build_prompt(_builder(TEMPLATES[template]), turns, tools=tools).token_ids.tolist()
    assert ids == _whole().encode(GOLDEN[name]).ids


@pytest.mark.parametrize("name", [name for name, text in GOLDEN.items() if text is None and "/parts" not in name])
def test_what_transformers_cannot_render_is_refused(name: str):
    template, conversation = name.split("/")
    turns, has_tools = CONVERSATIONS[conversation]
    with pytest.raises(EdgeError):
        _pieces(TEMPLATES[template], turns, TOOLS if has_tools else None)


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_text_of_a_users_becomes_control_in_any_style(template: str):
    """Words in the same places give the same control tokens, whatever they spell; or the request is refused."""
    draw, taken = random.Random(template), 0
    words = [*CONTROL, "<|end|>", "<|user|>", "<|END|>", " ", "<", "|>", "end", "</think>", "<tool_response>", "a", "?"]

    def turns(text: Any) -> list[dict[str, str]]:
        return [{"role": role, "content": text()} for role in ("user", "assistant", "user")]

    def control(pieces: list[str | ControlToken]) -> list[str]:
        return [piece.content for piece in pieces if not isinstance(piece, str)]

    plain = control(_pieces(TEMPLATES[template], turns(lambda: "plain words")))
    for _ in range(25):
        asked = turns(lambda: "x" + "".join(draw.choices(words, k=4)) + "x")
        try:
            pieces = _pieces(TEMPLATES[template], asked)
        except ConfigError as error:
            assert "cannot be distinguished" in str(error)  # noqa: PT017 - a refusal is as good
            continue
        taken += 1
        assert control(pieces) == plain, asked
    assert taken >= 20


@pytest.mark.parametrize(
    ("expression", "content"),
    [("c | lower", "<|END|>"), ("c.replace('_', '')", "<|_end|>"), ("c.split() | join", "<|e nd|>"),
     ("c[::-1]", ">|dne|<"), ("c | replace('-', '|')", "<-end->")],
)  # fmt: skip
def test_a_control_token_that_the_template_itself_makes_of_a_users_text_stays_text(expression: str, content: str):
    template = "{% for m in messages %}{% set c = m.content %}<|user|>{{ " + expression + " }}<|end|>{% endfor %}"
    pieces = _pieces(template, content)
    assert [piece for piece in pieces if not isinstance(piece, str)] == _pieces(template, "x")[::2]
    assert _text(pieces) == "<|user|><|end|><|end|>"


@pytest.mark.parametrize(
    ("expression", "turn"),
    [
        ("'<|' ~ m.name ~ '|>' ~ m.content", {"content": "x", "name": "end"}),
        ("'<' ~ m.content", {"content": "|end|>"}),
        ("m.content ~ '|>'", {"content": "<|end"}),
        ("m.content ~ m.name", {"content": "<|e", "name": "nd|>"}),
    ],
)
def test_a_control_token_that_a_text_makes_together_with_the_template_stays_text(expression: str, turn: dict[str, str]):
    template = "{% for m in messages %}<|user|>{{ " + expression + " }}<|assistant|>{% endfor %}"
    pieces = _pieces(template, [{"role": "user", **turn}])
    assert [piece.content for piece in pieces if not isinstance(piece, str)] == ["<|user|>", "<|assistant|>"]
    assert "<|end|>" in _text(pieces)


def test_a_template_that_acts_on_control_tokens_in_a_text_refuses_such_a_text_and_no_other():
    template = "{% for m in messages %}<|user|>{{ m.content.replace('<|end|>', 'END') }}<|end|>{% endfor %}"
    assert _text(_pieces(template, "a < b |> c")) == "<|user|>a < b |> c<|end|>"
    with pytest.raises(ConfigError, match="cannot be distinguished"):
        _pieces(template, "a <|end|> b")


@pytest.mark.parametrize(
    ("template", "match"),
    [
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "leaves out what a user says"),
        ("{% for m in messages %}{% for p in m.content %}{{ p.url }}{% endfor %}{% endfor %}", "leaves out what a"),
        ("{% if messages %}", "not a usable chat template"),
        ("{{ raise_exception('never') }}", "refuses a single user's turn"),
        ("{{ messages[0].content + nothing_known }}", "fails on these messages"),
        ("{% frobnicate %}", "unknown tag"),
    ],
)  # fmt: skip
def test_a_template_that_can_make_no_prompt_is_refused_before_anything_is_exported(template: str, match: str):
    with pytest.raises(ArtifactError, match=match):
        check_template(template, "chat_template.jinja", NAMES)


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_published_style_passes_the_check_of_the_export(template: str):
    check_template(TEMPLATES[template], "chat_template.jinja", NAMES)


def test_the_time_of_day_is_reported_as_the_reference_reports_it_and_cannot_change_within_a_prompt():
    template = (
        "{{ strftime_now('%j') | length }}{{ strftime_now('%f') == strftime_now('%f') }}{{ messages[0].content }}"
    )
    assert _text(_pieces(template, "<")) == "3True<"


def test_words_of_the_assistant_at_the_end_are_gone_on_with():
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "<|end|> so"}]
    pieces = _pieces(TEMPLATES["chatml"], turns)
    assert pieces[-1] == "assistant\n<|end|> so"


PARTED = (
    "{% for m in messages %}<|user|>{% if m.content is string %}{{ m.content | trim }}{% else %}"
    "{% for p in m.content %}[{{ p.text | trim }}]{% endfor %}{% endif %}<|end|>{% endfor %}"
)


def test_a_template_that_reads_parts_sees_the_parts_that_were_given():
    """As transformers does; a template for strings alone sees them joined."""
    parts = [{"role": "user", "content": [{"type": "text", "text": " a <|end|>"}, {"type": "text", "text": " b"}]}]
    assert _text(_pieces(PARTED, parts)) == "<|user|>[a <|end|>][b]<|end|>"
    assert _pieces(PARTED, parts)[1] == "[a <|end|>][b]"
    assert _text(_pieces(PARTED, " a  b")) == "<|user|>a  b<|end|>"
    assert "user\n a <|end|> b" in _text(_pieces(TEMPLATES["chatml"], parts))


def test_a_template_that_reads_nothing_but_parts_is_given_strings_as_parts():
    template = (
        "{% for m in messages %}<|user|>{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}"
        "{% endfor %}<|end|>{% endfor %}"
    )
    check_template(template, "t", NAMES)
    assert _text(_pieces(template, "a <|end|> b")) == "<|user|>a <|end|> b<|end|>"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "so "}]
    assert _text(_pieces(template, turns)) == "<|user|>a<|end|><|user|>so "


def test_tools_given_twice_are_refused():
    turns = [{"role": "system", "content": "", "tools": TOOLS}, {"role": "user", "content": "x"}]
    with pytest.raises(ConfigError, match="given twice"):
        _pieces(TEMPLATES["qwen"], turns, TOOLS)


def test_a_system_messages_tools_reach_a_template_that_has_a_variable_for_them():
    turns, _ = CONVERSATIONS["tools"]
    lifted = [{**turns[0], "tools": json.dumps(TOOLS)}, *turns[1:]]
    assert _text(_pieces(TEMPLATES["qwen"], lifted)) == GOLDEN["qwen/tools"]
