"""Moves the memory of packed weights into huge pages, while there is nothing else to do.

A decode step reads every weight once. In pages of 4 KiB the processor looks up half a million addresses on the way; in
huge pages, of 2 MiB on most machines, a thousand. Linux gives huge pages to memory that asks for them, which ONNX
Runtime's does not. Asking before the memory is filled makes loading slower by half where free memory is in pieces, so
it is moved afterwards, block by block, between requests. Content and addresses stay as they are, and no block that is
partly unused is filled up. Where the system cannot do it or is set never to, nothing happens.
"""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from mmap import PAGESIZE
from pathlib import Path
from threading import Event, Thread
from typing import BinaryIO

_MAPS, _PAGE_MAP = Path("/proc/self/maps"), Path("/proc/self/pagemap")
_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
_MADV_COLLAPSE = 25  # Linux 6.1
_MOST_BYTES = 32 << 20  # to fill larger ones takes too much memory at once, and too long for a request to wait
_ENTRY_BYTES, _PRESENT_BIT = 8, 0x80  # of the last byte of a page's entry

Range = tuple[int, int]


def own_memory() -> list[Range]:
    """Address ranges, in order, of this process's private memory that is no file's; nothing off Linux."""
    try:
        lines = _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    fields = (line.split(maxsplit=5) for line in lines)
    return [_range(field[0]) for field in fields if field[1] == "rw-p" and field[5:] in ([], ["[heap]"])]


def _range(text: str) -> Range:
    start, _, end = text.partition("-")
    return int(start, 16), int(end, 16)


def without(ranges: Iterable[Range], others: Iterable[Range]) -> Iterator[Range]:
    """The parts of `ranges` that are in none of `others`; both in order, none overlapping its like."""
    taken = deque(others)
    for start, end in ranges:
        while taken and taken[0][1] <= start:
            taken.popleft()
        left = start
        for other_start, other_end in taken:
            if other_start >= end:
                break
            if other_start > left:
                yield left, other_start
            left = max(left, other_end)
        if left < end:
            yield left, end


class HugePages:
    """Memory to move, and the thread that moves it.

    Pauses and goes on as often as is wanted; use it from one thread at a time.
    """

    def __init__(self) -> None:
        self._size = _huge_page_size()
        self._blocks: deque[int] = deque()
        self._stop = Event()

    @property
    def num_left(self) -> int:
        """Blocks that were not looked at yet."""
        return len(self._blocks)

    def take(self, ranges: Iterable[Range]) -> None:
        """From now on move these ranges, and none that were taken before."""
        self.pause()
        if self._size:
            starts = ((-(-start // self._size) * self._size, end) for start, end in ranges)
            self._blocks = deque(
                block for start, end in starts for block in range(start, end - self._size + 1, self._size)
            )

    def resume(self) -> None:
        """Go on in a thread of its own, until everything is moved or `pause` is called."""
        self.pause()
        if self._blocks and not sys.is_finalizing():  # a thread that starts then never runs, and is waited for
            self._stop = Event()
            mover = Thread(target=_move, args=(self._blocks, self._size, self._stop), name="huge-pages", daemon=True)
            with suppress(RuntimeError):  # no thread to be had: only speed is lost
                mover.start()

    def __del__(self) -> None:
        self._stop.set()

    def pause(self) -> None:
        """Stop after the present block, a matter of milliseconds; does not wait for it."""
        self._stop.set()


def _move(blocks: deque[int], size: int, stop: Event) -> None:
    """Move the first of the blocks until none is left; where it fails, a block stays as it was."""
    library = ctypes.CDLL(None)
    try:
        with _PAGE_MAP.open("rb", buffering=0) as page_map:
            while blocks and not stop.is_set():
                start = blocks.popleft()
                if _is_filled(page_map, start, size):
                    library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_COLLAPSE)
    except (OSError, IndexError):  # unreadable, or a thread that was paused took the last one: only speed is lost
        blocks.clear()


def _is_filled(page_map: BinaryIO, start: int, size: int) -> bool:
    """Whether every page of a block is in memory; the others would cost memory that nobody asked for."""
    page_map.seek(start // PAGESIZE * _ENTRY_BYTES)
    entries = page_map.read(size // PAGESIZE * _ENTRY_BYTES)
    last_bytes = entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES]
    return len(last_bytes) == size // PAGESIZE and all(byte & _PRESENT_BIT for byte in last_bytes)


def _huge_page_size() -> int:
    """Bytes; 0 where the system has none that are of use, or is set never to use them."""
    try:
        if "[never]" in (_SETTINGS / "enabled").read_text(encoding="ascii"):
            return 0
        size = int((_SETTINGS / "hpage_pmd_size").read_text(encoding="ascii"))
        return size if size <= _MOST_BYTES else 0
    except (OSError, ValueError):
        return 0
