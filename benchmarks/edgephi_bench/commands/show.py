"""`edgephi bench show`."""

from __future__ import annotations

from pathlib import Path

import click

from edgephi.console.commands import GroupedCommand
from edgephi_bench.commands.model import ReportOutput, report_output_options


@click.command(cls=GroupedCommand)
@click.argument("report", type=click.Path(path_type=Path))
@report_output_options
def show(report: Path, output: ReportOutput) -> None:
    """Show a report of `edgephi bench MODEL --json` again, in any format.

    \b
    Examples:
      edgephi bench show today.json --html today.html
      edgephi bench show today.json --markdown > today.md
      edgephi bench show today.json --csv > today.csv
      edgephi bench show today.json --json
      edgephi bench show today.json --append all.jsonl
    """  # noqa: D301 - click reads the \b
    from edgephi_bench.latency.report import read_report  # noqa: PLC0415 - keeps --help fast

    output.check()
    output.give(read_report(report))
