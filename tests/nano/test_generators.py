"""Accuracy means nothing if a test item was trained on, or if the items change from run to run."""

from __future__ import annotations

import random

import numpy as np
import pytest

from edgephi_nano.scoring import word_error_rate, word_errors
from edgephi_nano.sentences import any_command, any_number, any_statement, is_held_out, number_words, on_side
from edgephi_nano.speech_data import KNOWN_VOICES, UNSEEN_VOICES
from edgephi_nano.tokenizer import SPECIAL_TOKENS, VOCAB_SIZE, build_tokenizer, special_id
from edgephi_nano.vocabulary import WORDS


@pytest.mark.parametrize("draw", [any_command, any_number, any_statement])
def test_training_never_draws_a_test_sentence(draw):
    rng = random.Random(5)
    trained = {str(getattr(t, "text", t)) for t in (on_side(draw, rng, held_out=False) for _ in range(400))}
    tested = {str(getattr(t, "text", t)) for t in (on_side(draw, rng, held_out=True) for _ in range(100))}
    assert not trained & tested
    assert all(map(is_held_out, tested))


def test_no_test_voice_is_a_training_voice():
    assert not set(KNOWN_VOICES) & set(UNSEEN_VOICES)


def test_every_sentence_uses_the_vocabulary_only():
    rng = random.Random(6)
    for draw in (any_command, any_number, any_statement):
        for _ in range(200):
            drawn = draw(rng)
            assert set(str(getattr(drawn, "text", drawn)).split()) <= set(WORDS)


def test_numbers_are_spelled_as_people_say_them():
    assert [number_words(n) for n in (0, 13, 20, 47, 100, 305, 999)] == [
        "zero", "thirteen", "twenty", "forty seven", "one hundred", "three hundred five", "nine hundred ninety nine",
    ]  # fmt: skip


def test_word_errors_against_a_brute_force_search():
    """Every alignment of short texts, by recursion."""

    def slow(a: tuple[str, ...], b: tuple[str, ...]) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))

    rng = np.random.default_rng(3)
    for _ in range(60):
        a, b = (tuple("abc"[i] for i in rng.integers(0, 3, rng.integers(0, 6))) for _ in range(2))
        assert word_errors(a, b) == slow(a, b)
    assert word_error_rate(["a b", "c d"], ["a b", "c"]) == 0.25


def test_each_word_is_one_token_and_capitals_and_digits_stand_alone():
    tokenizer = build_tokenizer()
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    for word in WORDS:
        assert len(tokenizer.encode(word).ids) == len(tokenizer.encode(" " + word).ids) == 1
    assert len(tokenizer.encode("EXIT347").ids) == 7
    assert [tokenizer.encode(token).ids for token in SPECIAL_TOKENS] == [[special_id(t)] for t in SPECIAL_TOKENS]


@pytest.mark.parametrize("text", ["Grüße, 世界! 🙂", "a\tb\n  c", '{"x": [1, 2]}'])
def test_any_text_survives_the_tokenizer(text: str):
    tokenizer = build_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
