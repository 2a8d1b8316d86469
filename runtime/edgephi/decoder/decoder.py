"""The language model: input rows to logits.

Owns how a sequence is cut into passes, the cache and the rotary tables. Knows nothing about text or sampling.

A sequence is read from where the cache ends: in chunks when many positions are new, one position when one is. When the
total length crosses LongRoPE's border the cached keys, rotated with the short factors, are thrown away and the whole
sequence is read again with the long ones, as the model's authors do. What one request read stays for the next
(prefix_cache.py), unless its keys were rotated with the other factors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgephi.base.cancellation import ask, never
from edgephi.base.errors import CapacityError, ConfigError
from edgephi.base.log import logger
from edgephi.base.numbers import is_whole
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import ADAPTER_IDS, Adapter, CacheChoice
from edgephi.cache.kv_cache import KVCache, cache_kind, cache_shape, check_context
from edgephi.cache.prefix_cache import CachedSequence, PrefixCache
from edgephi.decoder.forward import DecoderPass, PassMemory
from edgephi.decoder.graph import DecoderGraph
from edgephi.decoder.rope import RotaryTables
from edgephi.ort.session import DeviceOptions
from edgephi.prompt.input_sequence import InputSequence

_log = logger(__name__)
#: Half the activations of 512 for a hundredth more work.
DEFAULT_CHUNK = 256
#: Keys and values of 4,096 positions of the real model.
DEFAULT_CACHE_BYTES = 1 << 30
#: Passes of up to this many new positions keep their bindings: a decode step, and every width of speculation.
_SMALL = 16


class Decoder:
    """One sequence at a time through the decoder's graphs.

    Args:
        bundle: The model folder.
        options: Where it runs.
        max_context: Positions the cache may grow to; None for the model's context.
        with_adapters: Open the graph with adapters at once, not when the first sequence needs it.
        chunk: Most positions read in one pass.
        cache_bytes: Memory that keys and values keep between requests; see PrefixCache.
        kv_cache: What keys and values are kept in: `float`, as the decoder computes, `int8`, or `auto`: int8 where the
            folder has it.
        should_stop: Asked while the graph is loaded.

    Raises:
        Stopped: `should_stop` said so.
        ArtifactError: The graph cannot be loaded or is not the one the manifest describes.
        ConfigError: `max_context` is not within the model's context, another number is out of range, or the folder has
            no graphs for `kv_cache`.
    """

    def __init__(  # noqa: PLR0913 - every choice about a decoder, by name
        self,
        bundle: Bundle,
        options: DeviceOptions,
        *,
        max_context: int | None = None,
        with_adapters: bool = False,
        chunk: int = DEFAULT_CHUNK,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        kv_cache: CacheChoice = "float",
        should_stop: Callable[[], bool] = never,
    ) -> None:
        info, rope = bundle.manifest.decoder, bundle.manifest.rope
        if max_context is not None and not (is_whole(max_context) and 1 <= max_context <= rope.max_positions):
            raise ConfigError(f"max_context is {max_context!r}; this model takes 1 to {rope.max_positions:,}")
        if not (is_whole(chunk) and chunk >= 1):
            raise ConfigError(f"chunk is {chunk!r}; use 1 or more")
        if not (is_whole(cache_bytes) and cache_bytes >= 0):
            raise ConfigError(f"cache_bytes is {cache_bytes!r}; use 0 or more")
        kind = cache_kind(bundle.manifest, kv_cache)
        shape = cache_shape(bundle.manifest, max_context, kind)
        self.shape = replace(shape, ignores_memory=options.ignore_memory)
        self._info = info
        self._chunk = chunk
        self._graph = DecoderGraph(bundle, options, kind, chunk)
        self._graph.open(with_adapters=with_adapters, should_stop=should_stop)
        self._sequences = PrefixCache(self.shape, cache_bytes)
        self._rope = RotaryTables(rope, info.dtype)
        self._memory = PassMemory(info, _SMALL)
        self._passes: dict[tuple[int, int], DecoderPass] = {}

    @property
    def used(self) -> int:
        """Positions of the present sequence that the cache holds."""
        return self._cache.used

    @property
    def held_bytes(self) -> int:
        """Memory of the keys and values of every sequence that is kept."""
        return self._sequences.num_bytes

    @property
    def _cache(self) -> KVCache:
        return self._sequences.present.cache

    def begin(self, sequence: InputSequence, adapter: Adapter, *, fresh: bool = False) -> int:
        """Go on from what was read before that a new sequence begins with.

        Args:
            sequence: The whole sequence.
            adapter: It will be read with.
            fresh: Read it from its first position all the same.

        Returns:
            Positions that need not be read; `used` from now on.

        Raises:
            CapacityError: The sequence is longer than the context.
        """
        self.check_length(len(sequence))
        self._passes.clear()  # they would keep the arrays alive that are left
        self._sequences.begin(sequence, adapter, is_long=self._rope.is_long(len(sequence)), fresh=fresh)
        return self.used

    def end(self) -> None:
        """The present sequence is complete: keep it for the next one, within the budget."""
        if self._cache.num_bytes > self._sequences.budget_bytes:
            self._passes.clear()
        self._sequences.trim()
        self.rest()

    def rest(self) -> None:
        """Nothing is to be read for now: the weights may be moved to where they are read faster, until `prepare`."""
        self._graph.pages.resume()

    @property
    def is_settled(self) -> bool:
        """Whether no rest would make anything faster."""
        return self._graph.pages.num_left == 0

    def present(self) -> CachedSequence:
        """The present sequence and what was read of it, to be saved before the next step."""
        self._sequences.present.settle()
        return self._sequences.present

    def adopt(self, read: CachedSequence) -> None:
        """Go on from a sequence that was saved. Raises CapacityError if the budget has no room for it."""
        self._passes.clear()
        self._sequences.adopt(read)

    def rewind(self, length: int) -> None:
        """Forget the positions from `length` on, such as proposals that were not accepted.

        The next `read` goes on from there; if its total is on the other side of LongRoPE's border, it reads the whole
        sequence again with the factors of its own length, as after a fresh start.

        Raises:
            ValueError: Fewer positions are held.
        """
        self._cache.truncate(length)

    def reach(self, total: int) -> int:
        """The most positions a sequence of `total` can grow to without being read again with other rotary factors.

        Speculation keeps within it: proposals beyond the border would change what the accepted tokens are told.
        """
        return min(self.shape.max_positions, self._rope.reach(total))

    def check_length(self, total: int, *, is_least: bool = False) -> None:
        """Refuse a sequence that cannot be read, before any work.

        Args:
            total: Its length.
            is_least: It may turn out longer.

        Raises:
            CapacityError: It is longer than the context.
        """
        check_context(total, self.shape, is_least=is_least)

    def has_room(self, total: int) -> bool:
        """Whether a sequence of this many positions can be read."""
        return total <= self.shape.max_positions

    def reset(self) -> None:
        """Forget the present sequence; the next `read` starts from its first position."""
        self._sequences.forget()

    def clear(self) -> None:
        """Forget every sequence and give their memory back."""
        self._passes.clear()
        self._sequences.clear()

    def serves(self, adapter: Adapter) -> bool:
        """Whether `prepare` for this adapter has nothing to load."""
        return self._graph.serves(adapter)

    def prepare(self, adapter: Adapter, should_stop: Callable[[], bool] = never) -> None:
        """Open the graph that serves a sequence with this adapter, unless it is open.

        What was read stays: every graph has the same cache.

        Args:
            adapter: Of the sequence.
            should_stop: Asked while a graph is loaded.

        Raises:
            Stopped: `should_stop` said so. No graph is open then.
            ArtifactError: The graph cannot be loaded or is not the one the manifest describes. No graph is open then;
                the next sequence tries again, so one for another graph can still be read.
        """
        self._graph.pages.pause()
        if not self._graph.serves(adapter):
            self._passes.clear()  # they hold the session that must be freed first
            self._graph.open(with_adapters=adapter != "none", should_stop=should_stop)

    def read(
        self,
        sequence: InputSequence,
        *,
        adapter: Adapter,
        rows: int | Literal["last", "all"] = "last",
        should_stop: Callable[[], bool] = never,
    ) -> NDArray[np.float32]:
        """Read the positions that the cache does not hold yet.

        Positions whose logits are asked for are read again if the cache holds them already.

        Args:
            sequence: The whole sequence; its first `used` positions must be what was read.
            adapter: The same for every `read` of a sequence.
            rows: `last` for the next token's logits, a number R for those of the last R positions, `all` for every
                position's. Up to 16 new positions are one pass whose bindings are kept.
            should_stop: Asked before each pass, and during those that take long.

        Returns:
            float32 [V] for `last`, [R, V] for a number, [S, V] for `all`; valid until the next `read`.

        Raises:
            CapacityError: The sequence is longer than the context. The cache has not changed.
            ArtifactError: As `prepare`.
            Stopped: `should_stop` said so. What was read until then is kept.
            ValueError: The cache was filled with another adapter, or there are not so many rows.
        """
        total = len(sequence)
        self.check_length(total)
        num_rows = _num_rows(rows, total)
        present = self._sequences.present
        if present.adapter not in (None, adapter):
            raise ValueError(f"the cache was filled with adapter {present.adapter!r}, not {adapter!r}")
        self._forget_for(total, num_rows)
        self.prepare(adapter, should_stop)
        present.adapter, present.sequence = adapter, sequence
        self._make_room(total)
        logits = self._read_passes(sequence, adapter, num_rows, should_stop)
        return logits[-1] if rows == "last" else logits

    def _forget_for(self, total: int, num_rows: int) -> None:
        """Forget what must be read again: everything after a change of rotary factors, and rows that need logits."""
        present, is_long = self._sequences.present, self._rope.is_long(total)
        if is_long != present.is_long:
            self._cache.truncate(0)
        present.is_long = is_long
        if self._cache.used > total - num_rows:
            self._cache.truncate(total - num_rows)

    def _read_passes(
        self, sequence: InputSequence, adapter: Adapter, num_rows: int, should_stop: Callable[[], bool]
    ) -> NDArray[np.float32]:
        """float32 [num_rows, V] after as many passes as are needed."""
        total = len(sequence)
        first = total - num_rows
        out: NDArray[np.float32] | None = None
        while True:
            ask(should_stop)
            start, stop = self._cache.used, min(self._cache.used + self._chunk, total)
            wanted = stop - max(start, first)
            is_short = stop - start <= _SMALL
            logits = self._run(
                sequence.rows(start, stop),
                adapter,
                num_rows=max(wanted, 1),
                should_stop=None if is_short else should_stop,
            )
            if wanted == num_rows:
                return logits
            if wanted > 0:
                out = _all_rows(num_rows, self._info.vocab_size) if out is None else out
                out[stop - wanted - first : stop - first] = logits
            if stop == total:
                if out is None:
                    raise AssertionError("the last pass holds the last row")
                return out

    def _make_room(self, total: int) -> None:
        """Cache and tables for this many positions; kept passes would keep the arrays alive that are replaced."""
        if total > self._cache.capacity or not self._rope.serves(total):
            self._passes.clear()
        self._sequences.grow(total)
        self._rope.prepare(total)

    def _run(
        self,
        embeds: NDArray[np.float32],
        adapter: Adapter,
        *,
        num_rows: int,
        should_stop: Callable[[], bool] | None,
    ) -> NDArray[np.float32]:
        """One pass over S new positions; float32 [num_rows, V] of the last ones."""
        num_new = embeds.shape[1]
        step = self._passes.get((num_new, num_rows))
        if step is None:
            step = DecoderPass(self._graph, self._memory, num_new, num_rows)
            step.attach(self._cache, self._rope)
            # Only the shapes that come again are kept: a decode step, a verification, and a full chunk.
            if num_new <= _SMALL or (num_rows == 1 and num_new == self._chunk):
                self._passes[num_new, num_rows] = step
        total, began_s = self._cache.used + num_new, time.perf_counter()
        logits = step.run(embeds, total, ADAPTER_IDS[adapter], should_stop)
        self._cache.used = total
        _log.debug("read %d tokens to %d in %.1f ms", num_new, total, 1000 * (time.perf_counter() - began_s))
        return logits


def _num_rows(rows: int | Literal["last", "all"], total: int) -> int:
    """R. Raises ValueError for a number of rows that a sequence of this length lacks."""
    if total < 1:
        raise ValueError("the sequence holds no token")
    if rows == "last":
        return 1
    if rows == "all":
        return total
    if not 1 <= rows <= total:
        raise ValueError(f"logits of {rows} rows were asked for; the sequence has {total}")
    return rows


def _all_rows(total: int, vocab_size: int) -> NDArray[np.float32]:
    try:
        return np.empty((total, vocab_size), dtype=np.float32)
    except MemoryError:
        raise CapacityError(
            f"logits of {total:,} tokens need {total * vocab_size * 4 / 2**20:,.0f} MiB, more than this machine can "
            "give; ask for the last row only"
        ) from None
