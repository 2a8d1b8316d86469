"""Work on several items at once, results in order. NumPy lets other threads run while it computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")
Result = TypeVar("Result")
#: Rows of one product: fixed, so that results do not depend on the number of threads.
_PRODUCT_ROWS = 256


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


def for_each(function: Callable[[Item], object], items: Iterable[Item], *, threads: int) -> None:
    """Call `function` with every item for what it changes; otherwise as `ordered_map`."""
    for _ in ordered_map(function, items, threads=threads):
        pass


def matrix_product(left: NDArray[np.floating], right: NDArray[np.floating], *, threads: int) -> NDArray[np.floating]:
    """`left @ right`, some rows of `left` at a time; the same for any number of threads while BLAS takes one for each.

    Args:
        left: [n, k].
        right: [k, m].
        threads: Workers, at least 1.

    Returns:
        [n, m], of the type that NumPy gives the product of the two.
    """
    product = np.empty((len(left), right.shape[1]), np.result_type(left, right))

    def work(start: int) -> None:
        rows = slice(start, start + _PRODUCT_ROWS)
        np.matmul(left[rows], right, out=product[rows])

    for_each(work, range(0, len(left), _PRODUCT_ROWS), threads=threads)
    return product


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
