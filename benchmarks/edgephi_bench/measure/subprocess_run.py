"""A command in a process of its own, measured from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edgephi.base.errors import EdgeError

OnLine = Callable[[str], None]
_METER = Path(__file__).with_name("peak_memory_child.py")
_KEPT_LINES = 50
#: How long a command that was asked to stop may tidy up: it may have gigabytes to remove.
_GRACE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The time and memory of a command.

    Attributes:
        seconds: Wall time from its start to its end.
        peak_bytes: Largest resident size of the command or of a child it waited for, mapped files included; what GNU
            `time -v` calls "Maximum resident set size".
        disk_read_bytes: Fetched from the disk; what the page cache held already does not count.
        disk_written_bytes: Handed to the page cache for the disk; memory-backed file systems do not count.
    """

    seconds: float
    peak_bytes: int
    disk_read_bytes: int
    disk_written_bytes: int


class CommandError(EdgeError):
    """A measured command failed; the message is its own error line."""


def measure_command(
    command: Sequence[str], on_line: OnLine | None = None, environment: Mapping[str, str] | None = None
) -> Usage:
    """Run a command to its end and say what it cost.

    An exception here, Ctrl-C included, interrupts the command and waits until it is gone.

    Args:
        command: Program and arguments; no shell.
        on_line: Called with every line that the command prints, on whichever stream.
        environment: Variables to set besides the present ones.

    Raises:
        CommandError: It could not be started or did not exit with 0.
    """
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_METER), str(write_end), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end,),
            env={**os.environ, **(environment or {})},
            process_group=0,  # so that stopping reaches the command and what it started
        )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    with os.fdopen(read_end, "rb") as report, process:
        try:
            assert process.stdout is not None  # asked for above
            last_lines = _follow(process.stdout, on_line)
            numbers = report.read().split()
            process.wait()
        except BaseException:
            # As Ctrl-C would; waiting also takes what it prints, so that it cannot block on that.
            end_group(process, signal.SIGINT, lambda: process.communicate(timeout=_GRACE_SECONDS))
            raise
    return _usage(numbers, last_lines)


def _follow(stream: IO[bytes], on_line: OnLine | None) -> deque[str]:
    """Pass every line on; the last ones come back."""
    kept: deque[str] = deque(maxlen=_KEPT_LINES)
    for raw in stream:
        # A progress bar rewrites its line; only how it ended is of interest.
        line = raw.decode("utf-8", "replace").rstrip().rsplit("\r", 1)[-1]
        if line:
            kept.append(line)
            if on_line:
                on_line(line)
    return kept


def end_group(process: subprocess.Popen[Any], first: signal.Signals, wait: Callable[[], object]) -> None:
    """Signal a process and what it started; what does not end in time is killed.

    Args:
        process: Leads a group of its own.
        first: The signal.
        wait: Waits for the end of the process, and raises TimeoutExpired when that takes too long.
    """
    for number in (first, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            wait()
            return


def _usage(numbers: list[bytes], last_lines: deque[str]) -> Usage:
    if len(numbers) != 5:
        raise CommandError("the measured command was killed together with its meter")
    exit_code = int(numbers[0])
    if exit_code:
        raise CommandError(exit_reason(exit_code, last_lines))
    return Usage(
        seconds=float(numbers[1]),
        peak_bytes=int(numbers[2]),
        disk_read_bytes=int(numbers[3]),
        disk_written_bytes=int(numbers[4]),
    )


def exit_reason(exit_code: int, last_lines: Sequence[str]) -> str:
    """Why a command ended: the last line that calls itself an error, else the last, of a traceback the exception.

    Args:
        exit_code: Below 0 for a signal.
        last_lines: Of what it printed, the last lines, none of them empty.
    """
    if exit_code < 0:
        try:
            name = signal.Signals(-exit_code).name
        except ValueError:
            name = f"signal {-exit_code}"
        hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    errors = [line.removeprefix("error: ") for line in last_lines if line.startswith("error: ")]
    if errors:
        return errors[-1]
    return last_lines[-1] if last_lines else f"exit code {exit_code} without a message"
