"""Apple's Core Audio Format."""

from __future__ import annotations

import struct

from edgephi.audio.containers.parts import DamagedAudioError, Part, Walk
from edgephi.audio.containers.pcm import Samples, known_behind, measure
from edgephi.audio.containers.source import Source
from edgephi.audio.containers.tags import NEXT_FILE
from edgephi.audio.containers.view import View, span

_SAMPLES = (b"lpcm", b"ulaw", b"alaw")


def walk(source: Source, start: int) -> Walk:
    """The samples of a CAF file that begins there.

    Raises:
        DamagedAudioError: No samples or no format, or truncated.
    """
    at, description = start + 8, b""
    while True:
        head = source.read_at(at, 12)
        if len(head) < 12:
            raise DamagedAudioError("CAF without samples")
        size = int.from_bytes(head[4:], "big", signed=True)
        if head[:4] == b"data":
            break
        if head[:4] == b"desc":
            description = source.read_at(at + 12, min(max(size, 0), 64))
        at += 12 + max(size, 0)
    if len(description) < 32:
        raise DamagedAudioError("CAF without a format before its samples")
    return _walk_samples(source, start, at + 12, size, description)


def _walk_samples(source: Source, start: int, data_start: int, size: int, description: bytes) -> Walk:
    rate, codec, _, packet_bytes, packet_frames, _, _ = struct.unpack(">d4sIIIII", description[:32])
    is_plain = codec in _SAMPLES
    per_packet = rate / packet_frames if is_plain and packet_frames else 4000.0
    samples = Samples(
        start=data_start + 4,
        size=0 if size < 4 else size - 4,
        bytes_per_s=max(1, min(int(per_packet * max(1, packet_bytes)), 1 << 26)) if 0 < rate < 1e9 else 1,
        chain_end=_chain_end,
    )
    if not is_plain:
        return _walk_packets(source, start, samples, codec)
    found = measure(source, samples)
    length = found.length
    header = (
        b"caff\0\1\0\0desc" + struct.pack(">q", 32) + description[:32] + b"data" + struct.pack(">qI", length + 4, 0)
    )
    view = View([header, span(source, samples.start, samples.start + length)])
    return Walk(parts=(Part(view=view, what="CAF"),), end=found.end, notes=found.notes)


def _walk_packets(source: Source, start: int, samples: Samples, codec: bytes) -> Walk:
    """Compressed audio needs the table of its packets, which is written last; the file is taken as it is."""
    name = codec.decode("latin-1").strip()
    if not samples.size:
        raise DamagedAudioError(f"CAF of {name} whose header was never finished")
    end = measure(source, samples).end
    return Walk(parts=(Part(view=View([span(source, start, end)]), what=f"CAF of {name}"),), end=end)


def _chain_end(source: Source, at: int) -> int | None:
    """As in `Samples`; chunks are not padded."""
    while at < source.size:
        head = source.read_at(at, 12)
        size = int.from_bytes(head[4:], "big", signed=True)
        is_chunk = len(head) == 12 and head[:4].isascii() and 0 <= size <= source.size - at - 12
        if not is_chunk or NEXT_FILE.match(source.read_at(at, 64)):
            return known_behind(source, at)
        at += 12 + size
    return at
