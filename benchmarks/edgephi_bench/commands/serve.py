"""`edgephi bench serve`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgephi.base.output_file import check_output_file, check_text_output
from edgephi.console.commands import GroupedCommand, in_group
from edgephi.console.options import check_hashes_option, json_option, kv_cache_option
from edgephi.console.packing import packed
from edgephi.console.progress_bar import ProgressBar
from edgephi.console.signals import stoppable
from edgephi_bench.commands.model import write_page
from edgephi_bench.commands.model_options import delay_option

if TYPE_CHECKING:
    from edgephi.bundle.manifest import CacheChoice
    from edgephi_bench.serving.plan import ServingPlan
    from edgephi_bench.serving.report import ServingReport

_POSITIVE = click.IntRange(min=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """The measurements, as given on the command line."""

    clients: str
    prompt_tokens: str
    new_tokens: str
    audio_s: str
    image: str
    questions: int
    runs: int
    warmup: int
    delay_s: float
    threads: int | None
    kv_cache: CacheChoice

    def plan(self, model: Path) -> ServingPlan:
        """The checked plan.

        Raises:
            ConfigError: A value that cannot be used.
        """
        from edgephi import ModelOptions  # noqa: PLC0415 - keeps --help fast
        from edgephi_bench.latency.plan import BenchPlan, parse_counts, parse_seconds, parse_sizes  # noqa: PLC0415
        from edgephi_bench.serving.plan import ServingPlan  # noqa: PLC0415

        bench = BenchPlan(
            model=model,
            threads=ModelOptions(threads=self.threads).device_options.num_threads,
            parts=frozenset({"requests"}),
            runs=self.runs,
            warmup=self.warmup,
            delay_s=self.delay_s,
            prompt_tokens=parse_counts(self.prompt_tokens, "--prompt-tokens"),
            new_tokens=parse_counts(self.new_tokens, "--new-tokens"),
            audio_s=parse_seconds(self.audio_s),
            images=parse_sizes(self.image),
            kv_cache=self.kv_cache,
        )
        clients = parse_counts(self.clients, "--clients")
        return ServingPlan(bench=bench, clients=clients, questions=self.questions)


_OPTIONS = (
    *in_group(
        "Measurement",
        [
            click.option(
                "--clients", metavar="LIST", default="1,4,16", show_default=True, help="That ask at once, 1 to 64."
            ),
            click.option(
                "--prompt-tokens",
                metavar="N",
                default="128",
                show_default=True,
                help="About so many in a text request.",
            ),
            click.option(
                "--new-tokens", metavar="N", default="32", show_default=True, help="Generated in every reply."
            ),
            click.option("--audio-s", metavar="S", default="3", show_default=True, help="Seconds of audio."),
            click.option("--image", metavar="SIZE", default="640x480", show_default=True, help="Size of the image."),
            click.option(
                "--questions",
                type=click.IntRange(0, 10_000),
                default=0,
                show_default=True,
                help="Short ones at the end, while another client asks about images without end.",
            ),
        ],
    ),
    *in_group(
        "Repetition",
        [
            click.option(
                "--runs", type=_POSITIVE, default=10, show_default=True, help="Rounds with each number of clients."
            ),
            click.option(
                "--warmup", type=_POSITIVE, default=1, show_default=True, help="Rounds before, of one client."
            ),
            delay_option,
        ],
    ),
    *in_group(
        "Model",
        [
            click.option("--threads", type=_POSITIVE, help="Of both sides.  [default: edgephi's own choice]"),
            kv_cache_option,
        ],
    ),
)
_html_option = in_group(
    "Output",
    [click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write a page with plots.")],
)[0]


def serving_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options, as one argument `options`."""
    return packed(command, ServingOptions, "options", _OPTIONS)


@click.command(cls=GroupedCommand)
@click.argument("model", type=click.Path(path_type=Path))
@serving_options
@json_option
@_html_option
@check_hashes_option
def serve(model: Path, options: ServingOptions, as_json: bool, html: Path | None, check_hashes: bool) -> None:
    """Measure `edgephi serve` with the model folder MODEL, beside direct calls of the same model.

    The server runs in a process of its own on a free port of this machine, direct calls in another; both answer the
    same requests in turn. In a round every client sends one request of each kind that the folder takes: text, image,
    audio. With one client the difference is what the server adds to a token and to a request. Replies have exactly
    --new-tokens tokens. The model is in memory twice, and a round of 16 clients is 48 requests, answered twice.
    --questions measures how long short questions wait behind images, and what that costs the images.

    \b
    Examples:
      edgephi bench serve phi4mm
      edgephi bench serve phi4mm --json > serving.json
      edgephi bench serve phi4mm --clients 1 --runs 20 --html serving.html
      edgephi bench serve phi4mm --clients 1,4 --runs 2 --new-tokens 16 --image 448x448
      edgephi bench serve phi4mm --clients 1 --runs 1 --image 1344x1008 --questions 40
    """  # noqa: D301 - click reads the \b
    from edgephi.bundle.bundle import Bundle  # noqa: PLC0415 - keeps --help fast
    from edgephi_bench.serving.run import measure_serving  # noqa: PLC0415

    if html is not None:
        check_output_file(html)
        check_text_output(html)
    plan = options.plan(model)
    with stoppable(), ProgressBar(is_animated=False) as bar:
        Bundle(model, check_hashes=check_hashes).look_for_damage()
        report = measure_serving(plan, ("edgephi", *sys.argv[1:]), bar.show)
    _give(report, as_json, html)


def _give(report: ServingReport, as_json: bool, html: Path | None) -> None:
    """Write the page, if wanted, and the report to stdout.

    Raises:
        EdgeError: The page cannot be written; the report went to stdout all the same.
    """
    from edgephi_bench.report.text import print_parts  # noqa: PLC0415 - keeps --help fast
    from edgephi_bench.serving.page import serving_page  # noqa: PLC0415
    from edgephi_bench.serving.report import serving_report_json  # noqa: PLC0415
    from edgephi_bench.serving.tables import (  # noqa: PLC0415
        serving_heading,
        serving_provenance,
        serving_remarks,
        serving_tables,
    )

    failure = None if html is None else write_page(html, serving_page(report))
    if as_json:
        click.echo(json.dumps(serving_report_json(report)))
    else:
        lines = (*serving_remarks(report), serving_provenance(report))
        print_parts(serving_heading(report), serving_tables(report), lines)
    if failure is not None:
        raise failure
