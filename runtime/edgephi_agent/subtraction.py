"""Chunks as differences: `new - old` byte by byte modulo 256, in xz.

Weights that were quantized anew differ little from those before, and their differences compress to a quarter where the
weights themselves hardly compress. Whole numbers of many bytes add all of them at once; numbers of a chunk's size would
take 30 MB of memory more.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator

from edgephi_agent.errors import RefusedError

_MOST_MEMORY_BYTES = 64 << 20
_PART_BYTES = 64 << 10
#: Differences have small values rather than patterns: of weights quantized anew this takes a fifth of preset 6's time,
#: and about as many bytes. The small dictionary spares the device's memory.
_FILTERS: list[dict[str, int]] = [
    {
        "id": lzma.FILTER_LZMA2,
        "dict_size": 16 << 10,
        "lc": 3,
        "lp": 0,
        "pb": 0,
        "mode": lzma.MODE_NORMAL,
        "mf": lzma.MF_HC3,
        "nice_len": 32,
        "depth": 1,
    }
]


def subtracted(new: bytes, old: bytes) -> bytes:
    """The difference of two chunks of one size, as bundles carry it."""
    difference = b"".join(_less(new[part], old[part]) for part in _parts(len(new)))
    return lzma.compress(difference, check=lzma.CHECK_NONE, filters=_FILTERS)


def added(old: bytes, carried: bytes) -> bytes:
    """The chunk of which `carried` is the difference from `old`.

    Raises:
        RefusedError: It is no such difference.
    """
    try:
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, _MOST_MEMORY_BYTES)
        difference = decompressor.decompress(carried, max_length=len(old) + 1)
    except lzma.LZMAError as error:
        raise RefusedError(f"a difference of chunks cannot be read ({error}); copy the bundle again") from None
    if len(difference) != len(old):
        raise RefusedError(f"a difference has {len(difference):,} bytes, its chunk {len(old):,}; the bundle is wrong")
    return b"".join(_sum(old[part], difference[part]) for part in _parts(len(old)))


def _parts(num_bytes: int) -> Iterator[slice]:
    yield from (slice(start, min(start + _PART_BYTES, num_bytes)) for start in range(0, num_bytes, _PART_BYTES))


def _less(new: bytes, old: bytes) -> bytes:
    low, high = _masks(len(new))
    a, b = int.from_bytes(new, "little"), int.from_bytes(old, "little")
    return (((a | high) - (b & low)) ^ ((a ^ ~b) & high)).to_bytes(len(new), "little")


def _sum(old: bytes, difference: bytes) -> bytes:
    low, high = _masks(len(old))
    a, b = int.from_bytes(old, "little"), int.from_bytes(difference, "little")
    return (((a & low) + (b & low)) ^ ((a ^ b) & high)).to_bytes(len(old), "little")


def _masks(num_bytes: int) -> tuple[int, int]:
    """The lower seven bits of every byte, and the highest."""
    return int.from_bytes(b"\x7f" * num_bytes, "little"), int.from_bytes(b"\x80" * num_bytes, "little")
