"""Runners measured in turn, so that what else the machine does hits all of them alike.

Owns the order and the pairing of rounds. Knows nothing about what a runner is.

What ran before a runner leaves caches, clock and the host's goodwill behind, so nobody always follows the same one:
every round begins with the next runner, and goes round the other way than the one before it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from edgephi_bench.figures import Figure
from edgephi_bench.peers import Runner
from edgephi_bench.worker import WorkerError

OnLine = Callable[[str], None]
OURS = "edgephi"
#: Thread pools spin for a moment after a run; nobody's spinning may be in another's time.
_PAUSE_SECONDS = 0.1


class RunnerError(WorkerError):
    """A runner failed in a round. `name` is the runner's."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(str(error))
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing that every runner is asked for.

    Attributes:
        do: Reading a prompt, or steps between generated tokens.
        tokens: Of the prompt; or generated ones, which have one step less between them.
        depth: Positions cached before the first step.
        threads: That the runners were started with.
        mode: `text`, or the modality whose adapter is on.
    """

    do: Literal["prefill", "decode"]
    tokens: int
    depth: int = 0
    threads: int = 1
    mode: str = "text"

    @property
    def name(self) -> str:
        """Of the figure."""
        return "prefill" if self.do == "prefill" else "decode step"

    @property
    def condition(self) -> str:
        """Of the figure."""
        what = f"{self.tokens} tokens" if self.do == "prefill" else f"depth {self.depth}"
        return f"{what}, {self.threads} thread{'s' * (self.threads != 1)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What all rounds of a task gave.

    Attributes:
        figures: One per runner, in the runners' order.
        read_speeds: For each round bytes per second read from memory beside edgephi's turn; empty where not measured.
    """

    figures: tuple[Figure, ...]
    read_speeds: tuple[float, ...]


def measure_in_turn(
    runners: Mapping[str, Runner],
    task: Task,
    rounds: int,
    on_line: OnLine | None = None,
    read_speed: Callable[[], float] | None = None,
) -> Measured:
    """So many rounds, in each of which every runner is asked once, after one to warm up.

    Args:
        runners: By name.
        task: What they are asked for.
        rounds: Counted ones.
        on_line: Told when a round begins.
        read_speed: Asked just before and just after `edgephi` in every round, whose speed is the mean of both.

    Raises:
        RunnerError: A runner failed.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in runners}
    speeds: list[float] = []
    for number in range(rounds + 1):
        if on_line:
            mode = "" if task.mode == "text" else f", {task.mode} adapter"
            on_line(
                f"{task.name}, {task.condition}{mode}: " + (f"round {number} of {rounds}" if number else "warming up")
            )
        for name in turns(tuple(runners), number):
            beside = read_speed if name == OURS else None
            pause()
            before = beside() if beside else 0.0
            seconds = _ask(name, runners[name], task)
            if number:
                samples[name].append(seconds)
            if beside:
                pause()
                after = beside()
                speeds += [(before + after) / 2] if number else []
    return Measured(
        figures=tuple(_figure(name, task, found) for name, found in samples.items()), read_speeds=tuple(speeds)
    )


def pause() -> None:
    """Let the last runner's threads come to rest."""
    time.sleep(_PAUSE_SECONDS)


def turns(names: tuple[str, ...], number: int) -> tuple[str, ...]:
    """The order of asking in a round: it begins with name `number`, going round, and every other round goes backwards.

    Of three runners each follows each of the others equally often within six rounds.
    """
    step = -1 if number % 2 else 1
    return tuple(names[(number + step * place) % len(names)] for place in range(len(names)))


def _figure(name: str, task: Task, found: list[list[float]]) -> Figure:
    return Figure(
        runner=name,
        mode=task.mode,
        name=task.name,
        condition=task.condition,
        samples=tuple(second for seconds in found for second in seconds),
        rounds=tuple(statistics.fmean(seconds) for seconds in found),
    )


def _ask(name: str, runner: Runner, task: Task) -> list[float]:
    try:
        if task.do == "prefill":
            return runner.ask("prefill", tokens=task.tokens)
        return runner.ask("decode", tokens=task.tokens, depth=task.depth)
    except WorkerError as error:
        raise RunnerError(name, error) from error
