"""`edgephi evaluate MODEL SUITE...`: ask, judge and report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgephi.console.commands import GroupedCommand, group
from edgephi.console.options import ModelSource, json_option, model_options
from edgephi.console.packing import Command, packed
from edgephi.console.signals import stoppable
from edgephi_evaluate.commands.engines import EngineOptions, engine_options, opened
from edgephi_evaluate.commands.options import data_option, split_names
from edgephi_evaluate.commands.report import Reported, report_options

if TYPE_CHECKING:
    from edgephi import Model
    from edgephi_evaluate.runs.lm_eval_tasks import HarnessModel


class _Shard(click.ParamType[tuple[int, int]]):
    """I/N."""

    name = "shard"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Two numbers."""
        first, slash, last = str(value).partition("/")
        if not (slash and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
            self.fail(f"{value!r} is no shard; write I/N with I from 1 to N, such as 1/4", param, ctx)
        return int(first), int(last)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Which items are asked, of what, and where the answers go."""

    data: Path
    limit: int | None
    seed: int
    shard: tuple[int, int]
    output: Path | None

    def run_folder(self, model: str) -> Path:
        """Where the answers go."""
        return self.output or Path(f"{Path(model).resolve().name}-evaluation")


_RUN_OPTIONS = group(
    "Data",
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Ask at most N items of each part."),
    click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Draws them."),
    click.option(
        "--shard",
        type=_Shard(),
        default="1/1",
        show_default=True,
        metavar="I/N",
        help="Ask part I of N only; `merge` joins the parts.",
    ),
)
_OUTPUT_OPTION = group(
    "Output",
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="RUN",
        help="Folder of the answers. An existing one of the same model, data and options goes on.  "
        "[default: MODEL's name with -evaluation]",
    ),
)


def _run_options(command: Command) -> Command:
    return packed(command, RunOptions, "options", [data_option, _RUN_OPTIONS, _OUTPUT_OPTION])


def _engine_options(command: Command) -> Command:
    return packed(command, EngineOptions, "engine", engine_options())


@click.command(cls=GroupedCommand)
@model_options
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...")
@_engine_options
@_run_options
@report_options
@json_option
def model(
    source: ModelSource,
    suites: tuple[str, ...],
    engine: EngineOptions,
    options: RunOptions,
    reported: Reported,
    as_json: bool,
) -> None:
    """Measure the model folder MODEL on one suite or several (`edgephi evaluate suites` lists them).

    Every answer is kept at once in RUN, so a run that was killed goes on with the same command. Ends with exit code 1
    where more than 1 % of the items failed or a --require does not hold.

    \b
    Examples:
      edgephi evaluate phi4mm openasr-2025 --data data -o run
      edgephi evaluate phi4mm docvqa,chartqa --data data --limit 200 --html report.html
      edgephi evaluate phi4mm items:wer --data my-recordings --baseline fp32-run --require 'wer<=+0.3'
      edgephi evaluate phi4mini lm-eval:gsm8k lm-eval:ifeval --data data
      edgephi evaluate phi4 items:contains --data my-items --engine openai:http://127.0.0.1:8080/v1
      edgephi evaluate phi4mm openasr-2025 --data data --engine ray --address auto
    """
    from edgephi.console.progress_bar import ProgressBar
    from edgephi_evaluate.runs.evaluation import Evaluation, evaluate, load_suites
    from edgephi_evaluate.runs.lm_eval_tasks import evaluate_task
    from edgephi_evaluate.suites.harness import PREFIX
    from edgephi_evaluate.suites.registry import Selection

    shard, shards = options.shard
    selection = Selection(limit=options.limit, seed=options.seed, shard=shard, shards=shards)
    reported.check()
    engine.check()
    names = split_names(suites)
    loaded = load_suites([name for name in names if not name.startswith(PREFIX)], options.data, selection)
    tasks = [name for name in names if name.startswith(PREFIX)]
    run = options.run_folder(source.model)
    with stoppable(), opened(engine, source) as (answering, model), ProgressBar() as bar:
        wanted = Evaluation(engine=answering, run=run, selection=selection, command=("edgephi", *sys.argv[1:]))
        evaluate(wanted, loaded, bar.show)
        for name in tasks:
            evaluate_task(wanted, name, _harness_model(model, source), options.data / "lm-eval")
    reported.show((run,), names, as_json=as_json)


def _harness_model(model: Model | None, source: ModelSource) -> HarnessModel:
    from edgephi.base.errors import ConfigError
    from edgephi_evaluate.runs.lm_eval_tasks import HarnessModel

    if model is None:
        raise ConfigError("lm-eval:TASK needs log-likelihoods of the model itself; use --engine edgephi")
    return HarnessModel(model=model, folder=source.path)
