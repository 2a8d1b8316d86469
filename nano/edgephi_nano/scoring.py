"""How right answers are: word error rate."""

from __future__ import annotations

from collections.abc import Sequence


def word_errors(wanted: Sequence[str], got: Sequence[str]) -> int:
    """Fewest insertions, deletions and replacements that turn `got` into `wanted`."""
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        previous, row = row, [i]
        for j, other in enumerate(got, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (word != other)))
    return row[-1]


def word_error_rate(wanted: Sequence[str], got: Sequence[str]) -> float:
    """Errors of all texts together over the words wanted."""
    errors = sum(word_errors(a.split(), b.split()) for a, b in zip(wanted, got, strict=True))
    return errors / sum(len(text.split()) for text in wanted)
