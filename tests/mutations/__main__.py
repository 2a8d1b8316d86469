"""The command of `make mutations`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click

from mutations.listing import ListError, read_lists
from mutations.report import as_json, table
from mutations.runner import CopyError, FailingTestsError, run

ROOT = Path(__file__).parents[2]


@click.command()
@click.option("-k", "words", multiple=True, metavar="TEXT", help="Only mutations with this in their name or file.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default="cores", help="At once.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(words: tuple[str, ...], jobs: int, is_json: bool) -> None:
    """Make one mistake of tests/mutations/lists after another in a copy of the source; a test must find each.

    Exits with 0 if all are caught, with 1 if one survives or cannot be tried.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that copies and their tests end too
    try:
        mutations = [one for one in read_lists() if not words or any(word in one.name + one.file for word in words)]
        if not mutations:
            raise click.UsageError(f"no mutation has {' or '.join(words)} in its name or file")
        outcomes = run(ROOT, mutations, min(jobs, len(mutations)), lambda line: click.echo(line, err=True))
    except (ListError, CopyError, FailingTestsError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(as_json(outcomes) if is_json else table(outcomes))
    sys.exit(any(outcome.verdict != "caught" for outcome in outcomes))


if __name__ == "__main__":
    main(prog_name="make mutations")
