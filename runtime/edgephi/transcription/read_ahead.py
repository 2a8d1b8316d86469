"""The next item made while the last one is used, in a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

T = TypeVar("T")


class _End:
    """The last item of the thread: why there is no more."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(make: Callable[[Callable[[], bool]], Iterable[T]]) -> Generator[T, None, None]:
    """The items of `make(is_closed)`, each made by a thread of its own while the one before it is used.

    What making an item raises is raised here, after the items before it. Closing the generator waits for the thread,
    so that nothing still reads what the items are made from.

    Args:
        make: Called once, in this thread; its result is iterated in the other. Where an item can take long, it should
            ask `is_closed()` often, and end when it says so.
    """
    made: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    wanted, closed = threading.Semaphore(0), threading.Event()

    def is_closed() -> bool:
        time.sleep(0)  # gives up the interpreter's lock, which would otherwise be asked back for 5 ms each time
        return closed.is_set()

    def fill(items: Iterable[T]) -> None:
        error: BaseException | None = None
        try:
            for item in items:
                made.put(item)
                wanted.acquire()  # one ahead: nothing more is begun before this one is taken
                if closed.is_set():
                    return
        except BaseException as raised:  # handed to the other thread
            error = raised
        made.put(_End(error))

    thread = threading.Thread(target=fill, args=(make(is_closed),), name="read-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := made.get(), _End):
            wanted.release()
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        wanted.release()
        thread.join()
