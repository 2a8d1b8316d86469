"""`edgephi bench`: finds its subcommands; a model folder in their place is measured."""

from __future__ import annotations

import os

import click

from edgephi.console.commands import LateGroup, did_you_mean, is_near

_COMMANDS = {
    "compare": "edgephi_bench.commands.compare",
    "export": "edgephi_bench.commands.export",
    "gguf": "edgephi_bench.commands.gguf",
    "model": "edgephi_bench.commands.model",
    "serve": "edgephi_bench.commands.serve",
    "show": "edgephi_bench.commands.show",
    "synthetic": "edgephi_bench.commands.synthetic",
}
_DEFAULT = "model"
_MANIFEST_NAME = "edgephi.json"  # spelled out, so that help loads nothing heavy
_HELP = ("-h", "--help")


class BenchGroup(LateGroup):
    """Subcommands by name, in modules that are imported late; anything else is a model folder to measure."""

    modules = _COMMANDS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`edgephi bench DIR ...` is `edgephi bench model DIR ...`; a folder named like a command is `./export`."""
        if args and args[0] not in _HELP:
            args = self._unambiguous(ctx, args)
        return super().parse_args(ctx, args)

    def _unambiguous(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments, beginning with a command. A word that could be two things, or is nearly one, is refused."""
        word, is_alone = args[0], len(args) == 1 or (args[1].startswith("-") and args[1] not in _HELP)
        if word in _COMMANDS:
            # Every command takes a path, so a word with nothing behind it may as well be the folder of that name.
            if is_alone and os.path.exists(os.path.join(word, _MANIFEST_NAME)):
                ctx.fail(
                    f"{word!r} is a command and a model folder here; write ./{word} for the folder, or `{word}` with "
                    "the arguments that `--help` shows"
                )
            return args
        if not word.startswith("-") and not os.path.exists(word) and is_near(word, _COMMANDS):
            ctx.fail(f"no model folder and no command {word!r}{did_you_mean(word, _COMMANDS)}")
        return [_DEFAULT, *args]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both ways to use it."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] MODEL")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options for a model folder, then the subcommands."""
        command = self.get_command(ctx, _DEFAULT)
        assert command is not None  # it is in the table
        command.format_options(click.Context(command, parent=ctx), formatter)
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
    edgephi bench serve phi4mm                what the server adds, and against 1, 4 and 16 clients
    edgephi bench synthetic phi3 -o mini      a full-size checkpoint of random weights
    edgephi bench export mini --runs 3        time, memory and bytes of its conversion
    """  # noqa: D301 - click reads the \b
