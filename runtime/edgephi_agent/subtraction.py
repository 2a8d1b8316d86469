"""Chunks as differences: `new - old` byte by byte modulo 256, in xz.

Weights that were quantized anew differ little from those before, and their differences compress to a quarter where the
weights themselves hardly compress. Whole numbers of as many bytes as a chunk add all bytes at once.
"""

from __future__ import annotations

import lzma

from edgephi_agent.errors import RefusedError

_MOST_MEMORY_BYTES = 64 << 20


def subtracted(new: bytes, old: bytes) -> bytes:
    """The difference of two chunks of one size, as bundles carry it."""
    low, high = _masks(len(new))
    a, b = int.from_bytes(new, "little"), int.from_bytes(old, "little")
    difference = ((a | high) - (b & low)) ^ ((a ^ ~b) & high)
    return lzma.compress(difference.to_bytes(len(new), "little"), check=lzma.CHECK_NONE, preset=6)


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
    low, high = _masks(len(old))
    a, b = int.from_bytes(old, "little"), int.from_bytes(difference, "little")
    return (((a & low) + (b & low)) ^ ((a ^ b) & high)).to_bytes(len(old), "little")


def _masks(num_bytes: int) -> tuple[int, int]:
    """The lower seven bits of every byte, and the highest."""
    return int.from_bytes(b"\x7f" * num_bytes, "little"), int.from_bytes(b"\x80" * num_bytes, "little")
