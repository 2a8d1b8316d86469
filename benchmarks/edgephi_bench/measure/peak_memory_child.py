"""Runs one command and writes what it cost. A program of its own: `python -I -S peak_memory_child.py FD COMMAND...`.

Imports nothing that is large: on Linux a new program starts with the largest resident size of the process it was
forked from (`exec_mmap` in the kernel's fs/exec.c keeps it), so what starts it must be smaller than anything worth
measuring. GNU time is such a program as well.
"""

from __future__ import annotations

import os
import signal
import sys
import time

TYPE_CHECKING = False  # importing typing for one name would be the largest part of this program
if TYPE_CHECKING:
    from typing import NoReturn

_BLOCK_BYTES = 512  # the unit of ru_inblock and ru_oublock on Linux
_PEAK_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
_NOT_FOUND = 127


def main() -> None:
    """Start the command, wait for it, write five numbers to the descriptor."""
    descriptor, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(descriptor, False)
    # An interruption is the command's to obey; this process stays until the command has ended.
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    start = time.perf_counter()
    process_id = os.fork()
    if process_id == 0:
        if on_interrupt is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        _become(command)
    _, status, usage = os.wait4(process_id, 0)
    seconds = time.perf_counter() - start
    numbers = (
        os.waitstatus_to_exitcode(status),
        seconds,
        usage.ru_maxrss * _PEAK_UNIT_BYTES,
        usage.ru_inblock * _BLOCK_BYTES,
        usage.ru_oublock * _BLOCK_BYTES,
    )
    os.write(descriptor, " ".join(map(repr, numbers)).encode())


def _become(command: list[str]) -> NoReturn:
    """Turn this process into the command."""
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"error: {command[0]}: {error.strerror}\n".encode())
    os._exit(_NOT_FOUND)


if __name__ == "__main__":
    main()
