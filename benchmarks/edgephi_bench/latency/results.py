"""The figures of a run of `edgephi bench MODEL` so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgephi.bundle.manifest import Adapter
from edgephi_bench.engines.fixed_logits import FixedLogits
from edgephi_bench.engines.worker import WorkerError
from edgephi_bench.latency.report import GreedyOutput, PeerFacts
from edgephi_bench.latency.rounds import Task
from edgephi_bench.measure.arithmetic import ArithmeticFloor
from edgephi_bench.measure.measurement import Figure
from edgephi_bench.measure.observer import Observer
from edgephi_bench.measure.roofline import Roofline


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeResult:
    """A decode of edgephi's that was measured, and what was read from memory beside it."""

    task: Task
    adapter: Adapter
    read_speeds: tuple[float, ...]


@dataclass(slots=True)
class Results:
    """Filled part by part."""

    figures: list[Figure] = field(default_factory=list)
    floors: list[Roofline] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    peers: dict[str, PeerFacts] = field(default_factory=dict)
    output: GreedyOutput | None = None
    fixed: tuple[FixedLogits, ...] = ()
    decoded: list[DecodeResult] = field(default_factory=list)
    arithmetic: list[ArithmeticFloor] = field(default_factory=list)
    prefill_threshold: int | None = None
    observer: Observer = field(default_factory=Observer)

    @contextmanager
    def noting(self, peer: str) -> Iterator[None]:
        """Note a failure inside as the peer's."""
        try:
            yield
        except WorkerError as error:
            self.peers[peer] = PeerFacts(name=peer, version=self.peers[peer].version, error=str(error))
