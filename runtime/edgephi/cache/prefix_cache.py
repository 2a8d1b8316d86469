"""The prefix cache: keys and values of earlier sequences, so that the next one need not compute a beginning they share.

    a position is shared while        token ids agree, media rows come from equal content
    a sequence is usable only with    the adapter and the rotary factors it was computed with

The present sequence is the one the decoder continues. A new one either goes on where another ended, or branches off in
the midst of it: then the shared beginning is copied, and the other stays whole while the budget has room for both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import CapacityError
from edgephi.bundle.manifest import Adapter
from edgephi.cache.context_limit import ContextLimit
from edgephi.cache.kv_cache import KVCache
from edgephi.prompt.input_sequence import InputSequence, MediaSpan

#: Losing fewer positions than this costs less than keeping a copy of them.
_WORTH = 32


@dataclass(slots=True, kw_only=True)
class CachedSequence:
    """A cache and what it was filled with.

    Attributes:
        cache: Its first `used` positions are valid.
        adapter: It was computed with; None before the first pass.
        is_long: Whether the keys were rotated with LongRoPE's long factors.
        sequence: What is being computed; None between requests.
        ids: int64 [S], S >= `cache.used`, when `sequence` is None.
        spans: Media of `ids`.
    """

    cache: KVCache
    adapter: Adapter | None = None
    is_long: bool = False
    sequence: InputSequence | None = None
    ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    spans: tuple[MediaSpan, ...] = ()

    def settle(self) -> None:
        """Keep the ids and media of what was computed, and let go of the request."""
        used = self.cache.used
        if self.sequence is not None:
            self.ids, self.spans = self.sequence.token_ids[:used].copy(), self.sequence.spans
            self.sequence = None
        self.ids = self.ids[:used]
        self.spans = tuple(span for span in self.spans if span.start < used)

    def shared(self, sequence: InputSequence, adapter: Adapter, is_long: bool) -> int:
        """Positions of the cache that are right for this sequence."""
        if (self.adapter, self.is_long) != (adapter, is_long):
            return 0
        return self._agreement(sequence.token_ids, sequence.spans)

    def is_within(self, other: CachedSequence) -> bool:
        """Whether `other`, which is settled as this one is, serves wherever this one would."""
        if (self.adapter, self.is_long) != (other.adapter, other.is_long):
            return False
        return self._agreement(other.ids, other.spans) == self.cache.used

    def _agreement(self, ids: NDArray[np.int64], spans: tuple[MediaSpan, ...]) -> int:
        """Positions from the first that are the same in both."""
        count = min(self.cache.used, len(ids))
        different = np.flatnonzero(self.ids[:count] != ids[:count])
        count = int(different[0]) if len(different) else count
        return min(count, _first_other(self.spans, spans, count))


def _nothing_bound() -> None:
    pass


class PrefixCache:
    """Sequences within a byte budget, the least recently used evicted first.

    Args:
        limit: How long each may become, and the shape of every cache.
        budget_bytes: Most memory that stays allocated between requests, one block apart. A request that runs takes
            what it needs.
        release: Called before buffers of the present sequence are replaced, freed or left. What is bound to them would
            keep their memory.
    """

    def __init__(self, limit: ContextLimit, budget_bytes: int, release: Callable[[], None] = _nothing_bound) -> None:
        self.limit = limit
        self.budget_bytes = budget_bytes
        self._release = release
        self._held = [CachedSequence(cache=KVCache(limit.shape))]  # least recently used first, `present` last

    @property
    def present(self) -> CachedSequence:
        """The sequence the decoder continues."""
        return self._held[-1]

    @property
    def num_bytes(self) -> int:
        """Memory of all caches."""
        return sum(held.cache.num_bytes for held in self._held)

    def __len__(self) -> int:
        return len(self._held)

    def begin(self, sequence: InputSequence, adapter: Adapter, *, fresh: bool = False) -> int:
        """Make `present` the cache that holds most of a sequence's beginning, truncated to what they share.

        Args:
            sequence: The whole sequence.
            adapter: It will be computed with.
            fresh: Share nothing.

        Returns:
            Positions whose keys and values are cached.

        Raises:
            CapacityError: The sequence is longer than the context. Nothing has changed.
        """
        self.limit.check(len(sequence))
        is_long = self.limit.is_long(len(sequence))
        self._release()
        self.present.settle()
        shares = [0 if fresh else held.shared(sequence, adapter, is_long) for held in self._held]
        shared = max(shares)
        best = self._held[len(shares) - 1 - shares[::-1].index(shared)]  # among equals the latest
        if best.cache.used - shared >= _WORTH and self._find_space(len(sequence), best):
            best = _branch(best, shared, len(sequence))
        self._enter(best)
        best.cache.truncate(shared)
        best.adapter, best.is_long, best.sequence = adapter, is_long, sequence
        return shared

    def clear(self) -> None:
        """Drop every sequence and give their memory back."""
        self._release()
        cache = self.present.cache
        self._held = [CachedSequence(cache=cache)]
        cache.truncate(0)
        cache.shrink(0)

    def grow(self, total: int) -> None:
        """Make room for a longer present sequence, at the cost of the others.

        Raises:
            CapacityError: As `KVCache.reserve`.
        """
        cache = self.present.cache
        if total > cache.capacity:
            self._release()
        self._evict(max(cache.num_bytes, self._size(total)), keep=self.present)
        cache.reserve(total)

    def trim(self) -> None:
        """Between requests: give back what nothing needs, and what is over the budget."""
        if self.present.cache.num_bytes > self.budget_bytes:
            self._release()
        self.present.settle()
        self._held = [held for held in self._held[:-1] if not held.is_within(self.present)] + [self.present]
        self._evict(self.present.cache.num_bytes, keep=self.present)
        self.present.cache.shrink(self.budget_bytes)
        self.present.settle()

    def export(self) -> CachedSequence:
        """The present sequence as it was computed so far, to be saved before the next pass."""
        self.present.settle()
        return self.present

    def insert(self, saved: CachedSequence) -> None:
        """Make a sequence that was saved `present`, if the budget has room for it.

        Raises:
            CapacityError: It has not. Nothing was evicted.
        """
        if saved.cache.num_bytes > self.budget_bytes:
            needed, most = saved.cache.num_bytes / 2**20, self.budget_bytes / 2**20
            raise CapacityError(
                f"the prefix takes {needed:,.0f} MiB but only {most:,.0f} MiB may be kept; raise cache_bytes"
            )
        self._release()
        self.present.settle()
        self._enter(saved)
        self.trim()

    def _enter(self, entering: CachedSequence) -> None:
        """Make it the present sequence; the one before stays if it is worth it."""
        if self._held and self.present is not entering and self.present.cache.used < _WORTH:
            self._held.pop()
        self._held = [held for held in self._held if held is not entering] + [entering]

    def _size(self, total: int) -> int:
        """Memory of a cache for this many positions."""
        return self.present.cache.rounded(total) * self.limit.shape.bytes_per_position

    def _find_space(self, total: int, keep: CachedSequence) -> bool:
        """Evict others until a cache for `total` fits beside `keep`; False, with nothing evicted, if it cannot."""
        needed = keep.cache.num_bytes + self._size(total)
        if needed > self.budget_bytes:
            return False
        self._evict(needed, keep=keep)
        return True

    def _evict(self, needed: int, *, keep: CachedSequence) -> None:
        """Evict others, oldest first, until they and `needed` bytes, which count `keep`, fit the budget."""
        others = [held for held in self._held if held is not keep]
        while others and needed + sum(held.cache.num_bytes for held in others) > self.budget_bytes:
            dropped = others.pop(0)
            self._held = [held for held in self._held if held is not dropped]


def _branch(cached: CachedSequence, length: int, total: int) -> CachedSequence:
    """A sequence of its own that shares the first `length` positions; the same one where there is no memory for it."""
    try:
        return CachedSequence(cache=cached.cache.branch(length, total), ids=cached.ids, spans=cached.spans)
    except CapacityError:
        return cached


def _first_other(one: tuple[MediaSpan, ...], two: tuple[MediaSpan, ...], limit: int) -> int:
    """The first position before `limit` where media differ, else `limit`."""
    for index in range(max(len(one), len(two))):
        first = one[index] if index < len(one) else None
        second = two[index] if index < len(two) else None
        if first != second:
            return min([limit, *(span.start for span in (first, second) if span is not None)])
    return limit
