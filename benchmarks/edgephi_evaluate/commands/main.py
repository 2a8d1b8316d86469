"""`edgephi evaluate`: finds its subcommands; a model folder in their place is measured."""

from __future__ import annotations

import os

import click

from edgephi.console.commands import LateGroup, did_you_mean, is_near

_COMMANDS = {name: f"edgephi_evaluate.commands.{name}" for name in ("check", "merge", "model", "report", "suites")}
_DEFAULT = "model"
_HELP = ("-h", "--help")


class EvaluateGroup(LateGroup):
    """Subcommands by name, in modules that are imported late; anything else is a model folder to measure."""

    modules = _COMMANDS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`edgephi evaluate DIR` is `edgephi evaluate model DIR`; a folder that is named `check` is `./check`."""
        if args and args[0] not in (*_HELP, *_COMMANDS):
            word = args[0]
            if not word.startswith("-") and not os.path.exists(word) and is_near(word, _COMMANDS):
                ctx.fail(f"no model folder and no command {word!r}{did_you_mean(word, _COMMANDS)}")
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both ways to use it."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] MODEL SUITE...")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="       ")


@click.group(cls=EvaluateGroup, context_settings={"help_option_names": list(_HELP)})
def evaluate() -> None:
    """Measure how good a model is on public benchmarks, or on data of your own.

    Prompts, normalizers and metrics are those of the public harnesses. Data are never downloaded: they lie in --data.

    \b
    edgephi evaluate suites                                    what there is, and the data it needs
    edgephi evaluate check openasr-2025 --data data            whether they are complete
    edgephi evaluate phi4mm openasr-2025 --data data -o run    ask everything; again goes on after a kill
    edgephi evaluate report run --baseline fp32-run            figures with intervals, beside published ones
    """
