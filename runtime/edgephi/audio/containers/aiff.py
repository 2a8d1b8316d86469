"""AIFF and AIFF-C."""

from __future__ import annotations

import struct
from functools import partial

from edgephi.audio.containers.chunks import Chunk, chain_end, chunk_at, samples_end
from edgephi.audio.containers.parts import DamagedAudioError, Part, Walk
from edgephi.audio.containers.pcm import Samples, measure
from edgephi.audio.containers.source import Source
from edgephi.audio.containers.view import View, span

#: Bytes of a value by AIFF-C's codec, where a frame is as many values as there are channels.
_VALUE_BYTES = {b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1, b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8}
_VALUE_BYTES |= {b"in24": 3, b"42ni": 3, b"in32": 4, b"23ni": 4}
_PCM = (b"NONE", b"twos", b"sowt", b"raw ")


def walk(source: Source, start: int) -> Walk:
    """The samples of an AIFF file that begins there.

    Raises:
        DamagedAudioError: No samples or no format; truncated.
    """
    head = source.read_at(start, 12)
    if head[8:] not in (b"AIFF", b"AIFC"):
        raise DamagedAudioError(f"IFF of type {head[8:].decode('latin-1')!r}, not AIFF")
    outer_end = start + 8 + int.from_bytes(head[4:8], "big")
    kept, chunk = _read_chunks(source, start + 12)
    offset = int.from_bytes(source.read_at(chunk.start, 4), "big")
    if chunk.start + 8 + offset > source.size:
        raise DamagedAudioError("AIFF without samples")
    common = kept.get(b"COMM") or _common_behind(source, chunk)
    frame_bytes = _frame_bytes(common)
    rate = _extended(common[8:18])
    samples = Samples(
        start=chunk.start + 8 + offset,
        size=max(0, chunk.size - 8 - offset),
        outer_end=outer_end,
        bytes_per_s=max(1, min(round(rate * (frame_bytes or 1)), 1 << 26)),
        chain_end=partial(chain_end, order="big"),
        samples_end=partial(samples_end, order="big"),
    )
    found = measure(source, samples)
    end = samples.start + found.length
    if frame_bytes:
        common = common[:2] + struct.pack(">I", found.length // frame_bytes) + common[6:]
    header = _header(head[8:], kept | {b"COMM": common}, found.length)
    view = View([header, span(source, samples.start, end), bytes(found.length % 2)])
    return Walk(parts=(Part(view=view, what="AIFF"),), end=found.end, notes=found.notes)


def _read_chunks(source: Source, at: int) -> tuple[dict[bytes, bytes], Chunk]:
    """The chunks needed to decode, and the chunk of the samples."""
    kept: dict[bytes, bytes] = {}
    while chunk := chunk_at(source, at, "big"):
        if chunk.kind == b"SSND":
            return kept, chunk
        if chunk.kind in (b"COMM", b"FVER"):
            kept[chunk.kind] = source.read_at(chunk.start, min(chunk.size, 4096))
        at = chunk.next_start
    raise DamagedAudioError("AIFF without samples")


def _common_behind(source: Source, samples: Chunk) -> bytes:
    """The format may stand behind the samples, where the size of those is right."""
    at = samples.next_start
    while chunk := chunk_at(source, at, "big"):
        if chunk.kind == b"COMM":
            return source.read_at(chunk.start, min(chunk.size, 4096))
        at = chunk.next_start
    raise DamagedAudioError("AIFF without a format")


def _frame_bytes(common: bytes) -> int:
    """Bytes of one sample of all channels; 0 where that is no whole number."""
    if len(common) < 18:
        raise DamagedAudioError("AIFF without a format")
    channels, bits = int.from_bytes(common[:2], "big"), int.from_bytes(common[6:8], "big")
    codec = common[18:22] or b"NONE"
    value = (bits + 7) // 8 if codec in _PCM else _VALUE_BYTES.get(codec, 0)
    return channels * value


def _extended(number: bytes) -> float:
    """An 80-bit floating point number, as far as it can be a sampling rate."""
    exponent, mantissa = struct.unpack(">HQ", number)
    power = exponent - 16383 - 63
    return mantissa * 2.0**power if -100 < power < 100 else 0.0


def _header(kind: bytes, kept: dict[bytes, bytes], length: int) -> bytes:
    """A new header with the true length."""
    body = b"".join(
        name + len(content).to_bytes(4, "big") + content + bytes(len(content) % 2) for name, content in kept.items()
    )
    total = 4 + len(body) + 16 + length + length % 2
    if total > 0xFFFFFFFF:
        raise DamagedAudioError("AIFF of more than 4 GB")
    return b"FORM" + struct.pack(">I", total) + kind + body + b"SSND" + struct.pack(">III", length + 8, 0, 0)
