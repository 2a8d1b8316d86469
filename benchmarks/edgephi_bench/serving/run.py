"""Everything that `edgephi bench serve` measures, in order."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator
from pathlib import Path

from edgephi.base.step import OnStep
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.cache_choice import cache_kind
from edgephi_bench.engines.worker import Worker
from edgephi_bench.latency.progress import Progress
from edgephi_bench.latency.rounds import OnLine, round_words
from edgephi_bench.latency.run import model_facts
from edgephi_bench.latency.stages import text_rounds
from edgephi_bench.measure.condition import count_of_clients
from edgephi_bench.measure.environment import read_environment
from edgephi_bench.measure.machine_state import MachineState, MachineWatch
from edgephi_bench.measure.measurement import Figure
from edgephi_bench.measure.modes import modes
from edgephi_bench.serving.fairness import FairnessResult, fairness_figures, measure_fairness
from edgephi_bench.serving.figures import figures_of
from edgephi_bench.serving.plan import ServingPlan
from edgephi_bench.serving.report import ServingReport
from edgephi_bench.serving.rounds import PairedAnswer, RoundResult, RoundRunner
from edgephi_bench.serving.server_process import ServerProcess, serve_command

_ENGINE = Path(__file__).with_name("direct_calls.py")
#: With fewer pieces of text for each token, time per token says little about sending.
_LEAST_TEXTS = 0.9


def measure_serving(plan: ServingPlan, command: tuple[str, ...], on_step: OnStep) -> ServingReport:
    """Measure a server and direct calls in turn.

    Args:
        plan: What.
        command: The command line, for the report.
        on_step: Called with what is being measured.

    Raises:
        EdgeError: The folder cannot be served, or a side failed.
    """
    bundle = Bundle(plan.bench.model)
    available = modes(bundle.manifest)
    kind = cache_kind(bundle.manifest, plan.bench.kv_cache)
    plan = dataclasses.replace(plan, bench=dataclasses.replace(plan.bench, kv_cache=kind))
    kinds = plan.kinds(available)
    bench = plan.bench
    steps = 1 + len(plan.clients) * bench.runs + bench.warmup + (plan.questions + 1 if plan.questions else 0)
    progress = Progress(steps, on_step)
    progress("starting the server and the direct calls")
    figures: list[Figure] = []
    states: list[MachineState] = []
    answers: list[PairedAnswer] = []
    with ServerProcess(plan) as server, Worker(_ENGINE, bench.engine()) as worker:
        runner = RoundRunner(
            server=server,
            worker=worker,
            kinds=tuple((one, text_rounds(bench, one.prompt_tokens) if one.prompt_tokens else 0) for one in kinds),
            new_tokens=plan.new_tokens,
            eos=tuple(bundle.manifest.tokens.eos),
            delay_s=bench.delay_s,
        )
        for number in range(1 - bench.warmup, 1):  # the first request of a kind loads its encoder
            progress(f"{count_of_clients(1)}: {round_words(number, bench.runs)}")
            runner.round(1, number)
        for clients in plan.clients:
            rounds = _rounds(runner, plan, clients, progress, states)
            figures += figures_of(kinds, clients, rounds)
            answers += [pair for result in rounds for pair in result.pairs]
        notes = [*_notes(plan, answers)]
        if plan.questions:
            image = next(one for one in kinds if one.image)
            watch = MachineWatch()
            watch.start()
            fairness = measure_fairness(runner, image, plan.questions, progress)
            states.append(watch.stop())
            figures += fairness_figures(fairness)
            answers += fairness.compared
            notes.append(_wait_words(fairness))
    return ServingReport(
        model=model_facts(bundle, available),
        environment=read_environment(command),
        threads=bench.threads,
        kv_cache=kind,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        clients=plan.clients,
        new_tokens=plan.new_tokens,
        runs=bench.runs,
        questions=plan.questions,
        server_command=serve_command(plan),
        figures=tuple(figures),
        rounds=tuple(states),
        differing=sum(pair.server.text != pair.direct.text for pair in answers),
        notes=tuple(notes),
    )


def _notes(plan: ServingPlan, answers: list[PairedAnswer]) -> Iterator[str]:
    if 1 not in plan.clients:
        yield "overhead: not measured, as it takes one client; add 1 to --clients"
    if max(plan.clients) > 1:
        read = sum(pair.direct.read_s or 0.0 for pair in answers) / sum(pair.direct.end_s for pair in answers)
        yield (
            "throughput over direct calls: with several clients the server reads the text and media of requests that "
            f"wait beside the one that is answered; direct calls read theirs in turn, {read:.0%} of their time"
        )
    share = sum(pair.server.num_texts for pair in answers) / sum(pair.server.new_tokens for pair in answers)
    if share < _LEAST_TEXTS:
        yield f"{share:.0%} of the tokens came with text of their own; the server sends nothing for the others"


def _wait_words(fairness: FairnessResult) -> str:
    return (
        f"{len(fairness.questions)} questions behind {len(fairness.images)} images: "
        f"first token within {fairness.wait_p95_s:.2f} s (p95)"
    )


def _rounds(
    runner: RoundRunner, plan: ServingPlan, clients: int, on_line: OnLine, states: list[MachineState]
) -> list[RoundResult]:
    """All rounds with so many clients; what the machine did in each is appended to `states`."""
    watch, found = MachineWatch(), []
    for number in range(1, plan.bench.runs + 1):
        on_line(f"{count_of_clients(clients)}: {round_words(number, plan.bench.runs)}")
        watch.start()
        found.append(runner.round(clients, number))
        states.append(watch.stop())
    return found
