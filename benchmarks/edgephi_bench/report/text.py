"""A latency report on the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections.abc import Iterable

from edgephi_bench.latency.aliases import known_as
from edgephi_bench.latency.report import BenchReport
from edgephi_bench.report.tables import Table, environment_facts, heading, remarks, tables

_FIGURE_COLUMNS = (
    "runner", "mode", "name", "condition", "known_as", "unit", "min", "median", "mean", "sd", "p90", "p99", "count",
)  # fmt: skip
_PIPE_WIDTH = 160  # columns where there is no terminal to ask


def print_tables(report: BenchReport) -> None:
    """Print the whole report on stdout."""
    lines = (*remarks(report), *environment_facts(report.environment), _provenance(report))
    print_parts(heading(report), tables(report), lines)


def print_parts(title: str, parts: Iterable[Table], lines: Iterable[str]) -> None:
    """Print a report's heading, tables and remarks on stdout."""
    from rich import box  # noqa: PLC0415 - keeps --help fast
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table as RichTable  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, soft_wrap=True)
    console.print(title, markup=False)
    for table in parts:
        shown = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, column in enumerate(table.columns):
            shown.add_column(column, justify="left" if number < table.text_columns else "right")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown, soft_wrap=False)
    for line in lines:
        console.print(line, markup=False)


def markdown(report: BenchReport) -> str:
    """The same as Markdown."""
    parts = [f"**{_cell(heading(report))}**"]
    parts += [f"{_cell(table.title)}:\n\n{_markdown_table(table)}" for table in tables(report)]
    lines = (*remarks(report), *environment_facts(report.environment), _provenance(report))
    parts.append("\n".join(f"- {_cell(line)}" for line in lines))
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    rule = ["---"] * table.text_columns + ["---:"] * (len(table.columns) - table.text_columns)
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in (table.columns, rule, *table.rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def comma_separated(report: BenchReport) -> str:
    """One line per figure, numbers in base units, what a figure lacks empty; then the environment, alike in all lines.

    The samples are in the last column, with spaces between.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    machine = _environment_columns(report)
    writer.writerow((*_FIGURE_COLUMNS, *machine, "samples"))
    for figure in report.figures:
        numbers = (figure.min, figure.median, figure.mean, figure.sd, figure.p90, figure.p99)
        cells = ("" if number is None else repr(number) for number in numbers)
        samples = " ".join(map(repr, figure.samples))
        known = "; ".join(known_as(figure))
        writer.writerow(
            (*map(str, figure.key), known, figure.unit, *cells, len(figure.samples), *machine.values(), samples)
        )
    return stream.getvalue()


def _environment_columns(report: BenchReport) -> dict[str, str]:
    """The columns that distinguish lines of several reports in one table."""
    environment = report.environment
    versions = {item.name: item.version for item in environment.versions}
    return {
        "date": report.date,
        "model": report.model.path,
        "source": report.model.source,
        "recipe": report.model.recipe,
        "manifest_sha256": report.model.manifest_sha256,
        "kv_cache": report.kv_cache,
        "threads": str(report.threads),
        "cpu": environment.cpu,
        "cores": str(environment.cores),
        "instruction_sets": " ".join(environment.instruction_sets),
        "memory_bytes": str(environment.memory_bytes),
        "governor": environment.governor or "",
        "system": environment.system,
        "python": environment.python,
        "edgephi": versions.get("edgephi", ""),
        "onnxruntime": versions.get("onnxruntime", ""),
    }


def _provenance(report: BenchReport) -> str:
    return f"{report.date}, {report.threads} threads: {shlex.join(report.environment.command)}"
