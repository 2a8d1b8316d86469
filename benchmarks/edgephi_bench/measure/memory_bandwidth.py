"""The speed at which this machine reads memory, taken again and again while other things are measured.

On a shared machine the speed changes from second to second, so a step is held against what was read beside it and not
against the best that was ever seen. Every pass reads all of the buffer, which is much larger than the caches that a
processor reports: a virtual machine's host can have larger ones.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from edgephi.base.hardware import memory

#: Below it a large cache of the host could serve a good part of every pass.
LEAST_BYTES = 512 << 20
_WANTED_BYTES, _SMALLEST_BYTES = 1 << 30, 16 << 20
_MEMORY_SHARE = 4  # a quarter of what is free at most: models are loaded beside it
_SECONDS = 0.15


class MemoryReader:
    """A buffer, and the best pass over it for each number of threads.

    Args:
        num_bytes: Of the buffer; None for 1 GiB, or what a quarter of the free memory allows.
    """

    def __init__(self, num_bytes: int | None = None) -> None:
        if num_bytes is None:
            num_bytes = max(min(_WANTED_BYTES, memory().available_bytes // _MEMORY_SHARE), _SMALLEST_BYTES)
        # Written to: pages that nobody has written all map to one page of zeros, which the caches hold.
        self._buffer = np.full(num_bytes // 8, 1, np.int64)
        self._best: dict[int, float] = {}

    @property
    def num_bytes(self) -> int:
        """Read in every pass."""
        return self._buffer.nbytes

    def measure(self, threads: int) -> float:
        """Bytes per second that so many threads read together, the mean of at least two passes."""
        parts = np.array_split(self._buffer, threads)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(np.bitwise_or.reduce, parts))  # starts the threads, and is not counted
            begin = last = time.perf_counter()
            passes = 0
            while passes < 2 or last - begin < _SECONDS:
                list(pool.map(np.bitwise_or.reduce, parts))
                now = time.perf_counter()
                self._best[threads] = max(self._best.get(threads, 0.0), self.num_bytes / (now - last))
                passes, last = passes + 1, now
        return passes * self.num_bytes / (last - begin)

    def best(self, threads: int) -> float:
        """Bytes per second of the fastest pass of all that were measured with so many threads.

        Raises:
            KeyError: None was.
        """
        return self._best[threads]
