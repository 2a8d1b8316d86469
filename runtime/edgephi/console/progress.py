"""One line on stderr that shows how far the work is, on a terminal; programs and log files see nothing of it.

Every command that takes long uses it:

    with ProgressLine("loading") as progress, source.load(on_stage=progress.observe) as model: ...
    with ProgressLine() as progress: verify_folder(folder, on_read=progress.counter("reading"))
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from edgephi.console.logs import is_logging

if TYPE_CHECKING:
    from edgephi.base.stage import Stage

#: Work that is done sooner shows nothing, so that short answers do not flicker.
_DELAY_S = 0.4
_TICK_S = 0.25
_ERASE = "\r\x1b[K"
_UNITS = {"prefill": " tokens"}
_NAMES = {"load": "loading", "preprocess": "reading", "queue": "waiting"}


class ProgressLine:
    """Shows a text with the seconds gone by, until it is cleared or its `with` block ends.

    A thread draws it, so that something moves during a forward pass that takes seconds.

    Args:
        text: Shown at once when the block begins; empty for nothing.
        quiet: Show nothing. Nor is anything shown where the log is, whose lines would go through it.
    """

    def __init__(self, text: str = "", *, quiet: bool = False) -> None:
        self._is_drawn = can_erase() and not quiet and not is_logging()
        self._text = text
        self._is_shown = False
        self._began_s = 0.0
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._text:
            self._draw_now()  # loading keeps the interpreter from every other thread for a second
            self.show(self._text)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def observe(self, stage: Stage) -> None:
        """Show this stage from now on; an observer for `Model.load` and `Model.stream`."""
        if stage.name != "decode":  # the tokens themselves are shown
            self.show(_described(stage))

    def counter(self, label: str) -> Callable[[int, int], None]:
        """A function of done and total that shows `label 42%`, the first and the last time at once."""
        last = ""

        def count(done: int, total: int) -> None:
            nonlocal last
            text = f"{label} {done / total:.0%}" if total else label
            if text == last:
                return
            self.show(text)
            if not last or done == total:
                self._draw_now()
            last = text

        return count

    def show(self, text: str) -> None:
        """Show a printable text of one line from now on."""
        if not self._is_drawn:
            return
        with self._lock:
            self._text = text
        if self._thread is None:
            self._began_s = time.monotonic()
            self._end.clear()
            self._thread = threading.Thread(target=self._draw, name="edgephi-progress", daemon=True)
            with suppress(RuntimeError):  # no thread to be had: nothing is shown
                self._thread.start()

    def clear(self) -> None:
        """Erase the line, before anything else is written; nothing is shown until the next `show`."""
        thread, self._thread = self._thread, None
        self._end.set()
        if thread is not None and thread.ident is not None:
            thread.join()
        if self._is_shown:
            _write(_ERASE)
            self._is_shown = False

    def _draw(self) -> None:
        wait_s = _DELAY_S
        while not self._end.wait(wait_s):
            wait_s = _TICK_S
            self._draw_now(f" · {time.monotonic() - self._began_s:.0f} s")

    def _draw_now(self, seconds: str = "") -> None:
        if not self._is_drawn:
            return
        with self._lock:
            width = shutil.get_terminal_size().columns
            _write(_ERASE + f"{self._text}{seconds}"[: max(width - 1, 1)])
            self._is_shown = True


def can_erase() -> bool:
    """Whether stderr is a terminal on which what was drawn can be erased again."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _write(text: str) -> None:
    """A terminal that is gone must not cost what is still to be written elsewhere."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True, nl=False)
        sys.stderr.flush()


def _described(stage: Stage) -> str:
    """`prefill 512/2049 tokens`."""
    name = _NAMES.get(stage.name, stage.name)
    if stage.name == "load" or not stage.total:
        return name
    return f"{name} {stage.done}/{stage.total}{_UNITS.get(stage.name, '')}"
