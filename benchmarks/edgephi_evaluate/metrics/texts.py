"""Marks of short replies: equal, contained, ANLS, relaxed numbers, OCRBench."""

from __future__ import annotations

import re

from edgephi_evaluate.answer import Answer
from edgephi_evaluate.extras import need
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.share import Share

_LEAST_ANLS = 0.5
_RELAXED = 0.05
_FORMULA_KINDS = ("Handwritten Mathematical Expression Recognition", "HME100k")


def _exact(item: Item, answer: Answer) -> float:
    return float(answer.marked_text in item.answers)


def _contains(item: Item, answer: Answer) -> float:
    text = answer.text.lower()
    return float(any(wanted.lower() in text for wanted in item.answers))


def anls(reply: str, answers: tuple[str, ...]) -> float:
    """Average normalized Levenshtein similarity of one reply, 0 below a half.

    Texts are compared in lower case with single spaces, but the distance is divided by the length of the longer text as
    it was given, as the public harnesses do.
    """
    distance = need("rapidfuzz.distance", "for ANLS").Levenshtein.distance
    least = min(
        distance(_spaced(wanted), _spaced(reply)) / (max(len(wanted), len(reply)) or 1) for wanted in answers or ("",)
    )
    return float(1 - least) if 1 - least >= _LEAST_ANLS else 0.0


def _spaced(text: str) -> str:
    return " ".join(text.strip().lower().split())


def relaxed(reply: str, wanted: str) -> bool:
    """Whether a number is within 5 % of the right one; other texts must be equal but for case.

    A trailing % divides by 100; a right answer of 0 is compared as a text, as the public harnesses do.
    """
    given_number, right_number = _number(reply), _number(wanted)
    if given_number is not None and right_number:
        return abs(given_number - right_number) / abs(right_number) <= _RELAXED
    return reply.lower() == wanted.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _ocrbench(item: Item, answer: Answer) -> float:
    if item.part in _FORMULA_KINDS:
        text = re.sub(r"\s", "", answer.text)
        return float(any(re.sub(r"\s", "", wanted) in text for wanted in item.answers))
    text = answer.text.lower().strip().replace("\n", " ")
    return float(any(wanted.lower().strip().replace("\n", " ") in text for wanted in item.answers))


def _choice(item: Item, answer: Answer) -> float:
    """The first letter with a full stop, or the whole reply, but for case and punctuation."""
    found = re.match(r"\s*([A-Z])\.", answer.text)
    return float(_bare(found[1] if found else answer.text) == _bare(item.answers[0]))


def _bare(text: str) -> str:
    return re.sub(r"[^\w\s]", "", text).strip().lower()


def _letter(item: Item, answer: Answer) -> float:
    """The first of A to D that stands alone."""
    found = re.search(r"\b([A-D])\b", answer.text)
    return float(found is not None and found[1] == item.answers[0])


#: Right to the letter, control tokens included.
EXACT = Share("exact", "exact answers, %", _exact)
#: A right answer is part of the reply, whatever the case.
CONTAINS = Share("contains", "answers contained, %", _contains)
ANLS = Share("anls", "ANLS, %", lambda item, answer: anls(answer.text, item.answers))
RELAXED = Share(
    "relaxed",
    "relaxed accuracy, %",
    lambda item, answer: float(any(relaxed(answer.text.strip(), wanted.strip()) for wanted in item.answers)),
)
OCRBENCH = Share("ocrbench", "OCRBench, a tenth of the score", _ocrbench)
CHOICE = Share("choice", "right options, %", _choice)
LETTER = Share("letter", "right letters, %", _letter)
