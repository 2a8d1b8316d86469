"""SIGTERM and SIGHUP end a command as Ctrl-C does, also in a program that is not ours."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from edgephi.console import interruption


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside the block those signals raise KeyboardInterrupt; a signal that is ignored stays ignored."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if interruption.is_installed() or threading.current_thread() is not threading.main_thread():
        yield  # they do so already, or cannot: only the main thread may set handlers
        return
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
