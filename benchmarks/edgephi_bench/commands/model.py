"""`edgephi bench MODEL`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgephi.base.errors import ConfigError, EdgeError
from edgephi.base.output_file import check_output_file, check_text_output, reason, staged_file
from edgephi.console.commands import GroupedCommand, in_group, renamed
from edgephi.console.failures import end_unsuccessful
from edgephi.console.options import check_hashes_option
from edgephi.console.packing import packed
from edgephi.console.progress_bar import ProgressBar
from edgephi.console.signals import stoppable
from edgephi_bench.commands.model_options import MeasurementOptions, plan_options
from edgephi_bench.report.append_file import append_line, check_appendable

if TYPE_CHECKING:
    from edgephi_bench.latency.report import BenchReport


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOutput:
    """How a report is given out."""

    as_json: bool
    as_csv: bool
    as_markdown: bool
    html: Path | None
    append: Path | None

    def check(self) -> None:
        """Refuse what cannot be done, before minutes are spent.

        Raises:
            ConfigError: Several formats for one stdout, or a page that cannot be written.
        """
        if self.as_json + self.as_csv + self.as_markdown > 1:
            raise ConfigError("--json, --csv and --markdown all go to stdout; choose one")
        if self.html is not None:
            check_output_file(self.html)
            check_text_output(self.html)
        if self.append is not None:
            check_appendable(self.append)

    def give(self, report: BenchReport) -> None:
        """Write the page and the line of a file, if wanted, and the report to stdout.

        Raises:
            EdgeError: The page or the line cannot be written; the report went to stdout all the same.
        """
        from edgephi_bench.latency.report import report_json  # noqa: PLC0415 - keeps --help fast
        from edgephi_bench.report.page import page  # noqa: PLC0415
        from edgephi_bench.report.text import comma_separated, markdown, print_tables  # noqa: PLC0415

        failure = None
        if self.append is not None:
            failure = append_line(self.append, json.dumps(report_json(report)))
        if self.html is not None:
            failure = write_page(self.html, page(report)) or failure
        if self.as_json:
            click.echo(json.dumps(report_json(report)))
        elif self.as_csv:
            click.echo(comma_separated(report), nl=False)
        elif self.as_markdown:
            click.echo(markdown(report), nl=False)
        else:
            print_tables(report)
        if failure is not None:
            raise failure


def write_page(path: Path, content: str) -> EdgeError | None:
    """Write it; why that was not possible."""
    try:
        with staged_file(path) as stream:
            stream.write(content.encode())
    except OSError as error:
        return EdgeError(f"--html {path}: cannot be written ({reason(error)})")
    return None


_REPORT_OUTPUT_OPTIONS = in_group(
    "Output",
    [
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else."),
        click.option("--csv", "as_csv", is_flag=True, help="One line per figure on stdout, with the environment."),
        click.option("--markdown", "as_markdown", is_flag=True, help="Markdown tables on stdout."),
        click.option(
            "--append",
            type=click.Path(path_type=Path),
            metavar="FILE.jsonl",
            help="Also append the report to a file, one JSON object a line.",
        ),
        click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write a page with plots."),
    ],
)


def report_output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of where a report goes, as one argument `output`."""
    return packed(command, ReportOutput, "output", _REPORT_OUTPUT_OPTIONS)


@click.command(cls=GroupedCommand, context_settings=renamed(memory_context="max-context"))
@click.argument("model", type=click.Path(path_type=Path))
@plan_options
@report_output_options
@check_hashes_option
def model(model: Path, options: MeasurementOptions, output: ReportOutput, check_hashes: bool) -> None:
    """Measure the model folder MODEL: load, every stage of a request, decode against depth, threads and memory.

    Its words beside others': prefill of 512 tokens is pp512, a decode step's rate tg32, time to first token TTFT, time
    per output token TPOT or ITL, seconds of audio a second RTFx.

    Each number is taken in a process that does nothing else; peers answer in turn with edgephi, each round beginning
    with another. Decode steps are held against their floor: the bytes they must read over the speed at which this
    machine reads memory, measured beside them in every round. Beside requests with an image or audio,
    onnxruntime-genai does its decoder's part: as many tokens read, as many made.

    \b
    Examples:
      edgephi bench phi4mm
      edgephi bench phi4mm --json > today.json
      edgephi bench phi4mm --html report.html --markdown > report.md
      edgephi bench phi4mm --quick --check-hashes --append log.jsonl
      edgephi bench phi4mm --only requests --audio-s 5,30 --image 640x480,1344x1008 --runs 3 --csv
      edgephi bench phi4mm --only requests --prompts mine.jsonl --warmup 2 --delay 5
      edgephi bench phi4mm --only prefill,decode --prompt-tokens 128,512 --new-tokens 32,128
      edgephi bench mini --only decode --depths 0,4k,16k --new-tokens 64 --threads 4
      edgephi bench mini --only threads --sweep 1,2,4 --kv-cache int8
      edgephi bench mini --only load,memory --drop-cache --max-context 4096
      edgephi bench mini --only prefill --memory 12GB
      edgephi bench mini-gpu --device webgpu
      edgephi bench mini --only decode,prefill --prompt-tokens 1000 --peers llama.cpp \\
        --peer-model llama.cpp=mini.gguf --peer-python llama.cpp=/opt/llama.cpp/bin/llama-bench
    """  # noqa: D301 - click reads the \b
    from edgephi.bundle.bundle import Bundle  # noqa: PLC0415 - keeps --help fast
    from edgephi_bench.latency.run import measure  # noqa: PLC0415

    output.check()
    plan = options.with_quick_values(click.get_current_context()).plan(model)
    with stoppable(), ProgressBar(is_animated=False) as bar:
        Bundle(model, check_hashes=check_hashes).look_for_damage()
        report = measure(plan, ("edgephi", *sys.argv[1:]), bar.show)
    output.give(report)
    failed = [f"{peer.name} ({peer.error})" for peer in report.peers if peer.error]
    if failed:  # what was measured is shown all the same
        end_unsuccessful(f"not measured to the end: {'; '.join(failed)}")
