"""pip as a program: it knows indexes, wheels and their hashes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from edgephi.base.errors import EdgeError

_MOST = 300


def pip_install(options: Sequence[str]) -> str:
    """Run `pip install`; give its stdout.

    Raises:
        EdgeError: pip refused or failed; its first error line is in the message.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        reason = lines[0].removeprefix("ERROR: ") if lines else f"exit code {done.returncode}"
        raise EdgeError(f"pip cannot install these packages: {reason[:_MOST]}")
    return done.stdout
