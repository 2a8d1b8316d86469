"""The `edgephi` command: finds its subcommands and turns errors into one line and an exit code.

Host packages (export, quantize, bench) add theirs through
the entry-point group `edgephi.commands`, so a device without them simply lacks the command.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import NoReturn

import click

from edgephi.base.errors import CapacityError, EdgeError
from edgephi.base.out_of_memory import is_out_of_memory
from edgephi.base.version import package_version
from edgephi.console import interruption
from edgephi.console.commands import late_command
from edgephi.console.ending import NO_MEMORY, mend_streams, run_to_end, spare_memory
from edgephi.console.failures import fail
from edgephi.console.logs import log_options
from edgephi.console.packing import decorated_with
from edgephi.console.reporting import ReportingGroup
from edgephi.ort.thread_pool import share_threads

COMMAND_GROUP = "edgephi.commands"
_OWN = {
    "captions": "edgephi.cli.captions",
    "chat": "edgephi.cli.chat",
    "completion": "edgephi.cli.completion",
    "demo": "edgephi.cli.demo",
    "doctor": "edgephi.cli.doctor",
    "inspect": "edgephi.cli.inspect",
    "prepare": "edgephi.cli.prepare",
    "probe": "edgephi.cli.probe",
    "run": "edgephi.cli.run",
    "transcribe": "edgephi.cli.transcribe",
    "verify": "edgephi.cli.verify",
    "version": "edgephi.cli.version",
}


class CommandGroup(ReportingGroup):
    """Loads a subcommand when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of the device's commands and of those that host packages add."""
        return sorted({*_OWN, *(point.name for point in _host_commands())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name; a host command whose libraries are missing becomes one that says so."""
        own = late_command(_OWN, cmd_name)
        if own is not None:
            return own
        for point in _host_commands():
            if point.name == cmd_name:
                return _load(point)
        return None

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; one whose libraries are missing says how to install them."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if ctx.invoked_subcommand is None or ctx.invoked_subcommand in _OWN:
                raise
            fail(ctx, "EdgeError", _install_line(ctx.invoked_subcommand, error), EdgeError.exit_code)


def _escape_unencodable() -> None:
    """File names may hold bytes, and replies characters, that stdout's encoding has no place for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _host_commands() -> Iterator[EntryPoint]:
    yield from entry_points(group=COMMAND_GROUP)


def _load(point: EntryPoint) -> click.Command:
    try:
        command: click.Command = point.load()
    except ImportError as error:
        if is_out_of_memory(error):
            raise CapacityError(NO_MEMORY) from error
        return _missing(point.name, error)
    return command


def _missing(name: str, error: ImportError) -> click.Command:
    """Stands in for a command whose extra is not installed."""
    line = _install_line(name, error)

    def refuse(arguments: tuple[str, ...]) -> None:  # noqa: ARG001 - whatever was given, the answer is the same
        raise EdgeError(line)

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        short_help=f'Not installed; run: pip install "edgephi[{name}]"',
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )


def _install_line(name: str, error: ImportError) -> str:
    return f'`edgephi {name}` needs more packages ({error}); run: pip install "edgephi[{name}]"'


@click.group(cls=CommandGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_version(), prog_name="edgephi")
@decorated_with(*log_options())
@click.pass_context
def main(ctx: click.Context) -> None:
    """Phi-4-multimodal and Phi-4-mini on edge devices: text, images and audio, without PyTorch.

    \b
    edgephi export CHECKPOINT -o phi4mm       make a model folder
    edgephi run phi4mm "What is this?" --image photo.jpg
    edgephi transcribe phi4mm meeting.mp3 -o meeting.srt
    edgephi chat phi4mm
    """
    _escape_unencodable()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def program() -> NoReturn:
    """The `edgephi` command as a process of its own: every session it opens shares one pool of threads."""
    interruption.install()
    mend_streams()
    spare_memory()
    share_threads()
    run_to_end(lambda: main(prog_name="edgephi"))
