"""Opus packets as an Ogg file, whose pages are made as they are read."""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Sequence

from edgephi.audio.containers.source import Source

_SERIAL = 1
_PAGE_PACKETS = 50  # a second, usually
_MAX_LACING = 255
_FIRST, _LAST = 2, 4
_TAGS = b"OpusTags" + struct.pack("<I", 7) + b"edgephi" + struct.pack("<I", 0)
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_SILK_SAMPLES = (480, 960, 1920, 2880)
_CELT_SAMPLES = (120, 240, 480, 960)


def packet_samples(head: bytes) -> int:
    """Samples at 48 kHz of the packet that begins with these two bytes; 0 where it is none."""
    if not head:
        return 0
    config, code = head[0] >> 3, head[0] & 3
    if config < 12:
        samples = _SILK_SAMPLES[config & 3]
    else:
        samples = _SILK_SAMPLES[config & 1] if config < 16 else _CELT_SAMPLES[config & 3]
    if code < 3:
        return samples * (1, 2, 2)[code]
    return samples * (head[1] & 0x3F) if len(head) > 1 else 0


class OpusPages:
    """An Ogg file of packets that lie somewhere in a source. Memory: 16 bytes a packet.

    Args:
        source: Where the packets are.
        head: `OpusHead`.
        starts: Of the packets.
        sizes: Of the packets, in bytes.
    """

    def __init__(self, source: Source, head: bytes, starts: Sequence[int], sizes: Sequence[int]) -> None:
        self._source, self._starts, self._sizes = source, starts, sizes
        self._front = _page(_FIRST, 0, 0, [head]) + _page(0, 0, 1, [_TAGS])
        self._firsts, self._offsets, self._granules = [0], [len(self._front)], [0]
        self._cut_into_pages()
        self.size = self._offsets[-1]
        self._made: tuple[int, bytes] = (-1, b"")

    @property
    def error(self) -> OSError | None:
        """See Source."""
        return self._source.error

    @property
    def num_samples(self) -> int:
        """At 48 kHz, those to be skipped at the beginning included."""
        return self._granules[-1]

    def read_at(self, offset: int, count: int) -> bytes:
        """See Source."""
        parts, end = [self._front[offset : offset + count]], min(offset + count, self.size)
        offset = max(offset, len(self._front))
        while offset < end:
            number = bisect_right(self._offsets, offset) - 1
            at = offset - self._offsets[number]
            parts.append(self._page_bytes(number)[at : at + end - offset])
            if not parts[-1]:
                break
            offset += len(parts[-1])
        return b"".join(parts)

    def _cut_into_pages(self) -> None:
        """Where each page begins, by packet, byte and sample."""
        lacing = size = packets = granule = 0
        for index, packet_bytes in enumerate(self._sizes):
            needed = packet_bytes // 255 + 1
            if packets == _PAGE_PACKETS or lacing + needed > _MAX_LACING:
                self._close_page(index, 27 + lacing + size, granule)
                lacing = size = packets = 0
            lacing, size, packets = lacing + needed, size + packet_bytes, packets + 1
            granule += packet_samples(self._source.read_at(self._starts[index], 2))
        if packets:
            self._close_page(len(self._sizes), 27 + lacing + size, granule)

    def _close_page(self, next_packet: int, page_bytes: int, granule: int) -> None:
        self._firsts.append(next_packet)
        self._offsets.append(self._offsets[-1] + page_bytes)
        self._granules.append(granule)

    def _page_bytes(self, number: int) -> bytes:
        if self._made[0] != number:
            indices = range(self._firsts[number], self._firsts[number + 1])
            packets = [self._source.read_at(self._starts[index], self._sizes[index]) for index in indices]
            is_last = number + 2 == len(self._offsets)
            page = _page(_LAST if is_last else 0, self._granules[number + 1], number + 2, packets)
            self._made = (number, page)
        return self._made[1]


def _page(flags: int, granule: int, number: int, packets: Sequence[bytes]) -> bytes:
    """A page of whole packets."""
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = struct.pack("<4sBBqII", b"OggS", 0, flags, granule, _SERIAL, number)
    tail = bytes([len(lacing)]) + lacing + b"".join(packets)
    return head + _checksum(head + bytes(4) + tail) + tail


def _checksum(page: bytes) -> bytes:
    """Ogg's checksum: that of zlib without its inversions, with all bits in the other order."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(_REVERSED)
