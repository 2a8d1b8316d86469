"""A person at a terminal: `edgephi` on a pseudo terminal; keys pressed once the screen shows what they wait for."""

from __future__ import annotations

import codecs
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

CTRL_C, CTRL_D = "\x03", "\x04"
_PATIENCE_S = 60  # an answer that never comes fails the test; one that is late does not
_START = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C becomes a signal
{prepare}
from edgephi.__main__ import program
program()
"""


class Terminal:
    """Runs `edgephi ARGUMENTS` until the `with` block ends.

    Args:
        arguments: Of the command.
        prepare: Python code that runs first.
        stdout: A file that takes stdout instead of the terminal.
        environment: Set for the command; without a TERM of its own it is a terminal that can only write on.

    Attributes:
        screen: Everything shown so far, lines ended as in files.
    """

    def __init__(
        self,
        *arguments: object,
        prepare: str = "",
        stdout: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.screen = ""
        self._seen = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end within a character
        self._master, slave = pty.openpty()
        command = [sys.executable, "-c", _START.format(prepare=prepare), *map(str, arguments)]
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict", "TERM": "dumb", **(environment or {})}
        output = slave if stdout is None else os.open(stdout, os.O_WRONLY | os.O_CREAT)
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=output, stderr=slave, env=environment, start_new_session=True
        )
        for descriptor in {slave, output}:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def press(self, keys: str) -> None:
        """Send keys; a carriage return is the enter key."""
        os.write(self._master, keys.encode("utf-8", "surrogateescape"))

    def wait_for(self, text: str) -> None:
        """Until the text is shown after what an earlier call waited for."""
        while (at := self.screen.find(text, self._seen)) < 0:
            assert self._read(), f"ended without {text!r}:\n{self.screen}"
        self._seen = at + len(text)

    def wait_for_more(self, count: int) -> None:
        """Until this many characters are shown after what an earlier call waited for."""
        while len(self.screen) < self._seen + count:
            assert self._read(), f"ended without {count} more characters:\n{self.screen}"

    def wait_for_exit(self) -> int:
        """The exit code."""
        while self._read():
            pass
        return self._process.wait(_PATIENCE_S)

    def _read(self) -> bool:
        """More of the screen; False when the program has ended."""
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            if select.select([self._master], [], [], 1)[0]:
                with suppress(OSError):  # Linux reports the end of the last process as an input/output error
                    if data := os.read(self._master, 65536):
                        self.screen += self._decoder.decode(data).replace("\r\n", "\n")
                        return True
                return False
            # Python's line editor sees a Ctrl-C that came just before it began to wait with the next signal only.
            self._process.send_signal(signal.SIGWINCH)
        raise AssertionError(f"nothing came for {_PATIENCE_S} s:\n{self.screen}")
