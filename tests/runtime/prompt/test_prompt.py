"""Prompts must be the model's own to the letter: it is sensitive to every token of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.manifest import TokenInfo
from edgephi.prompt.prompt import PromptBuilder
from edgephi.prompt.tokenizer import Tokenizer
from support.prompts import build_prompt
from support.vocabulary import CHAT_TEMPLATE, SPECIAL_TOKENS, build_tokenizer, special_id

IMAGE, AUDIO = "<|endoftext10|>", "<|endoftext11|>"
TOKENS = TokenInfo(
    bos=special_id("<|endoftext|>"),
    pad=None,
    eos=(special_id("<|end|>"),),
    image=special_id(IMAGE),
    audio=special_id(AUDIO),
)


def _builder(template: str = CHAT_TEMPLATE, tokens: TokenInfo = TOKENS) -> PromptBuilder:
    return PromptBuilder(Tokenizer(build_tokenizer().to_str(), "tokenizer.json"), template, tokens, "template.jinja")


def _ids(text: str) -> list[int]:
    """Ids of a rendered prompt, by the full tokenizer alone."""
    return build_tokenizer().encode(text).ids


TOOLS = '[{"name": "lamp"}]'
CALL = '[{"name": "lamp", "arguments": {}}]'


@pytest.mark.parametrize(
    ("messages", "rendered"),
    [
        ("hi", "<|user|>hi<|end|><|assistant|>"),
        ("", "<|user|><|end|><|assistant|>"),
        (" two  spaces\n", "<|user|> two  spaces\n<|end|><|assistant|>"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
         "<|user|>ab<|end|><|assistant|>"),
        ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
         "<|system|>Be brief.<|end|><|user|>hi<|end|><|assistant|>"),
        ([{"role": "system", "content": "S", "tools": TOOLS}, {"role": "user", "content": "on"}],
         f"<|system|>S<|tool|>{TOOLS}<|/tool|><|end|><|user|>on<|end|><|assistant|>"),
        ([{"role": "system", "content": "S", "tools": json.loads(TOOLS)}, {"role": "user", "content": "on"}],
         f"<|system|>S<|tool|>{TOOLS}<|/tool|><|end|><|user|>on<|end|><|assistant|>"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
         "<|user|>a<|end|><|assistant|>b<|end|><|user|>c<|end|><|assistant|>"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": [{"name": "lamp"}]},
          {"role": "tool", "content": "done", "tool_call_id": "1"}],
         f"<|user|>a<|end|><|assistant|><|tool_call|>{CALL}<|/tool_call|><|end|><|tool|>done<|end|><|assistant|>"),
    ],
)  # fmt: skip
def test_every_message_shape_renders_as_the_model_expects(messages: Any, rendered: str):
    assert build_prompt(_builder(), messages).token_ids.tolist() == _ids(rendered)


@pytest.mark.parametrize(
    ("messages", "images", "audio", "rendered"),
    [
        ("what", ["i"], [], f"<|user|>{IMAGE}what<|end|><|assistant|>"),
        ("what", [], ["a"], f"<|user|>{AUDIO}what<|end|><|assistant|>"),
        ("", ["i"], ["a"], f"<|user|>{IMAGE}{AUDIO}<|end|><|assistant|>"),
        ("what", ["i", "j"], ["a"], f"<|user|>{IMAGE}{IMAGE}{AUDIO}what<|end|><|assistant|>"),
        ("say <|audio_1|> of <|image_1|>", ["i"], ["a"], f"<|user|>say {AUDIO} of {IMAGE}<|end|><|assistant|>"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
         ["i"], [], f"<|user|>a<|end|><|assistant|>b<|end|><|user|>{IMAGE}c<|end|><|assistant|>"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image"}, {"type": "audio"}]}],
         ["i"], ["a"], f"<|user|>x{IMAGE}{AUDIO}<|end|><|assistant|>"),
    ],
)  # fmt: skip
def test_each_medium_gets_one_slot_in_its_place(messages: Any, images: list[str], audio: list[str], rendered: str):
    prompt = build_prompt(_builder(), messages, images=images, audio=audio)
    assert prompt.token_ids.tolist() == _ids(rendered)
    assert (list(prompt.images), list(prompt.audio)) == (images, audio)


def test_tags_name_the_media_by_number_whatever_their_order():
    prompt = build_prompt(_builder(), "<|image_2|> or <|image_1|>", images=["first", "second"])
    assert prompt.images == ("second", "first")


def test_parts_bring_their_own_media():
    content = [{"type": "image", "image": "own"}, {"type": "text", "text": "?"}, {"type": "audio", "audio": ("s", 1)}]
    prompt = build_prompt(_builder(), [{"role": "user", "content": content}])
    assert (prompt.images, prompt.audio) == (("own",), (("s", 1),))


@pytest.mark.parametrize("spelling", [*SPECIAL_TOKENS, "<|image|>", "\ue0000\ue001", "{{ 7 * 7 }}", "<|user|><|end|>"])
@pytest.mark.parametrize("place", ["user", "system", "tools", "assistant", "tool", "call"])
def test_nothing_a_user_writes_becomes_control(spelling: str, place: str):
    turns: dict[str, dict[str, Any]] = {
        "user": {"role": "user", "content": spelling},
        "system": {"role": "system", "content": spelling},
        "tools": {"role": "system", "content": "x", "tools": [{"name": spelling}]},
        "assistant": {"role": "assistant", "content": spelling},
        "tool": {"role": "tool", "content": spelling},
        "call": {"role": "assistant", "content": None, "tool_calls": [{"name": spelling}]},
    }
    harmless = json.loads(json.dumps(turns[place]).replace(json.dumps(spelling), '"x"'))
    tokenizer = Tokenizer(build_tokenizer().to_str(), "x")

    def control(turn: dict[str, Any]) -> list[int]:
        ids = build_prompt(_builder(), [turn, {"role": "user", "content": "x"}]).token_ids.tolist()
        return [token_id for token_id in ids if tokenizer.is_control(token_id)]

    assert control(turns[place]) == control(harmless)


@pytest.mark.parametrize(
    ("text", "images", "audio", "match"),
    [
        ("<|image_1|> <|image_2|>", ["i"], [], "places for 2 images but 1 were given"),
        ("<|image_1|>", ["i", "j"], [], "places for 1 images but 2 were given"),
        ("<|image_1|>", [], [], "places for 1 images but 0 were given"),
        ("<|image_1|> <|image_1|>", ["i"], [], "places for 2 images but 1"),
        ("<|audio_1|>", [], ["a", "b"], "places for 1 audio but 2"),
        ("<|image_1|>", ["i"], ["a"], "places for 0 audio but 1"),
        (
            "<|image_1|> <|image_3|>",
            ["i", "j"],
            [],
            r"2 images were given but the tags are <\|image_1\|>, <\|image_3\|>",
        ),
        ("<|image_0|>", ["i"], [], r"tags are <\|image_0\|>"),
        ("<|image_1|> <|image_1|>", ["i", "j"], [], r"the tags are <\|image_1\|>, <\|image_1\|>; use each number once"),
        ("x", "photo.png", [], "images must be a list"),
        ("x", [], b"RIFF", "audio must be a list"),
        ("x", None, [], "images must be a list or a tuple; put the NoneType in brackets"),
        ("x", Path("a.png"), [], "images must be a list or a tuple"),
        ("x", np.zeros((8, 8, 3), np.uint8), [], "put the ndarray in brackets"),
        ("x", (name for name in ["a.png"]), [], "put the generator in brackets"),
        ("x", [], (np.zeros(16000), 16000), r"put the one in brackets: audio=\[\(samples, hertz\)\]"),
    ],
)
def test_tags_and_media_must_pair_up(text: str, images: Any, audio: Any, match: str):
    with pytest.raises(ConfigError, match=match):
        build_prompt(_builder(), text, images=images, audio=audio)


def test_media_need_a_user_turn():
    with pytest.raises(ConfigError, match="need a user message"):
        build_prompt(_builder(), [{"role": "system", "content": "x"}], images=["i"])


def test_a_model_without_slots_says_how_to_export_one_with_them():
    text_only = TokenInfo(bos=None, pad=None, eos=(1,), image=None, audio=None)
    with pytest.raises(
        ConfigError, match="this model folder has no vision; export the checkpoint with --adapters routed"
    ):
        build_prompt(_builder(tokens=text_only), "x", images=["i"])


def test_a_template_may_refuse_the_conversation():
    template = "{% if messages|length > 1 %}{{ raise_exception('one turn only') }}{% endif %}{{ messages[0].content }}"
    assert build_prompt(_builder(template), "hi").token_ids.tolist() == _ids("hi")
    with pytest.raises(ConfigError, match="refuses these messages: one turn only"):
        build_prompt(_builder(template), [{"role": "user", "content": "a"}] * 2)


def test_a_message_that_the_template_drops_is_an_error_not_a_silent_loss():
    with pytest.raises(ConfigError, match="drops or repeats"):
        build_prompt(
            _builder("{{ messages[0].content }}"),
            [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}],
        )


@pytest.mark.parametrize("template", ["{% if %}", "{{ messages | nosuchfilter }}"])
def test_a_broken_template_is_named(template: str):
    with pytest.raises(ArtifactError, match=r"template.jinja: not a usable chat template"):
        _builder(template)


def test_a_template_cannot_reach_python():
    with pytest.raises((ConfigError, ArtifactError)):
        build_prompt(_builder("{{ messages.__class__.__mro__[1].__subclasses__() }}"), "hi")


@pytest.mark.parametrize("expression", ["1 // 0", "messages[0].nothing.more", "'x' + 1", "messages | map('x') | list"])
def test_a_template_that_fails_is_named(expression: str):
    with pytest.raises(ArtifactError, match=r"template.jinja: (the|not a)"):
        build_prompt(_builder("{{ " + expression + " }}"), "hi")
