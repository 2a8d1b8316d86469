"""English is compared as the leaderboard's rules say: those of 2025, and what changed in 2026."""

from __future__ import annotations

import pytest

from edgephi_evaluate.normalize.english import english_2025, english_2026


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I, uh, er, said so.", "i said so"),  # fillers
        ("Anna's dog", "annas dog"),  # a possessive is no verb
        ("it's late", "it is late"),  # after a pronoun it is one
        ("the U.S. economy", "the us economy"),
        ("the C. E. O. said", "the ceo said"),
        ("B B C news", "bbc news"),
        ("Well... maybe", "well maybe"),
        ("the colour of 21 apples", "the color of twenty one apples"),
    ],
)
def test_two_ways_to_write_the_same_are_equal_since_2026(one: str, other: str):
    assert english_2026(one) == english_2026(other)


def test_words_of_one_letter_stay_apart():
    assert english_2026("give a i mean b") == "give a i mean b"
    assert english_2026("a b test") == "a b test"


def test_until_2025_a_possessive_was_a_verb():
    assert english_2025("Anna's dog") == "anna is dog"
    assert english_2025("I, er, said") == "i er said"
