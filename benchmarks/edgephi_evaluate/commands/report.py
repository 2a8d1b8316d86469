"""`edgephi evaluate report`: figures of runs, and whether they are good enough."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgephi.console.commands import GroupedCommand, in_group
from edgephi.console.failures import end_unsuccessful
from edgephi.console.options import json_option
from edgephi.console.packing import Command, packed

if TYPE_CHECKING:
    from edgephi_evaluate.report.runs import RunReport

_PIPE_WIDTH = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What is written, and what figures must be."""

    baseline: Path | None
    requirements: tuple[str, ...]
    html: Path | None
    markdown: Path | None
    manifests: Path | None

    def check(self) -> None:
        """Refuse what cannot be written or read, before any work.

        Raises:
            EdgeError: There is something.
        """
        from edgephi.base.output_file import check_output_file, check_text_output
        from edgephi_evaluate.runs.folder import suite_folders
        from edgephi_evaluate.statistics.requirement import parse_requirement

        for path in (self.html, self.markdown):
            if path is not None:
                check_output_file(path)
                check_text_output(path)
        if self.baseline is not None:
            suite_folders(self.baseline)
        for text in self.requirements:
            parse_requirement(text)

    def show(self, runs: Sequence[Path], suites: Sequence[str] = (), *, as_json: bool) -> None:
        """Write everything, and end the command with exit code 1 where a figure is not good enough.

        Args:
            runs: Folders of runs.
            suites: Of which to report; all where there are none.
            as_json: Print JSON in place of tables.

        Raises:
            EdgeError: A run is damaged, or a file cannot be written.
        """
        from edgephi_evaluate.report.manifests import write_manifests
        from edgephi_evaluate.report.page import page
        from edgephi_evaluate.report.runs import read_reports
        from edgephi_evaluate.report.tables import as_markdown
        from edgephi_evaluate.statistics.requirement import parse_requirement

        reports = read_reports(runs, self.baseline, suites)
        summaries = [one for report in reports for one in report.summaries]
        if self.html is not None:
            _write(self.html, page(reports))
        if self.markdown is not None:
            _write(self.markdown, as_markdown(reports))
        if self.manifests is not None:
            write_manifests(reports, self.manifests)
        if as_json:
            click.echo(json.dumps({"runs": [dataclasses.asdict(one) for one in summaries]}, ensure_ascii=False))
        else:
            _print(reports)
        failed = [
            f"{one.suite}: {one.whole.failed:,} of {one.whole.items:,} items failed, more than 1 %"
            for one in summaries
            if one.too_many_failed
        ]
        failed += [words for text in self.requirements for words in parse_requirement(text).failures(summaries)]
        if failed:
            end_unsuccessful("; ".join(failed))


def report_options(command: Command) -> Command:
    """Adds what a report is compared with and where it goes; passes it as `reported: Reported`."""
    file = click.Path(path_type=Path)
    compared = [
        click.option(
            "--baseline",
            type=file,
            metavar="RUN",
            help="A run on the same data, such as of the fp32 export: also report the change against it.",
        ),
        click.option(
            "--require",
            "requirements",
            multiple=True,
            metavar="TEXT",
            help="End with exit code 1 unless this holds at the far end of the 95 % interval: 'wer<=6.5', or "
            "'wer<=+0.3' as a change against --baseline; repeat for more.",
        ),
    ]
    written = [
        click.option("--html", type=file, metavar="FILE", help="Also write one HTML page: plots, and the worst items."),
        click.option("--markdown", type=file, metavar="FILE", help="Also write the tables as Markdown."),
        click.option(
            "--manifests",
            type=file,
            metavar="DIR",
            help="Also write transcripts as the Open ASR Leaderboard's scorer reads them.",
        ),
    ]
    options = [*in_group("Comparison", compared), *in_group("Output", written)]
    return packed(command, Reported, "reported", options)


@click.command(cls=GroupedCommand)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@report_options
@json_option
def report(runs: tuple[Path, ...], reported: Reported, as_json: bool) -> None:
    """Report the figures of runs, each with its 95 % interval and what was published beside it.

    Ends with exit code 1 where more than 1 % of the items failed or a --require does not hold.

    \b
    Examples:
      edgephi evaluate report run
      edgephi evaluate report int4-run --baseline fp32-run --require 'wer<=+0.3' --html report.html
    """
    reported.check()
    reported.show(runs, as_json=as_json)


def _write(path: Path, text: str) -> None:
    from edgephi.base.atomic_write import writing
    from edgephi.base.output_file import staged_file

    with writing(path), staged_file(path) as stream:
        stream.write(text.encode())


def _print(reports: Sequence[RunReport]) -> None:
    from rich.console import Console

    from edgephi.console.tables import drawn
    from edgephi_evaluate.report.tables import remarks, tables

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, soft_wrap=True)
    for table in tables(reports):
        console.print(drawn(table), soft_wrap=False)
    for line in remarks(reports):
        console.print(line, markup=False)
