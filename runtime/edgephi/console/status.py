"""One line on stderr that is written over, where somebody is looking."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress

import click

_CLEAR = "\r\x1b[K"


class StatusLine:
    """Shows nothing unless stderr is a terminal that can erase a line. Clear it before anything else is written.

    Attributes:
        is_visible: Whether anything is ever shown.
    """

    def __init__(self) -> None:
        self.is_visible = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._is_shown = False

    def show(self, text: str) -> None:
        """Replace the line. `text` is printable and short."""
        if self.is_visible:
            width = shutil.get_terminal_size().columns
            _echo(_CLEAR + text[: max(width - 1, 1)])
            self._is_shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._is_shown:
            _echo(_CLEAR)
            self._is_shown = False


def _echo(text: str) -> None:
    """A terminal that is gone must not cost what is still to be written elsewhere."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True, nl=False)
