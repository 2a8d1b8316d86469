"""Streamed text must be whole characters, without control tokens, and be the text of all ids."""

from __future__ import annotations

import random

import pytest

from edgephi.generation.detokenizer import TextStream
from edgephi.prompt.tokenizer import Tokenizer
from support.vocabulary import build_tokenizer, special_id

TEXTS = [
    "Hello there",
    "  spaces  ",
    "naïve café ‖ 你好 🙂🏳️‍🌈",
    "Transcribe the audio clip",
    "🏳️‍🌈" * 3,
    "漢字かな交じり文",
    "a\ufffdb",
    "",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(build_tokenizer().to_str(), "tokenizer.json")


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_whole_characters_and_join_to_the_text(tokenizer: Tokenizer, text: str):
    stream, pieces = TextStream(tokenizer), []
    for token_id in tokenizer.encode_text(text):
        pieces.append(stream.feed(token_id))
        assert "\ufffd" in text or "\ufffd" not in pieces[-1]
    assert "".join([*pieces, stream.flush()]) == text


def test_any_ids_give_what_the_tokenizers_library_decodes(tokenizer: Tokenizer):
    """Bytes that are no UTF-8, unused ids and words outside the byte alphabet included."""
    rng = random.Random(0)
    for _ in range(500):
        ids = rng.choices([*range(300), *range(355, 400)], k=rng.randrange(1, 9))
        stream = TextStream(tokenizer)
        pieces = [stream.feed(token_id) for token_id in ids]
        assert "".join([*pieces, stream.flush()]) == tokenizer.decode(ids)


def test_a_character_cut_by_the_end_shows_as_one_replacement(tokenizer: Tokenizer):
    stream = TextStream(tokenizer)
    first, second, *_ = tokenizer.encode_text("🙂")
    assert stream.feed(first) == stream.feed(second) == ""
    assert stream.flush() == "\ufffd" == tokenizer.decode([first, second])
    assert stream.flush() == ""


def test_a_character_of_the_models_own_is_not_held_back(tokenizer: Tokenizer):
    """A replacement character that the model wrote on purpose is as complete as any other."""
    stream = TextStream(tokenizer)
    assert "".join(map(stream.feed, tokenizer.encode_text("\ufffd"))) == "\ufffd"


def test_invalid_bytes_do_not_hold_back_what_follows(tokenizer: Tokenizer):
    stream = TextStream(tokenizer)
    broken = tokenizer.encode_text("é")[0]
    ids = [broken, *tokenizer.encode_text("ok")]
    assert "".join(map(stream.feed, ids)) == tokenizer.decode(ids) == "\ufffdok"


def test_control_tokens_are_never_shown(tokenizer: Tokenizer):
    stream = TextStream(tokenizer)
    first, *rest = tokenizer.encode_text("é")
    shown = [stream.feed(first), stream.feed(special_id("<|tool_call|>")), *map(stream.feed, rest)]
    assert "".join(shown) == "é"
