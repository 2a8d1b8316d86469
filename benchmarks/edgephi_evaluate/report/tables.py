"""The figures of runs as tables, on a terminal and as Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from edgephi.console.tables import Table, markdown_cell, markdown_table
from edgephi_bench.measure.units import quantity
from edgephi_evaluate.report.runs import RunReport
from edgephi_evaluate.statistics.bootstrap import Estimate
from edgephi_evaluate.statistics.summary import PartSummary, SuiteSummary

_NOTHING = "-"


def tables(reports: Sequence[RunReport]) -> tuple[Table, ...]:
    """Quality, parts of suites that have several, and speed."""
    parts = [_parts(report, summary) for report in reports for summary in report.summaries if summary.parts]
    return (_quality(reports), *parts, _speed(reports))


def _quality(reports: Sequence[RunReport]) -> Table:
    has_change = any(one.change for report in reports for one in report.summaries)
    columns: tuple[str, ...] = ("run", "suite", "figure", "items", "failed", "missing", "value", "95 %")
    columns += ("against baseline",) * has_change + ("published", "difference", "")
    return Table(
        title="Quality",
        columns=columns,
        rows=tuple(
            (
                report.name,
                one.suite,
                one.metric,
                f"{one.whole.items:,}",
                f"{one.whole.failed:,}",
                f"{one.missing:,}",
                f"{one.whole.estimate.value:.2f}",
                interval(one.whole.estimate),
                *((change(one.change),) * has_change),
                *_published(one.whole),
            )
            for report in reports
            for one in report.summaries
        ),
        text_columns=3,
    )


def _parts(report: RunReport, summary: SuiteSummary) -> Table:
    return Table(
        title=f"{summary.suite}, {report.name}: {summary.metric}",
        columns=("part", "items", "failed", "value", "95 %", "published", "difference", ""),
        rows=tuple(
            (
                one.part or _NOTHING,
                f"{one.items:,}",
                f"{one.failed:,}",
                f"{one.estimate.value:.2f}",
                interval(one.estimate),
                *_published(one),
            )
            for one in summary.parts
        ),
        text_columns=1,
    )


def _speed(reports: Sequence[RunReport]) -> Table:
    return Table(
        title="Speed, preprocessing included",
        columns=(
            "run",
            "suite",
            "median",
            "p95",
            "audio s/s (RTFx)",
            "decode tokens/s",
            "peak memory",
            "energy an item",
        ),
        rows=tuple(
            (
                report.name,
                one.suite,
                _or_nothing(one.speed.latency_p50_s, "s"),
                _or_nothing(one.speed.latency_p95_s, "s"),
                _NOTHING if one.speed.rtfx is None else f"{one.speed.rtfx:.2f}",
                _NOTHING if one.speed.decode_tok_s is None else f"{one.speed.decode_tok_s:.1f}",
                _or_nothing(one.speed.peak_rss_bytes, "bytes"),
                _or_nothing(one.speed.energy_j, "J"),
            )
            for report in reports
            for one in report.summaries
        ),
    )


def _or_nothing(value: float | None, unit: str) -> str:
    return _NOTHING if value is None else quantity(value, unit)  # type: ignore[arg-type]


def interval(estimate: Estimate) -> str:
    """`[5.69, 6.21]`."""
    return _NOTHING if estimate.low is None else f"[{estimate.low:.2f}, {estimate.high:.2f}]"


def change(estimate: Estimate | None) -> str:
    """`+0.88 [+0.50, +1.24]`."""
    if estimate is None:
        return _NOTHING
    ends = "" if estimate.low is None else f" [{estimate.low:+.2f}, {estimate.high:+.2f}]"
    return f"{estimate.value:+.2f}{ends}"


def _published(one: PartSummary) -> tuple[str, str, str]:
    if one.published is None:
        return _NOTHING, _NOTHING, ""
    verdict = "outside the interval" if one.published.is_outside else "within the interval"
    return f"{one.published.value:.2f}", f"{one.published.difference:+.2f}", verdict


def remarks(reports: Sequence[RunReport]) -> Iterator[str]:
    """What the figures are to be read with, a line each."""
    yield "95 %: intervals by drawing groups of items 1,000 times; a change draws the same groups for both runs"
    said: set[str] = set()
    for report in reports:
        for one in report.summaries:
            published = [part.published for part in (one.whole, *one.parts) if part.published is not None]
            lines = [f"{one.suite}: {note}" for note in one.notes]
            lines += [f"{one.suite}: published by {source.source}" for source in published]
            if one.missing:
                lines.append(f"{report.name}, {one.suite}: {one.missing:,} items have no answer yet")
            yield from (line for line in dict.fromkeys(lines) if line not in said)
            said.update(lines)
        yield from _provenance(report)


def _provenance(report: RunReport) -> Iterator[str]:
    for one in report.summaries[:1]:
        engine, machine = one.run.identity.engine, one.run.machine
        recipe = f", {engine.recipe}" if engine.recipe else ""
        words = f"{engine.name} {engine.version}, {engine.model}{recipe} {engine.model_sha256[:12]}"
        yield f"{report.name}: {words.rstrip()}"
        yield f"{report.name}: {machine.cpu}, {machine.cores} cores: {shlex.join(one.run.command)}"


def as_markdown(reports: Sequence[RunReport]) -> str:
    """Tables and remarks."""
    parts = [f"**{markdown_cell(table.title)}**\n\n{markdown_table(table)}" for table in tables(reports)]
    return "\n\n".join([*parts, "\n".join(f"- {markdown_cell(line)}" for line in remarks(reports))]) + "\n"
