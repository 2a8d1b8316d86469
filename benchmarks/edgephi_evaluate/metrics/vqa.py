"""VQA accuracy: how many of ten people gave the reply, after the benchmark's own clean-up of texts."""

from __future__ import annotations

import re

from edgephi_evaluate.answer import Answer
from edgephi_evaluate.item import Item
from edgephi_evaluate.metrics.share import Share

_ENOUGH = 3
_ARTICLES = ("a", "an", "the")
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)} | {"none": "0"}
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_NEGATED = (
    *("are", "could", "did", "does", "do", "had", "has", "have", "is", "might", "must", "need", "ought", "should"),
    *("was", "were", "would"),
)
#: A contraction without its apostrophe, as people type it, by the one that it stands for; words such as "well" stay.
_CONTRACTIONS = {
    word.replace("'", ""): word
    for word in (
        *(f"{verb}n't" for verb in _NEGATED),
        *("ain't", "can't", "shan't", "won't", "let's", "ma'am", "o'clock", "y'all", "i'm", "i've", "it'd", "it'll"),
        *(f"{who}'{end}" for who in ("they", "you") for end in ("d", "ll", "re", "ve")),
        *(f"{what}'{end}" for what in ("that", "there", "where", "who", "what", "how", "when") for end in ("d", "s")),
        *(f"{verb}'ve" for verb in ("could", "might", "must", "should", "would", "we", "what", "where", "who")),
    )
}


def vqa_text(text: str) -> str:
    """A reply as the benchmark compares it: marks, articles, numbers and contractions in one form."""
    text = text.replace("\n", " ").replace("\t", " ").strip()
    has_number = re.search(r"(\d)(,)(\d)", text) is not None
    plain = text
    for mark in _MARKS:
        if f"{mark} " in text or f" {mark}" in text or has_number:
            plain = plain.replace(mark, "")
        else:
            plain = plain.replace(mark, " ")
    plain = re.sub(r"(?<!\d)\.(?!\d)", "", plain)
    words = (_NUMBERS.get(word, word) for word in plain.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(reply: str, answers: tuple[str, ...]) -> float:
    """The mean, over leaving out each person, of how many of the others agree: three are enough for 1."""
    given = vqa_text(reply)
    agree = [vqa_text(answer) == given for answer in answers]
    total = sum(agree)
    return sum(min(1.0, (total - one) / _ENOUGH) for one in agree) / len(agree) if agree else 0.0


def _mark(item: Item, answer: Answer) -> float:
    return vqa_accuracy(answer.text, item.answers)


VQA = Share("vqa", "VQA accuracy, %", _mark)
