"""The language model: input rows to logits.

Owns how a sequence is cut into passes, the cache and the rotary tables. Knows nothing about text or sampling.

A sequence is read from where the cache ends: in chunks when many positions are new, one position when one is. When the
total length crosses LongRoPE's border the cached keys, rotated with the short factors, are thrown away and the whole
sequence is read again with the long ones, as the model's authors do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle import Bundle
from edgephi.checks import is_whole
from edgephi.decoder_graph import DecoderGraph
from edgephi.decoder_pass import DecoderPass
from edgephi.embed import InputSequence
from edgephi.errors import CapacityError, ConfigError
from edgephi.kv_cache import KVCache, cache_shape, check_context
from edgephi.manifest import ADAPTER_IDS, AdapterName
from edgephi.rope import RotaryTables
from edgephi.session import DeviceOptions
from edgephi.stopping import ask, never

DEFAULT_CHUNK = 512


class Decoder:
    """One sequence at a time through the decoder's graphs.

    Args:
        bundle: The model folder.
        options: Where it runs.
        max_context: Positions the cache may grow to; None for the model's context.
        with_adapters: Open the graph with adapters at once, not when the first sequence needs it.
        chunk: Most positions read in one pass.

    Raises:
        ArtifactError: The graph cannot be loaded or is not the one the manifest describes.
        ConfigError: `max_context` is not within the model's context.
    """

    def __init__(
        self,
        bundle: Bundle,
        options: DeviceOptions,
        *,
        max_context: int | None = None,
        with_adapters: bool = False,
        chunk: int = DEFAULT_CHUNK,
    ) -> None:
        info, rope = bundle.manifest.decoder, bundle.manifest.rope
        if max_context is not None and not (is_whole(max_context) and 1 <= max_context <= rope.max_positions):
            raise ConfigError(f"max_context is {max_context!r}; this model takes 1 to {rope.max_positions:,}")
        if chunk < 1:
            raise ConfigError(f"chunk is {chunk}; use 1 or more")
        self.shape = cache_shape(bundle.manifest, max_context)
        self._info = info
        self._chunk = chunk
        self._graph = DecoderGraph(bundle, options)
        self._graph.open(with_adapters=with_adapters)
        self._cache = KVCache(self.shape)
        self._rope = RotaryTables(rope, info.dtype)
        self._adapter: AdapterName | None = None
        self._passes: dict[int, DecoderPass] = {}

    def check_length(self, total: int) -> None:
        """Refuse a sequence that cannot be read, before any work.

        Raises:
            CapacityError: It is longer than the context.
        """
        check_context(total, self.shape)

    def has_room(self, total: int) -> bool:
        """Whether a sequence of this many positions can be read."""
        return total <= self.shape.max_positions

    def reset(self) -> None:
        """Forget the sequence; the next `read` starts from its first position."""
        if self._cache.is_oversized:  # kept passes would keep the buffers alive that are replaced
            self._passes.clear()
        self._cache.reset()
        self._adapter = None

    def prepare(self, adapter: AdapterName) -> None:
        """Open the graph that serves a sequence with this adapter, unless it is open.

        What was read stays: every graph has the same cache.

        Raises:
            ArtifactError: The graph cannot be loaded or is not the one the manifest describes. No graph is open then;
                the next sequence tries again, so one for another graph can still be read.
        """
        if not self._graph.serves(adapter):
            self._passes.clear()  # they hold the session that must be freed first
            self._graph.open(with_adapters=adapter != "none")

    def read(
        self,
        sequence: InputSequence,
        *,
        adapter: AdapterName,
        rows: Literal["last", "all"] = "last",
        should_stop: Callable[[], bool] = never,
    ) -> NDArray[np.float32]:
        """Read the positions that the cache does not hold yet.

        Args:
            sequence: The whole sequence; its beginning must be what was read since `reset`.
            adapter: The same for every `read` of a sequence.
            rows: `last` for the next token's logits, `all` for every position's (after a `reset` only).
            should_stop: Asked before each pass.

        Returns:
            float32 [V], or [S, V] for `all`; valid until the next `read`.

        Raises:
            CapacityError: The sequence is longer than the context. The cache has not changed.
            ArtifactError: As `prepare`.
            Stopped: `should_stop` said so.
        """
        total = len(sequence)
        self.check_length(total)
        if self._adapter not in (None, adapter):
            raise ValueError(f"the cache was filled with adapter {self._adapter!r}, not {adapter!r}")
        if rows == "all" and self._cache.used:
            raise ValueError("logits of all rows need an empty cache")
        if self._cache.used and self._rope.is_long(total) != self._rope.is_long(self._cache.used):
            self._cache.truncate(0)
        self.prepare(adapter)
        self._adapter = adapter
        self._make_room(total)
        out = _all_rows(total, self._info.vocab_size) if rows == "all" else None
        logits: NDArray[np.float32] | None = None
        while self._cache.used < total:
            ask(should_stop)
            start, stop = self._cache.used, min(self._cache.used + self._chunk, total)
            logits = self._run(sequence.rows(start, stop), adapter, all_rows=out is not None)
            if out is not None:
                out[start:stop] = logits
        if logits is None:
            raise ValueError("the sequence holds no position that was not read already")
        return out if out is not None else logits[-1]

    def _make_room(self, total: int) -> None:
        """Cache and tables for this many positions; kept passes would keep the arrays alive that are replaced."""
        if total > self._cache.capacity or not self._rope.serves(total):
            self._passes.clear()
        self._cache.reserve(total)
        self._rope.prepare(total)

    def _run(self, embeds: NDArray[np.float32], adapter: AdapterName, *, all_rows: bool) -> NDArray[np.float32]:
        """One pass over S new positions; float32 [R, V], R = S or only the last."""
        num_new = embeds.shape[1]
        num_rows = num_new if all_rows else 1
        step = self._passes.get(num_new) if num_rows == 1 else None
        if step is None:
            step = DecoderPass(self._graph, self._info, num_new, num_rows)
            step.attach(self._cache, self._rope)
            # Only the shapes that come again are kept: a decode step and a full chunk.
            if num_rows == 1 and num_new in (1, self._chunk):
                self._passes[num_new] = step
        total = self._cache.used + num_new
        logits = step.run(embeds, total, ADAPTER_IDS[adapter])
        self._cache.used = total
        return logits


def _all_rows(total: int, vocab_size: int) -> NDArray[np.float32]:
    try:
        return np.empty((total, vocab_size), dtype=np.float32)
    except MemoryError:
        raise CapacityError(
            f"logits of {total:,} positions need {total * vocab_size * 4 / 2**20:,.0f} MiB, more than this machine can "
            "give; ask for the last row only"
        ) from None
