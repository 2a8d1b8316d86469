"""`edgephi bench compare`: two reports, or two model folders in turn."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from edgephi.base.errors import ConfigError
from edgephi.console.commands import GroupedCommand, group, in_group
from edgephi.console.failures import end_unsuccessful
from edgephi.console.options import json_option, kv_cache_option
from edgephi.console.packing import packed
from edgephi.console.report import printable
from edgephi.console.signals import stoppable

if TYPE_CHECKING:
    from edgephi.bundle.manifest import CacheChoice
    from edgephi_bench.latency.rounds import Task


class _Percent(click.ParamType[float]):
    """`5%` or `5`, as a share."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", str(value))
        if not found:
            self.fail(f"{value!r} is not a percentage such as 5%", param, ctx)
        return float(found[1]) / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The rule for what counts as a change.

    Attributes:
        threshold: The smallest change that matters.
        tolerance: How far logits may lie apart.
        as_json: Whether the result is JSON.
    """

    threshold: float
    tolerance: float
    as_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOptions:
    """The measurements of two model folders."""

    only: str
    depths: str
    prompt_tokens: int
    new_tokens: int
    threads: int | None
    kv_cache: CacheChoice
    against_python: str | None
    pairs: int
    max_time: float

    def tasks(self, threads: int) -> tuple[Task, ...]:
        """Decode at every depth, and prefill.

        Raises:
            ConfigError: A value that cannot be used.
        """
        from edgephi_bench.latency.plan import parse_counts  # noqa: PLC0415 - keeps --help fast
        from edgephi_bench.latency.rounds import Task  # noqa: PLC0415

        names = {name.strip() for name in self.only.split(",")}
        if unknown := sorted(names - {"decode", "prefill"}):
            raise ConfigError(f"--only names {unknown[0]!r}; folders are compared in decode and prefill")
        tasks = []
        if "decode" in names:
            depths = parse_counts(self.depths, "--depths")
            tasks += [Task(do="decode", tokens=self.new_tokens, depth=depth, threads=threads) for depth in depths]
        if "prefill" in names:
            tasks.append(Task(do="prefill", tokens=self.prompt_tokens, threads=threads))
        return tuple(tasks)


_POSITIVE = click.IntRange(min=1)
_JUDGEMENT_OPTIONS = (
    *in_group(
        "Judgement",
        [
            click.option(
                "--threshold",
                "--fail-over",
                "threshold",
                type=_Percent(),
                default="3%",
                show_default=True,
                metavar="PERCENT",
                help="The smallest change that matters.",
            ),
            click.option(
                "--tolerance",
                type=click.FloatRange(min=0),
                default=0.05,
                show_default=True,
                help="How far the fixed requests' logits may lie apart, in standard deviations of a logit.",
            ),
        ],
    ),
    json_option,
)
_FOLDER_OPTIONS = (
    *in_group(
        "Measurement",
        [
            click.option(
                "--only",
                default="decode,prefill",
                show_default=True,
                metavar="PARTS",
                help="Of folders: decode, prefill.",
            ),
            click.option("--depths", default="0", show_default=True, metavar="LIST", help="Of folders: cached tokens."),
            click.option(
                "--prompt-tokens", type=_POSITIVE, default=512, show_default=True, help="Of folders: read at once."
            ),
            click.option(
                "--new-tokens",
                type=click.IntRange(min=2),
                default=33,
                show_default=True,
                help="Of folders: made in each turn.",
            ),
        ],
    ),
    *in_group(
        "Model",
        [
            click.option(
                "--threads", type=_POSITIVE, help="Of folders: threads of both.  [default: edgephi's own choice]"
            ),
            kv_cache_option,
            click.option(
                "--against-python",
                metavar="PROGRAM",
                help="Of folders: interpreter whose edgephi runs AFTER, to compare two builds.",
            ),
        ],
    ),
    *in_group(
        "Repetition",
        [
            click.option(
                "--runs",
                "pairs",
                type=_POSITIVE,
                default=28,
                show_default=True,
                help="Of folders: most pairs of new processes.",
            ),
            click.option(
                "--max-time",
                type=click.FloatRange(min=1),
                default=600.0,
                show_default=True,
                metavar="SECONDS",
                help="Of folders: begin no pair after so long.",
            ),
        ],
    ),
)


def _options(command: click.decorators.FC) -> click.decorators.FC:
    decorated = packed(command, Judgement, "judgement", _JUDGEMENT_OPTIONS)
    return packed(decorated, FolderOptions, "folders", _FOLDER_OPTIONS)  # type: ignore[return-value]


@click.command(cls=GroupedCommand)
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@group(
    "Judgement",
    click.option("--force", is_flag=True, help="Compare reports of different models or machines."),
)
@_options
@click.pass_context
def compare(
    ctx: click.Context, before: Path, after: Path, force: bool, judgement: Judgement, folders: FolderOptions
) -> None:
    """Find out whether AFTER is slower than BEFORE; exit with 1 when it is.

    BEFORE and AFTER are two model folders, which are asked in turn: new processes of both, pair after pair, until each
    figure is `slower`, `faster` or the `same`, or a limit is reached. With --against-python they may be one folder, run
    by two builds. This is the way to find small changes: whatever the machine does hits both alike.

    Or they are two reports of `edgephi bench MODEL --json`. A machine that became slower in between looks like a
    program that did, so intervals are widened by what the reports know of that, and more is `noise`: undecided.

    A change counts if it is certain (5 % for all figures together) and larger than --threshold. Logits of fixed
    requests that differ by more than --tolerance fail as well, where both are the same model.

    \b
    Examples:
      edgephi bench compare phi4mm-a phi4mm-b --threads 4 --max-time 300
      edgephi bench compare phi4mm phi4mm --against-python new/bin/python --threshold 2%
      edgephi bench compare a b --only decode --depths 0,4k --new-tokens 65 --runs 20 --kv-cache int8
      edgephi bench compare a b --only prefill --prompt-tokens 1000 --json
      edgephi bench compare yesterday.json today.json --fail-over 10% --tolerance 0.1
      edgephi bench compare this-machine.json another.json --force
    """  # noqa: D301 - click reads the \b
    if before.is_dir() and after.is_dir():
        if force:
            raise ConfigError("--force is for reports; model folders are compared as they are")
        problems = _compare_folders(before, after, judgement, folders)
    elif before.is_dir() or after.is_dir():
        folder, other = (before, after) if before.is_dir() else (after, before)
        raise ConfigError(f"{folder} is a folder and {other} is not; give two model folders, or two reports")
    else:
        _refuse_folder_options(ctx)
        problems = _compare_files(before, after, judgement, force)
    if problems:
        end_unsuccessful(f"{after}: {'; '.join(problems)}")


def _refuse_folder_options(ctx: click.Context) -> None:
    """Options for measuring folders mean nothing for reports, and must not be ignored."""
    own = {field.name for field in fields(FolderOptions)}
    for parameter in ctx.command.params:
        if parameter.name in own and ctx.get_parameter_source(parameter.name) == ParameterSource.COMMANDLINE:
            raise ConfigError(f"{parameter.opts[0]} is for two model folders; reports have been measured already")


def _compare_files(before: Path, after: Path, judgement: Judgement, force: bool) -> list[str]:
    from edgephi_bench.comparison.output import comparison_json, file_problems, print_comparison  # noqa: PLC0415
    from edgephi_bench.comparison.reports import check_comparable, compare_reports  # noqa: PLC0415 - keeps --help fast
    from edgephi_bench.latency.report import read_report  # noqa: PLC0415

    first, second = read_report(before), read_report(after)
    if not force:
        check_comparable(first, second)
    comparison = compare_reports(first, second, judgement.threshold, judgement.tolerance)
    if judgement.as_json:
        click.echo(json.dumps(comparison_json(comparison)))
    else:
        print_comparison(comparison)
    return file_problems(comparison)


def _compare_folders(before: Path, after: Path, judgement: Judgement, folders: FolderOptions) -> list[str]:
    from edgephi import ModelOptions  # noqa: PLC0415 - keeps --help fast
    from edgephi_bench.comparison.output import PairedResult, paired_json, print_paired  # noqa: PLC0415
    from edgephi_bench.comparison.paired import PairLimits, compare_in_turn  # noqa: PLC0415
    from edgephi_bench.engines.builds import is_same_model, open_build, output_differences  # noqa: PLC0415

    threads = ModelOptions(threads=folders.threads).device_options.num_threads
    tasks = folders.tasks(threads)
    longest = max(task.depth + task.tokens for task in tasks)
    builds = (
        open_build(before, threads, folders.kv_cache, None, longest),
        open_build(after, threads, folders.kv_cache, folders.against_python, longest),
    )
    kinds = [build.kv_cache for build in builds]
    if kinds[0] != kinds[1]:
        raise ConfigError(
            f"{before} keeps keys and values in {kinds[0]}, {after} in {kinds[1]}; to compare them, give "
            "--kv-cache float"
        )
    limits = PairLimits(threshold=judgement.threshold, most_pairs=folders.pairs, most_seconds=folders.max_time)
    with stoppable():
        compared = compare_in_turn(
            lambda side: builds[side].decoder(), tasks, limits, lambda line: click.echo(printable(line), err=True)
        )
        outputs, note = output_differences(*builds)
    result = PairedResult(
        before=builds[0].name,
        after=builds[1].name,
        compared=compared,
        outputs=outputs,
        tolerance=judgement.tolerance if is_same_model(*builds) else None,
        note=note,
    )
    if judgement.as_json:
        click.echo(json.dumps(paired_json(result)))
    else:
        print_paired(result)
    sys.stdout.flush()
    return result.problems
