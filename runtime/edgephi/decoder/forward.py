"""One pass through the decoder graph: its inputs and outputs, bound once and used again.

inputs_embeds [1, S, H] | logits_rows [R] | seqlens_k [1] = total - 1 | past/present share one buffer
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.manifest import DecoderInfo
from edgephi.cache.kv_cache import KVCache
from edgephi.decoder.rope import RotaryTables
from edgephi.ort.cancellable_run import cancellable_run
from edgephi.ort.cpu import CPU
from edgephi.ort.device import Device
from edgephi.ort.library import running, runtime


class PassMemory:
    """Input and output arrays that passes of different shapes share, as only one runs at a time.

    Args:
        info: Sizes and dtype of the decoder.
        max_rows: Most rows of logits that the shared arrays serve, and of new positions.
        device: Runs the passes.
    """

    def __init__(self, info: DecoderInfo, max_rows: int, device: Device = CPU) -> None:
        self.info, self.device = info, device
        # Zero pages cost nothing until they are written: a decode step touches one row.
        self._embeds = np.zeros((1, max_rows, info.hidden_size), info.dtype)
        self._logits = np.zeros((1, max_rows, info.vocab_size), info.dtype)

    def embeds(self, num_new: int) -> NDArray[Any]:
        """Floats [1, S, H], shared if it fits."""
        if num_new <= self._embeds.shape[1]:
            return self._embeds[:, :num_new]
        return np.zeros((1, num_new, self.info.hidden_size), self.info.dtype)

    def logits(self, num_rows: int) -> NDArray[Any]:
        """Floats [1, R, V], shared if it fits."""
        if num_rows <= self._logits.shape[1]:
            return self._logits[:, :num_rows]
        return np.zeros((1, num_rows, self.info.vocab_size), self.info.dtype)


class OpenGraph(Protocol):
    """A graph of the decoder whose session is open."""

    session: Any
    takes_adapter: bool


class DecoderPass:
    """A persistent binding for one shape: inputs are written through arrays that every run reads.

    Args:
        graph: Open. The pass holds its session.
        memory: Gives the arrays.
        num_new: S.
        num_rows: R, the last rows of the pass, which get logits; 0 for the graph for prefill, which gives none.
    """

    def __init__(self, graph: OpenGraph, memory: PassMemory, num_new: int, num_rows: int) -> None:
        self._ort = runtime()
        binding = self._binding = memory.device.bind(graph.session)
        self._embeds, self._logits = memory.embeds(num_new), memory.logits(num_rows)
        self._seqlens_k = np.zeros(1, dtype=np.int32)
        self._total = np.zeros((), dtype=np.int32)
        self._adapter = np.zeros((), dtype=np.int64)
        binding.add_input("inputs_embeds", self._embeds)
        if num_rows:
            binding.add_constant("logits_rows", np.arange(num_new - num_rows, num_new, dtype=np.int64))
            binding.add_output("logits", self._logits)
        binding.add_input("seqlens_k", self._seqlens_k)
        binding.add_input("total_sequence_length", self._total)
        if graph.takes_adapter:
            binding.add_input("adapter", self._adapter)

    def attach(self, cache: KVCache, rope: RotaryTables) -> None:
        """Bind the cache's and the tables' present arrays."""
        for past, buffer in cache.buffers.items():
            self._binding.add_cache(past, past.replace("past_key_values", "present"), buffer)
        self._binding.add_constant("cos_cache", rope.cos)
        self._binding.add_constant("sin_cache", rope.sin)

    def run(
        self,
        embeds: NDArray[np.float32],
        total: int,
        adapter_id: int,
        should_stop: Callable[[], bool] | None = None,
    ) -> NDArray[np.float32]:
        """Logits float32 [R, V], for a float32 decoder a view that the next run of any pass overwrites.

        Args:
            embeds: float32 [1, S, H]. Not modified.
            total: Positions in the cache after this pass.
            adapter_id: Of `ADAPTER_IDS`; a graph without adapters does not look at it.
            should_stop: Asked during the pass; None for a pass that is too short for it. What a pass that was ended
                wrote into the cache lies behind the positions that count.

        Raises:
            Stopped: `should_stop` returned True.
            EdgeError: ONNX Runtime failed.
        """
        self._embeds[:] = embeds
        self._seqlens_k[0] = total - 1
        self._total[...] = total
        self._adapter[...] = adapter_id
        if should_stop is None:
            self._run(None)
        else:
            cancellable_run(self._ort, self._run, should_stop)
        logits: NDArray[np.float32] = self._logits[0].astype(np.float32, copy=False)
        return logits

    def _run(self, options: Any) -> None:
        with running(f"the decoder at {self._total:,} tokens"):
            self._binding.run(options)
