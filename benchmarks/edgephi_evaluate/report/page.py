"""Runs as one standalone page: plots, tables and the worst items with their media; no scripts, nothing fetched."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

import edgephi_bench.report
from edgephi_evaluate.report.plots import plots
from edgephi_evaluate.report.runs import RunReport
from edgephi_evaluate.report.tables import interval, remarks, tables
from edgephi_evaluate.report.worst import WorstItem, worst_items
from edgephi_evaluate.suites.registry import find_suite

# The style is that of all reports.
_TEMPLATES = (Path(__file__).with_name("templates"), Path(edgephi_bench.report.__path__[0]) / "templates")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    value: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worst:
    title: str
    items: tuple[WorstItem, ...]


def page(reports: Sequence[RunReport]) -> str:
    """The page's HTML; whatever items and replies hold is text in it."""
    return _template().render(
        name=", ".join(report.name for report in reports),
        cards=tuple(_cards(reports)),
        plots=plots(reports),
        tables=tables(reports),
        worst=tuple(_worst(reports)),
        facts=tuple(remarks(reports)),
        commands=tuple(shlex.join(report.summaries[0].run.command) for report in reports if report.summaries),
    )


def _cards(reports: Sequence[RunReport]) -> Iterator[_Card]:
    for report in reports:
        for one in report.summaries:
            words = f"{one.suite}, {one.metric} {interval(one.whole.estimate)}"
            yield _Card(value=f"{one.whole.estimate.value:.2f}", words=f"{report.name}: {words}")


def _worst(reports: Sequence[RunReport]) -> Iterator[_Worst]:
    for report in reports:
        for summary, records in zip(report.summaries, report.records, strict=True):
            items = worst_items(records, find_suite(summary.suite).metric)
            if items:
                yield _Worst(title=f"{summary.suite}, {report.name}: the worst items", items=items)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("evaluation.html")
