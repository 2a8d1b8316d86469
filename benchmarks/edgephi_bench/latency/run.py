"""Everything that `edgephi bench MODEL` measures, in order."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib

from edgephi import ModelOptions
from edgephi.base.errors import ConfigError
from edgephi.base.step import OnStep
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi.bundle.cache_choice import cache_kind
from edgephi_bench.engines.builds import read_fixed
from edgephi_bench.engines.peer_requests import lacking, takes_requests
from edgephi_bench.engines.peers import PeerSpec, check_peer
from edgephi_bench.engines.worker import WORKERS, Worker, WorkerError
from edgephi_bench.latency.decoding import as_repeat, measure_decoding, measure_repeats
from edgephi_bench.latency.loading import measure_loads, measure_memory, measure_peer_memory
from edgephi_bench.latency.plan import BenchPlan
from edgephi_bench.latency.progress import Progress, count_steps
from edgephi_bench.latency.report import BenchReport, GreedyOutput, ModelFacts, PeerFacts
from edgephi_bench.latency.results import Results
from edgephi_bench.latency.rounds import OnLine
from edgephi_bench.latency.stages import StageObservers, measure_stages
from edgephi_bench.measure.environment import read_environment
from edgephi_bench.measure.modes import modes

_SENTINEL_TOKENS = 32


def measure(plan: BenchPlan, command: tuple[str, ...], on_step: OnStep) -> BenchReport:
    """Measure a model folder, and the peers beside it.

    Args:
        plan: What.
        command: The command line, for the report.
        on_step: Called with what is being measured.

    Raises:
        ArtifactError: The folder is no model.
        ConfigError: The plan asks for something that this model lacks, such as an int8 cache.
        WorkerError: edgephi failed; what fails in a peer is in the report.
    """
    bundle = Bundle(plan.model)
    available = modes(bundle.manifest)
    longest = bundle.manifest.rope.max_positions
    if plan.longest > longest:
        raise ConfigError(f"{plan.longest:,} tokens are asked for; this model takes {longest:,}")
    choice = ModelOptions(kv_cache=plan.kv_cache, device=plan.device).cache_choice
    kind = cache_kind(bundle.manifest, choice)
    plan = dataclasses.replace(plan, kv_cache=kind)  # reports and workers name what is used
    _check_peers_have_work(plan, available)
    results = Results()
    on_line = Progress(count_steps(plan, available, bundle), on_step)
    repeats = measure_repeats(plan, min(1, plan.repeats), on_line) if "repeat" in plan.parts else []
    peers = _usable_peers(plan, results, on_line.note)
    if "load" in plan.parts:
        figures, notes = measure_loads(plan, on_line)
        results.figures += figures
        results.notes += notes
    if "requests" in plan.parts:
        _measure_requests(plan, available, peers, results, on_line)
        peers = tuple(peer for peer in peers if not results.peers[peer.name].error)
    measure_decoding(plan, bundle, peers, results, on_line)
    if "memory" in plan.parts:
        results.figures += [measure_memory(plan, mode, on_line) for mode in available]
        for peer in peers:
            if results.peers[peer.name].error:
                continue
            with results.noting(peer.name):
                results.figures.append(measure_peer_memory(plan, peer, on_line))
    if "output" in plan.parts:
        _measure_output(plan, available, results, on_line)
    if "repeat" in plan.parts:
        repeats += measure_repeats(plan, plan.repeats - len(repeats), on_line)
    results.figures += results.observer.energy_figures()
    if reason := results.observer.meter.reason:
        results.notes.append(f"energy: not measured, as {reason}")
    return BenchReport(
        model=model_facts(bundle, available),
        environment=read_environment(command),
        threads=plan.threads,
        kv_cache=kind,
        device=plan.device,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        figures=tuple(results.figures),
        floors=tuple(results.floors),
        arithmetic=tuple(results.arithmetic),
        prefill_threshold=results.prefill_threshold,
        memory_limit_bytes=plan.memory_bytes,
        peers=tuple(results.peers[peer.name] for peer in plan.peers),
        output=results.output,
        notes=tuple(results.notes),
        repeats=(as_repeat(plan, results.figures, repeats),) if repeats else (),
        rounds=tuple(results.observer.rounds),
        energy_source=results.observer.meter.source,
        fixed=results.fixed,
    )


def _check_peers_have_work(plan: BenchPlan, available: tuple[str, ...]) -> None:
    if plan.peers and available == ("text",) and not plan.parts & {"prefill", "decode", "memory"}:
        raise ConfigError(
            f"{plan.peers[0].name} is measured in requests with images or audio, and {plan.model} takes text alone; "
            "add prefill or decode to --only"
        )


def _measure_requests(
    plan: BenchPlan, available: tuple[str, ...], peers: tuple[PeerSpec, ...], results: Results, on_line: OnLine
) -> None:
    """Stages of requests; where they have media, with the peers that can do a part of them."""

    def on_peer(name: str, fact: str | WorkerError) -> None:
        with results.noting(name):
            if isinstance(fact, WorkerError):
                raise fact
            results.peers[name] = PeerFacts(name=name, version=fact, error=results.peers[name].error)

    usable = tuple(spec for spec in peers if takes_requests(spec))
    observers = StageObservers(on_line=on_line, on_peer=on_peer, observer=results.observer)
    results.figures += measure_stages(plan, available, usable, observers)
    for mode in available:
        if mode != "text":
            results.notes += [lacking(spec.name, mode) for spec in peers if not results.peers[spec.name].error]


def _usable_peers(plan: BenchPlan, results: Results, on_line: OnLine) -> tuple[PeerSpec, ...]:
    """The peers that can be started; the others are named at once, before anything takes minutes."""
    usable = []
    for spec in plan.peers:
        results.peers[spec.name] = PeerFacts(name=spec.name, version=None, error=None)
        with results.noting(spec.name):
            check_peer(spec)
            usable.append(spec)
        if error := results.peers[spec.name].error:
            on_line(f"{spec.name} will not be measured: {error}")
    return tuple(usable)


def _measure_output(plan: BenchPlan, available: tuple[str, ...], results: Results, on_line: OnLine) -> None:
    if "text" not in available:
        results.notes.append("greedy output: not measured, as this model takes no request of text alone")
    on_line("output of fixed requests")
    with Worker(WORKERS / "edgephi_requests.py", plan.engine()) as worker:
        if "text" in available:
            results.output = GreedyOutput(**worker.ask("greedy", new_tokens=_SENTINEL_TOKENS))
        results.fixed = tuple(read_fixed(item) for item in worker.ask("fixed"))


def model_facts(bundle: Bundle, available: tuple[str, ...]) -> ModelFacts:
    """The facts of a model folder that answers in these modes."""
    manifest = bundle.manifest
    return ModelFacts(
        path=str(bundle.path),
        source=manifest.source.id,
        recipe=manifest.recipe.name,
        modes=available,
        manifest_sha256=hashlib.sha256(bundle.file(MANIFEST_NAME).read_bytes()).hexdigest(),
    )
