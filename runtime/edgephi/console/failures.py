"""How a command that failed says so: one line on stderr, an exit code, and a JSON object where JSON was asked for."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import NoReturn

import click

from edgephi.base.errors import EdgeError
from edgephi.console.ending import say
from edgephi.console.report import error_line, one_line

_ARGUMENTS = "edgephi.arguments"


def remember_arguments(ctx: click.Context, args: list[str]) -> None:
    """Keep the arguments: an error may come before the command has read its options."""
    ctx.meta[_ARGUMENTS] = list(args)


def fail(ctx: click.Context, kind: str, message: object, exit_code: int) -> NoReturn:
    """Say it and end the program.

    Args:
        ctx: Of the group.
        kind: The error's class.
        message: Shown on one line.
        exit_code: See docs/exit-codes.md.
    """
    say(error_line(message))
    write_json_error(ctx, kind, message, exit_code)
    ctx.exit(exit_code)


def end_unsuccessful(message: str, exit_code: int = EdgeError.exit_code) -> NoReturn:
    """End a command whose result is on stdout, but is no success.

    One line on stderr; with --json the result stays the only object on stdout.
    """
    say(error_line(message))
    click.get_current_context().exit(exit_code)


def write_json_error(ctx: click.Context, kind: str, message: object, exit_code: int) -> None:
    """`{"error": {"type", "message", "exit_code"}}` on stdout, if JSON was asked for."""
    if _wants_json(ctx):
        error = {"type": kind, "message": one_line(message), "exit_code": exit_code}
        with suppress(OSError, ValueError):  # said on stderr already
            click.echo(json.dumps({"error": error}, ensure_ascii=False))


def _wants_json(ctx: click.Context) -> bool:
    arguments: list[str] = ctx.meta.get(_ARGUMENTS, [])
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options
