"""The group of a program's commands: every expected failure is one line, and its exit code the error's own."""

from __future__ import annotations

import sys
from typing import Any

import click

from edgephi.base.errors import CapacityError, EdgeError
from edgephi.base.out_of_memory import is_out_of_memory
from edgephi.console import interruption
from edgephi.console.commands import SuggestingGroup
from edgephi.console.ending import NO_MEMORY, broken_stdout, say
from edgephi.console.failures import fail, remember_arguments, write_json_error


class ReportingGroup(SuggestingGroup):
    """Reports every expected failure as `error: ...`, and as JSON where that was asked for."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click does it, which prints the group's own help and version here."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except OSError as error:
            code = broken_stdout(error)
            if code is None:
                raise
            sys.exit(code)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; an error is reported as the arguments ask for it."""
        remember_arguments(ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; the exit code is the error's own."""
        try:
            with interruption.released():
                return super().invoke(ctx)
        except click.UsageError as error:
            write_json_error(ctx, "UsageError", error.format_message(), error.exit_code)
            raise
        except EdgeError as error:
            fail(ctx, type(error).__name__, error, error.exit_code)
        except (MemoryError, ImportError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            fail(ctx, "CapacityError", NO_MEMORY, CapacityError.exit_code)
        except OSError as error:
            code = broken_stdout(error)
            if code is None and is_out_of_memory(error):  # a library that cannot be loaded
                fail(ctx, "CapacityError", NO_MEMORY, CapacityError.exit_code)
            if code is None:
                fail(ctx, "OSError", error, EdgeError.exit_code)
            ctx.exit(code)
        except KeyboardInterrupt:
            code = interruption.answered()
            say("interrupted")
            write_json_error(ctx, "Interrupted", "interrupted", code)
            ctx.exit(code)
