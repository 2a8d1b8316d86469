"""The `edgephi` command, also as `python -m edgephi`: signals first, then everything that takes time to import."""

from __future__ import annotations

import sys
from typing import NoReturn

from edgephi.console import interruption


def program() -> NoReturn:
    """Run the command and end the process with its exit code."""
    interruption.install()
    try:
        from edgephi.cli import main  # noqa: PLC0415 - a signal that comes meanwhile is answered afterwards
    except (ImportError, MemoryError) as error:
        reason = " ".join(str(error).split()) or "not enough free memory"
        sys.exit(f"error: edgephi cannot be loaded ({reason})")
    main.program()


if __name__ == "__main__":
    program()
