"""`edgephi evaluate suites`: what can be measured, and the data it needs."""

from __future__ import annotations

import json

import click

from edgephi.console.commands import GroupedCommand
from edgephi.console.options import json_option


@click.command(cls=GroupedCommand)
@click.argument("names", nargs=-1, metavar="[SUITE]...")
@json_option
def suites(names: tuple[str, ...], as_json: bool) -> None:
    """List the suites; of a SUITE, its prompt, metric, data and published figures.

    \b
    Examples:
      edgephi evaluate suites
      edgephi evaluate suites openasr-2025 docvqa
    """
    from edgephi_evaluate.report.suite_facts import suite_facts
    from edgephi_evaluate.suites.registry import SUITES, find_suite

    chosen = [find_suite(name) for name in names] or list(SUITES.values())
    if as_json:
        click.echo(json.dumps({"suites": [suite_facts(one).as_json() for one in chosen]}, ensure_ascii=False))
        return
    width = max(len(one.name) for one in chosen)
    for one in chosen:
        if names:
            click.echo("\n".join(suite_facts(one).lines()))
        else:
            click.echo(f"{one.name:{width}}  {one.summary}")
