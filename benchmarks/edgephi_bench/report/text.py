"""A latency report on the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections.abc import Iterable

from edgephi.console.tables import Table, drawn, markdown_cell, markdown_table
from edgephi_bench.latency.aliases import known_as
from edgephi_bench.latency.report import BenchReport
from edgephi_bench.report.tables import environment_facts, heading, remarks, tables

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
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, soft_wrap=True)
    console.print(title, markup=False)
    for table in parts:
        console.print(drawn(table), soft_wrap=False)
    for line in lines:
        console.print(line, markup=False)


def markdown(report: BenchReport) -> str:
    """The same as Markdown."""
    parts = [f"**{markdown_cell(heading(report))}**"]
    parts += [f"{markdown_cell(table.title)}:\n\n{markdown_table(table)}" for table in tables(report)]
    lines = (*remarks(report), *environment_facts(report.environment), _provenance(report))
    parts.append("\n".join(f"- {markdown_cell(line)}" for line in lines))
    return "\n\n".join(parts) + "\n"


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
        "device": report.device,
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
