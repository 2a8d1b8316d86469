"""Two builds or two model folders in turn, until it is decided whether one is slower.

What the machine does changes from second to second and hits both alike, if they are asked by turns within fractions of
a second and in an order that is drawn anew each time. What a process happens to get at its start, such as its place in
memory, stays with it and looks like a change; so every pair is a new process of each, and a pair counts once.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from edgephi_bench.comparison.signed_rank import Estimate, signed_rank
from edgephi_bench.comparison.verdicts import ALPHA, THRESHOLD, WORSE, Rule, Verdict, holm, verdict
from edgephi_bench.latency.rounds import OnLine, Task
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.measurement import percentile

#: After so many pairs a look decides whether all figures are certain; ALPHA is shared among the looks.
LOOKS = (8, 12, 18, 28)
#: What else computes makes most steps slower and some much slower; the quarter of the fastest feels it last.
_PERCENT = 25
_WARM_UPS, _LEAST_ROUNDS, _MOST_ROUNDS, _ROUND_SECONDS = 2, 4, 120, 0.8
_PAUSE_SECONDS = 0.01  # the other's thread pool spins for a moment after its turn

Ended = Literal["decided", "pairs", "time"]


class TimedDecoder(Protocol):
    """A worker, or what stands for one."""

    def ask(self, do: str, **request: Any) -> Any:
        """Seconds of a `prefill`, or of each step of a `decode`."""

    def close(self) -> None:
        """End it."""


#: Starts a new process of the first build (0) or the second (1).
Open = Callable[[int], TimedDecoder]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLimits:
    """How far a comparison goes.

    Attributes:
        threshold: The smallest change that matters, as a share.
        most_pairs: New processes of each build.
        most_seconds: After which no new pair is begun.
    """

    threshold: float = THRESHOLD
    most_pairs: int = LOOKS[-1]
    most_seconds: float = 600.0

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of pairs after which it is looked; the last is the largest number."""
        return (*(look for look in LOOKS if look < self.most_pairs), self.most_pairs)

    @property
    def alpha(self) -> float:
        """Of one look: all together see a change that is not there in at most ALPHA of all comparisons."""
        return ALPHA / len(self.looks)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedFigure:
    """One task of both.

    Attributes:
        name: Of the figure.
        condition: Of the figure.
        before: Seconds of the first build: median over all turns of each turn's lower quartile.
        after: Of the second.
        pairs: In each pair, how much slower the second was, as a share.
        loss: Over all pairs; negative where the second is faster.
        low: Lower end of the loss's interval; None where so few pairs bound nothing.
        high: Upper end.
        p: Probability of such pairs, where there is no change, corrected for the number of figures.
        verdict: See `verdicts.py`.
    """

    name: str
    condition: Condition
    before: float
    after: float
    pairs: tuple[float, ...]
    loss: float
    low: float | None
    high: float | None
    p: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """All figures.

    Attributes:
        figures: One for each task.
        num_pairs: New processes of each build.
        seconds: That it took.
        ended: Because all is `decided`, or for lack of `pairs` or `time`.
        threshold: The smallest change that matters.
    """

    figures: tuple[PairedFigure, ...]
    num_pairs: int
    seconds: float
    ended: Ended
    threshold: float

    @property
    def regressions(self) -> tuple[PairedFigure, ...]:
        """The figures that became slower."""
        return tuple(figure for figure in self.figures if figure.verdict in WORSE)


@dataclass(frozen=True, slots=True)
class _PairTimes:
    """The figures of one pair for one task: one of each round, of both."""

    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def log_ratio(self) -> float:
        return statistics.median(
            math.log(second / first) for first, second in zip(self.before, self.after, strict=True)
        )


def compare_in_turn(
    start: Open, tasks: tuple[Task, ...], limits: PairLimits, on_line: OnLine, chance: random.Random | None = None
) -> PairedComparison:
    """Ask both by turns, pair after pair, until every figure is decided or a limit is reached.

    Args:
        start: Starts a process of one of them.
        tasks: What both are asked for.
        limits: Of pairs and time.
        on_line: Called with a line of progress.
        chance: Draws the orders; None for one that differs every time.

    Raises:
        WorkerError: One of them failed.
    """
    chance, begin = chance or random.Random(), time.monotonic()
    found: dict[Task, list[_PairTimes]] = {task: [] for task in tasks}
    figures: tuple[PairedFigure, ...] = ()
    number, ended = 0, "pairs"
    while number < limits.most_pairs:
        number += 1
        on_line(_progress(number, time.monotonic() - begin, figures, limits))
        for task, turns in _one_pair(start, tasks, chance).items():
            found[task].append(turns)
        is_late = time.monotonic() - begin >= limits.most_seconds
        if number not in limits.looks and not is_late:
            continue
        figures = _judged(found, limits)
        if all(figure.verdict != "noise" for figure in figures):
            ended = "decided"
            break
        if is_late:
            ended = "time"
            break
    return PairedComparison(
        figures=figures,
        num_pairs=number,
        seconds=time.monotonic() - begin,
        ended=ended,  # type: ignore[arg-type]  # one of the three above
        threshold=limits.threshold,
    )


def _progress(number: int, seconds: float, figures: tuple[PairedFigure, ...], limits: PairLimits) -> str:
    look = next(look for look in limits.looks if look >= number)
    open_figures = [figure.name for figure in figures if figure.verdict == "noise"]
    left = f"; about {seconds / (number - 1) * (look - number + 1):.0f} s to the next look" if number > 1 else ""
    return f"pair {number} of at most {limits.most_pairs}, a look after {look}{left}" + (
        f"; undecided: {', '.join(open_figures)}" if open_figures else ""
    )


def _one_pair(start: Open, tasks: tuple[Task, ...], chance: random.Random) -> dict[Task, _PairTimes]:
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        begin = time.monotonic()
        starting = {side: pool.submit(start, side) for side in _either_way(chance)}
        for future in starting.values():  # waits for both: where one fails, the other must be closed
            if future.exception() is None:
                stack.callback(future.result().close)
        sides = {side: future.result() for side, future in starting.items()}
        # Where starting takes long, a pair is worth more rounds.
        seconds = max(_ROUND_SECONDS, (time.monotonic() - begin) / len(tasks))
        return {task: _turns(sides, task, chance, seconds) for task in tasks}


def _turns(sides: Mapping[int, TimedDecoder], task: Task, chance: random.Random, seconds: float) -> _PairTimes:
    """Rounds for so many seconds, within the least and the most number of them."""
    taken: tuple[list[float], list[float]] = ([], [])
    end = math.inf
    for number in range(-_WARM_UPS, _MOST_ROUNDS):
        if number == 0:
            end = time.monotonic() + seconds
        if number >= _LEAST_ROUNDS and time.monotonic() >= end:
            break
        for side in _either_way(chance):
            time.sleep(_PAUSE_SECONDS)
            samples = tuple(sides[side].ask(task.do, **_request(task)))
            if number >= 0:
                taken[side].append(percentile(samples, _PERCENT))
    return _PairTimes(tuple(taken[0]), tuple(taken[1]))


def _request(task: Task) -> dict[str, int]:
    return {"tokens": task.tokens} | ({"depth": task.depth} if task.do == "decode" else {})


def _either_way(chance: random.Random) -> tuple[int, int]:
    return (0, 1) if chance.random() < 0.5 else (1, 0)


def _judged(found: Mapping[Task, list[_PairTimes]], limits: PairLimits) -> tuple[PairedFigure, ...]:
    alpha = limits.alpha
    rule = Rule(threshold=limits.threshold, alpha=alpha)
    estimates = [signed_rank([turns.log_ratio for turns in pairs], alpha / len(found)) for pairs in found.values()]
    corrected = holm([estimate.p for estimate in estimates])
    return tuple(
        _figure(task, pairs, estimate, p, verdict(estimate, p, rule, "s"))
        for (task, pairs), estimate, p in zip(found.items(), estimates, corrected, strict=True)
    )


def _figure(task: Task, pairs: list[_PairTimes], estimate: Estimate, p: float, ruling: Verdict) -> PairedFigure:
    low, high = (None if end is None else math.expm1(end) for end in (estimate.low, estimate.high))
    return PairedFigure(
        name=task.name,
        condition=task.condition,
        before=statistics.median(value for turns in pairs for value in turns.before),
        after=statistics.median(value for turns in pairs for value in turns.after),
        pairs=tuple(math.expm1(turns.log_ratio) for turns in pairs),
        loss=math.expm1(estimate.value),
        low=low,
        high=high,
        p=p,
        verdict=ruling,
    )
