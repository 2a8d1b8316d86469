"""One pass through the decoder graph: its inputs and outputs, bound once and used again.

inputs_embeds [1, S, H] | logits_rows [R] | seqlens_k [1] = total - 1 | past/present share one buffer

A graph exported for GPUs has the output `best` float32 [1, R, 2] beside `logits`: the id of each row's largest logit,
and the sum of the row, which is not finite where a logit is not. A binding fetches one of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class PassShape:
    """What a pass reads and gives.

    Attributes:
        num_new: S, new positions.
        num_rows: R, the last of them, of which something is asked; 0 for the graph for prefill, which gives nothing.
        best_only: Their likeliest tokens instead of their logits.
    """

    num_new: int
    num_rows: int
    best_only: bool = False


class OpenGraph(Protocol):
    """A graph of the decoder whose session is open."""

    session: Any
    takes_adapter: bool


class DecoderPass:
    """A persistent binding for one shape: inputs are written through arrays that every run reads.

    Args:
        graph: Open. The pass holds its session.
        memory: Gives the arrays.
        shape: Of the pass.
    """

    def __init__(self, graph: OpenGraph, memory: PassMemory, shape: PassShape) -> None:
        self._ort = runtime()
        binding = self._binding = memory.device.bind(graph.session)
        num_new, num_rows = shape.num_new, shape.num_rows
        self._embeds, self._logits = memory.embeds(num_new), memory.logits(0 if shape.best_only else num_rows)
        self._best = np.zeros((1, num_rows if shape.best_only else 0, 2), np.float32)
        self._seqlens_k = np.zeros(1, dtype=np.int32)
        self._total = np.zeros((), dtype=np.int32)
        self._adapter = np.zeros((), dtype=np.int64)
        binding.add_input("inputs_embeds", self._embeds)
        if num_rows:
            binding.add_constant("logits_rows", np.arange(num_new - num_rows, num_new, dtype=np.int64))
            binding.add_output(*(("best", self._best) if shape.best_only else ("logits", self._logits)))
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
    ) -> None:
        """Compute; `logits` or `best_ids` has the result until the next run of any pass.

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

    @property
    def logits(self) -> NDArray[np.float32]:
        """float32 [R, V], for a float32 decoder a view."""
        logits: NDArray[np.float32] = self._logits[0].astype(np.float32, copy=False)
        return logits

    @property
    def best_ids(self) -> NDArray[np.int64]:
        """int64 [R]: the likeliest token after each row; -1 where a logit is not a number."""
        ids, sums = self._best[0].T
        return np.where(np.isfinite(sums), ids, -1).astype(np.int64)

    def _run(self, options: Any) -> None:
        with running(f"the decoder at {self._total:,} tokens"):
            self._binding.run(options)
