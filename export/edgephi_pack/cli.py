"""The command `edgephi-pack`."""

from __future__ import annotations

from typing import NoReturn

import click

from edgephi.console import interruption
from edgephi.console.ending import mend_streams, run_to_end
from edgephi.console.reporting import ReportingGroup
from edgephi_pack.commands.app import app
from edgephi_pack.commands.bundle import bundle
from edgephi_pack.commands.foreign import deb, oci
from edgephi_pack.commands.keys import keys


@click.group(cls=ReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Make releases of a model, and sign those that edgephi-agent installs."""


for command in (keys, app, bundle, deb, oci):
    main.add_command(command)


def program() -> NoReturn:
    """The command as a process of its own."""
    interruption.install()
    mend_streams()
    run_to_end(lambda: main(prog_name="edgephi-pack"))
