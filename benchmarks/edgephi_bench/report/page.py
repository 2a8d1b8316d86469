"""A latency report as one standalone page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from edgephi_bench.latency.report import BenchReport
from edgephi_bench.measure.measurement import DECODE_STEP, PREFILL, Figure
from edgephi_bench.measure.units import quantity
from edgephi_bench.report.charts import plots
from edgephi_bench.report.standalone_page import Card, PageContent, render
from edgephi_bench.report.tables import environment_facts, remarks, tables, tokens_per_second


def page(report: BenchReport) -> str:
    """The page's HTML."""
    facts = (*remarks(report), *environment_facts(report.environment), f"manifest {report.model.manifest_sha256}")
    return render(
        PageContent(
            name=PurePath(report.model.path).name or report.model.path,
            subtitle=_subtitle(report),
            cards=tuple(_cards(report)),
            plots=plots(report),
            tables=tables(report),
            facts=facts,
            command=report.environment.command,
        )
    )


def _subtitle(report: BenchReport) -> str:
    model = report.model
    return (
        f"{model.source}, recipe {model.recipe}, {report.kv_cache} cache, {report.device}, {report.threads} threads, "
        f"{report.environment.cpu}; "
        f"{report.date.replace('T', ' ').replace('+00:00', ' UTC')}"
    )


def _cards(report: BenchReport) -> Iterator[Card]:
    figures = [figure for figure in report.figures if figure.runner == "edgephi"]

    def first(name: str, mode: str = "text") -> Figure | None:
        return next((figure for figure in figures if figure.name == name and figure.mode == mode), None)

    if step := first(DECODE_STEP):
        yield Card(_rate(1 / step.median), f"tokens per second, {step.condition}")
    if report.floors:
        yield Card(f"{report.floors[0].reached:.0%}", "of what the memory's speed allows")
    if prefill := first(PREFILL):
        yield Card(_rate(tokens_per_second(prefill)), f"prompt tokens per second, {prefill.condition}")
    for mode in report.model.modes:
        if wait := first("time to first token", mode):
            yield Card(quantity(wait.median, "s"), f"to the first token, {wait.condition}")
    if factor := first("real-time factor", "speech"):
        yield Card(f"{factor.median:.2f}", f"real-time factor, {factor.condition}")
    if load := first("load, warm"):
        yield Card(quantity(load.median, "s"), "warm load")
    if peak := first("peak resident size"):
        yield Card(quantity(peak.median, "bytes"), f"peak resident size, text, {peak.condition}")


def _rate(value: float) -> str:
    return quantity(value, "tokens/s").removesuffix(" tokens/s")
