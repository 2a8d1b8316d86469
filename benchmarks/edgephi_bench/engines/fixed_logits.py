"""Logits of fixed requests in every mode, kept in a report: whether a faster program still computes the same.

Greedy text changes only where two logits come close, and in one mode; logits show a change of any size in all of them.
A report keeps some of each request's last row. Rounding differs between kernels and numbers of threads, so two reports
are held to a tolerance: the largest difference, in standard deviations of a logit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: Rounding of int4 and int8 kernels stays far below it; a wrong weight, adapter or image far above.
TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedLogits:
    """The next token's logits after one fixed request.

    Attributes:
        mode: `text`, `speech`, `vision`, or `both` for an image and audio.
        token_ids: Some of the vocabulary, evenly spaced.
        logits: Of these ids.
        deviation: Standard deviation over the whole vocabulary.
        best_id: The token with the largest logit.
    """

    mode: str
    token_ids: tuple[int, ...]
    logits: tuple[float, ...]
    deviation: float
    best_id: int

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.logits) or not self.logits:
            raise ValueError(f"the fixed request of {self.mode} has {len(self.logits)} logits of another number of ids")
        if self.deviation <= 0:
            raise ValueError(f"the fixed request of {self.mode} has logits that do not differ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far one fixed request's logits lie apart.

    Attributes:
        mode: Of the request.
        distance: Largest difference, in standard deviations of a logit; infinite where the ids are not the same.
        same_token: Whether the likeliest token is the same.
    """

    mode: str
    distance: float
    same_token: bool


def differences(before: Iterable[FixedLogits], after: Iterable[FixedLogits]) -> tuple[Difference, ...]:
    """For every mode that both have."""
    second = {item.mode: item for item in after}
    return tuple(_difference(item, second[item.mode]) for item in before if item.mode in second)


def _difference(first: FixedLogits, second: FixedLogits) -> Difference:
    distance = float("inf")
    if first.token_ids == second.token_ids:
        largest = max(abs(a - b) for a, b in zip(first.logits, second.logits, strict=True))
        distance = largest / first.deviation
    return Difference(mode=first.mode, distance=distance, same_token=first.best_id == second.best_id)
