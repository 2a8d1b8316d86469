"""The one rule by which a stated size is believed, taken for a placeholder, or held against the file.

A recorder that was cut off, or wrote into a pipe, could not go back to its header. What then stands there is a
placeholder: nothing was promised, so the file is read to its end. A size that is no placeholder is a promise: a file
that ends before it was truncated.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgephi.audio.containers.parts import TruncatedAudioError

#: A promise may exceed the file by so much: some writers count their header, or pad.
TOLERANCE_S = 0.1
TOLERANCE_BYTES = 128

UNFINISHED = "its header was never finished, so it was read to the end of the file"


@dataclass(frozen=True, slots=True)
class Extent:
    """How many bytes of samples there are, and what to say of it."""

    length: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedSize:
    """The size of the samples by the header, and by the file: something else.

    Attributes:
        size: Bytes of samples, by the header.
        available: Bytes from the samples' start to the file's end.
        sample_bytes_end: Bytes of those that are samples where the size is not believed: without trailing chunks.
        bytes_per_s: Of audio.
        is_contradicted: Whether the outer size says that the file ends before these samples do, and not later than it
            really ends.
    """

    size: int
    available: int
    sample_bytes_end: int
    bytes_per_s: int
    is_contradicted: bool = False


def is_placeholder(size: int) -> bool:
    """Whether no recorder can have meant this number of bytes.

    Zero; a number that begins where a 32-bit or 64-bit field, signed or not, ends (0x7F000000 to 0x8000FFFF,
    0xFF000000 to 0xFFFFFFFF, and 2**56 or more); a power of two from 2**28 on; a multiple of 100,000,000.
    """
    if size <= 0 or 0x7F000000 <= size <= 0x8000FFFF or 0xFF000000 <= size <= 0xFFFFFFFF or size >= 1 << 56:
        return True
    return size % 100_000_000 == 0 or (size >= 1 << 28 and size & (size - 1) == 0)


def extent(stated: StatedSize) -> Extent:
    """How much of the file is samples.

    Raises:
        TruncatedAudioError: The header promises clearly more than the file holds.
    """
    excess = stated.size - stated.available
    if excess <= 0 or is_placeholder(stated.size) or stated.is_contradicted:
        return Extent(stated.sample_bytes_end, (UNFINISHED,))
    if excess <= max(TOLERANCE_BYTES, TOLERANCE_S * stated.bytes_per_s):
        return Extent(stated.available, (f"its header promises {excess:,} bytes more than the file holds",))
    raise TruncatedAudioError(
        f"the header promises {stated.size:,} bytes of samples, the file has {stated.available:,}"
    )
