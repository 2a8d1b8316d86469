"""edgephi's decoder on request: reading a prompt, and steps at a depth.

Owns how a sequence is brought to a depth. Knows nothing about text, media or the protocol.

A step at depth D reads one position after D cached ones, from the token's embedding row to the choice of the next
token. The cache is really filled: its content does not matter for time, but that it was written does.
"""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from edgephi.bundle import Bundle
from edgephi.decoder import Decoder
from edgephi.embed import InputSequence
from edgephi.manifest import AdapterName
from edgephi.session import DeviceOptions, runtime
from edgephi.table import EmbeddingTable


def prepare() -> None:
    """Import what a program that runs models has imported before it loads one."""
    runtime()


def open_engine(options: dict[str, Any]) -> DecoderEngine:
    """Load the model folder `model` for `threads` threads and the `adapter`."""
    return DecoderEngine(Bundle(options["model"]), DeviceOptions(threads=options["threads"]), options["adapter"])


class DecoderEngine:
    """One decoder and the sequence it is at.

    Args:
        bundle: The model folder.
        device: Where it runs.
        adapter: Every sequence is read with it.
    """

    def __init__(self, bundle: Bundle, device: DeviceOptions, adapter: AdapterName) -> None:
        self.version = _version()
        self._adapter = adapter
        self._table = EmbeddingTable(bundle, bundle.manifest.decoder.embedding)
        self._decoder = Decoder(bundle, device, with_adapters=adapter != "none", cache_bytes=0)
        self._ids = np.random.default_rng(0).integers(0, len(self._table), self._decoder.shape.max_positions)
        self._depth: int | None = None
        self._sequence: InputSequence | None = None

    def prefill(self, tokens: int) -> list[float]:
        """Seconds to read a prompt of random tokens into an empty cache, the last one's logits included."""
        self._depth = None
        before = time.perf_counter()
        sequence = self._start(tokens, fresh=True)
        self._decoder.read(sequence, adapter=self._adapter)
        return [time.perf_counter() - before]

    def decode(self, depth: int, tokens: int) -> list[float]:
        """Seconds of each of the `tokens` - 1 steps between so many tokens, the first after `depth` positions."""
        sequence = self._at(depth)
        token_id, seconds = 0, []
        for total in range(depth + 1, depth + tokens):
            before = time.perf_counter()
            if len(sequence) < total:
                sequence.append(token_id)
            token_id = int(self._decoder.read(sequence, adapter=self._adapter).argmax())
            seconds.append(time.perf_counter() - before)
        return seconds

    def _at(self, depth: int) -> InputSequence:
        """The sequence of `depth` positions, all of them read, with the rotary factors of the next position."""
        if self._sequence is None or self._depth != depth:
            self._depth = None
            self._sequence = self._start(max(depth, 1), fresh=False)
            if depth:
                self._sequence.append(0)
            self._decoder.read(self._sequence, adapter=self._adapter)
            self._depth = depth
        self._sequence.truncate(max(depth, 1))
        self._decoder.rewind(depth)
        return self._sequence

    def _start(self, tokens: int, *, fresh: bool) -> InputSequence:

        sequence = InputSequence(self._table, self._ids[:tokens], {})
        self._decoder.begin(sequence, self._adapter, fresh=fresh)
        return sequence


def _version() -> str:
    try:
        return version("edgephi")
    except PackageNotFoundError:
        return "run from source"
