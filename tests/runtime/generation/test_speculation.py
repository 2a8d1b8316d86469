"""Guesses must be what stood there before, and checking them must never make a reply slower than it saves."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from edgephi.generation.speculation import NgramIndex, Speculator
from edgephi.prompt.input_sequence import MediaSpan
from support.random_values import integers

LONGEST = 16
NEW_TEXT = list(range(1000, 6000))  # no token twice, so nothing can be guessed


def _longest_match(ids: list[int]) -> tuple[int, int]:
    """Length of the longest match of the end, and where it ends; the latest of equal ones. Tries everything."""
    best = (0, -1)
    for at in range(1, len(ids) - 1):
        length = 0
        while length <= at and length < LONGEST and ids[at - length] == ids[-1 - length]:
            length += 1
        if length >= 2:
            best = max(best, (length, at))
    return best


def _continued(ids: list[int], at: int, most: int) -> list[int]:
    ids, end = list(ids), len(ids)
    for offset in range(most):
        ids.append(ids[at + 1 + offset])
    return ids[end:]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("prompt", [0, 1, 2, 3, 40, 120])
def test_the_draft_is_what_followed_the_longest_latest_match(seed: int, prompt: int):
    ids = integers(f"index {seed}", 0, 120, 3 + seed)
    index = NgramIndex(np.array(ids[:prompt], np.int64))
    for end in range(prompt, len(ids) + 1):
        length, at = _longest_match(ids[:end])
        assert index.length == length
        assert index.draft(20) == (_continued(ids[:end], at, 20) if length else [])
        assert index.next_token == (ids[at + 1] if length else None)
        if end < len(ids):
            index.append(ids[end])


def test_media_rows_are_neither_matched_nor_drafted():
    """All rows of an image share one id: they would look like the most repetitive text of all."""
    ids = np.array([1, 2, 3, 7, 7, 7, 7, 4, 1, 2])
    index = NgramIndex(ids, [MediaSpan(3, 4, b"")])
    assert index.draft(9) == [3]  # and not the image behind it
    index.append(3)
    assert index.length == 3
    assert (index.draft(9), index.next_token) == ([], None)
    index = NgramIndex(np.array([5, 7, 7, 7, 7]), [MediaSpan(1, 4, b"")])
    assert index.draft(9) == []
    index.append(7)  # the same id, said as a token
    index.append(7)
    assert index.draft(9) == []


def test_nothing_is_drafted_after_the_end_of_a_reply():
    answer = [*range(1, 10), 99, 5, 6, 7, *range(1, 9)]
    assert len(Speculator(np.array(answer), mode=True).draft(15)) > 2
    assert Speculator(np.array(answer), mode=True, ends={99}).draft(15) == [9, 99]


@pytest.mark.parametrize("most", range(20))
def test_no_more_is_drafted_than_may_be(most: int):
    speculator = Speculator(np.array([1, 2, 3] * 20), mode=True)
    assert len(speculator.draft(most)) in {num - 1 for num in (1, 2, 4, 8, 16) if num <= most + 1}


def test_speculation_that_is_off_drafts_nothing():
    speculator = Speculator(np.array([1, 2, 3] * 20), mode=False)
    speculator.accept(1)
    assert speculator.draft(15) == []


class Machine:
    """Makes a given text with given costs, and adds up what it took."""

    def __init__(self, cost: Callable[[int], float], mode: bool | None = None, prompt: Iterable[int] = (1, 2)) -> None:
        self._cost = cost
        self._speculator = Speculator(np.array(list(prompt), np.int64), mode=mode)
        self.seconds = 0.0
        self.passes: list[int] = []

    def make(self, text: list[int]) -> float:
        """Make more text; how many steps of one row each token took."""
        before, at = self.seconds, 0
        while at < len(text):
            self._speculator.accept(text[at])
            at += 1
            drafts = self._speculator.draft(15)
            self.passes.append(len(drafts) + 1)
            seconds = self._cost(len(drafts) + 1)
            self._speculator.note_pass(len(drafts), seconds)
            self.seconds += seconds
            for draft in drafts:
                if at == len(text) or draft != text[at]:
                    break
                self._speculator.accept(text[at], was_draft=True)
                at += 1
        return (self.seconds - before) / len(text) / self._cost(1)

    @property
    def record(self) -> tuple[int, int, int]:
        made = self._speculator.record
        return made.passes, made.drafted, made.accepted


def real(rows: int) -> float:
    """Milliseconds measured for the real model on two cores."""
    return float(np.interp(rows, [1, 2, 4, 8, 16], [56, 69, 105, 173, 310]))


def one_by_one(rows: int) -> float:
    """A machine on which a pass costs as much as its rows alone."""
    return 56.0 * rows


def flat(rows: int) -> float:
    """A machine that waits for memory only."""
    return 56.0 + rows


REPEATED = integers("a sentence", 0, 40, 900) * 25
WORDS = [integers(f"word {i}", 0, 3, 900) for i in range(40)]
PHRASES = [integers(f"phrase {i}", 0, 12, 900) for i in range(10)]


def _mixed(pieces: list[list[int]], num: int) -> list[int]:
    """Words in any order: two tokens of a word say the others, and then nothing says the next word."""
    return [token_id for which in integers("mixed", 0, num, len(pieces)) for token_id in pieces[which]]


def test_repeated_text_is_made_in_wide_passes():
    assert Machine(real).make(REPEATED) < 0.45
    assert Machine(flat).make(REPEATED) < 0.15


def test_wider_passes_are_made_where_they_cost_less():
    text = _mixed(PHRASES, 150)
    narrow, wide = Machine(real), Machine(flat)
    assert narrow.make(text) < 0.75
    assert wide.make(text) < 0.4
    assert np.mean(narrow.passes) < np.mean(wide.passes)


def test_speculation_turns_itself_off_where_rows_cost_as_much_as_steps():
    machine = Machine(one_by_one)
    assert machine.make(REPEATED) < 1.02
    assert np.count_nonzero(np.array(machine.passes) > 1) < 0.03 * len(machine.passes)


def test_text_without_repetition_costs_nothing():
    machine = Machine(real)
    assert machine.make(NEW_TEXT) == 1
    assert machine.record == (0, 0, 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("letters", [2, 3, 5, 20])
def test_text_that_only_looks_repetitive_costs_next_to_nothing(seed: int, letters: int):
    """In random text over few tokens everything was there before, and nothing follows from it."""
    text = integers(f"noise {letters} {seed}", 0, 1500, letters)
    assert Machine(real).make(text) < 1.03


@pytest.mark.parametrize("cost", [real, flat])
def test_a_pass_is_no_wider_than_what_follows_is_known(cost: Callable[[int], float]):
    """A word's last token follows from its first two, so one guess in three saves a pass and wide ones waste rows."""
    assert Machine(cost).make(_mixed(WORDS, 700)) < 0.93


def test_speculation_comes_back_when_the_text_becomes_repetitive():
    machine = Machine(real)
    machine.make(integers("noise before", 0, 1500, 3))
    assert machine.make(REPEATED) < 0.45
    machine.make(integers("noise between", 0, 1500, 3))
    assert machine.make(REPEATED[::-1]) < 0.5


def test_a_prompt_that_is_copied_is_copied_in_wide_passes_from_the_start():
    """The usual gain: the answer quotes the document."""
    document = NEW_TEXT[:300]
    machine = Machine(real, prompt=document)
    assert machine.make(document[50:250]) < 0.5


def test_one_slow_pass_does_not_turn_speculation_off():
    """Something else ran on the machine for a moment."""
    machine = Machine(real)
    machine._cost = lambda rows: real(rows) * (8 if len(machine.passes) == 55 else 1)
    machine.make(REPEATED)
    assert machine.passes[54] > 1
    assert set(machine.passes[55:62]) == {machine.passes[54]}


def test_the_first_pass_of_a_width_is_no_measure_of_it():
    """It makes the bindings of its shape."""
    machine = Machine(real)
    machine._cost = lambda rows: real(rows) * (20 if machine.passes.count(rows) == 1 else 1)
    machine.make(REPEATED)
    assert min(machine.passes[45:60]) > 1


def test_a_text_that_is_drafted_from_its_first_token_is_measured_too():
    machine = Machine(one_by_one, prompt=NEW_TEXT)
    assert machine.make(NEW_TEXT[100:1100]) < 1.05
    assert np.count_nonzero(np.array(machine.passes) > 1) < 0.03 * len(machine.passes)


def test_a_machine_that_became_faster_is_noticed():
    machine = Machine(one_by_one)
    machine.make(REPEATED)
    machine._cost = real
    machine.make(REPEATED)
    assert machine.make(REPEATED) < 0.5


def test_asked_to_draft_always_it_does_the_same_whatever_it_costs():
    machine, other = Machine(one_by_one, mode=True), Machine(flat, mode=True)
    machine.make(REPEATED)
    other.make(REPEATED)
    assert min(machine.passes[45:-1]) > 1
    assert machine.passes == other.passes


def test_the_record_counts_what_was_draft():
    machine = Machine(real)
    machine.make(REPEATED)
    passes, drafted, accepted = machine.record
    assert passes == sum(rows > 1 for rows in machine.passes)
    assert drafted == sum(rows - 1 for rows in machine.passes)
    assert len(machine.passes) + accepted == len(REPEATED)
