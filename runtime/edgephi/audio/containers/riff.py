"""WAV and its relatives: RIFF, RIFX, RF64, BW64 and Sony's Wave64."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from functools import partial

from edgephi.audio.containers.chunks import TAIL_BYTES, Chunk, Order, chain_end, chunk_at, samples_end
from edgephi.audio.containers.parts import DamagedAudioError, Part, UnsupportedAudioError, Walk
from edgephi.audio.containers.pcm import Samples, known_behind, measure
from edgephi.audio.containers.source import SliceSource, Source
from edgephi.audio.containers.tags import NEXT_FILE
from edgephi.audio.containers.view import View, span

_W64_TAIL = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"  # of `wave`, `fmt ` and `data`
_W64_CHUNK = re.compile(rb"[ -~]{4}" + re.escape(_W64_TAIL))
_ALL_ONES = 0xFFFFFFFF
_MPEG_TAGS = (0x50, 0x55)
#: Codecs that libsndfile cannot decode, by their registered tag.
_FOREIGN = {0x160: "WMA", 0x161: "WMA", 0x162: "WMA", 0xFF: "AAC", 0x1610: "AAC", 0x2000: "AC-3", 0x2001: "DTS"}
_FOREIGN |= {0x22: "TrueSpeech", 0x45: "G.726", 0x83: "G.729", 0x130: "ACELP", 0x674F: "Vorbis", 0xF1AC: "FLAC"}


@dataclass(slots=True)
class _Form:
    """The content of the chunks before the samples."""

    order: Order
    outer_end: int | None
    format: bytes = b""
    fact: bytes = b""
    size_64: int | None = None  # of the samples, from `ds64`


def walk(source: Source, start: int) -> Walk:
    """The samples of a WAV file that begins there.

    Raises:
        DamagedAudioError: No samples or no format; truncated.
    """
    head = source.read_at(start, 12)
    if head[8:] != b"WAVE":
        raise DamagedAudioError(f"RIFF of type {head[8:].decode('latin-1')!r}, not WAVE")
    order: Order = "big" if head[:4] == b"RIFX" else "little"
    form = _Form(order, start + 8 + int.from_bytes(head[4:8], order))
    data = _read_chunks(source, start + 12, form)
    size = data.size
    if form.size_64 is not None and data.size in (_ALL_ONES, 0):
        size, form.outer_end = form.size_64, None
    return _walk_samples(source, replace(data, size=size), form)


def walk_w64(source: Source, start: int) -> Walk:
    """The samples of a Wave64 file that begins there; its sizes have 64 bits and count their own 24 bytes.

    Raises:
        DamagedAudioError: No samples or no format; truncated.
    """
    form, at = _Form("little", start + int.from_bytes(source.read_at(start + 16, 8), "little")), start + 40
    while True:
        head = source.read_at(at, 24)
        if len(head) < 24:
            raise DamagedAudioError("Wave64 without samples")
        size = int.from_bytes(head[16:], "little")
        if head[:16] == b"data" + _W64_TAIL:
            return _walk_samples(source, Chunk(b"data", at + 24, max(0, size - 24)), form, w64_start=start)
        if head[:16] == b"fmt " + _W64_TAIL:
            form.format = source.read_at(at + 24, min(size - 24, 4096))
        at += max(24, size + 7 & ~7)


def _read_chunks(source: Source, at: int, form: _Form) -> Chunk:
    """Fill the form; the chunk of the samples."""
    while chunk := chunk_at(source, at, form.order):
        if chunk.kind == b"data":
            return chunk
        content = source.read_at(chunk.start, min(chunk.size, 4096))
        if chunk.kind == b"fmt ":
            form.format = content
        elif chunk.kind == b"fact":
            form.fact = content
        elif chunk.kind == b"ds64" and len(content) >= 16:
            form.size_64 = int.from_bytes(content[8:16], "little")
        at = chunk.next_start
    raise DamagedAudioError("WAV without samples")


def _walk_samples(source: Source, data: Chunk, form: _Form, *, w64_start: int | None = None) -> Walk:
    if len(form.format) < 16:
        raise DamagedAudioError("WAV without a format before its samples")
    mark = "<" if form.order == "little" else ">"
    tag, channels, rate, bytes_per_s, align, _ = struct.unpack(f"{mark}HHIIHH", form.format[:16])
    samples = Samples(
        start=data.start,
        size=data.size,
        outer_end=form.outer_end,
        chain_end=partial(chain_end, order=form.order),
        samples_end=partial(samples_end, order=form.order),
        bytes_per_s=max(1, min(bytes_per_s or rate * align, rate * max(1, channels) * 8)),
    )
    if w64_start is not None:
        samples = replace(
            samples,
            chain_end=partial(_w64_chain_end, base=w64_start),
            samples_end=partial(_w64_samples_end, base=w64_start),
        )
    found = measure(source, samples)
    if tag in _MPEG_TAGS:
        return _mpeg(SliceSource(source, data.start, found.length), found.end, found.notes)
    if tag in _FOREIGN:
        raise UnsupportedAudioError(f"WAV with {_FOREIGN[tag]} audio")
    fact = form.fact if found.length == data.size else b""
    view = View([_header(form, fact, found.length), span(source, data.start, data.start + found.length)])
    return Walk(parts=(Part(view=view, what="WAV"),), end=found.end, notes=found.notes)


def _w64_chain_end(source: Source, at: int, base: int) -> int | None:
    """As `chain_end`; chunks begin at multiples of 8 from the beginning."""
    while at < source.size:
        padding = (base - at) % 8
        head = source.read_at(at + padding, 24)
        size = int.from_bytes(head[16:], "little")
        if NEXT_FILE.match(source.read_at(at + padding, 64)):
            return at + padding
        if len(head) < 24 or not head[:4].isascii() or size < 24 or at + padding + size > source.size:
            return known_behind(source, at)
        at += padding + size
    return min(at, source.size)


def _w64_samples_end(source: Source, start: int, end: int, base: int) -> int:
    """As `samples_end`."""
    reach = max(start, end - TAIL_BYTES)
    for found in _W64_CHUNK.finditer(source.read_at(reach, end - reach)):
        at = reach + found.start()
        if _w64_chain_end(source, at, base) is not None:
            return at
    return end


def _mpeg(stream: Source, end: int, notes: tuple[str, ...]) -> Walk:
    from edgephi.audio.containers.mp3 import walk as walk_mp3  # noqa: PLC0415 - mp3.py may meet a WAV in its turn

    walked = walk_mp3(stream, 0)
    return Walk(parts=walked.parts, end=end, notes=(*notes, *walked.notes))


def _header(form: _Form, fact: bytes, length: int) -> bytes:
    """A new header that holds what is needed to decode, and the true length."""
    fields = [(b"fmt ", form.format)] + ([(b"fact", fact)] if fact else [])
    body = b"".join(
        kind + len(content).to_bytes(4, form.order) + content + bytes(len(content) % 2) for kind, content in fields
    )
    total = 4 + len(body) + 8 + length
    if total < _ALL_ONES - 1:
        kind = b"RIFX" if form.order == "big" else b"RIFF"
        return kind + total.to_bytes(4, form.order) + b"WAVE" + body + b"data" + length.to_bytes(4, form.order)
    sizes = struct.pack("<QQQI", total + 36, length, 0, 0)
    ones = b"\xff" * 4
    return b"RF64" + ones + b"WAVEds64" + struct.pack("<I", len(sizes)) + sizes + body + b"data" + ones
