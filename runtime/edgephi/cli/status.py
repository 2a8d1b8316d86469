"""One line on stderr that is written over, where somebody is looking."""

from __future__ import annotations

import shutil
import sys

import click

_CLEAR = "\r\x1b[K"


class StatusLine:
    """Shows nothing unless stderr is a terminal. Clear it before anything else is written."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._is_shown = False

    def show(self, text: str) -> None:
        """Replace the line. `text` is printable and short."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns
            click.echo(_CLEAR + text[: width - 1], err=True, nl=False)
            self._is_shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._is_shown:
            click.echo(_CLEAR, err=True, nl=False)
            self._is_shown = False
