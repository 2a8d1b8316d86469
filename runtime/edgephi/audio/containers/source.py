"""The bytes of a file, whether it is open or in memory, read at any place."""

from __future__ import annotations

import os
import re
from typing import BinaryIO, Protocol

_WINDOW_BYTES = 1 << 20


class Source(Protocol):
    """Bytes at places; reading beyond the end gives fewer, never an error: decoders call it from C."""

    size: int

    @property
    def error(self) -> OSError | None:
        """Why reading failed; None if it did not."""

    def read_at(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset`; after a failing disk fewer, and `error` says why."""


class BytesSource:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.error: OSError | None = None

    def read_at(self, offset: int, count: int) -> bytes:
        """See Source."""
        return self._data[offset : offset + count]


class FileSource:
    """An open file, which the caller closes. Its size is the one at the start."""

    def __init__(self, stream: BinaryIO) -> None:
        self.descriptor = stream.fileno()
        self.size = os.fstat(self.descriptor).st_size
        self.error: OSError | None = None

    def read_at(self, offset: int, count: int) -> bytes:
        """See Source."""
        try:
            return os.pread(self.descriptor, max(0, min(count, self.size - offset)), offset)
        except OSError as error:
            self.error = error
            return b""


class SliceSource:
    """A range of another source, as if it were a file of its own."""

    def __init__(self, source: Source, start: int, size: int) -> None:
        self._source, self._start = source, start
        self.size = max(0, min(size, source.size - start))

    @property
    def error(self) -> OSError | None:
        """Of the whole."""
        return self._source.error

    def read_at(self, offset: int, count: int) -> bytes:
        """See Source."""
        return self._source.read_at(self._start + offset, max(0, min(count, self.size - offset)))


def search(source: Source, pattern: re.Pattern[bytes], start: int, end: int, *, longest: int = 64) -> int | None:
    """Where a pattern of at most `longest` bytes first stands between two places; None if nowhere."""
    while start < end:
        window = source.read_at(start, min(_WINDOW_BYTES, end - start))
        if found := pattern.search(window):
            return start + found.start()
        if len(window) < _WINDOW_BYTES:
            return None
        start += len(window) - longest
    return None


def is_zero(source: Source, start: int, end: int) -> bool:
    """Whether nothing but zero bytes stands there; also of an empty range."""
    while start < end:
        window = source.read_at(start, min(_WINDOW_BYTES, end - start))
        if not window or window.count(0) != len(window):
            return False
        start += len(window)
    return True


def skip_zeros(source: Source, start: int, end: int) -> int:
    """The first place of another byte than zero, or the end."""
    found = search(source, _NOT_ZERO, start, end, longest=0)
    return end if found is None else found


_NOT_ZERO = re.compile(rb"[^\0]")
