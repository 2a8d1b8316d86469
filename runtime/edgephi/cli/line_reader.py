"""Where a chat's lines come from: a person at a terminal, or a pipe; with prompts, line editing and completion."""

from __future__ import annotations

import glob
import importlib
import os
import sys

import click

from edgephi.base.errors import ConfigError

_PROMPT, _MORE = "> ", ". "


class LineReader:
    """Reads messages; a line that ends in a backslash goes on in the next.

    Args:
        commands: Completed at the start of a line, with file names after one.

    Raises:
        click.UsageError: Stdin is closed.
    """

    def __init__(self, commands: tuple[str, ...]) -> None:
        if sys.stdin is None:
            raise click.UsageError("stdin is closed; there is nobody to chat with")
        self.is_interactive = sys.stdin.isatty()
        # `input` writes its prompt to stdout, and edits lines, where both are the terminal.
        self._edits = self.is_interactive and sys.stdout.isatty()
        if self._edits:
            _complete(commands)

    def read(self) -> str | None:
        """The next message; None at the end.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            ConfigError: The line is not UTF-8.
        """
        lines: list[str] = []
        while True:
            line = self._line(_MORE if lines else _PROMPT)
            if line is None:
                return "\n".join(lines) if lines else None
            if not line.endswith("\\"):
                return "\n".join([*lines, line])
            lines.append(line[:-1])

    def _line(self, prompt: str) -> str | None:
        try:
            return self._edited(prompt) if self._edits else self._plain(prompt)
        except UnicodeDecodeError as error:
            raise ConfigError(f"the line is not UTF-8 at its byte {error.start:,}; convert it") from None

    def _edited(self, prompt: str) -> str | None:
        try:
            return input(prompt)
        except EOFError:
            click.echo()  # the shell's prompt gets a line of its own
            return None

    def _plain(self, prompt: str) -> str | None:
        if self.is_interactive:
            click.echo(prompt, err=True, nl=False)
        data = sys.stdin.buffer.readline()
        return data.decode("utf-8").rstrip("\r\n") if data else None


def _complete(commands: tuple[str, ...]) -> None:
    """Line editing with history, where Python was built with it; the tab key completes commands and file names."""
    try:
        readline = importlib.import_module("readline")
    except ImportError:
        return

    def complete(text: str, state: int) -> str | None:
        if readline.get_begidx() == 0:
            found = [f"{command} " for command in commands if command.startswith(text)]
        elif readline.get_line_buffer().startswith("/"):
            found = [name + "/" * os.path.isdir(name) for name in glob.glob(glob.escape(text) + "*")]
        else:
            found = []
        return sorted(found)[state] if state < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" ")
    # Some builds of Python come with libedit, which has a language of its own.
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
