"""Prefill and decode in turn with peers, decode with adapters and other numbers of threads, and their floors."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import Adapter
from edgephi_bench.engines.peers import PeerSpec, Runner, open_peer
from edgephi_bench.engines.worker import WORKERS, Worker
from edgephi_bench.latency.plan import BenchPlan, routed_adapters
from edgephi_bench.latency.report import PeerFacts, Repeat
from edgephi_bench.latency.results import DecodeResult, Results
from edgephi_bench.latency.rounds import OURS, OnLine, RoundOptions, RunnerError, Task, measure_in_turn
from edgephi_bench.measure.arithmetic import ArithmeticFloor, prefill_operations
from edgephi_bench.measure.measurement import PREFILL, Figure
from edgephi_bench.measure.memory_bandwidth import LEAST_BYTES, MemoryReader
from edgephi_bench.measure.roofline import Roofline, RooflineRound, step_bytes

_REPEAT_RUNS = 3
#: The runner that reads prompts as a folder without a graph for prefill does.
DECODE_GRAPH = "edgephi, decode graph"


def measure_decoding(
    plan: BenchPlan, bundle: Bundle, peers: tuple[PeerSpec, ...], results: Results, on_line: OnLine
) -> None:
    """Prefill and decode with every peer, then decode with adapters and with other numbers of threads, ours alone."""
    session = _Session(plan=plan, results=results, on_line=on_line, speed=_read_speed(plan, results))
    if tasks := _tasks(plan):
        with _opened(plan, peers, results) as runners:
            for task in tasks:
                if task.do == "decode":
                    session.measure(task, runners)
            session.measure_prefill([task for task in tasks if task.do == "prefill"], runners, bundle)
    depth = min(plan.depths)
    if "decode" in plan.parts:
        for adapter in routed_adapters(bundle.manifest):
            task = dataclasses.replace(_decode(plan, plan.new_tokens[0], depth), mode=adapter)
            session.measure_alone(task, adapter)
    if "threads" in plan.parts:
        for threads in plan.thread_counts:
            if threads == plan.threads and "decode" in plan.parts:
                continue  # measured already
            session.measure_alone(dataclasses.replace(_decode(plan, plan.new_tokens[0], depth), threads=threads))
    session.add_floors(bundle)


def _read_speed(plan: BenchPlan, results: Results) -> MemoryReader | None:
    """The reader of memory beside decode; None where nothing is decoded."""
    if not plan.parts & {"decode", "threads"}:
        return None
    speed = MemoryReader()
    if speed.num_bytes < LEAST_BYTES:
        results.notes.append(
            f"memory's speed: read from only {speed.num_bytes / 1e6:,.0f} MB, as little is free; caches may have had a "
            "part in it"
        )
    return speed


def _decode(plan: BenchPlan, new_tokens: int, depth: int) -> Task:
    return Task(
        do="decode", tokens=new_tokens, depth=depth, threads=plan.threads, names_tokens=len(plan.new_tokens) > 1
    )


def _tasks(plan: BenchPlan) -> list[Task]:
    tasks = []
    if "decode" in plan.parts:
        tasks += [_decode(plan, new, depth) for depth in plan.depths for new in plan.new_tokens]
    if "prefill" in plan.parts:
        tasks += [Task(do="prefill", tokens=tokens, threads=plan.threads) for tokens in plan.prompt_tokens]
    return tasks


@contextmanager
def _opened(plan: BenchPlan, peers: tuple[PeerSpec, ...], results: Results) -> Iterator[dict[str, Runner]]:
    """Ours and the peers, loaded; all are closed at the end."""
    with ExitStack() as stack:
        runners: dict[str, Runner] = {OURS: stack.enter_context(open_ours(plan, plan.threads, "none"))}
        for spec in peers:
            with results.noting(spec.name):
                runner = open_peer(spec, threads=plan.threads, max_positions=plan.longest)
                stack.callback(runner.close)
                runners[spec.name] = runner
        yield runners


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """The parts that all tasks of a run have in common."""

    plan: BenchPlan
    results: Results
    on_line: OnLine
    speed: MemoryReader | None

    def measure(self, task: Task, runners: dict[str, Runner], adapter: Adapter = "none") -> None:
        """Measure a task; a peer that fails is left out from then on, ours is not asked for this again."""
        results = self.results
        beside = functools.partial(self.speed.measure, task.threads) if self.speed and task.do == "decode" else None
        options = RoundOptions(
            warmup=self.plan.warmup, delay_s=self.plan.delay_s, read_speed=beside, observer=results.observer
        )
        while runners:
            try:
                measured = measure_in_turn(runners, task, self.plan.runs, self.on_line, options)
            except RunnerError as error:
                if error.name == OURS:
                    results.notes.append(f"{task.name}, {task.condition}: {error}")
                    return
                with results.noting(error.name):
                    raise
                del runners[error.name]
            else:
                results.figures += measured.figures
                for name, runner in runners.items():
                    if name != OURS:
                        results.peers[name] = PeerFacts(name=name, version=runner.version, error=None)
                if task.do == "decode":
                    results.decoded.append(DecodeResult(task=task, adapter=adapter, read_speeds=measured.read_speeds))
                return

    def measure_alone(self, task: Task, adapter: Adapter = "none") -> None:
        """Measure a task of edgephi's in a process of its own."""
        with open_ours(self.plan, task.threads, adapter) as worker:
            self.measure(task, {OURS: worker}, adapter)

    def measure_prefill(self, tasks: list[Task], runners: dict[str, Runner], bundle: Bundle) -> None:
        """Measure them; where the folder has a graph for prefill, in turn with the same folder without it."""
        if not tasks:
            return
        with ExitStack() as stack:
            every = dict(runners)
            if bundle.manifest.decoder.prefill_graph or bundle.manifest.derived_prefill:
                self.results.peers[DECODE_GRAPH] = PeerFacts(name=DECODE_GRAPH, version=None, error=None)
                with self.results.noting(DECODE_GRAPH):
                    every[DECODE_GRAPH] = stack.enter_context(
                        open_ours(self.plan, self.plan.threads, "none", prefill_threshold=0)
                    )
            for task in tasks:
                self.measure(task, every)
            if error := self._error_of(DECODE_GRAPH):
                self.results.notes.append(f"{DECODE_GRAPH}: {error}")
        self._add_arithmetic(runners, bundle)

    def _error_of(self, name: str) -> str | None:
        return self.results.peers[name].error if name in self.results.peers else None

    def _add_arithmetic(self, runners: dict[str, Runner], bundle: Bundle) -> None:
        """The floor of each prefill that was measured, and from which length on the graph for prefill serves."""
        ours = runners.get(OURS)
        if not isinstance(ours, Worker):
            return
        rate = float(ours.ask("int8_rate"))
        self.results.prefill_threshold = ours.ask("threshold")
        self.results.arithmetic += [
            ArithmeticFloor(
                mode=figure.mode,
                condition=figure.condition,
                operations=prefill_operations(bundle, figure.condition.tokens),
                int8_rate=rate,
                median_s=figure.median,
            )
            for figure in self.results.figures
            if (figure.runner, figure.name) == (OURS, PREFILL) and figure.condition.tokens is not None
        ]

    def add_floors(self, bundle: Bundle) -> None:
        """One for each decode that was measured."""
        ours = {figure.key: figure for figure in self.results.figures}
        for done in self.results.decoded:
            assert self.speed is not None  # there is one wherever something is decoded
            task = done.task
            figure = ours[OURS, task.mode, task.name, task.condition]
            middle = task.depth + (task.tokens - 2) / 2  # the first step has `depth` positions before it, the last more
            pairs = zip(done.read_speeds, figure.rounds, strict=True)
            self.results.floors.append(
                Roofline(
                    mode=task.mode,
                    condition=task.condition,
                    num_bytes=step_bytes(bundle, done.adapter, self.plan.kv_cache).at(middle),
                    rounds=tuple(RooflineRound(bandwidth=speed, mean_step_s=step) for speed, step in pairs),
                    best_bandwidth=self.speed.best(task.threads),
                    median_s=figure.median,
                )
            )


def open_ours(plan: BenchPlan, threads: int, adapter: Adapter, **options: int) -> Worker:
    """A new process with edgephi's decoder; `options` are further ones of the model."""
    return Worker(WORKERS / "edgephi_decoder.py", plan.engine(threads) | {"adapter": adapter} | options)


def measure_repeats(plan: BenchPlan, count: int, on_line: OnLine) -> list[float]:
    """The first decode's median step in so many new processes.

    Raises:
        WorkerError: It failed.
    """
    medians = []
    task = _decode(plan, plan.new_tokens[0], min(plan.depths))
    for number in range(1, count + 1):
        on_line(f"{task.name}, {task.condition}, again in a new process: {number} of {count}")
        with open_ours(plan, plan.threads, "none") as worker:
            options = RoundOptions(warmup=plan.warmup, delay_s=plan.delay_s)
            (figure,) = measure_in_turn({OURS: worker}, task, min(plan.runs, _REPEAT_RUNS), None, options).figures
        medians.append(figure.median)
    return medians


def as_repeat(plan: BenchPlan, figures: list[Figure], medians: list[float]) -> Repeat:
    """These processes, with the one that measured the figure itself where there is one."""
    task = _decode(plan, plan.new_tokens[0], min(plan.depths))
    key = (OURS, task.mode, task.name, task.condition)
    own = [statistics.median(figure.samples) for figure in figures if figure.key == key]
    return Repeat(mode=task.mode, name=task.name, condition=task.condition, processes=(*own, *medians))
