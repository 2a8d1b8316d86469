"""Which tokens can be drawn, and how likely each is: temperature, top-k, top-p, min-p, log-probabilities.

A vocabulary has 200,064 tokens and sorting it takes longer than all the rest of a step's choice, so no step sorts it:
the likeliest few are found through the largest logit of each of many groups, and only as many are looked at as the
question needs. Where that would be thousands, tokens are weighed by bins of like logits, and only the bins where the
cut and the drawn token lie are sorted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgephi.generation.options import DrawRules

Logits = NDArray[np.float32]

_FIRST = 512  # tokens looked at before more are needed
_GROWTH = 16
_LEAST_GROUPS = 1024
_BINS = 4096
_BINNED_NATS = 32.0  # below the likeliest; less likely tokens share the last bin, which holds next to nothing
_STEEPEST = 1e30  # bins per logit; more would not be finite in float32
_BLOCK = 512  # tokens whose weights are summed before one of them is drawn
_LOWEST = np.finfo(np.float32).min  # every logit that is not -infinity reaches it
_LEAST_TEMPERATURE = 1e-30  # below, float32 could not hold it; such a temperature leaves only the likeliest anyway


def likeliest(logits: Logits, num: int) -> NDArray[np.intp]:
    """The ids of the `num` largest logits, largest first; equal ones in the order of their ids.

    Args:
        logits: float32 [V], none of them NaN. Not modified.
        num: 1 or more.

    Returns:
        ids [n]: fewer than `num` where fewer logits are above -infinity.
    """
    groups = max(4 * num, _LEAST_GROUPS)
    floor = _LOWEST
    if groups * 4 <= len(logits):
        rows = len(logits) // groups
        peaks = logits[: rows * groups].reshape(rows, groups).max(axis=0)
        # `num` groups reach this value, so at least `num` logits do: none of the largest is below it.
        floor = max(floor, np.partition(peaks, groups - num)[groups - num])
    ids = np.flatnonzero(logits >= floor)
    if len(ids) > 4 * num:
        ids = ids[logits[ids] >= np.partition(logits[ids], len(ids) - num)[len(ids) - num]]
    return _descending(ids, logits[ids])[:num]


def draw(logits: Logits, rules: DrawRules, number: float) -> int:
    """The token that a random number picks.

    Args:
        logits: float32 [V], none of them NaN, one at least finite. Not modified.
        rules: With a temperature above 0.
        number: 0 or more, below 1. Runs through the candidates from the likeliest on, or through all tokens in the
            order of their ids where nothing is cut.
    """
    if rules.top_p < 1 or rules.min_p > 0 or 0 < rules.top_k < len(logits):
        found = _among(logits, rules, rules.top_k or _FIRST)
        if found is None:
            return _draw_binned(logits, rules, number)
        ids, weights = found
        return int(ids[_place(np.cumsum(weights), number)])
    return _draw_any(_all_weights(logits, rules.temperature), number)


def candidates(logits: Logits, rules: DrawRules) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The tokens that can be drawn: temperature, then top-k, top-p and min-p.

    Args:
        logits: float32 [V], none of them NaN, one at least finite. Not modified.
        rules: With a temperature above 0.

    Returns:
        ids [n], likeliest first, equal ones in the order of their ids, and top-k cuts between them; and their
        probabilities, float64 [n], none of them 0, that sum to 1.
    """
    num = rules.top_k or _FIRST
    while (found := _among(logits, rules, num)) is None:
        num *= _GROWTH
    ids, weights = found
    return ids, weights / weights.sum()


def log_probabilities(logits: Logits, token_id: int, num: int) -> tuple[float, tuple[tuple[int, float], ...]]:
    """The natural logarithm of a token's probability, and ids with those of the `num` likeliest.

    Args:
        logits: float32 [V], none of them NaN, one at least finite. Not modified.
        token_id: The token.
        num: 0 or more.
    """
    everything = float(logits.max()) + float(np.log(_all_weights(logits, 1.0).sum(dtype=np.float64)))
    best = likeliest(logits, num) if num else np.empty(0, np.intp)
    top = tuple((int(i), float(logits[i]) - everything) for i in best)
    return float(logits[token_id]) - everything, top


def _among(logits: Logits, rules: DrawRules, num: int) -> tuple[NDArray[np.intp], NDArray[np.float64]] | None:
    """The tokens that can be drawn and their weights, likeliest first, if they are among the `num` likeliest."""
    ids = likeliest(logits, min(num, len(logits)))
    weights = _weights(logits[ids], rules.temperature)
    is_complete = len(ids) < num or num in (rules.top_k, len(logits))
    total = weights.sum() if is_complete else _all_weights(logits, rules.temperature).sum(dtype=np.float64)
    kept = _num_kept(weights, weights / total, rules)
    return (ids[:kept], weights[:kept]) if is_complete or kept < len(ids) else None


def _draw_binned(logits: Logits, rules: DrawRules, number: float) -> int:
    """`draw` from many tokens, by top-p and min-p."""
    weights = _all_weights(logits, rules.temperature)
    most = rules.top_p * weights.sum(dtype=np.float64) if rules.top_p < 1 else np.inf
    weights[weights < rules.min_p] = 0
    bins = _bins(logits, rules.temperature)
    sums = np.cumsum(np.bincount(bins, weights=weights), dtype=np.float64)
    whole = float(sums[-1])
    if whole > most:
        cut = int(np.searchsorted(sums, most))
        _, ends = _inside(cut, bins, logits, weights, sums)
        whole = float(ends[min(int(np.searchsorted(ends, most)), len(ends) - 1)].clip(max=sums[cut]))
    # As _place: the first token whose running sum is above this part of the whole, never one that adds nothing.
    wanted = min(number * whole, float(np.nextafter(whole, 0)))
    ids, ends = _inside(int(np.searchsorted(sums, wanted, side="right")), bins, logits, weights, sums)
    return int(ids[min(int(np.searchsorted(ends, wanted, side="right")), len(ids) - 1)])


def _bins(logits: Logits, temperature: float) -> NDArray[np.int32]:
    """int32 [V], 0 for the likeliest: a token of a lower bin is likelier than any of a higher one."""
    below = logits.max() - logits
    span = min(_BINNED_NATS * temperature, float(below.max()))
    with np.errstate(over="ignore"):  # what is far below shares the last bin
        below *= np.float32(min(_BINS / span if span else _STEEPEST, _STEEPEST))
    bins: NDArray[np.int32] = np.minimum(below, np.float32(_BINS)).astype(np.int32)
    return bins


def _inside(
    place: int, bins: NDArray[np.int32], logits: Logits, weights: NDArray[np.float32], sums: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The tokens of one bin that can be drawn, likeliest first, and the running sum of all weights up to each."""
    ids = np.flatnonzero((bins == place) & (weights > 0))
    ids = _descending(ids, logits[ids])
    before = sums[place - 1] if place else 0.0
    return ids, before + np.cumsum(weights[ids], dtype=np.float64)


def _descending(ids: NDArray[np.intp], values: Logits) -> NDArray[np.intp]:
    """Ids by falling value, then by rising id.

    Value and id are packed into one integer, whose plain sort is several times as fast as a stable sort of floats.
    """
    bits = (values + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 equal to 0.0
    negative = bits >> 31 == 1
    rising = np.where(negative, ~bits, bits | np.uint32(1 << 31))
    keys = (~rising).astype(np.uint64) << np.uint64(32) | ids.astype(np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.intp)


def _draw_any(weights: NDArray[np.float32], number: float) -> int:
    """Draw from a whole vocabulary: first a block of it, then a token in that."""
    starts = np.arange(0, len(weights), _BLOCK)
    sums = np.cumsum(np.add.reduceat(weights, starts, dtype=np.float64))
    block = _place(sums, number)
    inside = weights[starts[block] : starts[block] + _BLOCK]
    left = number * sums[-1] - (sums[block - 1] if block else 0.0)
    place = int(np.searchsorted(np.cumsum(inside, dtype=np.float64), left, side="right"))
    return int(starts[block]) + min(place, int(np.flatnonzero(inside)[-1]))  # rounding must not leave the block


def _place(sums: NDArray[np.float64], number: float) -> int:
    """The first place whose running sum is above this part of the whole; never one that adds nothing."""
    whole = float(sums[-1])
    return int(np.searchsorted(sums, min(number * whole, np.nextafter(whole, 0)), side="right"))


def _weights(logits: Logits, temperature: float) -> NDArray[np.float64]:
    """Probabilities times a constant; the first logit, the largest, weighs 1."""
    exact = logits.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):  # a tiny temperature leaves only the likeliest
        weights: NDArray[np.float64] = np.exp((exact - exact[0]) / max(temperature, _LEAST_TEMPERATURE))
    return weights


def _all_weights(logits: Logits, temperature: float) -> NDArray[np.float32]:
    """The same for a whole vocabulary in any order, in float32, which is much faster and exact enough."""
    with np.errstate(over="ignore", under="ignore"):
        scaled = (logits - logits.max()) / np.float32(max(temperature, _LEAST_TEMPERATURE))
        weights: NDArray[np.float32] = np.exp(scaled, out=scaled)
    return weights


def _num_kept(weights: NDArray[np.float64], probabilities: NDArray[np.float64], rules: DrawRules) -> int:
    """How many of the likeliest tokens pass top-p and min-p and can be drawn at all."""
    kept = np.count_nonzero(weights > 0)
    if rules.top_p < 1:
        before = np.cumsum(probabilities) - probabilities
        kept = min(kept, np.count_nonzero(before < rules.top_p))
    if rules.min_p > 0:
        kept = min(kept, np.count_nonzero(weights >= rules.min_p))
    return int(kept)
