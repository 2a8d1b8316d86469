"""A reply must end exactly before its stop string, however the tokens cut the text."""

from __future__ import annotations

import itertools
import random

import pytest

from edgephi.generation.stop_strings import StopStrings


def _expected(text: str, stops: list[str]) -> str:
    """Character by character: the first stop that is complete ends the text, the longest if there are several."""
    for end in range(1, len(text) + 1):
        done = [stop for stop in stops if text[:end].endswith(stop)]
        if done:
            return text[: end - max(map(len, done))]
    return text


def _pieces(pieces: list[str], stops: list[str]) -> list[str]:
    search = StopStrings(stops)
    shown = [search.feed(piece)[0] for piece in pieces]
    return [*shown, search.flush()]


@pytest.mark.parametrize("stops", [["END"], ["abcd", "bc"], ["aab", "ab", "b"], ["abab"], ["a"], ["\n\n", "\n#"], []])
def test_however_the_text_is_cut_it_ends_at_the_same_place(stops: list[str]):
    rng = random.Random(0)
    letters = sorted({*"xabcd\n#END"})
    for _ in range(300):
        text = "".join(rng.choices(letters, k=rng.randrange(12)))
        cuts = sorted(rng.sample(range(len(text) + 1), min(3, len(text))))
        pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
        expected = _expected(text, stops)
        assert "".join(_pieces(pieces, stops)) == "".join(_pieces(list(text), stops)) == expected
        assert not any(stop in expected for stop in stops)


def test_what_may_become_a_stop_string_is_held_back_and_nothing_else():
    search = StopStrings(["<END>"])
    assert search.feed("one <E") == ("one ", False)
    assert search.feed("ND") == ("", False)
    assert search.feed("! two<") == ("<END! two", False)
    assert search.feed("END> three") == ("", True)


def test_after_the_end_nothing_is_shown():
    search = StopStrings(["."])
    assert search.feed("a. b") == ("a", True)
    assert search.feed("c") == ("", True)
    assert search.flush() == ""


def test_a_reply_that_ends_with_half_a_stop_string_keeps_it():
    search = StopStrings(["END"])
    assert search.feed("the EN") == ("the ", False)
    assert search.flush() == "EN"
    assert search.flush() == ""
