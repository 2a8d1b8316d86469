"""Runners measured in turn, so that what else the machine does hits all of them alike.

Owns the order and the pairing of rounds. Knows nothing about what a runner is.
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


def measure_in_turn(
    runners: Mapping[str, Runner], task: Task, rounds: int, on_line: OnLine | None = None
) -> tuple[Figure, ...]:
    """One figure per runner from so many rounds, in each of which every runner is asked once, after one to warm up.

    Args:
        runners: By name, in the order of asking.
        task: What they are asked for.
        rounds: Counted ones.
        on_line: Told when a round begins.

    Raises:
        RunnerError: A runner failed.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in runners}
    for number in range(rounds + 1):
        if on_line:
            mode = "" if task.mode == "text" else f", {task.mode} adapter"
            on_line(
                f"{task.name}, {task.condition}{mode}: " + (f"round {number} of {rounds}" if number else "warming up")
            )
        for name, runner in runners.items():
            time.sleep(_PAUSE_SECONDS)
            seconds = _ask(name, runner, task)
            if number:
                samples[name].append(seconds)
    return tuple(
        Figure(
            runner=name,
            mode=task.mode,
            name=task.name,
            condition=task.condition,
            samples=tuple(second for seconds in found for second in seconds),
            rounds=tuple(statistics.fmean(seconds) for seconds in found),
        )
        for name, found in samples.items()
    )


def _ask(name: str, runner: Runner, task: Task) -> list[float]:
    try:
        if task.do == "prefill":
            return runner.ask("prefill", tokens=task.tokens)
        return runner.ask("decode", tokens=task.tokens, depth=task.depth)
    except WorkerError as error:
        raise RunnerError(name, error) from error
