"""A latency report as one standalone page: no scripts, nothing fetched."""

from __future__ import annotations

import shlex
from html import escape
from pathlib import PurePath

from edgephi_bench.latency.report import BenchReport
from edgephi_bench.measure.measurement import DECODE_STEP, PREFILL, Figure
from edgephi_bench.measure.units import quantity
from edgephi_bench.report.charts import plots
from edgephi_bench.report.page_style import STYLE
from edgephi_bench.report.tables import Table, environment_facts, remarks, tables, tokens_per_second


def page(report: BenchReport) -> str:
    """The page's HTML."""
    name = PurePath(report.model.path).name or report.model.path
    body = [
        f"<h1>{escape(name)}</h1>",
        f"<p>{escape(_subtitle(report))}</p>",
        _cards(report),
        *(
            f"<section><h2>{escape(plot.title)}</h2><p>{escape(plot.caption)}</p>"
            f"{''.join(drawing.markup() for drawing in plot.drawings)}</section>"
            for plot in plots(report)
        ),
        *map(_table, tables(report)),
        _machine(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>edgephi bench: {escape(name)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(body)}\n</main></body></html>\n"
    )


def _subtitle(report: BenchReport) -> str:
    model = report.model
    return (
        f"{model.source}, recipe {model.recipe}, {report.kv_cache} cache, {report.threads} threads, "
        f"{report.environment.cpu}; "
        f"{report.date.replace('T', ' ').replace('+00:00', ' UTC')}"
    )


def _cards(report: BenchReport) -> str:
    """The numbers that most people come for."""
    figures = [figure for figure in report.figures if figure.runner == "edgephi"]

    def first(name: str, mode: str = "text") -> Figure | None:
        return next((figure for figure in figures if figure.name == name and figure.mode == mode), None)

    cards = []
    if step := first(DECODE_STEP):
        cards.append(
            (quantity(1 / step.median, "tokens/s").removesuffix(" tokens/s"), f"tokens per second, {step.condition}")
        )
    if report.floors:
        cards.append((f"{report.floors[0].reached:.0%}", "of what the memory's speed allows"))
    if prefill := first(PREFILL):
        cards.append(
            (
                quantity(tokens_per_second(prefill), "tokens/s").removesuffix(" tokens/s"),
                f"prompt tokens per second, {prefill.condition}",
            )
        )
    waits = [first("time to first token", mode) for mode in report.model.modes]
    cards += [(quantity(wait.median, "s"), f"to the first token, {wait.condition}") for wait in waits if wait]
    if factor := first("real-time factor", "speech"):
        cards.append((f"{factor.median:.2f}", f"real-time factor, {factor.condition}"))
    if load := first("load, warm"):
        cards.append((quantity(load.median, "s"), "warm load"))
    if peak := first("peak resident size"):
        cards.append((quantity(peak.median, "bytes"), f"peak resident size, text, {peak.condition}"))
    items = "".join(f"<div><b>{escape(value)}</b><span>{escape(words)}</span></div>" for value, words in cards)
    return f'<div class="cards">{items}</div>'


def _table(table: Table) -> str:
    def cells(row: tuple[str, ...], tag: str) -> str:
        kinds = [""] * table.text_columns + [' class="number"'] * (len(row) - table.text_columns)
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    head = f"<thead><tr>{cells(table.columns, 'th')}</tr></thead>"
    rows = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    drawn = f"<table>{head}<tbody>{rows}</tbody></table>"
    return f'<section><h2>{escape(table.title)}</h2><div class="scroll">{drawn}</div></section>'


def _machine(report: BenchReport) -> str:
    lines = (*remarks(report), *environment_facts(report.environment), f"manifest {report.model.manifest_sha256}")
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    command = escape(shlex.join(report.environment.command))
    return f"<section><h2>How it was measured</h2><ul>{items}</ul><pre>{command}</pre></section>"
