"""`edgephi bench compare`.

Owns options, the table and the exit code. Knows nothing about how figures are compared.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgephi.cli.options import json_option
from edgephi.errors import EdgeError

if TYPE_CHECKING:
    from edgephi_bench.comparing import Comparison

_PIPE_WIDTH = 140
_SIGNS = {"worse": "worse", "better": "better", "same": "", "fact": ""}


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


@click.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "--fail-over",
    type=_Percent(),
    default="5%",
    show_default=True,
    metavar="PERCENT",
    help="Exit with 1 when a figure's median became worse by more than this.",
)
@click.option("--force", is_flag=True, help="Compare reports of different models or machines.")
@json_option
def compare(before: Path, after: Path, fail_over: float, force: bool, as_json: bool) -> None:
    """Compare two reports of `edgephi bench MODEL --json`; exit with 1 when AFTER is worse than BEFORE.

    Worse is a median that lost more than --fail-over, or a greedy output that is not the same any more.

    \b
    Examples:
      edgephi bench compare yesterday.json today.json
      edgephi bench compare yesterday.json today.json --fail-over 10% --json
      edgephi bench compare this-machine.json another.json --force
    """  # noqa: D301 - click reads the \b
    from edgephi_bench.comparing import check_comparable, compare_reports  # noqa: PLC0415 - keeps --help fast
    from edgephi_bench.latency_report import read_report  # noqa: PLC0415

    first, second = read_report(before), read_report(after)
    if not force:
        check_comparable(first, second)
    comparison = compare_reports(first, second, fail_over)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(comparison)))
    else:
        _print(comparison)
    problems = []
    if count := len(comparison.regressions):
        problems.append(f"{count} figure{'s' * (count != 1)} became worse by more than {fail_over:.3g}")
    if comparison.output_differs:
        problems.append("the greedy output is not the same")
    if problems:
        raise EdgeError(f"{after}: {'; '.join(problems)}")


def _print(comparison: Comparison) -> None:
    from rich import box  # noqa: PLC0415 - keeps --help fast
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from edgephi_bench.words import quantity  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("figure")
    for name in ("before", "after", "change", ""):
        table.add_column(name, justify="right")
    for change in comparison.changes:
        difference = (change.after - change.before) / change.before if change.before else 0.0
        cells = (quantity(change.before, change.unit), quantity(change.after, change.unit), f"{difference:+.1%}")
        table.add_row(change.label, *cells, _SIGNS[change.verdict])
    console.print(table)
    for label in comparison.only_before:
        console.print(f"only before: {label}", markup=False)
    for label in comparison.only_after:
        console.print(f"only after: {label}", markup=False)
