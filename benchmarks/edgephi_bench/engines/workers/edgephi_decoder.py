"""edgephi's decoder on request: reading a prompt, and steps at a depth.

A step at depth D reads one position after D cached ones, from the token's embedding row to the choice of the next
token. The cache is really filled: its content does not matter for time, but that it was written does.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from edgephi import ModelOptions, __version__
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import Adapter
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.ort.session import runtime
from edgephi.prompt.input_sequence import InputSequence
from edgephi_bench.measure.int8_rate import int8_rate

_LONGEST_REST_S = 60.0


def prepare() -> None:
    """Import what a program that runs models has imported before it loads one."""
    runtime()


def open_engine(options: dict[str, Any]) -> DecoderEngine:
    """Load the model folder `model` for `threads` threads, the `adapter` and the kind of `kv_cache`.

    `prefill_threshold`, `memory_bytes` and `device` may be given.
    """
    names = ("threads", "kv_cache", "prefill_threshold", "memory_bytes", "device")
    given: Any = {name: options[name] for name in names if name in options}
    return DecoderEngine(Bundle(options["model"]), options["adapter"], ModelOptions(prefill="stored", **given))


class DecoderEngine:
    """One decoder and the sequence it is at.

    Args:
        bundle: The model folder.
        adapter: Every sequence is read with it.
        options: Of the model; it loads adapters if `adapter` is one, and caches no prefix.
    """

    def __init__(self, bundle: Bundle, adapter: Adapter, options: ModelOptions) -> None:
        self.version = __version__
        self._adapter = adapter
        self._table = EmbeddingTable(bundle, bundle.manifest.decoder.embedding)
        self._options = replace(options, with_adapters=adapter != "none", cache_bytes=0)
        self._decoder = Decoder(bundle, self._options)
        self._ids = np.random.default_rng(0).integers(0, len(self._table), bundle.manifest.rope.max_positions)
        self._depth: int | None = None
        self._sequence: InputSequence | None = None

    def prefill(self, tokens: int) -> list[float]:
        """Seconds to read a prompt of random tokens into an empty cache, the last one's logits included."""
        self._settle()
        self._depth = None
        before = time.perf_counter()
        sequence = self._start(tokens, fresh=True)
        self._decoder.forward(sequence, adapter=self._adapter)
        return [time.perf_counter() - before]

    def decode(self, depth: int, tokens: int) -> list[float]:
        """Seconds of each of the `tokens` - 1 steps between so many tokens, the first after `depth` positions.

        A pass before them is not timed: the first after a pause is slower whatever the runner, and peers too have just
        read something when their time begins.
        """
        self._settle()
        self._steps(depth, 1)
        return self._steps(depth, tokens - 1)

    def threshold(self) -> int | None:
        """Positions from which on a prompt takes the graph for prefill; None without one, or where none was read."""
        return self._decoder.prefill_threshold

    def int8_rate(self) -> float:
        """Operations per second of products of bytes with as many threads."""
        return int8_rate(runtime(), self._options.device_options.num_threads)

    def _settle(self) -> None:
        """Rest as a model does between requests, once for all and in nobody's time: peers are asked in turn."""
        self._decoder.rest()
        end = time.monotonic() + _LONGEST_REST_S
        while not self._decoder.is_settled and time.monotonic() < end:
            time.sleep(0.01)

    def _steps(self, depth: int, count: int) -> list[float]:
        sequence = self._at(depth)
        token_id, seconds = 0, []
        for total in range(depth + 1, depth + count + 1):
            before = time.perf_counter()
            if len(sequence) < total:
                sequence.append(token_id)
            token_id = int(self._decoder.forward(sequence, adapter=self._adapter).argmax())
            seconds.append(time.perf_counter() - before)
        return seconds

    def _at(self, depth: int) -> InputSequence:
        """The sequence of `depth` positions, all of them read, with the rotary factors of the next position."""
        if self._sequence is None or self._depth != depth:
            self._depth = None
            self._sequence = self._start(max(depth, 1), fresh=False)
            if depth:
                self._sequence.append(0)
            self._decoder.forward(self._sequence, adapter=self._adapter)
            self._depth = depth
        self._sequence.truncate(max(depth, 1))
        self._decoder.truncate(depth)
        return self._sequence

    def _start(self, tokens: int, *, fresh: bool) -> InputSequence:
        sequence = InputSequence(self._table, self._ids[:tokens], {})
        self._decoder.sequences.begin(sequence, self._adapter, fresh=fresh)
        return sequence
