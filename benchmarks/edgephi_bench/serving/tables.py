"""A server's report as tables and remarks, which the terminal and the page show alike."""

from __future__ import annotations

import shlex

from edgephi.console.tables import Table
from edgephi_bench.measure.condition import count_of_clients, count_of_threads
from edgephi_bench.measure.machine_state import busy_warning
from edgephi_bench.measure.measurement import Figure
from edgephi_bench.report.tables import environment_facts, figure_table
from edgephi_bench.serving.fairness import FAIRNESS
from edgephi_bench.serving.figures import MIXED
from edgephi_bench.serving.report import ServingReport


def serving_tables(report: ServingReport) -> tuple[Table, ...]:
    """A table for each number of clients, one of throughput, and one of questions behind images if they were asked."""
    kinds = [figure for figure in report.figures if figure.mode != MIXED and figure.name not in FAIRNESS]
    found = [
        figure_table(
            count_of_clients(clients).capitalize(),
            [figure for figure in kinds if figure.condition.clients == clients],
            label=lambda figure: (figure.runner, _request(figure), figure.name),
            columns=("side", "request", "measured"),
        )
        for clients in report.clients
    ]
    mixed = figure_table(
        "All kinds of requests",
        [figure for figure in report.figures if figure.mode == MIXED],
        label=lambda figure: (figure.runner, str(figure.condition), figure.name),
        columns=("side", "clients", "measured"),
    )
    beside = [figure for figure in report.figures if figure.name in FAIRNESS]
    if not beside:
        return (*found, mixed)
    behind = figure_table(
        "Short questions while another client asks about images",
        beside,
        label=lambda figure: (figure.runner, _request(figure), figure.name),
        columns=("side", "request", "measured"),
    )
    return (*found, mixed, behind)


def _request(figure: Figure) -> str:
    return str(figure.condition).rpartition(", ")[0]


def serving_heading(report: ServingReport) -> str:
    """The model and how it ran."""
    model = report.model
    return (
        f"{model.path}: {model.source}, recipe {model.recipe}, {report.kv_cache} cache, "
        f"manifest {model.manifest_sha256[:12]}; {report.new_tokens} new tokens, {count_of_threads(report.threads)}"
    )


def serving_remarks(report: ServingReport) -> tuple[str, ...]:
    """One line each: what to read the figures with."""
    lines = [
        "side direct: the same requests by Model.stream in another process, in turn with the server; with several "
        "clients one after the other",
        "overhead per token and per request: differences between both sides' answers to one request",
        f"server: {shlex.join(report.server_command)}",
    ]
    if report.differing:
        lines.append(f"warning: {report.differing} replies of the server differ from the direct calls'")
    if warning := busy_warning(report.rounds, report.environment.cores):
        lines.append(warning)
    return (*lines, *report.notes, *environment_facts(report.environment))


def serving_provenance(report: ServingReport) -> str:
    """When, and by which command."""
    return f"{report.date}: {shlex.join(report.environment.command)}"
