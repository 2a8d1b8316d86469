"""`edgephi fidelity`: how close model folders are to their reference."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgephi.console.commands import GroupedCommand, group, in_group
from edgephi.console.failures import end_unsuccessful
from edgephi.console.options import json_option, kv_cache_option
from edgephi.console.packing import Command, packed
from edgephi.console.signals import stoppable

if TYPE_CHECKING:
    from edgephi_export.fidelity.report import FidelityReport

_PIPE_WIDTH = 200
_EXAMPLE_OPTIONS = group(
    "Examples",
    click.option(
        "--examples",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Requests with their right answers, see docs/fidelity.md.  [default: a few that come with edgephi]",
    ),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use at most N examples of each set."),
    click.option(
        "--max-new-tokens",
        type=click.IntRange(min=1),
        default=256,
        show_default=True,
        metavar="N",
        help="Most tokens of a reply.",
    ),
)
_PARTS_OPTION = group(
    "Comparison",
    click.option(
        "--parts",
        is_flag=True,
        help="Also measure the KL that each layer and each kind of tensor causes alone: one run of the reference, with "
        "these weights exchanged, for each.",
    ),
)
_RUN_OPTIONS = group(
    "Model",
    click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads.  [default: every physical core]"),
    click.option(
        "--work",
        "work_dir",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Keep finished examples here; the same command, or one with more folders, then goes on from them.",
    ),
)
_require_option = group(
    "Output",
    click.option(
        "--require",
        "requirements",
        multiple=True,
        metavar="TEXT",
        help="End with exit code 1 unless this holds, such as 'kl<=0.01', 'speech.top1>=97%' or "
        "'error_increase_high<=0.3%'; repeat for more.",
    ),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is written, beside stdout and on it."""

    record: bool
    page: Path | None
    markdown: Path | None
    as_json: bool

    def check(self) -> None:
        """Refuse files that could not be written.

        Raises:
            EdgeError: There is one.
        """
        from edgephi.base.output_file import check_output_file, check_text_output

        for path in (self.page, self.markdown):
            if path is not None:
                check_output_file(path)
                check_text_output(path)

    def write(self, report: FidelityReport) -> None:
        """Write all of it.

        Raises:
            EdgeError: A file cannot be written.
        """
        from edgephi_export.fidelity.page import page
        from edgephi_export.fidelity.recording import record_fidelity
        from edgephi_export.fidelity.tables import as_markdown

        if self.page is not None:
            _write(self.page, page(report))
        if self.markdown is not None:
            _write(self.markdown, as_markdown(report))
        if self.record:
            record_fidelity(report)
        if self.as_json:
            click.echo(json.dumps(dataclasses.asdict(report), ensure_ascii=False))
        else:
            _print(report)


def _write(path: Path, text: str) -> None:
    from edgephi.base.atomic_write import writing
    from edgephi.base.output_file import staged_file

    with writing(path), staged_file(path) as stream:
        stream.write(text.encode())


def _output_options(command: Command) -> Command:
    options = (
        click.option(
            "--record", is_flag=True, help="Write the figures into each MODEL's manifest, for `edgephi inspect`."
        ),
        click.option(
            "--page", type=click.Path(path_type=Path), metavar="FILE", help="Also write one HTML page with plots."
        ),
        click.option(
            "--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Also write the tables as Markdown."
        ),
    )
    return packed(command, Output, "output", [*in_group("Output", options), json_option])


@click.command(cls=GroupedCommand)
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL...")
@group(
    "Comparison",
    click.option(
        "--reference",
        required=True,
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The folder to compare with: an export of the same checkpoint with --recipe fp32.",
    ),
)
@_PARTS_OPTION
@_EXAMPLE_OPTIONS
@_RUN_OPTIONS
@kv_cache_option
@_require_option
@_output_options
def fidelity(requirements: tuple[str, ...], output: Output, **options: Any) -> None:
    """Measure how close each model folder MODEL is to its reference, mode by mode.

    Every example is run twice: along the right answer, where the two models' next-token distributions are compared
    (KL divergence, likeliest token, perplexity), and freely, where the replies are compared with the reference's and
    judged by the right answer. One model is loaded at a time.

    \b
    Examples:
      edgephi export phi4mm-checkpoint -o phi4mm-fp32 --recipe fp32
      edgephi fidelity phi4mm --reference phi4mm-fp32
      edgephi fidelity phi4mm --reference phi4mm-fp32 --examples held-out --require 'top1>=93%' --record
      edgephi fidelity int8 int4 int4-fast --reference fp32 --examples held-out --work done --page report.html
    """
    from edgephi.console.progress_bar import ProgressBar
    from edgephi_export.fidelity.comparing import compare_fidelity
    from edgephi_export.fidelity.options import FidelityOptions
    from edgephi_export.fidelity.requirements import parse_requirement

    output.check()
    wanted = FidelityOptions(
        **options, requirements=tuple(map(parse_requirement, requirements)), command=("edgephi", *sys.argv[1:])
    )
    with stoppable(), ProgressBar() as bar:
        report = compare_fidelity(wanted, bar.show)
    output.write(report)
    failed = [f"{model.folder.path}: {words}" for model in report.models for words in model.failed]
    if failed:
        end_unsuccessful("; ".join(failed))


def _print(report: FidelityReport) -> None:
    """The tables on stdout, and what they are to be read with."""
    from rich.console import Console

    from edgephi.console.tables import drawn
    from edgephi_export.fidelity.tables import tables

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    for table in tables(report)[int(len(report.models) == 1) :]:  # an overview of one says nothing new
        console.print(drawn(table))
    left_out = f", {report.examples.left_out:,} left out" if report.examples.left_out else ""
    console.print(
        f"{report.examples.examples:,} examples{left_out}; KL in nats; noise: the reference beside itself with "
        "other threads and shorter passes",
        markup=False,
    )
