"""Measuring in turn: nobody gets the quiet minutes for himself."""

from __future__ import annotations

import pytest

from edgephi_bench import rounds
from edgephi_bench.rounds import RunnerError, Task, measure_in_turn
from edgephi_bench.worker import WorkerError

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


class _Broken(_Runner):
    def ask(self, do: str, *, tokens: int, depth: int = 0) -> list[float]:
        raise WorkerError("no memory")


def test_runners_are_asked_by_turns_and_the_first_round_does_not_count() -> None:
    log: list[str] = []
    ours = _Runner("ours", log, [[9.0, 9.0], [1.0, 3.0], [2.0, 2.0]])
    peer = _Runner("peer", log, [[9.0], [4.0], [6.0]])
    mine, theirs = measure_in_turn({"edgephi": ours, "peer": peer}, DECODE, 2)
    assert log == ["ours decode 3 5", "peer decode 3 5"] * 3
    assert (mine.samples, mine.rounds) == ((1.0, 3.0, 2.0, 2.0), (2.0, 2.0))
    assert (theirs.runner, theirs.samples, theirs.rounds) == ("peer", (4.0, 6.0), (4.0, 6.0))


def test_a_failure_says_whose_it_is() -> None:
    with pytest.raises(RunnerError, match="no memory") as caught:
        measure_in_turn({"edgephi": _Runner("ours", [], [[1.0]] * 9), "peer": _Broken("peer", [], [])}, DECODE, 2)
    assert caught.value.name == "peer"


def test_conditions_tell_figures_apart() -> None:
    tasks = [DECODE, Task(do="decode", tokens=3, depth=6, threads=2), Task(do="decode", tokens=3, depth=5, threads=1)]
    assert len({task.condition for task in tasks}) == 3
    assert Task(do="prefill", tokens=512, threads=1).condition == "512 tokens, 1 thread"
