"""The end of a command whose result is on stdout, but is no success."""

from __future__ import annotations

from typing import NoReturn

import click

from edgephi.cli.ending import say
from edgephi.cli.report import error_line
from edgephi.errors import EdgeError


def end_unsuccessful(message: str) -> NoReturn:
    """One line on stderr and exit code 1; with --json the result stays the only object on stdout."""
    say(error_line(message))
    click.get_current_context().exit(EdgeError.exit_code)
