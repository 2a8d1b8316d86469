"""The language model: input rows to logits.

Owns the decoder's session, its bindings, the cache and the rotary tables. Knows nothing about text or sampling.

A sequence is read from where the cache ends: in chunks when many positions are new, one position when one is. When the
total length crosses LongRoPE's border the cached keys, rotated with the short factors, are thrown away and the whole
sequence is read again with the long ones, as the model's authors do.

    inputs_embeds [1, S, H] | logits_rows [R] | seqlens_k [1] = total - 1 | past/present share one buffer
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle import Bundle
from edgephi.checks import is_whole
from edgephi.embed import InputSequence
from edgephi.errors import ArtifactError, CapacityError, ConfigError
from edgephi.kv_cache import CacheShape, KVCache, cache_names, check_context
from edgephi.manifest import ADAPTER_IDS, AdapterName, DecoderInfo
from edgephi.rope import RotaryTables
from edgephi.session import DeviceOptions, open_session, running, runtime
from edgephi.stopping import ask, never

DEFAULT_CHUNK = 512


class Decoder:
    """One sequence at a time through the decoder graph.

    Args:
        bundle: The model folder.
        options: Where it runs.
        max_context: Positions the cache may grow to; None for the model's context.
        chunk: Most positions read in one pass.

    Raises:
        ArtifactError: The graph cannot be loaded or is not the one the manifest describes.
        ConfigError: `max_context` is not within the model's context.
    """

    def __init__(
        self, bundle: Bundle, options: DeviceOptions, *, max_context: int | None = None, chunk: int = DEFAULT_CHUNK
    ) -> None:
        info, rope = bundle.manifest.decoder, bundle.manifest.rope
        if max_context is not None and not (is_whole(max_context) and 1 <= max_context <= rope.max_positions):
            raise ConfigError(f"max_context is {max_context!r}; this model takes 1 to {rope.max_positions:,}")
        if chunk < 1:
            raise ConfigError(f"chunk is {chunk}; use 1 or more")
        shape = CacheShape(
            num_layers=info.num_layers,
            num_kv_heads=info.num_kv_heads,
            head_size=info.head_size,
            max_positions=max_context or rope.max_positions,
            model_positions=rope.max_positions,
        )
        self.shape = shape
        self._info = info
        self._chunk = chunk
        self._session = open_session(bundle.file(info.graph), options)
        self._routed = bundle.manifest.adapters.mode == "routed"
        _check_inputs(self._session, info.num_layers, self._routed, str(bundle.file(info.graph)))
        _check_sizes(self._session, info, str(bundle.file(info.graph)))
        self._cache = KVCache(shape)
        self._rope = RotaryTables(rope)
        self._adapter: AdapterName | None = None
        self._passes: dict[int, _Pass] = {}

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
        self._passes.clear()
        self._cache.reset()
        self._adapter = None

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
            step = _Pass(self._session, self._info.vocab_size, embeds.shape, num_rows, routed=self._routed)
            step.attach(self._cache, self._rope)
            # Only the shapes that come again are kept: a decode step and a full chunk.
            if num_rows == 1 and num_new in (1, self._chunk):
                self._passes[num_new] = step
        total = self._cache.used + num_new
        logits = step.run(embeds, total, ADAPTER_IDS[adapter])
        self._cache.used = total
        return logits


class _Pass:
    """A persistent binding for one shape: inputs are written through arrays that ONNX Runtime aliases."""

    def __init__(self, session: Any, vocab_size: int, shape: tuple[int, ...], num_rows: int, *, routed: bool) -> None:
        self._ort = runtime()
        self._session = session
        self._binding = session.io_binding()
        self._bound: dict[str, NDArray[Any]] = {}  # ONNX Runtime holds no reference to the memory it aliases
        self._embeds = np.zeros(shape, dtype=np.float32)
        self._seqlens_k = np.zeros(1, dtype=np.int32)
        self._total = np.zeros((), dtype=np.int32)
        self._adapter = np.zeros((), dtype=np.int64)
        self._logits = np.zeros((1, num_rows, vocab_size), dtype=np.float32)
        self._bind_input("inputs_embeds", self._embeds)
        self._bind_input("logits_rows", np.arange(shape[1] - num_rows, shape[1], dtype=np.int64))
        self._bind_input("seqlens_k", self._seqlens_k)
        self._bind_input("total_sequence_length", self._total)
        if routed:
            self._bind_input("adapter", self._adapter)
        self._bind_output("logits", self._logits)

    def attach(self, cache: KVCache, rope: RotaryTables) -> None:
        """Bind the cache's and the tables' present arrays."""
        for past, buffer in cache.buffers.items():
            self._bind_input(past, buffer)
            self._bind_output(past.replace("past_key_values", "present"), buffer)
        self._bind_input("cos_cache", rope.cos)
        self._bind_input("sin_cache", rope.sin)

    def run(self, embeds: NDArray[np.float32], total: int, adapter_id: int) -> NDArray[np.float32]:
        """Logits float32 [R, V], a view that the next run overwrites."""
        self._embeds[:] = embeds
        self._seqlens_k[0] = total - 1
        self._total[...] = total
        self._adapter[...] = adapter_id
        with running(f"the decoder at {total:,} positions"):
            self._session.run_with_iobinding(self._binding)
        logits: NDArray[np.float32] = self._logits[0]
        return logits

    def _bind_input(self, name: str, array: NDArray[Any]) -> None:
        self._binding.bind_ortvalue_input(name, self._ort.OrtValue.ortvalue_from_numpy(array))
        self._bound[name] = array

    def _bind_output(self, name: str, array: NDArray[Any]) -> None:
        self._binding.bind_ortvalue_output(name, self._ort.OrtValue.ortvalue_from_numpy(array))
        self._bound[name] = array


def _all_rows(total: int, vocab_size: int) -> NDArray[np.float32]:
    try:
        return np.empty((total, vocab_size), dtype=np.float32)
    except MemoryError:
        raise CapacityError(
            f"logits of {total:,} positions need {total * vocab_size * 4 / 2**20:,.0f} MiB, more than this machine can "
            "give; ask for the last row only"
        ) from None


def _check_inputs(session: Any, num_layers: int, routed: bool, where: str) -> None:
    """The graph must take exactly the inputs this file feeds it."""
    wanted = {"inputs_embeds", "logits_rows", "seqlens_k", "total_sequence_length", "cos_cache", "sin_cache"}
    wanted |= set(cache_names(num_layers)) | ({"adapter"} if routed else set())
    found = {value.name for value in session.get_inputs()}
    if wanted != found:
        odd = sorted(wanted ^ found)[0]
        problem = "is missing" if odd in wanted else "is not known"
        raise ArtifactError(f"{where}: graph input {odd!r} {problem}; export the model again")


def _check_sizes(session: Any, info: DecoderInfo, where: str) -> None:
    """Where the graph fixes a size, it must be the manifest's: the bindings alias memory of the manifest's sizes."""
    cache = cache_names(info.num_layers)
    wanted = {name: {1: info.num_kv_heads, 3: info.head_size} for name in cache}
    wanted |= {"inputs_embeds": {2: info.hidden_size}, "logits": {2: info.vocab_size}}
    for value in [*session.get_inputs(), *session.get_outputs()]:
        for axis, size in wanted.get(value.name, {}).items():
            found = value.shape[axis] if axis < len(value.shape) else None
            if isinstance(found, int) and found != size:
                raise ArtifactError(
                    f"{where}: {value.name!r} has shape {value.shape}, the manifest says {size} at axis {axis}; "
                    "export the model again"
                )
