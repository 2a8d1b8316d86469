"""Notes beside every round what the machine did and what energy our turn took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.energy import EnergyMeter
from edgephi_bench.measure.machine_state import MachineState, MachineWatch
from edgephi_bench.measure.measurement import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of one figure.

    Attributes:
        mode: Of the figure.
        name: Of what was asked: `decode step`, `prefill` or `request`.
        condition: Of the figure.
        number: From 1; 0 and below are for warming up.
        amount: What the energy of our turn is divided by.
        amount_of: Of what that is the number: `token`, `image`.
    """

    mode: str
    name: str
    condition: Condition
    number: int
    amount: float
    amount_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFacts:
    """The machine and the energy in one round.

    Attributes:
        round: Which.
        conditions: What the machine did meanwhile.
        joules: That edgephi's turn took; None where nothing reports it.
    """

    round: Round
    conditions: MachineState
    joules: float | None = None


@dataclass(slots=True)
class Observer:
    """Observes rounds and notes them in `rounds`.

    Attributes:
        watch: Of the machine.
        meter: Of energy.
        rounds: In the order of measuring.
    """

    watch: MachineWatch = field(default_factory=MachineWatch)
    meter: EnergyMeter = field(default_factory=EnergyMeter)
    rounds: list[RoundFacts] = field(default_factory=list)
    _joules: float | None = None

    @contextmanager
    def round(self, what: Round) -> Iterator[None]:
        """Observe a round; one for warming up is not noted, nor one that fails."""
        self._joules = None
        self.watch.start()
        yield
        conditions = self.watch.stop()
        if what.number > 0:
            self.rounds.append(RoundFacts(round=what, conditions=conditions, joules=self._joules))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Measure the energy of our turn in the round."""
        self.meter.start()
        try:
            yield
        finally:
            self._joules = self.meter.stop()

    def energy_figures(self) -> list[Figure]:
        """Joules a token, an image, a second of audio: one figure for each that was measured with energy."""
        found: dict[tuple[str, str, Condition], list[float]] = {}
        for item in self.rounds:
            if item.joules is not None:
                what = item.round
                key = (what.mode, f"energy per {what.amount_of}", what.condition)
                found.setdefault(key, []).append(item.joules / what.amount)
        return [
            Figure(mode=mode, name=name, condition=condition, unit="J", samples=tuple(samples))
            for (mode, name, condition), samples in found.items()
        ]
