"""Measuring in turn: nobody gets the quiet minutes for himself."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from edgephi.base.hardware import Memory
from edgephi_bench.engines.worker import WorkerError
from edgephi_bench.latency import rounds
from edgephi_bench.latency.rounds import RoundOptions, RunnerError, Task, measure_in_turn, turns
from edgephi_bench.measure import memory_bandwidth as read_speed
from edgephi_bench.measure.memory_bandwidth import MemoryReader

DECODE = Task(do="decode", tokens=3, depth=5, threads=2)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_PAUSE_SECONDS", 0)


class _Runner:
    version = "1"
    peak_bytes = 0

    def __init__(self, name: str, log: list[str], seconds: list[list[float]]) -> None:
        self._name, self._log, self._seconds = name, log, iter(seconds)

    def ask(self, do: str, *, tokens: int, depth: int = 0) -> list[float]:
        self._log.append(f"{self._name} {do} {tokens} {depth}")
        return next(self._seconds)

    def close(self) -> None:
        pass


class _BrokenRunner(_Runner):
    def ask(self, do: str, *, tokens: int, depth: int = 0) -> list[float]:
        raise WorkerError("no memory")


def test_runners_are_asked_by_turns_and_the_first_round_does_not_count() -> None:
    log: list[str] = []
    ours = _Runner("ours", log, [[9.0, 9.0], [1.0, 3.0], [2.0, 2.0]])
    peer = _Runner("peer", log, [[9.0], [4.0], [6.0]])
    mine, theirs = measure_in_turn({"edgephi": ours, "peer": peer}, DECODE, 2).figures
    both = ["ours decode 3 5", "peer decode 3 5"]
    assert log == [*both, *reversed(both), *both]
    assert (mine.samples, mine.rounds) == ((1.0, 3.0, 2.0, 2.0), (2.0, 2.0))
    assert (theirs.runner, theirs.samples, theirs.rounds) == ("peer", (4.0, 6.0), (4.0, 6.0))


@pytest.mark.parametrize("count", [2, 3])
def test_each_runner_follows_each_other_equally_often(count: int) -> None:
    # Who always follows a program that has just swept the caches is slower for no fault of its own.
    names = tuple("abc"[:count])
    orders = [turns(names, number) for number in range(6)]
    assert all(sorted(order) == sorted(names) for order in orders)
    assert [order[0] for order in orders] == [names[number % count] for number in range(6)]
    followed = Counter(pair for order in orders for pair in itertools.pairwise(order))
    assert set(followed) == set(itertools.permutations(names, 2))
    assert len(set(followed.values())) == 1


def test_memory_is_read_around_our_turn_of_every_counted_round() -> None:
    log: list[str] = []
    speeds = iter([99.0, 99.0, 10.0, 20.0, 30.0, 50.0])

    def read() -> float:
        log.append("read")
        return next(speeds)

    ours = _Runner("ours", log, [[1.0]] * 3)
    peer = _Runner("peer", log, [[1.0]] * 3)
    measured = measure_in_turn({"edgephi": ours, "peer": peer}, DECODE, 2, None, RoundOptions(read_speed=read))
    assert measured.read_speeds == (15.0, 40.0)
    places = [place for place, line in enumerate(log) if line.startswith("ours")]
    assert len(places) == 3
    assert all(log[place - 1] == log[place + 1] == "read" for place in places)
    assert log.count("read") == 6


def test_nobody_spins_while_memory_is_read_or_another_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Threads that still spin from the last turn slow the reading, and a slow reading flatters the share of the floor.
    log: list[str] = []
    monkeypatch.setattr(rounds, "pause", lambda: log.append("pause"))

    def read() -> float:
        log.append("read")
        return 1.0

    runners = {name: _Runner(name, log, [[1.0]] * 3) for name in ("peer", "edgephi")}
    measure_in_turn(runners, DECODE, 2, None, RoundOptions(read_speed=read))
    for last, following in itertools.pairwise(log):
        assert following == "pause" or last in {"pause", "read"}


def test_the_mean_speed_of_memory_is_at_most_the_best_and_each_thread_count_has_its_own() -> None:
    speed = MemoryReader(1 << 24)
    assert speed.num_bytes == 1 << 24
    assert 10e6 < speed.measure(3) <= speed.best(3)
    with pytest.raises(KeyError):
        speed.best(2)


def test_the_buffer_is_a_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a small device the measuring must not push the models that it measures out of memory.
    free = Memory(total_bytes=1 << 30, available_bytes=100 << 20, limit_bytes=None)
    monkeypatch.setattr(read_speed, "memory", lambda: free)
    assert MemoryReader().num_bytes == 25 << 20


def test_a_failure_says_whose_it_is() -> None:
    with pytest.raises(RunnerError, match="no memory") as caught:
        measure_in_turn({"edgephi": _Runner("ours", [], [[1.0]] * 9), "peer": _BrokenRunner("peer", [], [])}, DECODE, 2)
    assert caught.value.name == "peer"


def test_conditions_distinguish_figures() -> None:
    tasks = [DECODE, Task(do="decode", tokens=3, depth=6, threads=2), Task(do="decode", tokens=3, depth=5, threads=1)]
    assert len({task.condition for task in tasks}) == 3
    assert str(Task(do="prefill", tokens=512, threads=1).condition) == "512 tokens, 1 thread"
