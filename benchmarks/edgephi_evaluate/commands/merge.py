"""`edgephi evaluate merge`: shards that were made apart become one run."""

from __future__ import annotations

from pathlib import Path

import click

from edgephi.console.commands import GroupedCommand, group


@click.command(cls=GroupedCommand)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@group(
    "Output",
    click.option(
        "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="RUN", help="Folder to make."
    ),
)
def merge(runs: tuple[Path, ...], output: Path) -> None:
    """Put the answers of several RUNs of the same model, data and options into one.

    \b
    Example:
      edgephi evaluate phi4mm docvqa --data data --shard 1/2 -o first       on one machine
      edgephi evaluate phi4mm docvqa --data data --shard 2/2 -o second      on another
      edgephi evaluate merge first second -o run
    """
    from edgephi_evaluate.runs.merging import merge as merged

    click.echo(f"{merged(runs, output):,} answers in {output}")
