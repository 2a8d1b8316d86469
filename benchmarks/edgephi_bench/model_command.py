"""`edgephi bench MODEL`.

Owns options, progress and what is written where. Knows nothing about measuring or drawing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgephi.cli.options import kv_cache_option
from edgephi.cli.packing import packed
from edgephi.cli.report import printable
from edgephi.cli.stoppable import stoppable
from edgephi.errors import ConfigError, EdgeError
from edgephi.output_file import check_output_file, check_text_output, reason, staged_file

if TYPE_CHECKING:
    from edgephi.manifest import CacheKind
    from edgephi_bench.latency_report import BenchReport
    from edgephi_bench.plan import BenchPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a report is given out."""

    as_json: bool
    as_csv: bool
    as_markdown: bool
    html: Path | None

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

    def give(self, report: BenchReport) -> None:
        """Write the page, if one is wanted, and the report to stdout.

        Raises:
            EdgeError: The page cannot be written; the report went to stdout all the same.
        """
        from edgephi_bench.latency_report import report_json  # noqa: PLC0415 - keeps --help fast
        from edgephi_bench.page import page  # noqa: PLC0415
        from edgephi_bench.text_output import comma_separated, markdown, print_tables  # noqa: PLC0415

        failure = None
        if self.html is not None:
            failure = _write_page(self.html, page(report))
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


def _write_page(path: Path, content: str) -> EdgeError | None:
    """Write it; why that was not possible."""
    try:
        with staged_file(path) as stream:
            stream.write(content.encode())
    except OSError as error:
        return EdgeError(f"--html {path}: cannot be written ({reason(error)})")
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What is measured, as given on the command line."""

    threads: int | None
    only: str | None
    runs: int
    prompt_tokens: int
    new_tokens: int
    depths: str
    thread_counts: str | None
    audio_s: float
    image: str
    memory_context: int
    drop_cache: bool
    kv_cache: CacheKind
    peers: str
    peer_python: tuple[str, ...]
    peer_model: tuple[str, ...]

    def plan(self, model: Path) -> BenchPlan:
        """The checked plan.

        Raises:
            ConfigError: A value that cannot be used.
        """
        from edgephi.session import DeviceOptions  # noqa: PLC0415 - keeps --help fast
        from edgephi_bench.peers import parse_peers  # noqa: PLC0415
        from edgephi_bench.plan import BenchPlan, parse_counts, parse_parts, parse_size  # noqa: PLC0415

        threads = DeviceOptions(threads=self.threads).num_threads
        counts = _powers_of_two(threads) if self.thread_counts is None else parse_counts(self.thread_counts, "--sweep")
        return BenchPlan(
            model=model,
            threads=threads,
            parts=parse_parts(self.only),
            runs=self.runs,
            prompt_tokens=self.prompt_tokens,
            new_tokens=self.new_tokens,
            depths=parse_counts(self.depths, "--depths"),
            thread_counts=counts,
            audio_s=self.audio_s,
            image=parse_size(self.image),
            memory_context=self.memory_context,
            drop_cache=self.drop_cache,
            kv_cache=self.kv_cache,
            peers=parse_peers(self.peers, self.peer_python, self.peer_model),
        )


def _powers_of_two(most: int) -> tuple[int, ...]:
    """1, 2, 4 ... and `most` itself."""
    return (*(1 << i for i in range(most.bit_length()) if 1 << i < most), most)


_POSITIVE = click.IntRange(min=1)
_PLAN_OPTIONS = (
    click.option("--threads", type=_POSITIVE, help="Of edgephi and of every peer.  [default: edgephi's own choice]"),
    click.option(
        "--only",
        metavar="PARTS",
        help="Of load, requests, prefill, decode, threads, memory, output, with commas between.  [default: all]",
    ),
    click.option("--runs", type=_POSITIVE, default=5, show_default=True, help="Counted ones, after one to warm up."),
    click.option("--prompt-tokens", type=_POSITIVE, default=512, show_default=True, help="Of prompts that are read."),
    click.option(
        "--new-tokens",
        type=click.IntRange(min=2),
        default=32,
        show_default=True,
        help="Generated per run; between n there are n - 1 steps.",
    ),
    click.option(
        "--depths",
        metavar="LIST",
        default="0,1k,4k",
        show_default=True,
        help="Cached positions before the measured steps; add 16k where time and memory allow. k is a thousand.",
    ),
    click.option(
        "--sweep", "thread_counts", metavar="LIST", help="Numbers of threads to compare.  [default: 1, 2, 4 ...]"
    ),
    click.option(
        "--audio-s", type=click.FloatRange(min=0.1, max=1800), default=10.0, show_default=True, help="Clip's length."
    ),
    click.option("--image", metavar="WxH", default="1344x1008", show_default=True, help="The picture's size."),
    click.option(
        "--memory-context", type=_POSITIVE, default=512, show_default=True, help="Positions when memory is measured."
    ),
    click.option(
        "--drop-cache", is_flag=True, help="Allow the model's files to be dropped from the page cache, to load it cold."
    ),
    kv_cache_option,
    click.option(
        "--peers",
        metavar="NAMES",
        default="",
        help="Measure these in turn with edgephi: onnxruntime-genai, llama.cpp, transformers, optimum.",
    ),
    click.option(
        "--peer-python",
        metavar="NAME=PROGRAM",
        multiple=True,
        help="Interpreter of a peer's environment; for llama.cpp its llama-bench.",
    ),
    click.option("--peer-model", metavar="NAME=PATH", multiple=True, help="The model in the peer's own format."),
)
_SHOWN_OPTIONS = (
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else."),
    click.option("--csv", "as_csv", is_flag=True, help="One line per figure on stdout."),
    click.option("--markdown", "as_markdown", is_flag=True, help="Markdown tables on stdout."),
    click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write a page with plots."),
)


def shown_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of what is shown, as one argument `shown`."""
    return packed(command, Shown, "shown", _SHOWN_OPTIONS)


def _plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return packed(command, Chosen, "chosen", _PLAN_OPTIONS)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@_plan_options
@shown_options
def model(model: Path, chosen: Chosen, shown: Shown) -> None:
    """Measure the model folder MODEL: load, every stage of a request, decode against depth, threads and memory.

    Each number is taken in a process that does nothing else; peers answer in turn with edgephi, each round beginning
    with another. Decode steps are held against their floor: the bytes they must read over the speed at which this
    machine reads memory, measured beside them in every round. Beside requests with a picture or a clip,
    onnxruntime-genai does its decoder's part: as many positions read, as many tokens made.

    \b
    Examples:
      edgephi bench phi4mm
      edgephi bench phi4mm --json > today.json
      edgephi bench phi4mm --html report.html --markdown > report.md
      edgephi bench phi4mm --only requests --audio-s 30 --image 640x480 --runs 3 --csv
      edgephi bench mini --only decode --depths 0,4k,16k --new-tokens 64 --threads 4
      edgephi bench mini --only threads --sweep 1,2,4 --kv-cache int8
      edgephi bench mini --only load,memory --drop-cache --memory-context 4096
      edgephi bench mini --only decode,prefill --prompt-tokens 1000 --peers llama.cpp \\
        --peer-model llama.cpp=mini.gguf --peer-python llama.cpp=/opt/llama.cpp/bin/llama-bench
    """  # noqa: D301 - click reads the \b
    from edgephi_bench.latency import measure  # noqa: PLC0415 - keeps --help fast

    shown.check()
    plan = chosen.plan(model)
    with stoppable():
        report = measure(plan, ("edgephi", *sys.argv[1:]), lambda line: click.echo(printable(line), err=True))
    shown.give(report)
    failed = [f"{peer.name} ({peer.error})" for peer in report.peers if peer.error]
    if failed:  # what was measured is shown all the same
        raise EdgeError(f"not measured to the end: {'; '.join(failed)}")
