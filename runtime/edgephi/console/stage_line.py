"""One line on stderr that says how far loading or a request is, where somebody is looking."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from edgephi.console.logs import is_logging
from edgephi.console.status import StatusLine

if TYPE_CHECKING:
    from edgephi.base.stage import Stage

#: Work of a request that is done sooner shows nothing, so that short answers do not flicker.
_DELAY_S = 0.4
_TICK_S = 0.25
_UNITS = {"prefill": " tokens"}


class StageLine:
    """Shows stages with the seconds gone by, until it is cleared or its `with` block ends.

    A thread draws it, so that something moves during a pass that takes seconds.

    Args:
        text: Shown when the block begins.
        quiet: Show nothing. Nor is anything shown where the log is, whose lines would go through it.
    """

    def __init__(self, text: str, *, quiet: bool = False) -> None:
        self._status = StatusLine()
        self._is_wanted = self._status.is_visible and not quiet and not is_logging()
        self._text = text
        self._began_s = 0.0
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._is_wanted:  # at once: loading keeps the interpreter from every other thread for a second
            with suppress(OSError, ValueError):
                self._status.show(self._text)
                sys.stderr.flush()
        self.show(self._text)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def tell(self, stage: Stage) -> None:
        """Show this stage from now on; an observer for `Model.load` and `Model.stream`."""
        if stage.name != "decode":  # the tokens themselves are shown
            self.show(_described(stage))

    def show(self, text: str) -> None:
        """Show a text of your own."""
        if not self._is_wanted:
            return
        with self._lock:
            self._text = text
        if self._thread is None:
            self._began_s = time.monotonic()
            self._end.clear()
            self._thread = threading.Thread(target=self._draw, name="edgephi-status", daemon=True)
            with suppress(RuntimeError):  # no thread to be had: nothing is shown
                self._thread.start()

    def clear(self) -> None:
        """Remove the line; nothing is shown until the next `tell`."""
        thread, self._thread = self._thread, None
        self._end.set()
        if thread is not None and thread.ident is not None:
            thread.join()
        self._status.clear()

    def _draw(self) -> None:
        wait_s = _DELAY_S
        while not self._end.wait(wait_s):
            wait_s = _TICK_S
            with self._lock:
                text = self._text
            with suppress(OSError, ValueError):  # the terminal is gone
                self._status.show(f"{text} · {time.monotonic() - self._began_s:.0f} s")
                sys.stderr.flush()


def _described(stage: Stage) -> str:
    """`prefill 512/2049 tokens`."""
    if stage.name == "load" or not stage.total:
        return {"load": "loading", "preprocess": "reading"}.get(stage.name, stage.name)
    name = {"preprocess": "reading", "queue": "waiting"}.get(stage.name, stage.name)
    return f"{name} {stage.done}/{stage.total}{_UNITS.get(stage.name, '')}"
