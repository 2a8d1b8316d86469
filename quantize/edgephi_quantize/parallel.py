"""Work on several items at once, results in order. NumPy lets other threads run while it computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], *, threads: int) -> Generator[Result]:
    """Yield `function(item)` for every item, in order.

    Items are taken as they are needed: at most 2 * `threads` are begun and not yet yielded. When a call raises, or the
    caller stops early or is interrupted, nothing further is begun, and no thread runs any more when control returns.

    Args:
        function: Called in a worker thread.
        items: Read in the caller's thread.
        threads: Workers, at least 1; with 1 everything happens in the caller's thread.

    Raises:
        ValueError: `threads` is below 1.
        Exception: What `function` raised, at the place of its item.
    """
    if threads < 1:
        raise ValueError(f"{threads} threads; at least 1 is needed")
    if threads == 1:
        return (function(item) for item in items)
    return _threaded(function, iter(items), threads)


def _threaded(function: Callable[[Item], Result], items: Iterator[Item], threads: int) -> Generator[Result]:
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ordered-map")
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) == 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
