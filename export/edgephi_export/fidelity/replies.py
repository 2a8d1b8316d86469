"""A free-running reply beside the reference's: how far they are the same, and whether one goes round in circles."""

from __future__ import annotations

from collections.abc import Sequence

#: Repetitions, and tokens in all, from which on the end of a reply counts as a loop.
_REPEATS, _LOOP_TOKENS = 3, 12
_LONGEST_PERIOD = 64


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two replies begin with alike."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


def is_loop(token_ids: Sequence[int]) -> bool:
    """Whether the reply ends in the same 1 to 64 tokens at least three times over, 12 tokens or more in all."""
    return any(
        _ends_in_period(token_ids, period) for period in range(1, min(_LONGEST_PERIOD, len(token_ids) // _REPEATS) + 1)
    )


def _ends_in_period(token_ids: Sequence[int], period: int) -> bool:
    needed = max(_REPEATS * period, _LOOP_TOKENS)
    if len(token_ids) < needed:
        return False
    tail = token_ids[-needed:]
    return all(tail[place] == tail[place - period] for place in range(period, needed))
