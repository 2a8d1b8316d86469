"""Notes beside every round what the machine did and what energy our turn took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgephi_bench.conditions import Conditions, Watch
from edgephi_bench.energy import EnergyMeter


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFacts:
    """One round of one figure.

    Attributes:
        mode: Of the figure.
        name: Of what was asked: `decode step`, `prefill` or `request`.
        condition: Of the figure.
        number: From 1.
        conditions: What the machine did meanwhile.
        joules: That edgephi's turn took; None where nothing tells.
    """

    mode: str
    name: str
    condition: str
    number: int
    conditions: Conditions
    joules: float | None = None


@dataclass(slots=True)
class Observer:
    """Watches rounds; what it saw is in `rounds`.

    Attributes:
        watch: Of the machine.
        meter: Of energy.
        rounds: In the order of measuring.
    """

    watch: Watch = field(default_factory=Watch)
    meter: EnergyMeter = field(default_factory=EnergyMeter)
    rounds: list[RoundFacts] = field(default_factory=list)
    _joules: float | None = None

    @contextmanager
    def round(self, mode: str, name: str, condition: str, number: int) -> Iterator[None]:
        """A round; number 0 is for warming up and is not noted."""
        self._joules = None
        self.watch.start()
        yield
        conditions = self.watch.stop()
        if number:
            self.rounds.append(
                RoundFacts(
                    mode=mode,
                    name=name,
                    condition=condition,
                    number=number,
                    conditions=conditions,
                    joules=self._joules,
                )
            )

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Our turn in the round."""
        self.meter.start()
        try:
            yield
        finally:
            self._joules = self.meter.stop()
