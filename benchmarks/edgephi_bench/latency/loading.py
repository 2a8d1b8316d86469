"""Loading a model cold and warm, and the most memory that each mode takes: a new process for every number."""

from __future__ import annotations

from edgephi.bundle.bundle import Bundle
from edgephi_bench.engines.peers import PeerSpec, open_peer
from edgephi_bench.engines.worker import WORKERS, Worker
from edgephi_bench.latency.plan import BenchPlan
from edgephi_bench.latency.request_kinds import media_of
from edgephi_bench.latency.rounds import OnLine
from edgephi_bench.latency.stages import text_rounds
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.measurement import Figure
from edgephi_bench.measure.page_cache import drop_from_cache

_MOST_LOADS = 3
_FEW_TOKENS = 8
#: A load is cold if it read this share of what it maps from the disk.
_COLD_SHARE = 0.5
#: The chat template's tokens, and how far a text may miss its wanted length.
_TEMPLATE_TOKENS = 48


def measure_loads(plan: BenchPlan, on_line: OnLine) -> tuple[list[Figure], list[str]]:
    """Figures of cold and warm loads, and notes on what could not be measured.

    Raises:
        WorkerError: The model cannot be loaded.
    """
    figures, notes = [], []
    condition = Condition(kind="load", threads=plan.threads)
    if plan.drop_cache:
        on_line("load, cold")
        cold, note = _cold(plan)
        if cold:
            figures.append(Figure(name="load, cold", condition=condition, samples=(cold,)))
        else:
            notes.append(note)
    else:
        notes.append("load, cold: not measured, as the page cache may not be touched; allow it with --drop-cache")
    loads, starts = [], []
    for number in range(1, min(plan.runs, _MOST_LOADS) + 1):
        on_line(f"load, warm: run {number}")
        with _open(plan) as worker:
            loads.append(worker.load_s)
            starts.append(worker.start_s)
    figures += [
        Figure(name="load, warm", condition=condition, samples=tuple(loads)),
        Figure(name="start of a process, warm", condition=condition, samples=tuple(starts)),
    ]
    return figures, notes


def _cold(plan: BenchPlan) -> tuple[float, str]:
    """Seconds of a load after the files were dropped; 0 with the reason where they were not."""
    bundle = Bundle(plan.model)
    files = [bundle.file(info.path) for info in bundle.manifest.files]
    if not drop_from_cache(files):
        return 0.0, "load, cold: not measured, as this system cannot drop a file from the page cache"
    needed = bundle.file(bundle.manifest.decoder.embedding.values.file).stat().st_size
    with _open(plan) as worker:
        if worker.read_bytes >= _COLD_SHARE * needed:
            return worker.load_s, ""
        came = f"{worker.read_bytes / 1e6:,.0f} of {needed / 1e6:,.0f} MB"
    return 0.0, (
        f"load, cold: not measured, as only {came} came from the disk: the files are in use by another process, or "
        "the file system keeps them in memory"
    )


def measure_memory(plan: BenchPlan, mode: str, on_line: OnLine) -> Figure:
    """The largest resident size of a process that loads the model and answers one request.

    Raises:
        WorkerError: It failed.
    """
    on_line(f"memory, {mode}")
    rounds = text_rounds(plan, max(plan.memory_context - _TEMPLATE_TOKENS - _FEW_TOKENS, 1))
    with _open(plan) as worker:
        worker.ask("request", media=media_of(plan, mode), rounds=rounds, new_tokens=_FEW_TOKENS)
        return _peak("edgephi", mode, plan, worker.peak_bytes)


def measure_peer_memory(plan: BenchPlan, peer: PeerSpec, on_line: OnLine) -> Figure:
    """The same for a peer, which reads a prompt of as many tokens.

    Raises:
        WorkerError: It failed.
    """
    on_line(f"memory, {peer.name}")
    runner = open_peer(peer, threads=plan.threads, max_positions=plan.memory_context)
    try:
        runner.ask("prefill", tokens=max(plan.memory_context - _FEW_TOKENS, 1))
        return _peak(peer.name, "text", plan, runner.peak_bytes)
    finally:
        runner.close()


def _peak(runner: str, mode: str, plan: BenchPlan, num_bytes: int) -> Figure:
    condition = Condition(kind="memory", context=plan.memory_context if mode == "text" else None)
    return Figure(
        runner=runner,
        mode=mode,
        name="peak resident size",
        condition=condition,
        unit="bytes",
        samples=(float(num_bytes),),
    )


def _open(plan: BenchPlan) -> Worker:
    return Worker(WORKERS / "edgephi_requests.py", plan.engine())
