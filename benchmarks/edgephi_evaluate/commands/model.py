"""`edgephi evaluate MODEL SUITE...`: ask, judge and report."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgephi.console.commands import GroupedCommand, group
from edgephi.console.options import ModelSource, json_option, model_options
from edgephi.console.packing import Command, packed
from edgephi.console.signals import stoppable
from edgephi_evaluate.commands.options import data_option, split_names
from edgephi_evaluate.commands.report import Reported, report_options

if TYPE_CHECKING:
    from edgephi import Model
    from edgephi_evaluate.engines.engine import Engine
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
    engine: str
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
_ENGINE_OPTION = group(
    "Model",
    click.option(
        "--engine",
        default="edgephi",
        show_default=True,
        metavar="NAME",
        help="What answers: edgephi; genai, onnxruntime-genai on a folder of --layout genai; or openai:URL, a server "
        "with the model MODEL (its key in OPENAI_API_KEY).",
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
    return packed(command, RunOptions, "options", [data_option, _RUN_OPTIONS, _ENGINE_OPTION, _OUTPUT_OPTION])


@click.command(cls=GroupedCommand)
@model_options
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...")
@_run_options
@report_options
@json_option
def model(source: ModelSource, suites: tuple[str, ...], options: RunOptions, reported: Reported, as_json: bool) -> None:
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
    """
    from edgephi.console.progress_bar import ProgressBar
    from edgephi_evaluate.runs.evaluation import Evaluation, evaluate, load_suites
    from edgephi_evaluate.runs.lm_eval_tasks import evaluate_task
    from edgephi_evaluate.suites.harness import PREFIX
    from edgephi_evaluate.suites.registry import Selection

    shard, shards = options.shard
    selection = Selection(limit=options.limit, seed=options.seed, shard=shard, shards=shards)
    reported.check()
    names = split_names(suites)
    loaded = load_suites([name for name in names if not name.startswith(PREFIX)], options.data, selection)
    tasks = [name for name in names if name.startswith(PREFIX)]
    run = options.run_folder(source.model)
    with stoppable(), _engine(options.engine, source) as (engine, model), ProgressBar() as bar:
        wanted = Evaluation(engine=engine, run=run, selection=selection, command=("edgephi", *sys.argv[1:]))
        evaluate(wanted, loaded, bar.show)
        for name in tasks:
            evaluate_task(wanted, name, _harness_model(engine, model, source), options.data / "lm-eval")
    reported.show((run,), names, as_json=as_json)


@contextlib.contextmanager
def _engine(name: str, source: ModelSource) -> Iterator[tuple[Engine, Model | None]]:
    """What answers, and its model where that runs in this process."""
    import os

    from edgephi.base.errors import ConfigError

    kind, _, url = name.partition(":")
    if kind == "openai" and url:
        from edgephi_evaluate.engines.openai_engine import OpenAIEngine

        with contextlib.closing(OpenAIEngine(url, source.model, os.environ.get("OPENAI_API_KEY", ""))) as server:
            yield server, None
    elif name == "edgephi":
        from edgephi_evaluate.engines.edgephi_engine import EdgephiEngine

        with source.load() as loaded:
            yield EdgephiEngine(loaded, source.path, source.kv_cache), loaded
    elif name == "genai":
        from edgephi_evaluate.engines.genai_engine import GenaiEngine

        yield GenaiEngine(source.path, source.threads), None
    else:
        raise ConfigError(f"--engine {name}: no such engine; use edgephi, genai or openai:URL")


def _harness_model(engine: Engine, model: Model | None, source: ModelSource) -> HarnessModel:
    from edgephi.base.errors import ConfigError
    from edgephi_evaluate.runs.lm_eval_tasks import HarnessModel

    if model is None:
        raise ConfigError("lm-eval:TASK needs log-likelihoods of the model itself; use --engine edgephi")
    return HarnessModel(model=model, folder=source.path, engine=engine)
