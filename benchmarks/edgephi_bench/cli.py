"""`edgephi bench`: finds its subcommands; a model folder in their place is measured.

Owns the group. Knows nothing about what the subcommands do: each has a file of its own and is loaded when asked for.
"""

from __future__ import annotations

import importlib

import click

_COMMANDS = {
    "compare": "edgephi_bench.compare_command",
    "export": "edgephi_bench.export_command",
    "gguf": "edgephi_bench.gguf_command",
    "model": "edgephi_bench.model_command",
    "show": "edgephi_bench.show_command",
    "synthetic": "edgephi_bench.synthetic_command",
}
_DEFAULT = "model"
_HELP = ("-h", "--help")


class BenchGroup(click.Group):
    """Subcommands by name, in modules that are imported late; anything else is a model folder to measure."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of the subcommands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand of that name."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name]), cmd_name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`edgephi bench DIR ...` is `edgephi bench model DIR ...`; a folder named like a subcommand is `./export`."""
        if args and args[0] not in _COMMANDS and args[0] not in _HELP:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both ways to use it."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] MODEL")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options for a model folder, then the subcommands."""
        command = self.get_command(ctx, _DEFAULT)
        assert command is not None  # it is in the table
        command.format_options(click.Context(command), formatter)
        self.format_commands(ctx, formatter)


@click.group(cls=BenchGroup, context_settings={"help_option_names": list(_HELP)})
def bench() -> None:
    """Measure edgephi and its peers on this machine.

    With a model folder: load, every stage of a request, decode against depth, threads and memory. The commands make
    what is measured, measure conversions, and compare and show reports.

    \b
    edgephi bench phi4mm --html report.html   measure a model folder
    edgephi bench phi4mm --json > today.json  the same, to keep
    edgephi bench compare yesterday.json today.json --fail-over 5%
    edgephi bench synthetic phi3 -o mini      a full-size checkpoint of random weights
    edgephi bench export mini --runs 3        time, memory and bytes of its conversion
    """  # noqa: D301 - click reads the \b
