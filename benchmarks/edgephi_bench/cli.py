"""`edgephi bench`: finds its subcommands.

Owns the group. Knows nothing about what the subcommands do: each has a file of its own and is loaded when asked for.
"""

from __future__ import annotations

import importlib

import click

_COMMANDS = {
    "export": "edgephi_bench.export_command",
    "synthetic": "edgephi_bench.synthetic_command",
}


class BenchGroup(click.Group):
    """Subcommands by name, in modules that are imported late."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of the subcommands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand of that name."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name]), cmd_name)
        return command


@click.group(cls=BenchGroup, context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Measure edgephi and its peers on this machine.

    \b
    edgephi bench synthetic phi3 -o mini      a full-size checkpoint of random weights
    edgephi bench export mini --runs 3        time, memory and bytes of its conversion
    """  # noqa: D301 - click reads the \b
