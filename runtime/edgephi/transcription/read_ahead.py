"""The next items made while the last one is used.

Owns the thread and its end. Knows nothing about the items.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

_DEPTH = 2
_PATIENCE_S = 0.05


class _End:
    """What the thread puts last: why there is no more."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(make: Callable[[Callable[[], bool]], Iterable[T]]) -> Generator[T, None, None]:
    """The items of `make(is_closed)`, a few of them made before they are asked for, by a thread of their own.

    What making an item raises is raised here, after the items before it. Closing the generator waits for the thread,
    so that nothing still reads what the items are made from.

    Args:
        make: Called once, in this thread; its result is iterated in the other. Where an item can take long, it should
            ask `is_closed()` often, and end when it says so.
    """
    made: queue.Queue[T | _End] = queue.Queue(_DEPTH)
    closed = threading.Event()

    def is_closed() -> bool:
        time.sleep(0)  # gives up the interpreter's lock, which would otherwise be asked back for 5 ms each time
        return closed.is_set()

    thread = threading.Thread(target=_fill, args=(make(is_closed), made, closed), name="read-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        thread.join()


def _fill(items: Iterable[T], made: queue.Queue[T | _End], closed: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _put(made, item, closed):
                return
    except BaseException as raised:  # handed to the other thread
        error = raised
    _put(made, _End(error), closed)


def _put(made: queue.Queue[T | _End], item: T | _End, closed: threading.Event) -> bool:
    """Put, or give up once nobody will take it."""
    while not closed.is_set():
        try:
            made.put(item, timeout=_PATIENCE_S)
        except queue.Full:
            continue
        return True
    return False
