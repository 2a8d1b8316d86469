"""Native FLAC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from edgephi.audio.containers.parts import DamagedAudioError, Part, Walk
from edgephi.audio.containers.pcm import known_behind
from edgephi.audio.containers.source import Source
from edgephi.audio.containers.tags import find_next_file
from edgephi.audio.containers.view import View, span

_INFO_BYTES = 34
_TAIL_BYTES = 1 << 20  # more than any frame of a usual block size
_MAX_FRAME_BYTES = 1 << 17
_MAX_SAMPLES = (1 << 36) - 1
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
UNSTATED = "its header states no length, so it was read to its end"


def walk(source: Source, start: int) -> Walk:
    """The frames of a FLAC file that begins there.

    Raises:
        DamagedAudioError: Its header is incomplete.
    """
    info, frames_start = _read_blocks(source, start)
    joined = find_next_file(source, frames_start, source.size)
    end = source.size if joined is None else joined
    stated = int.from_bytes(info[13:18], "big") & _MAX_SAMPLES
    last = _last_frame(source, frames_start, end, info)
    found, block = last.samples_end, last.block
    if found > stated and not _is_whole(source.read_at(last.start, end - last.start)):
        found, end_of_view = found - block, last.start  # it was cut within that frame
    else:
        end = end_of_view = _behind_frame(source, last.start, end)
    total = max(stated, found)
    if total == 0:
        raise DamagedAudioError("FLAC without a whole frame")
    notes: tuple[str, ...] = ()
    if stated == 0:
        notes = (UNSTATED,)
    elif found > stated:
        notes = ("it holds more than its header states; all of it was read",)
    part = Part(
        view=View([_header(info, total), span(source, frames_start, end_of_view)]),
        what="FLAC",
        least_samples=total,
    )
    return Walk(parts=(part,), end=end, notes=notes)


def _read_blocks(source: Source, start: int) -> tuple[bytes, int]:
    """The stream's description, and where its frames begin."""
    at, info, is_last = start + 4, b"", False
    while not is_last:
        head = source.read_at(at, 4)
        if len(head) < 4:
            raise DamagedAudioError("FLAC without a whole header")
        is_last, kind, size = bool(head[0] & 0x80), head[0] & 0x7F, int.from_bytes(head[1:], "big")
        if kind == 0:
            info = source.read_at(at + 4, size)
        at += 4 + size
    if len(info) != _INFO_BYTES:
        raise DamagedAudioError("FLAC without a description of its stream")
    return info, at


def _header(info: bytes, total: int) -> bytes:
    """A new header with the number of samples, and without tags, images and seek points."""
    low = int.from_bytes(info[13:18], "big") & ~_MAX_SAMPLES | min(total, _MAX_SAMPLES)
    return b"fLaC\x80\0\0\x22" + info[:13] + low.to_bytes(5, "big") + info[18:]


@dataclass(frozen=True, slots=True)
class _Frame:
    """The last frame: where it begins, samples up to its end, and in it."""

    start: int
    samples_end: int
    block: int


def _last_frame(source: Source, start: int, end: int, info: bytes) -> _Frame:
    """The last frame that begins between two places; one without samples if none does."""
    reach = max(start, end - _TAIL_BYTES)
    window = source.read_at(reach, end - reach)
    first = source.read_at(start, 4)
    for found in reversed(list(_SYNC.finditer(window))):
        at = found.start()
        if window[at + 1 : at + 2] == first[1:2] and (position := _position(window[at : at + 16], info, first)):
            return _Frame(reach + at, *position)
    return _Frame(end, 0, 0)


def _behind_frame(source: Source, start: int, end: int) -> int:
    """Where the last frame ends, if something known follows it; otherwise the end that is given."""
    if known_behind(source, end) is not None and _is_whole(source.read_at(start, end - start)):
        return end
    crc, table = 0, _table(0x18005, 16)
    for at, byte in enumerate(source.read_at(start, min(end - start, _MAX_FRAME_BYTES)), start + 1):
        crc = table[crc >> 8 ^ byte] ^ crc << 8 & 0xFFFF
        if crc == 0 and at > start + 8 and known_behind(source, at) is not None:
            return at
    return end


def _is_whole(frame: bytes) -> bool:
    """Whether a frame's checksum is right, with or without a tag of ID3v1 behind it."""
    ends = [len(frame)] + ([len(frame) - 128] if frame[-128:-125] == b"TAG" else [])
    return any(_crc16(frame[:end]) == 0 for end in ends)


def _position(head: bytes, info: bytes, first: bytes) -> tuple[int, int] | None:
    """Of a frame's header: samples up to the frame's end, and in it. None where it is no header."""
    if len(head) < 7 or len(first) < 4 or head[2] & 15 != first[2] & 15 or head[3] & 0x0F != first[3] & 0x0F:
        return None
    number, at = _coded_number(head)
    code, rate_code = head[2] >> 4, head[2] & 15
    at_size, at_crc = at, at + {6: 1, 7: 2}.get(code, 0) + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if number is None or code == 0 or at_crc >= len(head) or _crc8(head[:at_crc]) != head[at_crc]:
        return None
    if code in (6, 7):
        block = int.from_bytes(head[at_size : at_size + code - 5], "big") + 1
    else:
        block = 192 if code == 1 else 576 << code - 2 if code <= 5 else 256 << code - 8
    is_by_sample = head[1] & 1
    return (number if is_by_sample else number * int.from_bytes(info[:2], "big")) + block, block


def _coded_number(head: bytes) -> tuple[int | None, int]:
    """A number of up to 36 bits as UTF-8 would write it, and where it ends."""
    lead, more = head[4], 0
    while more < 8 and lead & 0x80 >> more:
        more += 1
    if more in (1, 8) or len(head) < 4 + max(more, 1):
        return None, 0
    value = lead & (0x7F >> more)
    for byte in head[5 : 4 + more]:
        if byte & 0xC0 != 0x80:
            return None, 0
        value = value << 6 | byte & 0x3F
    return value, 4 + max(more, 1)


@cache
def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    table = []
    for value in range(256):
        crc = value << bits - 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> bits - 1 else 0)
        table.append(crc & (1 << bits) - 1)
    return tuple(table)


def _crc8(data: bytes) -> int:
    crc, table = 0, _table(0x107, 8)
    for byte in data:
        crc = table[crc ^ byte]
    return crc


def _crc16(data: bytes) -> int:
    crc, table = 0, _table(0x18005, 16)
    for byte in data:
        crc = table[crc >> 8 ^ byte] ^ crc << 8 & 0xFFFF
    return crc
