"""Runs as one standalone page: plots, tables and the worst items with their media; no scripts, nothing fetched."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgephi_bench.report.standalone_page import Card, template
from edgephi_evaluate.report.plots import plots
from edgephi_evaluate.report.runs import RunReport
from edgephi_evaluate.report.tables import interval, remarks, tables
from edgephi_evaluate.report.worst import WorstItem, worst_items
from edgephi_evaluate.suites.registry import find_suite

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worst:
    title: str
    items: tuple[WorstItem, ...]


def page(reports: Sequence[RunReport]) -> str:
    """The page's HTML; whatever items and replies hold is text in it."""
    return template("evaluation.html", _TEMPLATES).render(
        name=", ".join(report.name for report in reports),
        cards=tuple(_cards(reports)),
        plots=plots(reports),
        tables=tables(reports),
        worst=tuple(_worst(reports)),
        facts=tuple(remarks(reports)),
        commands=tuple(shlex.join(report.summaries[0].run.command) for report in reports if report.summaries),
    )


def _cards(reports: Sequence[RunReport]) -> Iterator[Card]:
    for report in reports:
        for one in report.summaries:
            words = f"{one.suite}, {one.metric} {interval(one.whole.estimate)}"
            yield Card(value=f"{one.whole.estimate.value:.2f}", words=f"{report.name}: {words}")


def _worst(reports: Sequence[RunReport]) -> Iterator[_Worst]:
    for report in reports:
        for summary, records in zip(report.summaries, report.records, strict=True):
            items = worst_items(records, find_suite(summary.suite).metric)
            if items:
                yield _Worst(title=f"{summary.suite}, {report.name}: the worst items", items=items)
