"""Parts of files and made-up headers, put together to one file that a decoder reads."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate

from edgephi.audio.containers.source import BytesSource, FileSource, SliceSource, Source

_WINDOW_BYTES = 1 << 16


class View:
    """A read-only file made of sources. Nothing here raises, because decoders call it from C.

    Args:
        pieces: In order; bytes stand for themselves.
    """

    def __init__(self, pieces: Iterable[Source | bytes]) -> None:
        sources = [BytesSource(piece) if isinstance(piece, bytes) else piece for piece in pieces]
        self._pieces: list[Source] = [piece for piece in sources if piece.size]
        self._starts = [0, *accumulate(piece.size for piece in self._pieces)]
        self.size = self._starts[-1]
        self._at, self._window_at, self._window = 0, 0, b""

    @property
    def error(self) -> OSError | None:
        """Why a file could not be read on."""
        return next((piece.error for piece in self._pieces if piece.error is not None), None)

    @property
    def descriptor(self) -> int | None:
        """That of a file of which this view is all, for decoders that read faster without us."""
        piece = self._pieces[0] if len(self._pieces) == 1 else None
        return piece.descriptor if isinstance(piece, FileSource) else None

    def is_nearly_read(self) -> bool:
        """Whether no more than a decoder's buffer, or zeros, lies behind the position."""
        start = self._at
        while self.size - start > _WINDOW_BYTES:
            if any(self._across(start, _WINDOW_BYTES)):
                return False
            start += _WINDOW_BYTES
        return True

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; a damaged header's impossible offset leaves the position as it is."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}.get(whence, self._at)
        if 0 <= base + offset < 1 << 62:
            self._at = base + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        """At most `count` bytes, or all that is left."""
        data = self._bytes(self.size - self._at if count < 0 else count)
        self._at += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer, or as much of it as there are bytes left."""
        wanted = len(buffer)
        start = self._at - self._window_at
        data = self._window[start : start + wanted] if start >= 0 else b""
        if len(data) < wanted:
            data = self._bytes(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _bytes(self, count: int) -> bytes:
        """Bytes from the position on, which stays; small reads fill a window for those behind them."""
        if count >= _WINDOW_BYTES:
            return self._across(self._at, count)
        self._window_at, self._window = self._at, self._across(self._at, _WINDOW_BYTES)
        return self._window[:count]

    def _across(self, start: int, count: int) -> bytes:
        parts, end = [], min(start + count, self.size)
        index = bisect_right(self._starts, start) - 1
        while start < end:
            offset = start - self._starts[index]
            part = self._pieces[index].read_at(offset, min(end - start, self._pieces[index].size - offset))
            if not part:
                break
            parts.append(part)
            start += len(part)
            if start >= self._starts[index + 1]:
                index += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)


def span(source: Source, start: int, end: int) -> Source:
    """The range of a source; the source itself where that is all of it."""
    return source if start == 0 and end == source.size else SliceSource(source, start, end - start)
