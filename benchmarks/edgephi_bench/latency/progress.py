"""How much of a run is left."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgephi.base.step import OnStep, Step
from edgephi.base.units import human_duration
from edgephi.bundle.bundle import Bundle
from edgephi_bench.latency.plan import BenchPlan, routed_adapters
from edgephi_bench.latency.request_kinds import requests_of

_MOST_LOADS = 3
#: Before so many seconds the time that is left cannot be estimated.
_LEAST_SECONDS = 3.0


class Progress:
    """Counts the steps of a run, and estimates how long it still takes.

    Args:
        total: Steps that will come.
        on_step: Called with each; the label begins with how far the run is.
        clock: Seconds; for tests.
    """

    def __init__(self, total: int, on_step: OnStep, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self._on_step, self._clock = total, on_step, clock
        self._begin, self.done = clock(), 0

    def __call__(self, line: str) -> None:
        """A step begins."""
        seconds, steps = self._clock() - self._begin, self.done
        self.done += 1
        left = ""
        if steps and seconds >= _LEAST_SECONDS and self.done <= self.total:
            left = f", about {human_duration(seconds / steps * (self.total - steps))} left"
        at = min(self.done, self.total)
        self._on_step(Step(label=f"[{at}/{self.total}{left}] {line}", done=at - 1, total=self.total))

    def note(self, line: str) -> None:
        """Something to know at once that is no step, such as that a peer will not be measured."""
        self._on_step(Step(label=line, done=self.done, total=self.total, stays=True))


def count_steps(plan: BenchPlan, modes: tuple[str, ...], bundle: Bundle) -> int:
    """Steps that measuring a plan reports, if no peer fails."""
    rounds = plan.warmup + plan.runs
    requests = requests_of(plan, modes)
    tasks = len(plan.depths) * len(plan.new_tokens) * ("decode" in plan.parts)
    tasks += len(plan.prompt_tokens) * ("prefill" in plan.parts)
    if "decode" in plan.parts:
        tasks += len(routed_adapters(bundle.manifest))
    if "threads" in plan.parts:
        tasks += sum(count != plan.threads or "decode" not in plan.parts for count in plan.thread_counts)
    parts = {
        "load": plan.drop_cache + min(plan.runs, _MOST_LOADS),
        "requests": len(requests) * rounds + ("text" in modes),
        "memory": len(modes) + len(plan.peers),
        "output": 1,
        "repeat": plan.repeats,
    }
    return tasks * rounds + sum(count for part, count in parts.items() if part in plan.parts)
