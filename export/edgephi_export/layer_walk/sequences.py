"""The sequences that a walk runs on: what the decoder reads for each calibration request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.manifest import Adapter

#: Positions in all: inputs of the widest matrix take 0.3 GB at the true size, and more would say little more.
MOST_POSITIONS = 10_240


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationSequence:
    """One request with its answer.

    Attributes:
        adapter: The one that serves it.
        rows: float32 [S, H], tokens and media.
        group: The set of examples that it is of.
        token_ids: int64 [S], -1 where a row is of media.
        answer_start: The first position that predicts a token of the answer, or its end.
    """

    adapter: Adapter
    rows: NDArray[np.float32]
    group: str = ""
    token_ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    answer_start: int = 0

    def __len__(self) -> int:
        return len(self.rows)


def chosen(sequences: Iterable[CalibrationSequence], most: int = MOST_POSITIONS) -> tuple[CalibrationSequence, ...]:
    """As many as fit into `most` positions, the one that reaches the limit cut short.

    They are taken from each adapter in turn, and of an adapter from each of its sets in turn, so that no set is left
    out because it stands behind another.
    """
    taken = []
    for sequence in _mixed(sequences):
        taken.append(replace(sequence, rows=sequence.rows[:most], token_ids=sequence.token_ids[:most]))
        most -= len(taken[-1])
        if not most:
            break
    return tuple(taken)


def fitting(sequences: Iterable[CalibrationSequence], most: int) -> tuple[CalibrationSequence, ...]:
    """As many as fit whole into `most` positions, in the order of `chosen`; those that do not are left out."""
    taken = []
    for sequence in _mixed(sequences):
        if len(sequence) <= most:
            taken.append(sequence)
            most -= len(sequence)
    return tuple(taken)


def _mixed(sequences: Iterable[CalibrationSequence]) -> Iterator[CalibrationSequence]:
    kinds: dict[Adapter, dict[str, list[CalibrationSequence]]] = {}
    for sequence in sequences:
        kinds.setdefault(sequence.adapter, {}).setdefault(sequence.group, []).append(sequence)
    return _in_turn([list(_in_turn(list(groups.values()))) for groups in kinds.values()])


def _in_turn(lists: list[list[CalibrationSequence]]) -> Iterator[CalibrationSequence]:
    for number in range(max(map(len, lists), default=0)):
        yield from (held[number] for held in lists if number < len(held))
