"""The report of one `edgephi bench serve`: a record, and the same as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from edgephi.bundle.manifest import CacheKind
from edgephi_bench.latency.report import ModelFacts, figure_json
from edgephi_bench.measure.environment import Environment
from edgephi_bench.measure.machine_state import MachineState
from edgephi_bench.measure.measurement import Figure

SERVING_REPORT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingReport:
    """Everything about one run.

    Attributes:
        model: The folder that was served.
        environment: Where.
        threads: Of the server, and of direct calls.
        kv_cache: The kind of both sides' KV cache.
        date: Day and time of the end, UTC.
        clients: Numbers of clients, ascending.
        new_tokens: Of each reply.
        runs: Rounds with each number of clients.
        questions: Short ones that were asked while another client asked about images.
        server_command: The server's command line.
        figures: All of them.
        rounds: The machine's state in each round, in order.
        differing: Replies whose text was another than the direct call's.
        notes: What was left out, and why.
    """

    model: ModelFacts
    environment: Environment
    threads: int
    kv_cache: CacheKind
    date: str
    clients: tuple[int, ...]
    new_tokens: int
    runs: int
    server_command: tuple[str, ...]
    figures: tuple[Figure, ...]
    rounds: tuple[MachineState, ...] = ()
    differing: int = 0
    notes: tuple[str, ...] = ()
    questions: int = 0

    def find(self, runner: str, mode: str, name: str, clients: int) -> Figure | None:
        """The figure of that name; None where it was not measured."""
        wanted = (runner, mode, name, clients)
        return next((one for one in self.figures if (*one.key[:3], one.condition.clients) == wanted), None)


def serving_report_json(report: ServingReport) -> dict[str, Any]:
    """The report as JSON values, with the statistics of every figure."""
    content = {"serving_report_version": SERVING_REPORT_VERSION, **dataclasses.asdict(report)}
    content["figures"] = list(map(figure_json, report.figures))
    return content
