"""A loop that is missed fills the transcript with rubbish; one seen wrongly throws speech away."""

from __future__ import annotations

import numpy as np
import pytest

from edgephi.transcription.loops import LoopGuard


def _stopped_at(ids: list[int]) -> int | None:
    """How many tokens were read when the guard spoke up."""
    guard = LoopGuard()
    return next((count for count, token_id in enumerate(ids, 1) if guard.push(token_id)), None)


@pytest.mark.parametrize(("size", "stops"), [(1, 16), (2, 16), (3, 18), (4, 16), (5, 20), (12, 48), (40, 160)])
def test_a_run_is_seen_whatever_came_before_it(size: int, stops: int):
    before = [1000, 1001, 1002, 1003, 1004]
    loop = list(range(size))
    found = _stopped_at(before + loop * 200)
    assert found is not None
    # Three tokens repeat at 16 without being whole runs of them: that is as much a loop.
    assert len(before) + min(stops, 16 if size == 3 else stops) == found


@pytest.mark.parametrize(
    "ids",
    [
        [7] * 15,  # no, no, no, ...
        [1, 2, 3, 4, 5, 6] * 3,
        [*range(41)] * 3,
        [1, 2, 1, 2, 1, 2, 3] * 3,
    ],
)
def test_what_people_say_is_not_a_loop(ids: list[int]):
    assert _stopped_at(ids) is None


def test_against_the_definition_on_random_texts():
    """Every suffix of every length, straight from the docstring."""

    def slow(ids: list[int]) -> bool:
        for size in range(1, 41):
            length = max(4 * size, 16)
            tail = ids[-length:]
            if len(tail) == length and all(tail[i] == tail[i - size] for i in range(size, length)):
                return True
        return False

    rng = np.random.default_rng(4)
    seen = 0
    for _ in range(60):
        ids = [int(token) for token in rng.integers(0, 2, 120)]
        ids[40:90] = (ids[40 : 40 + int(rng.integers(1, 14))] * 50)[:50]
        expected = next((count for count in range(1, len(ids) + 1) if slow(ids[:count])), None)
        seen += expected is not None
        assert _stopped_at(ids) == expected
    assert seen > 30
