"""Runners measured in turn, so that what else the machine does hits all of them alike.

What ran before a runner leaves caches, clock and the host's goodwill behind, so nobody always follows the same one:
every round begins with the next runner, and goes round the other way than the one before it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

from edgephi_bench.engines.peers import Runner
from edgephi_bench.engines.worker import WorkerError
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.measurement import DECODE_STEP, PREFILL, Figure
from edgephi_bench.measure.observer import Observer, Round

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
        names_tokens: Whether the condition has the number of generated tokens, as where several are measured.
    """

    do: Literal["prefill", "decode"]
    tokens: int
    depth: int = 0
    threads: int = 1
    mode: str = "text"
    names_tokens: bool = False

    @property
    def name(self) -> str:
        """Of the figure."""
        return PREFILL if self.do == "prefill" else DECODE_STEP

    @property
    def condition(self) -> Condition:
        """Of the figure."""
        if self.do == "prefill":
            return Condition(kind="prefill", tokens=self.tokens, threads=self.threads)
        new_tokens = self.tokens if self.names_tokens else None
        return Condition(kind="decode", depth=self.depth, new_tokens=new_tokens, threads=self.threads)

    def round(self, number: int) -> Round:
        """One round of it, for an observer. A pass that is not timed comes before the steps, and counts for energy."""
        of = "prompt token" if self.do == "prefill" else "token"
        return Round(
            mode=self.mode,
            name=self.name,
            condition=self.condition,
            number=number,
            amount=float(self.tokens),
            amount_of=of,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """The results of all rounds of a task.

    Attributes:
        figures: One per runner, in the runners' order.
        read_speeds: For each round bytes per second read from memory beside edgephi's turn; empty where not measured.
    """

    figures: tuple[Figure, ...]
    read_speeds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOptions:
    """The extra work around the turns of a round.

    Attributes:
        warmup: Rounds before those that count.
        delay_s: Rest before every turn, besides the moment that thread pools need.
        read_speed: Asked just before and just after `edgephi` in every round, whose speed is the mean of both.
        observer: Notes what the machine did.
    """

    warmup: int = 1
    delay_s: float = 0.0
    read_speed: Callable[[], float] | None = None
    observer: Observer | None = None


_PLAIN = RoundOptions()


def measure_in_turn(
    runners: Mapping[str, Runner],
    task: Task,
    rounds: int,
    on_line: OnLine | None = None,
    options: RoundOptions = _PLAIN,
) -> TaskResult:
    """So many rounds, in each of which every runner is asked once.

    Args:
        runners: By name.
        task: What they are asked for.
        rounds: Counted ones.
        on_line: Called when a round begins.
        options: What else is done in a round.

    Raises:
        RunnerError: A runner failed.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in runners}
    speeds: list[float] = []
    for number in range(1 - options.warmup, rounds + 1):
        if on_line:
            mode = "" if task.mode == "text" else f", {task.mode} adapter"
            on_line(f"{task.name}, {task.condition}{mode}: {round_words(number, rounds)}")
        with options.observer.round(task.round(number)) if options.observer else nullcontext():
            for name in turns(tuple(runners), number):
                seconds, speed = _turn(name, runners[name], task, options)
                if number > 0:
                    samples[name].append(seconds)
                    speeds += speed
    return TaskResult(
        figures=tuple(_figure(name, task, found) for name, found in samples.items()), read_speeds=tuple(speeds)
    )


def _turn(name: str, runner: Runner, task: Task, options: RoundOptions) -> tuple[list[float], list[float]]:
    """A runner's seconds, and the speed of memory beside it if that is wanted."""
    beside = options.read_speed if name == OURS else None
    rest(options.delay_s)
    before = beside() if beside else 0.0
    with options.observer.turn() if options.observer and name == OURS else nullcontext():
        seconds = _ask(name, runner, task)
    if not beside:
        return seconds, []
    pause()
    return seconds, [(before + beside()) / 2]


def round_words(number: int, rounds: int) -> str:
    """Where one is."""
    return f"round {number} of {rounds}" if number > 0 else "warming up"


def rest(seconds: float) -> None:
    """Pause, and so many seconds more, in which a device may cool."""
    pause()
    if seconds:
        time.sleep(seconds)


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
