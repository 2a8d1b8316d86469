"""The one form of a tar entry that a bundle has: a regular file whose header says nothing but its name and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from edgephi_agent.errors import RefusedError

BLOCK_BYTES = 512
_MOST_NAME = 99
_END = bytes(2 * BLOCK_BYTES)


def header(name: str, num_bytes: int) -> bytes:
    """The header of an entry; POSIX ustar, read by any tar.

    Args:
        name: ASCII, at most 99 bytes.
        num_bytes: Of the content, below 8 GiB.

    Raises:
        ValueError: The header has no place for it.
    """
    encoded = name.encode("ascii")
    if not 0 < len(encoded) <= _MOST_NAME or not 0 <= num_bytes < 1 << 33:
        raise ValueError(f"{name!r} of {num_bytes:,} bytes has no place in a header")
    fields = [
        (encoded, 100), (b"0000444", 8), (b"0000000", 8), (b"0000000", 8), (b"%011o" % num_bytes, 12),
        (b"00000000000", 12), (b" " * 8, 8), (b"0", 1), (b"", 100), (b"ustar", 6), (b"00", 2),
    ]  # fmt: skip
    block = b"".join(value.ljust(size, b"\0") for value, size in fields).ljust(BLOCK_BYTES, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def end() -> bytes:
    """What stands behind the last entry."""
    return _END


def padding(num_bytes: int) -> bytes:
    """What stands behind a content, up to the next block."""
    return bytes(-num_bytes % BLOCK_BYTES)


class EntryReader:
    """Reads the entries of a stream, forward only.

    Args:
        stream: Of the bundle; a pipe serves.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._next: tuple[str, int] | None = None
        self._has_ended = False

    def peek(self) -> tuple[str, int] | None:
        """Name and size of the next entry; None at the end.

        Raises:
            RefusedError: Not such an entry, or the stream ends early.
        """
        if self._next is None and not self._has_ended:
            self._next = self._read_header()
        return self._next

    def content(self, most_bytes: int) -> bytes:
        """The content of the entry that `peek` gave.

        Raises:
            RefusedError: It is larger than `most_bytes`, or the stream ends early.
        """
        entry = self.peek()
        if entry is None:
            raise RefusedError("the bundle ends too early; copy it again")
        name, num_bytes = entry
        if num_bytes > most_bytes:
            raise RefusedError(f"{name}: has {num_bytes:,} bytes, {most_bytes:,} are allowed; the bundle is wrong")
        data = self._exactly(num_bytes)
        if any(self._exactly(-num_bytes % BLOCK_BYTES)):
            raise RefusedError(f"{name}: is followed by bytes that are no entry; copy the bundle again")
        self._next = None
        return data

    def expect(self, names: Sequence[str]) -> None:
        """Nothing: a stream has its own order."""

    def _read_header(self) -> tuple[str, int] | None:
        block = self._exactly(BLOCK_BYTES)
        if not any(block):
            if any(self._exactly(BLOCK_BYTES)) or self._stream.read(1):
                raise RefusedError("bytes follow the end of the bundle; copy it again")
            self._has_ended = True
            return None
        try:
            name, num_bytes = block[:100].rstrip(b"\0").decode("ascii"), int(block[124:135], 8)
            is_plain = header(name, num_bytes) == block
        except ValueError:
            is_plain = False
        if not is_plain:
            raise RefusedError("the bundle has an entry that is no plain file; copy it again, or it is no bundle")
        return name, num_bytes

    def _exactly(self, num_bytes: int) -> bytes:
        parts = []
        while num_bytes:
            part = self._stream.read(num_bytes)
            if not part:
                raise RefusedError("the bundle ends too early; copy it again")
            parts.append(part)
            num_bytes -= len(part)
        return b"".join(parts)
