"""Settled words are never taken back, and are no more than two readings in a row agree on."""

from __future__ import annotations

import random

import pytest

from edgephi.transcription.live.settling import SettledText


def _observed(*readings: str) -> tuple[str, str, list[str]]:
    text = SettledText()
    added = [text.observe(reading) for reading in readings]
    return text.settled, text.tail, added


@pytest.mark.parametrize(
    ("readings", "settled", "tail"),
    [
        ((), "", ""),
        (("the small",), "", "the small"),
        (("the small", "the small cat"), "the small", " cat"),
        (("the smell", "the small cat"), "the", " small cat"),
        (("the small cat", "the small"), "the small", ""),
        (("a", "the small cat"), "", "the small cat"),
        # A reading that contradicts what is settled settles nothing, and shows no tail that would not fit behind it.
        (("the small", "the small cat", "a small cat"), "the small", ""),
        (("the small", "the small", "a small cat", "a small cat likes"), "the small", ""),
        (("the small", "the small", "a small", "the small cat", "the small cat"), "the small cat", ""),
        # Scripts without spaces settle character by character.
        (("今天天", "今天天气好"), "今天天", "气好"),
        (("one\n two", "one two  three"), "one two", " three"),
    ],
)
def test_what_two_readings_in_a_row_agree_on_is_settled(readings: tuple[str, ...], settled: str, tail: str):
    assert _observed(*readings)[:2] == (settled, tail)


def test_what_was_added_is_the_settled_text_whatever_is_read():
    """10,000 readings over few words, so that they agree and contradict often."""
    rng = random.Random(3)
    for _ in range(500):
        text, whole, last = SettledText(), "", ""
        for _ in range(20):
            reading = " ".join(rng.choice(["a", "b", "今天"]) for _ in range(rng.randrange(6)))
            whole += text.observe(reading)
            assert text.settled == whole
            assert whole.startswith(last)
            if text.tail:
                assert reading == text.settled + text.tail
            last = whole


def test_words_settle_only_where_both_readings_have_them():
    _, _, added = _observed("a b", "a b c", "a b c d", "a b c d")
    assert added == ["", "a b", " c", " d"]
