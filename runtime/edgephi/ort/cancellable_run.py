"""Long work of ONNX Runtime that can be ended midway: another thread does it, while this one waits.

Python runs signal handlers in the main thread only, and not while that is inside ONNX Runtime. As the caller waits here
instead, Ctrl-C reaches it at once, and `should_stop` is called by the thread that called, as everywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from edgephi.base.cancellation import ask, never

Result = TypeVar("Result")

#: Work that ends within this is never looked at: a step of decoding, or a small model's whole prompt.
_GRACE_S = 0.25
_POLL_S = 0.05
_START_S = 1.0


def cancellable(work: Callable[[], Result], end: Callable[[], None], should_stop: Callable[[], bool] = never) -> Result:
    """The result of `work`, unless it is to be ended: then the thread that does it has ended too when this raises.

    Args:
        work: Done in a thread of its own.
        end: Makes `work` return or raise soon; may be called more than once, and after it has ended.
        should_stop: Called some 20 times a second once the work takes long.

    Raises:
        Stopped: `should_stop` returned True.
        BaseException: What `work` or `should_stop` raises, or a signal's handler.
    """
    thread = _WorkThread(work)
    try:
        if not thread.start():
            return work()  # no thread to be had: it can only be waited for
        wait_s = _GRACE_S
        while not thread.done.wait(wait_s):
            ask(should_stop)
            wait_s = _POLL_S
    except BaseException:
        end()
        raise
    finally:
        thread.join(end)
    return thread.result()


def awaited(work: Callable[[], Result]) -> Result:
    """The result of `work`. What interrupts the wait is raised at once and leaves `work` running.

    For a process that ends then: native code that keeps the interpreter, such as ONNX Runtime's end of a session, would
    otherwise have to be waited for.

    Args:
        work: Done in a thread of its own.

    Raises:
        BaseException: What `work` raises, or a signal's handler.
    """
    thread = _WorkThread(work)
    if not thread.start():
        return work()  # no thread to be had: it can only be waited for
    while not thread.done.wait(_POLL_S):
        pass
    return thread.result()


class _WorkThread(Generic[Result]):
    """A thread and the result of its work."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._results: list[Result] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="edgephi-work", daemon=True)
        self._is_begun = False
        self.done = threading.Event()

    def start(self) -> bool:
        """Whether there is a thread for it."""
        self._is_begun = True
        try:
            self._thread.start()
        except RuntimeError:
            self._is_begun = False
        return self._is_begun

    def join(self, end: Callable[[], None]) -> None:
        """Wait for the thread. An interruption ends the work and is raised once the thread has ended."""
        interruption: KeyboardInterrupt | None = None
        while self._is_begun:
            try:
                # Interrupted while it was started, it is open whether there is a thread at all. Not `Thread.join`: once
                # interrupted, Python 3.11 takes the thread for ended.
                if self.done.wait(_START_S) or self._thread.ident is None:
                    break
            except KeyboardInterrupt as pressed:
                interruption = pressed
                end()
        if self.done.is_set():
            self._thread.join()
        if interruption is not None:
            raise interruption

    def result(self) -> Result:
        """Once the thread has ended."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._results[0]
        finally:
            del error  # it holds this frame, and so the arrays of the work

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # raised in the thread that waits
            self._error = error
        finally:
            self.done.set()


def cancellable_run(ort: Any, run: Callable[[Any], Result], should_stop: Callable[[], bool]) -> Result:
    """`run`, given RunOptions of its own, ended between two nodes of the graph when it is to be.

    Raises:
        BaseException: As `cancellable`.
    """
    options = ort.RunOptions()

    def end() -> None:
        options.terminate = True

    return cancellable(lambda: run(options), end, should_stop)
