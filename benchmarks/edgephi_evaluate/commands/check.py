"""`edgephi evaluate check`: whether the data of suites are there, complete and readable."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from edgephi.console.commands import GroupedCommand
from edgephi.console.failures import end_unsuccessful
from edgephi.console.options import json_option
from edgephi_evaluate.commands.options import data_option, split_names


@click.command(cls=GroupedCommand)
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...")
@data_option
@json_option
def check(suites: tuple[str, ...], data: Path, as_json: bool) -> None:
    """Read all data of each SUITE: rows and columns found and missing, and the sha256.

    Ends with exit code 1 where a part is missing, has another number of rows than was published, or cannot be read.

    \b
    Examples:
      edgephi evaluate check openasr-2025 --data data
      edgephi evaluate check docvqa,chartqa --data data --json
    """
    from edgephi_evaluate.runs.checking import check_data
    from edgephi_evaluate.suites.registry import find_suite

    found = [check_data(find_suite(name), data) for name in split_names(suites)]
    if as_json:
        click.echo(json.dumps({"suites": [dataclasses.asdict(one) for one in found]}, ensure_ascii=False))
    else:
        click.echo("\n".join(line for one in found for line in one.lines()))
    wrong = [f"{one.suite}: {words}" for one in found for words in one.problems]
    if wrong:
        end_unsuccessful("; ".join(wrong))
