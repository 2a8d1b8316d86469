"""How the process begins and ends: streams that are closed or full, signals that came late, one exit code."""

from __future__ import annotations

import errno
import os
import resource
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import click

from edgephi.console import interruption
from edgephi.console.report import error_line

NO_MEMORY = "this machine has not enough free memory; use a shorter input or a smaller model"
_SIGPIPE = 128 + 13
_left_to_the_end: list[object] = []


def mend_streams() -> None:
    """Make streams of those that were closed when the process began.

    Their descriptors are taken, or the next file that is opened would get the number and what libraries print. What is
    written to a closed stdout fails as in any other program; what is written to a closed stderr is lost.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def spare_memory() -> None:
    """Under a limit of address space, keep NumPy's library from starting threads: it raises SIGINT where it cannot."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def say(line: str) -> None:
    """A line on stderr, if anybody is still there."""
    with suppress(OSError, ValueError):
        click.echo(line, err=True)


def broken_stdout(error: OSError | None = None) -> int | None:
    """Whether stdout can be written; if it cannot, that is said and it is closed.

    The interpreter would otherwise try to write what is left once more when it ends, and complain.

    Args:
        error: Raised by something that may have written to stdout.

    Returns:
        The exit code: of SIGPIPE, without a word, where the reader went away; None where stdout is fine.
    """
    try:
        if not sys.stdout.closed:
            sys.stdout.flush()
        broken = error if error is not None and (error.errno == errno.EPIPE or _is_of_stdout(error)) else None
    except OSError as raised:
        broken = raised
    if broken is None:
        return None
    with suppress(OSError, ValueError):
        sys.stdout.close()
    if broken.errno == errno.EPIPE:
        return _SIGPIPE
    say(error_line(f"standard output cannot be written ({broken.strerror or broken})"))
    return 1


def _is_of_stdout(error: OSError) -> bool:
    """Whether it was raised while a line was written there: an unbuffered stream has nothing left to try again."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or last.tb_frame.f_globals.get("__name__") != click.echo.__module__:
        return False
    return not last.tb_frame.f_locals.get("err", False)


def leave_to_the_end(thing: object) -> None:
    """Never free it: the system takes back all memory of a process at once, in a fraction of the time."""
    _left_to_the_end.append(thing)


def run_to_end(command: Callable[[], object]) -> NoReturn:
    """Run the command, which ends by SystemExit, and end the process."""
    from edgephi.base.output_file import remove_unfinished
    from edgephi.bundle.folder_files import remove_made_folders

    code: int | str | None = 0
    try:
        command()
    except SystemExit as ended:
        code = ended.code
    except OSError as error:
        code = broken_stdout(error)
        if code is None:
            raise
    except KeyboardInterrupt:
        code = interruption.answered()
        say("interrupted")
    late = interruption.received()
    if late is not None and code:  # it failed because of the signal, such as a terminal that is gone
        code = 128 + late
    remove_unfinished()
    interruption.finish()
    code = broken_stdout() or code
    if _left_to_the_end and not isinstance(code, str):
        remove_made_folders()
        interruption.exit_now(code or 0)
    if threading.active_count() > 1 and isinstance(code, int) and code > 128:
        interruption.exit_now(code)  # the interpreter's own end crashes beside a thread in native code
    sys.exit(code)
