"""The command line, in this process and in one of its own."""

from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner, Result

from edgephi.cli.main import main


def invoke(*arguments: object, stdin: str | bytes | None = None) -> Result:
    """Run `edgephi ARGUMENTS` in this process; stdout and stderr apart."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin, prog_name="edgephi")


def spawn(*arguments: object, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `edgephi ARGUMENTS` as a user's shell would."""
    command = [sys.executable, "-m", "edgephi", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)
