"""onnxruntime-genai must load the exported folder unchanged and answer token by token as edgephi does.

Greedy on both sides, through each side's own tokenizer, chat template and cache.
"""

from __future__ import annotations

import json
import random
from types import ModuleType
from typing import Any

import pytest

from edgephi import SamplingOptions
from genai.conftest import Pair

pytestmark = pytest.mark.genai

MOST_TOKENS = 32
CONVERSATIONS = (
    [{"role": "user", "content": "hello"}],
    [{"role": "user", "content": "Tell me a story, it's about 12345 lamps!\n\nAnd  naïve 日本 people."}],
    [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "turn ON the kitchen light"}],
    [
        {"role": "user", "content": "turn on the kitchen light"},
        {"role": "assistant", "content": "kitchen light on"},
        {"role": "user", "content": "write the word cat backwards"},
    ],
)
#: LongRoPE's boundary, in nano as in the public models.
BOUNDARY = 4096
WORDS = ("turn", "on", "off", "the", "kitchen", "light", "lamp", "what", "is", "red", "blue", "circle", "write", "cat")
#: Of a few seeds, one whose words are answered with enough tokens to cross the boundary.
SEED = 5


def _generator(og: ModuleType, model: Any, **options: int) -> Any:
    params = og.GeneratorParams(model)
    params.set_search_options(do_sample=False, **options)
    return og.Generator(model, params)


def _answer(generator: Any, most: int = MOST_TOKENS) -> list[int]:
    """The closing token included."""
    tokens: list[int] = []
    while not generator.is_done() and len(tokens) < most:
        generator.generate_next_token()
        tokens.append(int(generator.get_next_tokens()[0]))
    return tokens


def _prompt(tokenizer: Any, length: int) -> tuple[str, list[int]]:
    """A user's text, and the prompt around it, which has `length` tokens."""
    chooser, text = random.Random(SEED), ""
    while True:
        longer = f"{text} {chooser.choice(WORDS)}"
        ids = tokenizer.encode(f"<|user|>{longer}<|end|><|assistant|>")
        if len(ids) > length:
            break
        text, missing = longer, length - len(ids)
    text += "." * missing  # a token each
    return text, [int(token) for token in tokenizer.encode(f"<|user|>{text}<|end|><|assistant|>")]


@pytest.mark.parametrize("messages", CONVERSATIONS, ids=["short", "signs", "system", "turns"])
def test_a_conversation_is_answered_with_the_same_tokens(og: ModuleType, pair: Pair, messages: list[dict[str, str]]):
    tokenizer = og.Tokenizer(pair.genai)
    text = tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True)
    generator = _generator(og, pair.genai)
    generator.append_tokens(tokenizer.encode(text))
    answer = _answer(generator)
    reply = pair.edgephi.generate(messages, options=SamplingOptions(max_new_tokens=MOST_TOKENS))
    assert answer == list(reply.token_ids)
    eos = pair.edgephi.manifest.tokens.eos
    visible = [token for token in answer if token not in eos]
    assert (tokenizer.decode(visible) if visible else "") == reply.text  # 0.14 to 0.16 end on an empty list


def test_a_conversation_can_go_on_in_the_same_generator(og: ModuleType, pair: Pair):
    """The second turn is appended to the cache instead of being read with the first again."""
    tokenizer = og.Tokenizer(pair.genai)
    first, second = "<|user|>hello<|end|><|assistant|>", "<|user|>turn on the kitchen light<|end|><|assistant|>"
    generator = _generator(og, pair.genai)
    generator.append_tokens(tokenizer.encode(first))
    reply = pair.edgephi.generate("hello", options=SamplingOptions(max_new_tokens=MOST_TOKENS))
    assert _answer(generator) == list(reply.token_ids)
    generator.append_tokens(tokenizer.encode("<|end|>" + second))
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": reply.text},
        {"role": "user", "content": "turn on the kitchen light"},
    ]
    again = pair.edgephi.generate(messages, options=SamplingOptions(max_new_tokens=MOST_TOKENS))
    assert _answer(generator) == list(again.token_ids)


def test_a_batch_of_unequal_prompts_gets_the_answers_of_each(og: ModuleType, pair: Pair):
    tokenizer = og.Tokenizer(pair.genai)
    asked = ["hello", "turn on the kitchen light"]
    prompts = tokenizer.encode_batch([f"<|user|>{text}<|end|><|assistant|>" for text in asked])
    generator = _generator(og, pair.genai, batch_size=2)
    generator.append_tokens(prompts.as_numpy())
    generator.generate_next_token()
    for text, token in zip(asked, generator.get_next_tokens(), strict=True):
        assert token == pair.edgephi.generate(text, options=SamplingOptions(max_new_tokens=1)).token_ids[0]


@pytest.mark.parametrize("length", [BOUNDARY - 6, BOUNDARY, BOUNDARY + 1, BOUNDARY + 50])
@pytest.mark.parametrize("pair", ["fp32"], indirect=True)
def test_beyond_the_boundary_all_is_read_again_with_the_long_factors(og: ModuleType, pair: Pair, length: int):
    """float32: a text without sense has near ties, which the last bits decide once activations are rounded."""
    text, prompt = _prompt(og.Tokenizer(pair.genai), length)
    assert len(prompt) == length
    reply = pair.edgephi.generate(text, options=SamplingOptions(max_new_tokens=16))
    assert length != BOUNDARY - 6 or len(reply.token_ids) > 8  # otherwise nothing would cross
    generator = _generator(og, pair.genai, max_length=length + MOST_TOKENS)
    generator.append_tokens(prompt)
    assert _answer(generator, most=16) == list(reply.token_ids)


@pytest.mark.parametrize("pair", ["fp32"], indirect=True)
def test_an_appended_text_that_crosses_the_boundary_is_refused(og: ModuleType, pair: Pair):
    """The library would read it with the long factors and leave the keys before it as they are."""
    _, prompt = _prompt(og.Tokenizer(pair.genai), BOUNDARY + 50)
    generator = _generator(og, pair.genai, max_length=BOUNDARY + 100)
    generator.append_tokens(prompt[:4000])
    with pytest.raises(Exception, match="grew beyond 4096 tokens: append all of it at once to a new generator"):
        generator.append_tokens(prompt[4000:])


@pytest.mark.parametrize("pair", ["fp32"], indirect=True)
def test_memory_is_taken_for_4096_positions_unless_asked_for_more(og: ModuleType, pair: Pair):
    _, prompt = _prompt(og.Tokenizer(pair.genai), BOUNDARY + 1)
    with pytest.raises(Exception, match=r"exceeds max length \(4096\)"):
        _generator(og, pair.genai).append_tokens(prompt)
