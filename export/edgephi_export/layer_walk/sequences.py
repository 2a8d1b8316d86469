"""The sequences that a walk runs on: what the decoder reads for each calibration request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

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
    """

    adapter: Adapter
    rows: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)


def chosen(sequences: Iterable[CalibrationSequence], most: int = MOST_POSITIONS) -> tuple[CalibrationSequence, ...]:
    """As many as fit into `most` positions, one for each adapter in turn, the one that reaches the limit cut short."""
    kinds: dict[Adapter, list[CalibrationSequence]] = {}
    for sequence in sequences:
        kinds.setdefault(sequence.adapter, []).append(sequence)
    taken = []
    for sequence in _in_turn(list(kinds.values())):
        taken.append(replace(sequence, rows=sequence.rows[:most]))
        most -= len(taken[-1])
        if not most:
            break
    return tuple(taken)


def _in_turn(kinds: list[list[CalibrationSequence]]) -> Iterator[CalibrationSequence]:
    for number in range(max(map(len, kinds), default=0)):
        yield from (kind[number] for kind in kinds if number < len(kind))
