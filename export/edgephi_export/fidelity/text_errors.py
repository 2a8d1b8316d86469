"""The errors of a reply beside the right answer: units substituted, deleted and inserted, or whether it differs."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from edgephi_export.calibration.examples import Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class TextErrors:
    """Errors of one reply.

    Attributes:
        units: Words or characters of the answer; 1 for `exact`.
        substitutions: Units that another stands for; for `exact`, 1 where the reply differs.
        deletions: Units that the reply lacks.
        insertions: Units that only the reply has.
    """

    units: int
    substitutions: int
    deletions: int = 0
    insertions: int = 0

    @property
    def total(self) -> int:
        """All errors."""
        return self.substitutions + self.deletions + self.insertions


def text_errors(answer: str, reply: str, measure: Measure) -> TextErrors:
    """Judge a reply.

    `wer` compares words without case and punctuation, `cer` characters likewise, `exact` everything but the white space
    around it.
    """
    if measure == "exact":
        return TextErrors(units=1, substitutions=int(answer.strip() != reply.strip()))
    wanted, found = (_words(text) for text in (answer, reply))
    if measure == "cer":
        return _aligned(" ".join(wanted), " ".join(found))
    return _aligned(wanted, found)


def _words(text: str) -> list[str]:
    """Words without case and punctuation; an apostrophe within a word stays."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    kept = "".join(letter if letter == "'" or unicodedata.category(letter)[0] not in "PS" else " " for letter in folded)
    return [word for word in (word.strip("'") for word in kept.split()) if word]


def _aligned(wanted: Sequence[str], found: Sequence[str]) -> TextErrors:
    """Of the alignments with the fewest errors, one with the most substitutions: (errors, S, D, I) by prefix."""
    row = [(count, 0, 0, count) for count in range(len(found) + 1)]
    for number, unit in enumerate(wanted, start=1):
        previous, row = row, [(number, 0, number, 0)]
        for place, other in enumerate(found, start=1):
            same, gone, added = previous[place - 1], previous[place], row[-1]
            differs = int(unit != other)
            ways = (
                (same[0] + differs, same[1] + differs, same[2], same[3]),
                (gone[0] + 1, gone[1], gone[2] + 1, gone[3]),
                (added[0] + 1, added[1], added[2], added[3] + 1),
            )
            row.append(min(ways, key=lambda way: way[0]))
    _, substitutions, deletions, insertions = row[-1]
    return TextErrors(units=len(wanted), substitutions=substitutions, deletions=deletions, insertions=insertions)
