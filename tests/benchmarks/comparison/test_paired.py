"""Two builds in turn, on machines made up as real ones are: they drift, remember, stall, and favour processes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from edgephi_bench.comparison import paired
from edgephi_bench.comparison.paired import PairedComparison, PairLimits, compare_in_turn
from edgephi_bench.engines.worker import WorkerError
from edgephi_bench.latency.rounds import Task

DECODE = Task(do="decode", tokens=17, depth=3)
PREFILL = Task(do="prefill", tokens=64)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(paired, "_MOST_ROUNDS", 6)


class _Machine:
    """A clock of its own: what it does to steps depends on when they are asked for."""

    def __init__(self, seed: int, kind: str, slower: float = 0.0) -> None:
        self.random = np.random.default_rng(seed)
        self.kind, self.slower, self.turn, self.memory = kind, slower, 0, 0.0
        self.seed, self.started = seed, [0, 0]
        self.log: list[tuple[int, str]] = []

    def start(self, side: int) -> _Side:
        self.started[side] += 1  # both are started at once, so each has chances of its own
        chance = np.random.default_rng([self.seed, side, self.started[side]])
        favour = 0.01 * chance.standard_normal()  # of a place in memory, for the life of a process
        return _Side(self, side, (1 + (self.slower if side else 0.0)) * np.exp(favour))

    def speed(self) -> float:
        self.turn += 1
        self.memory = 0.95 * self.memory + 0.02 * self.random.standard_normal()
        slow = {"steady": 0.0, "drifts": 0.3 * np.sin(self.turn / 97) + 0.001 * self.turn, "remembers": self.memory}
        return float(np.exp(slow.get(self.kind, self.memory)))

    def steps(self, count: int) -> Any:
        values = 1 + 0.02 * self.random.standard_normal(count)
        if self.kind == "stalls":  # heavy tails: without a variance
            values = values + 0.02 * np.abs(self.random.standard_t(1.5, count))
        return values


class _Side:
    def __init__(self, machine: _Machine, side: int, factor: float) -> None:
        self._machine, self._side, self._factor = machine, side, factor

    def ask(self, do: str, **request: Any) -> list[float]:
        machine = self._machine
        machine.log.append((self._side, do))
        return (self._factor * machine.speed() * machine.steps(request["tokens"] - 1 if do == "decode" else 1)).tolist()

    def close(self) -> None:
        self._machine.log.append((self._side, "closed"))


def _compare(seed: int, kind: str, slower: float, tasks: tuple[Task, ...] = (DECODE,)) -> PairedComparison:
    machine = _Machine(seed, kind, slower)
    return compare_in_turn(machine.start, tasks, PairLimits(), lambda _: None, random.Random(seed))


@pytest.mark.parametrize("kind", ["steady", "drifts", "remembers", "stalls"])
def test_identical_builds_hardly_ever_fail_whatever_the_machine_does(kind: str) -> None:
    failed = sum(bool(_compare(seed, kind, 0.0).regressions) for seed in range(40))
    assert failed <= 2  # 5 % is what is promised; the threshold makes it rarer


@pytest.mark.parametrize("kind", ["steady", "drifts", "remembers", "stalls"])
def test_a_build_slower_by_five_percent_is_found_whatever_the_machine_does(kind: str) -> None:
    found = sum(bool(_compare(seed, kind, 0.05).regressions) for seed in range(30))
    assert found >= 28


@pytest.mark.slow
def test_without_a_threshold_the_error_is_still_what_was_promised() -> None:
    """The threshold must not be what saves a wrong test."""
    limits = PairLimits(threshold=0.0, most_pairs=14)
    wrong = 0
    for seed in range(120):
        done = compare_in_turn(
            _Machine(seed, "remembers").start, (DECODE,), limits, lambda _: None, random.Random(seed)
        )
        wrong += done.figures[0].verdict in ("slower", "faster")
    assert wrong <= 14  # 5 % are 6; 14 would be passed once in a thousand times


def test_what_is_slower_than_the_threshold_allows_is_found_and_nothing_else() -> None:
    (same,) = _compare(1, "steady", 0.004).figures
    (faster,) = _compare(1, "steady", -0.08).figures
    assert (same.verdict, faster.verdict) == ("same", "faster")
    assert faster.low is not None
    assert faster.high is not None
    assert faster.low < -0.08 < faster.high


def test_both_take_turns_in_both_orders_and_every_pair_has_new_processes() -> None:
    machine = _Machine(3, "steady")
    done = compare_in_turn(machine.start, (DECODE, PREFILL), PairLimits(), lambda _: None, random.Random(3))
    assert {figure.name for figure in done.figures} == {"decode step", "prefill"}
    asked = [side for side, do in machine.log if do != "closed"]
    rounds = list(zip(asked[::2], asked[1::2], strict=True))
    assert {tuple(sorted(pair)) for pair in rounds} == {(0, 1)}
    assert 0.3 < sum(pair == (0, 1) for pair in rounds) / len(rounds) < 0.7
    assert sum(do == "closed" for _, do in machine.log) == 2 * done.num_pairs


def test_a_side_that_cannot_be_started_does_not_leave_the_other_behind() -> None:
    machine = _Machine(3, "steady")

    def start(side: int) -> _Side:
        if side:
            raise WorkerError("no memory")
        return machine.start(side)

    with pytest.raises(WorkerError, match="no memory"):
        compare_in_turn(start, (DECODE,), PairLimits(), lambda _: None)
    assert machine.log == [(0, "closed")]


def test_time_that_is_up_ends_it_with_what_is_known() -> None:
    done = compare_in_turn(
        _Machine(3, "steady").start, (DECODE,), PairLimits(most_seconds=0.0), lambda _: None, random.Random(3)
    )
    assert (done.ended, done.num_pairs) == ("time", 1)
    assert (done.figures[0].verdict, done.figures[0].low) == ("noise", None)


def test_few_pairs_cannot_call_anything_slower() -> None:
    machine = _Machine(3, "steady", 0.5)
    done = compare_in_turn(machine.start, (DECODE,), PairLimits(most_pairs=4), lambda _: None, random.Random(3))
    assert (done.ended, done.figures[0].verdict) == ("pairs", "noise")


def test_the_error_is_shared_among_all_looks() -> None:
    for most in (1, 10, 11, 28, 100):
        limits = PairLimits(most_pairs=most)
        assert limits.looks[-1] == most
        assert list(limits.looks) == sorted(set(limits.looks))
        assert limits.alpha * len(limits.looks) == pytest.approx(0.05)
