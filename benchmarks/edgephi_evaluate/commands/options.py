"""Options that the commands of `edgephi evaluate` share."""

from __future__ import annotations

from pathlib import Path

import click

from edgephi.console.commands import group

data_option = group(
    "Data",
    click.option(
        "--data",
        required=True,
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder with the data of each suite, in a folder of its name or all in it.",
    ),
)


def split_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of suites, each once, from arguments that may hold several with commas."""
    return tuple(dict.fromkeys(name for given in names for name in given.split(",") if name))
