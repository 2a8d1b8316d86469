"""Everything that `edgephi bench MODEL` measures, in order.

Owns the order of the parts and which process serves which. Knows nothing about how a part measures or how a report is
shown.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from edgephi.bundle import MANIFEST_NAME, Bundle
from edgephi.errors import ConfigError
from edgephi.kv_cache import check_cache_kind
from edgephi.manifest import AdapterName
from edgephi_bench.environment import read_environment
from edgephi_bench.figures import Figure
from edgephi_bench.floor import Floor, FloorRound, step_bytes
from edgephi_bench.latency_report import BenchReport, ModelFacts, PeerFacts, Sentinel
from edgephi_bench.loading import measure_loads, measure_memory, measure_peer_memory
from edgephi_bench.peer_requests import lacking, takes_requests
from edgephi_bench.peers import PeerSpec, Runner, check_peer, open_peer
from edgephi_bench.plan import MODES, BenchPlan, modes, routed_adapters
from edgephi_bench.read_speed import LEAST_BYTES, ReadSpeed
from edgephi_bench.rounds import OURS, OnLine, RunnerError, Task, measure_in_turn
from edgephi_bench.stages import measure_stages
from edgephi_bench.worker import WORKERS, Worker, WorkerError

_SENTINEL_TOKENS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    """A decode of edgephi's that was measured, and what was read from memory beside it."""

    task: Task
    adapter: AdapterName
    read_speeds: tuple[float, ...]


@dataclass(slots=True)
class _Found:
    """What has been measured so far."""

    figures: list[Figure] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    peers: dict[str, PeerFacts] = field(default_factory=dict)
    output: Sentinel | None = None
    decoded: list[_Decoded] = field(default_factory=list)


def measure(plan: BenchPlan, command: tuple[str, ...], on_line: OnLine) -> BenchReport:
    """Measure a model folder, and the peers beside it.

    Args:
        plan: What.
        command: The command line, for the report.
        on_line: Told what is being measured.

    Raises:
        ArtifactError: The folder is no model.
        ConfigError: The plan asks for something that this model lacks, such as an int8 cache.
        WorkerError: edgephi failed; what fails in a peer is in the report.
    """
    bundle = Bundle(plan.model)
    available = modes(bundle.manifest)
    longest = bundle.manifest.rope.max_positions
    if plan.longest > longest:
        raise ConfigError(f"{plan.longest:,} positions are asked for; this model takes {longest:,}")
    check_cache_kind(bundle.manifest, plan.kv_cache)
    _check_peers_have_work(plan, available)
    found = _Found()
    peers = _usable_peers(plan, found, on_line)
    if "load" in plan.parts:
        figures, notes = measure_loads(plan, on_line)
        found.figures += figures
        found.notes += notes
    if "requests" in plan.parts:
        _measure_requests(plan, available, peers, found, on_line)
        peers = tuple(peer for peer in peers if not found.peers[peer.name].error)
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
        kv_cache=plan.kv_cache,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        figures=tuple(found.figures),
        floors=tuple(found.floors),
        peers=tuple(found.peers[peer.name] for peer in plan.peers),
        output=found.output,
        notes=tuple(found.notes),
    )


def _check_peers_have_work(plan: BenchPlan, available: tuple[str, ...]) -> None:
    if plan.peers and available == ("text",) and not plan.parts & {"prefill", "decode", "memory"}:
        raise ConfigError(
            f"{plan.peers[0].name} is measured in requests with pictures or sound, and {plan.model} takes text alone; "
            "add prefill or decode to --only"
        )


def _measure_requests(
    plan: BenchPlan, available: tuple[str, ...], peers: tuple[PeerSpec, ...], found: _Found, on_line: OnLine
) -> None:
    """Stages of requests; where they have media, with the peers that can do a part of them."""

    def on_peer(name: str, fact: str | WorkerError) -> None:
        with _noting(found, name):
            if isinstance(fact, WorkerError):
                raise fact
            found.peers[name] = PeerFacts(name=name, version=fact, error=found.peers[name].error)

    usable = tuple(spec for spec in peers if takes_requests(spec))
    found.figures += measure_stages(plan, available, usable, on_line, on_peer)
    for mode in available:
        if MODES[mode] != (0, 0):
            found.notes += [lacking(spec.name, mode) for spec in peers if not found.peers[spec.name].error]


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


def _measure_in_turn(
    plan: BenchPlan, bundle: Bundle, peers: tuple[PeerSpec, ...], found: _Found, on_line: OnLine
) -> None:
    """Prefill and decode with every peer, then decode with adapters and with other numbers of threads, ours alone."""
    session = _Session(plan=plan, found=found, on_line=on_line, speed=_read_speed(plan, found))
    if tasks := _tasks(plan):
        with _opened(plan, peers, found) as runners:
            for task in tasks:
                session.measure(task, runners)
    depth = min(plan.depths)
    if "decode" in plan.parts:
        for adapter in routed_adapters(bundle.manifest):
            task = Task(do="decode", tokens=plan.new_tokens, depth=depth, threads=plan.threads, mode=adapter)
            session.measure_alone(task, adapter)
    if "threads" in plan.parts:
        for threads in plan.thread_counts:
            if threads == plan.threads and "decode" in plan.parts:
                continue  # measured already
            session.measure_alone(Task(do="decode", tokens=plan.new_tokens, depth=depth, threads=threads))
    session.add_floors(bundle)


def _read_speed(plan: BenchPlan, found: _Found) -> ReadSpeed | None:
    """What reads memory beside decode; None where nothing is decoded."""
    if not plan.parts & {"decode", "threads"}:
        return None
    speed = ReadSpeed()
    if speed.num_bytes < LEAST_BYTES:
        found.notes.append(
            f"memory's speed: read from only {speed.num_bytes / 1e6:,.0f} MB, as little is free; caches may have had a "
            "part in it"
        )
    return speed


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
        runners: dict[str, Runner] = {OURS: stack.enter_context(_open_ours(plan, plan.threads, "none"))}
        for spec in peers:
            with _noting(found, spec.name):
                runner = open_peer(spec, threads=plan.threads, max_positions=plan.longest)
                stack.callback(runner.close)
                runners[spec.name] = runner
        yield runners


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """What all tasks of a run have in common."""

    plan: BenchPlan
    found: _Found
    on_line: OnLine
    speed: ReadSpeed | None

    def measure(self, task: Task, runners: dict[str, Runner], adapter: AdapterName = "none") -> None:
        """Measure a task; a peer that fails is left out from then on, ours is not asked for this again."""
        found = self.found
        beside = functools.partial(self.speed.measure, task.threads) if self.speed and task.do == "decode" else None
        while runners:
            try:
                measured = measure_in_turn(runners, task, self.plan.runs, self.on_line, beside)
            except RunnerError as error:
                if error.name == OURS:
                    found.notes.append(f"{task.name}, {task.condition}: {error}")
                    return
                with _noting(found, error.name):
                    raise
                del runners[error.name]
            else:
                found.figures += measured.figures
                for name, runner in runners.items():
                    if name != OURS:
                        found.peers[name] = PeerFacts(name=name, version=runner.version, error=None)
                if task.do == "decode":
                    found.decoded.append(_Decoded(task=task, adapter=adapter, read_speeds=measured.read_speeds))
                return

    def measure_alone(self, task: Task, adapter: AdapterName = "none") -> None:
        """Measure a task of edgephi's in a process of its own."""
        with _open_ours(self.plan, task.threads, adapter) as worker:
            self.measure(task, {OURS: worker}, adapter)

    def add_floors(self, bundle: Bundle) -> None:
        """One for each decode that was measured."""
        ours = {figure.key: figure for figure in self.found.figures}
        for done in self.found.decoded:
            assert self.speed is not None  # there is one wherever something is decoded
            task = done.task
            figure = ours[OURS, task.mode, task.name, task.condition]
            middle = task.depth + (task.tokens - 2) / 2  # the first step has `depth` positions before it, the last more
            pairs = zip(done.read_speeds, figure.rounds, strict=True)
            self.found.floors.append(
                Floor(
                    mode=task.mode,
                    condition=task.condition,
                    num_bytes=step_bytes(bundle, done.adapter, self.plan.kv_cache).at(middle),
                    rounds=tuple(FloorRound(bandwidth=speed, mean_step_s=step) for speed, step in pairs),
                    best_bandwidth=self.speed.best(task.threads),
                    median_s=figure.median,
                )
            )


def _open_ours(plan: BenchPlan, threads: int, adapter: AdapterName) -> Worker:
    return Worker(WORKERS / "decoder_engine.py", plan.engine(threads) | {"adapter": adapter})


def _measure_output(plan: BenchPlan, available: tuple[str, ...], found: _Found, on_line: OnLine) -> None:
    if "text" not in available:
        found.notes.append("greedy output: not measured, as this model takes no request of text alone")
        return
    on_line("greedy output")
    with Worker(WORKERS / "request_engine.py", plan.engine()) as worker:
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
