"""SIGINT, SIGTERM and SIGHUP of the command line: none is lost, and none strikes where it would do harm.

An exception that a signal's handler raises can be swallowed: by an extension that is being imported, by a callback from
C, by the end of an object. So a signal is noted first. It is raised where that is safe, outside of imports and of what
holds it back, and raised again if nobody has answered it and nothing is being cleaned up because of it.

Only modules that the interpreter has loaded anyway are imported here: signals that come before this one runs are not
ours to answer.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_IMPORTING = "<frozen importlib._bootstrap"
_AGAIN_S = 0.05
_STUCK_S = 0.5


class Interrupted(KeyboardInterrupt):
    """A signal that ends the command.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


class _State:
    """Of this process: signals are the main thread's alone."""

    is_installed = False
    received: int | None = None
    is_answered = False
    holds = 0
    may_stick = False


def install() -> None:
    """Take the signals from now on and hold them back until `released`. One that is ignored stays ignored."""
    if _State.is_installed:
        return
    _State.is_installed = True
    _State.holds = 1
    for number in _NUMBERS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _on_signal)
    signal.signal(signal.SIGALRM, _on_signal)
    sys.unraisablehook = _on_swallowed


def is_installed() -> bool:
    """Whether this process is the command line, and answers signals as this module says."""
    return _State.is_installed


def received() -> int | None:
    """The signal that came and was neither answered nor cleared."""
    return None if _State.is_answered else _State.received


def deliver() -> None:
    """Raise what came while it was held back.

    Raises:
        Interrupted: A signal came.
    """
    if (number := received()) is not None:
        raise Interrupted(number)


def clear() -> None:
    """The signal was answered and the command goes on; the next one counts again."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    _State.received = None


def answered() -> int:
    """The command ends because of what came: nothing interrupts any more. The exit code, 128 and the number."""
    number = _State.received or signal.SIGINT
    _State.is_answered = _State.is_installed
    clear()
    return 128 + number


def finish() -> None:
    """Nothing may interrupt the end of the process, when the interpreter's own handlers are gone."""
    if _State.is_installed:
        for number in (*_NUMBERS, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def released() -> Iterator[None]:
    """Inside the block signals are raised; one that came before is raised at once."""
    _State.holds -= 1
    try:
        deliver()
        yield
    finally:
        _State.holds += 1


@contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """Inside the block a signal raises nothing: it turns the yielded answer to True. `deliver` raises it later."""
    before = None if _State.is_installed else _note_ctrl_c()
    _State.holds += 1
    try:
        yield lambda: received() is not None
    finally:
        _State.holds -= 1
        if before is not None:
            signal.signal(signal.SIGINT, before)


@contextmanager
def may_stick() -> Iterator[None]:
    """Around a wait for somebody else, such as a pipe's reader: raised after half a second although held back."""
    _State.may_stick = True
    try:
        if received() is not None:
            signal.setitimer(signal.ITIMER_REAL, _STUCK_S)
        yield
    finally:
        _State.may_stick = False


def _note_ctrl_c() -> signal._HANDLER:
    """In a program that is not ours only Ctrl-C is noted, and only for the block; what was there before."""
    try:
        return signal.signal(signal.SIGINT, _on_signal)
    except ValueError:  # not the main thread
        return None


def _on_signal(number: int, frame: FrameType | None) -> None:
    if number != signal.SIGALRM and _State.received is None and not _State.is_answered:
        _State.received = number
    if received() is None:
        return
    if _State.holds:
        if not _State.may_stick:
            return
        if number != signal.SIGALRM:
            signal.setitimer(signal.ITIMER_REAL, _STUCK_S)
            return
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)  # in case it is swallowed, or has to wait
    if not _is_cleaning_up() and not _is_importing(frame):
        deliver()


def _is_cleaning_up() -> bool:
    """Whether the exception is on its way: raised again, it would break off the blocks that end because of it."""
    error: BaseException | None = sys.exception()
    for _ in range(100):
        if error is None or isinstance(error, Interrupted):
            break
        error = error.__context__
    return error is not None


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTING):
            return True
        frame = frame.f_back
    return False


def _on_swallowed(unraisable: sys.UnraisableHookArgs) -> None:
    """Ours is raised again; of any other the interpreter says what it always says."""
    if not isinstance(unraisable.exc_value, Interrupted):
        sys.__unraisablehook__(unraisable)


def exit_now(code: int) -> None:
    """End without the interpreter's own clean-up, which crashes where a thread still runs native code."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
