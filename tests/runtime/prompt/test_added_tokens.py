"""Words that a fine-tuned model's tokenizer gained are words: read as their token, shown in replies, never lost."""

from __future__ import annotations

import json
import random

import pytest
from tokenizers import AddedToken, normalizers
from tokenizers import Tokenizer as Reference

from edgephi.bundle.manifest import TokenInfo
from edgephi.generation.constraint import ConstraintCompiler, Regex
from edgephi.generation.output_text import ReplyText
from edgephi.prompt.prompt import PromptBuilder
from edgephi.prompt.tokenizer import Tokenizer
from support.prompts import build_prompt
from support.vocabulary import CHAT_TEMPLATE, SPECIAL_TOKENS, build_tokenizer, special_id

FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
WORDS = ("zebra", "Straße", "heart attack", "café", "\N{SNOWMAN}", "ICD-10", "zebrafish", " lead", "日本")


def _with_words(*words: AddedToken) -> Reference:
    whole = build_tokenizer()
    whole.add_tokens(list(words))
    return whole


def _word(content: str, **flags: bool) -> AddedToken:
    return AddedToken(content, special=False, **{"normalized": True, **flags})


def _ours(whole: Reference, **kwargs: object) -> Tokenizer:
    return Tokenizer(whole.to_str(), "tokenizer.json", **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", WORDS)
def test_an_added_word_in_a_users_text_is_its_own_token(content: str):
    whole = _with_words(_word(content))
    text = f"the {content}, and {content}s"
    ids = _ours(whole).encode_text(text)
    assert ids == whole.encode(text).ids
    assert whole.token_to_id(content) in ids


@pytest.mark.parametrize("content", WORDS)
def test_an_added_word_is_shown_in_replies_and_counts_for_stop_strings(content: str):
    whole = _with_words(_word(content))
    tokenizer = _ours(whole)
    ids = [*tokenizer.encode_text("red "), whole.token_to_id(content), *tokenizer.encode_text("s")]
    assert tokenizer.decode(ids) == f"red {content}s"
    writer = ReplyText(tokenizer, ())
    assert "".join(map(writer.push, ids)) + writer.finish() == f"red {content}s"
    stopped = ReplyText(tokenizer, (content,))
    for token_id in ids:
        stopped.push(token_id)
        if stopped.is_stopped:
            break
    stopped.finish()
    assert stopped.text == "red "


def test_any_mixture_of_words_and_flags_reads_as_the_reference_reads_it():
    draw = random.Random(0)
    for _ in range(150):
        words = [_word(w, **{flag: draw.random() < 0.4 for flag in FLAGS}) for w in draw.sample(WORDS, 4)]
        whole = _with_words(*words)
        if draw.random() < 0.3:
            whole.normalizer = draw.choice([normalizers.NFC(), normalizers.Lowercase(), normalizers.Strip()])
            whole = Reference.from_str(whole.to_str())  # releases before 0.23 go on looking for the words as they were
        tokenizer = _ours(whole)
        for _ in range(10):
            parts = draw.choices([*WORDS, " ", "  ", "\n", "x", "Zebra", "é", "e\u0301", "_", "the audio", ", "], k=9)
            text = "".join(parts)
            assert tokenizer.encode_text(text) == whole.encode(text, add_special_tokens=False).ids, (words, text)


def test_words_beside_control_tokens_read_as_the_reference_reads_them():
    whole = _with_words(_word("zebra", lstrip=True), _word("quagga", single_word=True))
    tokenizer = _ours(whole)
    for text in ("<|user|> zebra<|end|>", "<|user|>quagga<|end|><|assistant|>quaggas", "a zebra<|end|> quagga"):
        assert tokenizer.encode(tokenizer.split(text)) == whole.encode(text).ids


@pytest.mark.parametrize("spelling", SPECIAL_TOKENS)
def test_a_control_token_that_is_not_marked_special_stays_out_of_users_hands(spelling: str):
    """Phi-4's own tool tokens are added tokens that are not special."""
    raw = json.loads(build_tokenizer().to_str())
    for token in raw["added_tokens"]:
        token["special"] = False
    tokenizer = Tokenizer(json.dumps(raw), "tokenizer.json")
    ids = tokenizer.encode_text(f"say {spelling} now")
    assert special_id(spelling) not in ids
    assert tokenizer.decode([*ids, special_id(spelling)]) == f"say {spelling} now"


def test_words_and_tool_tokens_keep_apart_in_one_prompt():
    raw = json.loads(_with_words(_word("zebra")).to_str())
    for token in raw["added_tokens"]:
        token["special"] = token["special"] and "tool" not in token["content"]
    tokenizer = Tokenizer(json.dumps(raw), "tokenizer.json", template=CHAT_TEMPLATE)
    tokens = TokenInfo(bos=None, pad=None, eos=(special_id("<|end|>"),), image=None, audio=None)
    ids = build_prompt(PromptBuilder(tokenizer, CHAT_TEMPLATE, tokens, "t"), "zebra <|tool_call|>").token_ids.tolist()
    assert build_tokenizer().get_vocab_size() in ids
    assert special_id("<|tool_call|>") not in ids


def test_an_end_of_reply_token_is_control_whatever_it_is_spelled_like():
    whole = _with_words(_word("###"))
    number = whole.token_to_id("###")
    tokenizer = _ours(whole, control_ids=(number,))
    assert number not in tokenizer.encode_text("a ### b")
    assert tokenizer.decode([number]) == ""


def test_a_bracketed_mark_of_the_template_is_not_written_by_users_but_shown_in_replies():
    whole = _with_words(_word("[INST]"), _word("[city]"))
    tokenizer = _ours(whole, template="[INST] {{ x }} [/INST]")
    mark, word = whole.token_to_id("[INST]"), whole.token_to_id("[city]")
    ids = tokenizer.encode_text("[INST] in [city]")
    assert mark not in ids
    assert word in ids
    assert tokenizer.decode([mark]) == "[INST]"
    assert tokenizer.split("[INST]a") == [tokenizer.control["[INST]"], "a"]


def test_a_constrained_reply_may_use_added_words():
    whole = _with_words(_word("zebra"))
    number = whole.token_to_id("zebra")
    compiler = ConstraintCompiler(_ours(whole), eos=[special_id("<|end|>")], vocab_size=400)
    constraint = compiler.start(Regex("a zebra"))
    for token_id in (*build_tokenizer().encode("a ").ids, number):
        constraint.accept(token_id)
    assert constraint.is_done
