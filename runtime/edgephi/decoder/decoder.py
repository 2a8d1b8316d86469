"""The decoder: input rows to logits, over the keys and values of the prefix cache.

A sequence is computed from where the cache ends: in chunks when many positions are new, one position when one is. When
the total length crosses LongRoPE's boundary the cached keys, rotated with the short factors, are dropped and the whole
sequence is computed again with the long ones, as the model's authors do. Where the folder has a graph for prefill,
positions before the first whose logits are asked for go through it if they are enough (prefill_graph.py). What one
request computed stays for the next (prefix_cache.py), unless its keys were rotated with the other factors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgephi.base.cancellation import ask, never
from edgephi.base.errors import CapacityError, ConfigError
from edgephi.base.log import logger
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.cache_choice import cache_kind
from edgephi.bundle.manifest import ADAPTER_IDS, Adapter
from edgephi.cache.context_limit import ContextLimit
from edgephi.cache.kv_cache import KVCache, cache_shape
from edgephi.cache.prefix_cache import PrefixCache
from edgephi.decoder.crossover import LENGTHS, PrefillThreshold, Threshold, crossover_key, measure
from edgephi.decoder.forward import DecoderPass, OpenGraph, PassMemory, PassShape
from edgephi.decoder.graph import DecoderGraph
from edgephi.decoder.prefill_graph import PrefillGraph
from edgephi.decoder.rope import RotaryTables
from edgephi.model_options import ModelOptions
from edgephi.ort.library import runtime
from edgephi.prompt.input_sequence import InputSequence

_log = logger(__name__)
#: Passes of up to this many new positions keep their bindings: a decode step, and every width of speculation.
_SMALL = 16


class Decoder:
    """One sequence at a time through the decoder's graphs.

    Args:
        bundle: The model folder.
        options: Where it runs, and what it may take.
        should_stop: Called while the graph is loaded.

    Attributes:
        limit: How long a sequence may become.
        sequences: The prefix cache; `begin` there comes before the first pass over a sequence.

    Raises:
        Stopped: `should_stop` returned True.
        ArtifactError: The graph cannot be loaded or is not the one the manifest describes.
        CapacityError: This machine has not enough free memory for it.
        ConfigError: `max_context` is not within the model's context, or the folder has no graphs for `kv_cache`.
    """

    def __init__(self, bundle: Bundle, options: ModelOptions, should_stop: Callable[[], bool] = never) -> None:
        info, rope, most = bundle.manifest.decoder, bundle.manifest.rope, options.max_context
        if most is not None and most > rope.max_positions:
            raise ConfigError(f"max_context is {most!r}; this model takes 1 to {rope.max_positions:,}")
        kind = cache_kind(bundle.manifest, options.cache_choice)
        shape = cache_shape(bundle.manifest, most, kind)
        device = options.device_options.opened
        self.limit = ContextLimit(replace(shape, ignores_memory=options.ignore_memory, device=device), rope)
        self._info = info
        self._chunk = min(options.chunk, device.most_positions or options.chunk)
        self._graph = DecoderGraph(bundle, options.device_options, kind, options.chunk)
        self._graph.open(with_adapters=options.with_adapters, should_stop=should_stop)
        self._prefill = PrefillGraph(bundle, options, kind)
        self._threshold = _threshold(bundle, options) if self._prefill.exists else None
        self._passes: dict[PassShape, DecoderPass] = {}
        self.sequences = PrefixCache(self.limit, options.kv_bytes, release=self._passes.clear)
        self._rope = RotaryTables(rope, info.dtype)
        self._memory = PassMemory(info, _SMALL, device)

    @property
    def num_cached(self) -> int:
        """Positions of the present sequence whose keys and values are in the cache."""
        return self._cache.used

    @property
    def prefill_threshold(self) -> int | None:
        """Positions from which on a stretch takes the graph for prefill, 0 for never; None where it is not known."""
        return None if self._threshold is None else self._threshold.value

    @property
    def _cache(self) -> KVCache:
        return self.sequences.present.cache

    def truncate(self, length: int) -> None:
        """Drop the keys and values of the positions from `length` on, such as those of rejected draft tokens.

        The next pass goes on from there; if its total is on the other side of LongRoPE's boundary, it computes the
        whole sequence again with the factors of its own length, as after a fresh start.

        Raises:
            ValueError: Fewer positions are cached.
        """
        self._cache.truncate(length)

    def rest(self) -> None:
        """No pass follows for now: the weights may be moved to where they are read faster, until the next `load`."""
        self._prefill.rest()
        if self._prefill.is_pressed:
            self._prefill.close()
        self._graph.pages.resume()

    def clear(self) -> None:
        """Drop every cached sequence, and close the graph for prefill."""
        self.sequences.clear()
        self._prefill.close()

    @property
    def is_settled(self) -> bool:
        """Whether no rest would make anything faster."""
        return self._graph.pages.num_left == 0

    def serves(self, adapter: Adapter) -> bool:
        """Whether `load` for this adapter has nothing to load."""
        return self._graph.serves(adapter)

    def load(self, adapter: Adapter, should_stop: Callable[[], bool] = never) -> None:
        """Open the graph that serves a sequence with this adapter, unless it is open.

        Every graph uses the same cache, so what was computed stays.

        Args:
            adapter: Of the sequence.
            should_stop: Called while a graph is loaded.

        Raises:
            Stopped: `should_stop` returned True. No graph is open then.
            ArtifactError: The graph cannot be loaded or is not the one the manifest describes. No graph is open then;
                the next sequence tries again, so one for another graph can still be computed.
            CapacityError: This machine has not enough free memory for it. No graph is open then.
        """
        self._graph.pages.pause()
        if not self._graph.serves(adapter):
            self._passes.clear()  # they hold the session that must be freed first
            self._prefill.close()
            self._graph.open(with_adapters=adapter != "none", should_stop=should_stop)

    @property
    def finds_best(self) -> bool:
        """Whether `best_ids` serves: the graph that is open was exported for GPUs."""
        return self._graph.finds_best

    def best_ids(
        self, sequence: InputSequence, *, adapter: Adapter, rows: int = 1, should_stop: Callable[[], bool] = never
    ) -> NDArray[np.int64]:
        """As `forward`, but of the last `rows` positions only the likeliest token: logits stay on the device.

        Returns:
            int64 [R], -1 where a logit is not a number; the first of those that are equally likely.

        Raises:
            As `forward`.
        """
        return self._compute(sequence, adapter, _PassOutput(rows, best_only=True), should_stop)

    def forward(
        self,
        sequence: InputSequence,
        *,
        adapter: Adapter,
        rows: int | Literal["last", "all"] = "last",
        should_stop: Callable[[], bool] = never,
    ) -> NDArray[np.float32]:
        """Compute the positions that are not cached, and their logits.

        Positions whose logits are asked for are computed again if they are cached already.

        Args:
            sequence: The whole sequence; its first `num_cached` positions must be those that were computed.
            adapter: The same for every pass over a sequence.
            rows: `last` for the next token's logits, a number R for those of the last R positions, `all` for every
                position's. Up to 16 new positions are one pass whose bindings are kept.
            should_stop: Called before each pass, and during those that take long.

        Returns:
            float32 [V] for `last`, [R, V] for a number, [S, V] for `all`; valid until the next pass.

        Raises:
            CapacityError: The sequence is longer than the context. The cache has not changed.
            ArtifactError: As `load`.
            Stopped: `should_stop` returned True. What was computed until then stays cached.
            ValueError: The cache was filled with another adapter, or there are not so many rows.
        """
        logits = self._compute(sequence, adapter, _PassOutput(_num_rows(rows, len(sequence))), should_stop)
        return logits[-1] if rows == "last" else logits

    def _compute(
        self, sequence: InputSequence, adapter: Adapter, wanted: _PassOutput, should_stop: Callable[[], bool]
    ) -> NDArray[Any]:
        """What `forward` and `best_ids` are for: what is wanted of the last rows."""
        total, num_rows = len(sequence), _num_rows(wanted.num_rows, len(sequence))
        self.limit.check(total)
        present = self.sequences.present
        if present.adapter not in (None, adapter):
            raise ValueError(f"the cache was filled with adapter {present.adapter!r}, not {adapter!r}")
        self._truncate_for(total, num_rows)
        self.load(adapter, should_stop)
        present.adapter, present.sequence = adapter, sequence
        self._make_room(total)
        self._fill(total - num_rows, should_stop)
        return self._run_passes(sequence, adapter, wanted, should_stop)

    def _truncate_for(self, total: int, num_rows: int) -> None:
        """Drop what must be computed again: all after a change of rotary factors, and rows that need logits."""
        present, is_long = self.sequences.present, self.limit.is_long(total)
        if is_long != present.is_long:
            self._cache.truncate(0)
        present.is_long = is_long
        if self._cache.used > total - num_rows:
            self._cache.truncate(total - num_rows)

    def _fill(self, stop: int, should_stop: Callable[[], bool]) -> None:
        """Compute the positions up to `stop` by the graph for prefill, if they are enough, in few passes of one length.

        A short pass would cost nearly as much as a long one, because each packs all weights.
        """
        present = self.sequences.present
        sequence, adapter = present.sequence, present.adapter
        stretch = stop - self._cache.used
        if self._threshold is None or stretch < 1 or sequence is None or adapter is None:
            return
        if not (self._threshold.may_pay(stretch) and self._prefill.open(stretch, should_stop)):
            return
        if not self._threshold.pays(stretch, partial(self._measured, sequence, adapter, should_stop)):
            return
        for passes_left in range(-(-stretch // self._prefill.chunk), 0, -1):
            ask(should_stop)
            start = self._cache.used
            rows = sequence.rows(start, start - (start - stop) // passes_left)
            self._run(rows, adapter, _PassOutput(0), should_stop)

    def _measured(self, sequence: InputSequence, adapter: Adapter, should_stop: Callable[[], bool]) -> Threshold:
        """The length from which on the graph for prefill, which is open, is faster."""
        scratch, adapter_id = KVCache(self.limit.shape, capacity=max(LENGTHS)), ADAPTER_IDS[adapter]
        start = self._cache.used  # media before it may not be encoded
        embeds = sequence.rows(start, start + max(LENGTHS))

        def run(graph: OpenGraph, num_rows: int, length: int) -> None:
            step = DecoderPass(graph, self._memory, PassShape(length, num_rows))
            step.attach(scratch, self._rope)
            step.run(embeds[:, :length], length, adapter_id, should_stop)

        threshold = measure((partial(run, self._graph, 1), partial(run, self._prefill, 0)))
        _log.info("the graph for prefill is faster from %s positions on", threshold.positions or "no number of")
        return threshold

    def _run_passes(
        self, sequence: InputSequence, adapter: Adapter, wanted: _PassOutput, should_stop: Callable[[], bool]
    ) -> NDArray[Any]:
        """What is wanted of the last rows, after as many passes as are needed."""
        total, num_rows = len(sequence), wanted.num_rows
        first = total - num_rows
        out: NDArray[Any] | None = None
        while True:
            ask(should_stop)
            start, stop = self._cache.used, min(self._cache.used + self._chunk, total)
            here = stop - max(start, first)
            found = self._run(
                sequence.rows(start, stop),
                adapter,
                replace(wanted, num_rows=max(here, 1)),
                None if stop - start <= _SMALL else should_stop,
            )
            if here == num_rows:
                return found
            if here > 0:
                out = _all_rows((num_rows, *found.shape[1:]), found.dtype) if out is None else out
                out[stop - here - first : stop - first] = found
            if stop == total:
                if out is None:
                    raise AssertionError("the last pass holds the last row")
                return out

    def _make_room(self, total: int) -> None:
        """Cache and tables for this many positions."""
        if not self._rope.serves(total):
            self._passes.clear()  # they would keep the tables that are replaced
        self.sequences.grow(total)
        self._rope.prepare(total)

    def _run(
        self, embeds: NDArray[np.float32], adapter: Adapter, wanted: _PassOutput, should_stop: Callable[[], bool] | None
    ) -> NDArray[Any]:
        """One pass over S new positions; what is wanted of the last ones. Of none: by the graph for prefill."""
        num_new = embeds.shape[1]
        shape = PassShape(num_new, wanted.num_rows, wanted.best_only)
        step = self._passes.get(shape)
        if step is None:
            graph: OpenGraph = self._graph if shape.num_rows else self._prefill
            step = DecoderPass(graph, self._memory, shape)
            step.attach(self._cache, self._rope)
            # Only the shapes that come again are kept: a decode step, a verification, and a full chunk.
            if shape.num_rows and (num_new <= _SMALL or (shape.num_rows == 1 and num_new == self._chunk)):
                self._passes[shape] = step
        total, began_s = self._cache.used + num_new, time.perf_counter()
        step.run(embeds, total, ADAPTER_IDS[adapter], should_stop)
        self._cache.used = total
        _log.debug("forward pass of %d tokens to %d in %.1f ms", num_new, total, 1000 * (time.perf_counter() - began_s))
        return step.best_ids if shape.best_only else step.logits


@dataclass(frozen=True, slots=True)
class _PassOutput:
    """What a caller asks of the last `num_rows` positions: their logits, or their likeliest tokens only."""

    num_rows: int
    best_only: bool = False


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


def _all_rows(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        return np.empty(shape, dtype)
    except MemoryError:
        raise CapacityError(
            f"logits of {shape[0]:,} tokens need {math.prod(shape) * dtype.itemsize / 2**20:,.0f} MiB, more than this "
            "machine can give; ask for the last row only"
        ) from None


def _threshold(bundle: Bundle, options: ModelOptions) -> PrefillThreshold:
    """That of this folder on this machine."""
    threads, version = options.device_options.num_threads, str(runtime().__version__)
    key = crossover_key(bundle.manifest_sha256, version, threads, options.memory_bytes)
    return PrefillThreshold(options.prefill_threshold, key)
