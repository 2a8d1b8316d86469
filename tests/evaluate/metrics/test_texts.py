"""Marks of short replies keep the quirks of the public harnesses, on which published figures rest."""

from __future__ import annotations

import pytest

from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.item import Item, Turn
from edgephi_evaluate.metrics.texts import ANLS, CHOICE, CONTAINS, EXACT, LETTER, OCRBENCH, RELAXED, anls, relaxed
from edgephi_evaluate.metrics.vqa import vqa_accuracy, vqa_text


def _mark(metric, text: str, *answers: str, part: str = "", marked: str | None = None) -> float:
    item = Item(id="1", turns=(Turn(role="user", text="?"),), answers=answers, group="1", part=part)
    reply = Answer(text=text, marked_text=text if marked is None else marked, seconds=Seconds(total=1.0))
    mark, count = metric.score(item, reply).counts
    assert count == 1
    return mark


def test_anls_ignores_case_and_spaces_but_divides_by_the_length_as_given():
    assert _mark(ANLS, "a b", "A  B") == 1
    assert anls("abcd", ("abcx",)) == 0.75
    assert anls("abcd", ("abc   x",)) == pytest.approx(1 - 2 / 7)  # 7 characters as given, 5 as compared
    assert anls("abcd", ("wxyd",)) == 0  # below a half counts nothing
    assert anls("cup", ("a mug", "cup")) == 1
    assert anls("", ("",)) == 1


def test_relaxed_accuracy_compares_numbers_within_five_percent():
    assert relaxed("5%", "0.05")
    assert relaxed("104", "100")
    assert not relaxed("106", "100")
    assert relaxed("0", "0")
    assert not relaxed("0.0", "0")  # compared as a text
    assert relaxed("Yes", "yes")
    assert not relaxed("yes", "3")
    assert _mark(RELAXED, " 14 ", "14.1") == 1


def test_ocrbench_keeps_case_only_in_formulas():
    assert _mark(OCRBENCH, "It says\nEXIT here", "exit") == 1
    formula = "Handwritten Mathematical Expression Recognition"
    assert _mark(OCRBENCH, r"\frac { a } { B }", r"\frac{a}{B}", part=formula) == 1
    assert _mark(OCRBENCH, r"\frac{a}{b}", r"\frac{a}{B}", part=formula) == 0


def test_options_are_read_from_a_letter_with_a_full_stop_or_the_whole_reply():
    assert _mark(CHOICE, "B. because", "B") == 1
    assert _mark(CHOICE, "b", "B") == 1
    assert _mark(CHOICE, "B because", "B") == 0
    assert _mark(LETTER, "The answer is C", "C") == 1
    assert _mark(LETTER, "Cat", "C") == 0


def test_exact_answers_are_compared_with_control_tokens():
    assert _mark(EXACT, "[]", "<|tool_call|>[]", marked="<|tool_call|>[]") == 1
    assert _mark(EXACT, "[]", "[]", marked="<|tool_call|>[]") == 0
    assert _mark(CONTAINS, "a red cup", "RED") == 1


def test_vqa_accuracy_leaves_each_person_out_in_turn():
    people = ("Two cats",) * 2 + ("3",) * 8
    assert vqa_text("The two, cats.") == "2 cats"
    assert vqa_text("dont stop") == "don't stop"
    assert vqa_text("1,000") == "1000"
    assert vqa_accuracy("two cats", people) == pytest.approx((2 * 1 / 3 + 8 * 2 / 3) / 10)
    assert vqa_accuracy("3", people) == 1
    assert vqa_accuracy("dog", people) == 0
