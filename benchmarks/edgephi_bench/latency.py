"""Everything that `edgephi bench MODEL` measures, in order.

Owns the order of the parts and which process serves which. Knows nothing about how a part measures or how a report is
shown.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from edgephi.bundle import MANIFEST_NAME, Bundle
from edgephi.errors import ConfigError
from edgephi.machine import read_bandwidth
from edgephi.manifest import AdapterName
from edgephi_bench.environment import read_environment
from edgephi_bench.figures import Figure
from edgephi_bench.floor import Floor, step_bytes
from edgephi_bench.latency_report import BenchReport, ModelFacts, PeerFacts, Sentinel
from edgephi_bench.loading import measure_loads, measure_memory, measure_peer_memory
from edgephi_bench.peers import PeerSpec, Runner, check_peer, open_peer
from edgephi_bench.plan import BenchPlan, modes, routed_adapters
from edgephi_bench.rounds import OnLine, RunnerError, Task, measure_in_turn
from edgephi_bench.stages import measure_stages
from edgephi_bench.worker import WORKERS, Worker, WorkerError

_OURS = "edgephi"
_SENTINEL_TOKENS = 32


@dataclass(slots=True)
class _Found:
    """What has been measured so far."""

    figures: list[Figure] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    peers: dict[str, PeerFacts] = field(default_factory=dict)
    output: Sentinel | None = None
    decoded: list[tuple[Task, AdapterName]] = field(default_factory=list)  # by edgephi


def measure(plan: BenchPlan, command: tuple[str, ...], on_line: OnLine) -> BenchReport:
    """Measure a model folder, and the peers beside it.

    Args:
        plan: What.
        command: The command line, for the report.
        on_line: Told what is being measured.

    Raises:
        ArtifactError: The folder is no model.
        ConfigError: The plan asks for something that this model lacks.
        WorkerError: edgephi failed; what fails in a peer is in the report.
    """
    bundle = Bundle(plan.model)
    available = modes(bundle.manifest)
    longest = bundle.manifest.rope.max_positions
    if plan.longest > longest:
        raise ConfigError(f"{plan.longest:,} positions are asked for; this model takes {longest:,}")
    found = _Found()
    peers = _usable_peers(plan, found, on_line)
    if "load" in plan.parts:
        figures, notes = measure_loads(plan, on_line)
        found.figures += figures
        found.notes += notes
    if "requests" in plan.parts:
        found.figures += measure_stages(plan, available, on_line)
    _measure_in_turn(plan, bundle, peers, found, on_line)
    if "memory" in plan.parts:
        found.figures += [measure_memory(plan, mode, on_line) for mode in available]
        for peer in peers:
            if found.peers[peer.name].error:
                continue
            with _noting(found, peer.name):
                found.figures.append(measure_peer_memory(plan, peer, on_line))
    if "output" in plan.parts:
        _measure_output(plan, available, found, on_line)
    return BenchReport(
        model=_model_facts(bundle, available),
        environment=read_environment(command),
        threads=plan.threads,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        figures=tuple(found.figures),
        floors=tuple(found.floors),
        peers=tuple(found.peers[peer.name] for peer in plan.peers),
        output=found.output,
        notes=tuple(found.notes),
    )


def _usable_peers(plan: BenchPlan, found: _Found, on_line: OnLine) -> tuple[PeerSpec, ...]:
    """The peers that can be started; the others are named at once, before anything takes minutes."""
    usable = []
    for spec in plan.peers:
        found.peers[spec.name] = PeerFacts(name=spec.name, version=None, error=None)
        with _noting(found, spec.name):
            check_peer(spec)
            usable.append(spec)
        if error := found.peers[spec.name].error:
            on_line(f"{spec.name} will not be measured: {error}")
    return tuple(usable)


@contextmanager
def _noting(found: _Found, peer: str) -> Iterator[None]:
    """What fails inside is noted as the peer's."""
    try:
        yield
    except WorkerError as error:
        found.peers[peer] = PeerFacts(name=peer, version=found.peers[peer].version, error=str(error))


class _Speeds:
    """Memory's speed for each number of threads: the best that was seen, as other programs only ever lower it."""

    def __init__(self) -> None:
        self._best: dict[int, float] = {}

    def look(self, threads: int) -> None:
        self._best[threads] = max(self._best.get(threads, 0.0), read_bandwidth(threads))

    def __getitem__(self, threads: int) -> float:
        return self._best[threads]


def _measure_in_turn(
    plan: BenchPlan, bundle: Bundle, peers: tuple[PeerSpec, ...], found: _Found, on_line: OnLine
) -> None:
    """Prefill and decode with every peer, then decode with adapters and with other numbers of threads, ours alone."""
    speeds = _Speeds()
    if "decode" in plan.parts:
        speeds.look(plan.threads)
    if tasks := _tasks(plan):
        with _opened(plan, peers, found) as runners:
            for task in tasks:
                _one_task(plan, task, runners, found, on_line)
    if "decode" in plan.parts:  # once more: something else may have been busy the first time
        speeds.look(plan.threads)
    depth = min(plan.depths)
    if "decode" in plan.parts:
        for adapter in routed_adapters(bundle.manifest):
            task = Task(do="decode", tokens=plan.new_tokens, depth=depth, threads=plan.threads, mode=adapter)
            _ours_alone(plan, task, adapter, found, on_line)
    if "threads" in plan.parts:
        for threads in plan.thread_counts:
            if threads == plan.threads and "decode" in plan.parts:
                continue  # measured already
            task = Task(do="decode", tokens=plan.new_tokens, depth=depth, threads=threads)
            speeds.look(threads)
            _ours_alone(plan, task, "none", found, on_line)
    _add_floors(bundle, found, speeds)


def _tasks(plan: BenchPlan) -> list[Task]:
    tasks = []
    if "decode" in plan.parts:
        tasks += [Task(do="decode", tokens=plan.new_tokens, depth=depth, threads=plan.threads) for depth in plan.depths]
    if "prefill" in plan.parts:
        tasks.append(Task(do="prefill", tokens=plan.prompt_tokens, threads=plan.threads))
    return tasks


@contextmanager
def _opened(plan: BenchPlan, peers: tuple[PeerSpec, ...], found: _Found) -> Iterator[dict[str, Runner]]:
    """Ours and the peers, loaded; all are closed at the end."""
    with ExitStack() as stack:
        runners: dict[str, Runner] = {_OURS: stack.enter_context(_open_ours(plan, plan.threads, "none"))}
        for spec in peers:
            with _noting(found, spec.name):
                runner = open_peer(spec, threads=plan.threads, max_positions=plan.longest)
                stack.callback(runner.close)
                runners[spec.name] = runner
        yield runners


def _one_task(
    plan: BenchPlan,
    task: Task,
    runners: dict[str, Runner],
    found: _Found,
    on_line: OnLine,
    adapter: AdapterName = "none",
) -> None:
    """Measure a task; a peer that fails is left out from then on, ours is not asked for this again."""
    while runners:
        try:
            found.figures += measure_in_turn(runners, task, plan.runs, on_line)
        except RunnerError as error:
            if error.name == _OURS:
                found.notes.append(f"{task.name}, {task.condition}: {error}")
                return
            with _noting(found, error.name):
                raise
            del runners[error.name]
        else:
            for name, runner in runners.items():
                if name != _OURS:
                    found.peers[name] = PeerFacts(name=name, version=runner.version, error=None)
            if task.do == "decode":
                found.decoded.append((task, adapter))
            return


def _ours_alone(plan: BenchPlan, task: Task, adapter: AdapterName, found: _Found, on_line: OnLine) -> None:
    with _open_ours(plan, task.threads, adapter) as worker:
        _one_task(plan, task, {_OURS: worker}, found, on_line, adapter)


def _open_ours(plan: BenchPlan, threads: int, adapter: AdapterName) -> Worker:
    return Worker(WORKERS / "decoder_engine.py", {"model": str(plan.model), "threads": threads, "adapter": adapter})


def _add_floors(bundle: Bundle, found: _Found, speeds: _Speeds) -> None:
    """One for each decode that was measured."""
    ours = {figure.key: figure for figure in found.figures}
    for task, adapter in found.decoded:
        middle = task.depth + (task.tokens - 2) / 2  # the first step has `depth` positions before it, the last more
        found.floors.append(
            Floor(
                mode=task.mode,
                condition=task.condition,
                num_bytes=step_bytes(bundle, adapter).at(middle),
                bandwidth=speeds[task.threads],
                median_s=ours[_OURS, task.mode, task.name, task.condition].median,
            )
        )


def _measure_output(plan: BenchPlan, available: tuple[str, ...], found: _Found, on_line: OnLine) -> None:
    if "text" not in available:
        found.notes.append("greedy output: not measured, as this model takes no request of text alone")
        return
    on_line("greedy output")
    with Worker(WORKERS / "request_engine.py", {"model": str(plan.model), "threads": plan.threads}) as worker:
        found.output = Sentinel(**worker.ask("greedy", new_tokens=_SENTINEL_TOKENS))


def _model_facts(bundle: Bundle, available: tuple[str, ...]) -> ModelFacts:
    manifest = bundle.manifest
    return ModelFacts(
        path=str(bundle.path),
        source=manifest.source.id,
        recipe=manifest.recipe.name,
        modes=available,
        manifest_sha256=hashlib.sha256(bundle.file(MANIFEST_NAME).read_bytes()).hexdigest(),
    )
