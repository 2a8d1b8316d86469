"""Matroska and WebM: the packets of the first audio track, also of recordings that were never finished."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgephi.audio.containers.parts import DamagedAudioError, TruncatedAudioError
from edgephi.audio.containers.sizes import TOLERANCE_BYTES
from edgephi.audio.containers.source import Source, search

_HEADER, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_TRACKS, _ENTRY, _GROUP = 0x1654AE6B, 0xAE, 0xA0
_OPENED = frozenset({_SEGMENT, _CLUSTER, _TRACKS, _ENTRY, _GROUP})
_NUMBER, _TYPE, _CODEC, _PRIVATE = 0xD7, 0x83, 0x86, 0x63A2
_BLOCK, _SIMPLE_BLOCK = 0xA1, 0xA3
_AUDIO = 2
_LACED = 0x06
_CLUSTER_MARK = re.compile(rb"\x1f\x43\xb6\x75")
_WINDOW_BYTES = 1 << 20
_HEADER_BYTES = 12


@dataclass(slots=True)
class Track:
    """A audio track.

    Attributes:
        number: By which blocks name it.
        codec: Matroska's name of it, such as `A_OPUS`.
        private: The codec's own header.
        starts: Where its packets begin in the source.
        sizes: Bytes of each.
        is_whole: False where damage was skipped, or the last block was cut off.
    """

    number: int = 0
    kind: int = 0
    codec: str = ""
    private: bytes = b""
    starts: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("I"))
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class _Element:
    at: int
    kind: int
    start: int
    size: int | None  # None: unknown, as in live recordings


class _Elements:
    """Elements in order of their beginnings; those of `_OPENED` are followed by what they hold."""

    def __init__(self, source: Source, start: int) -> None:
        self._source, self._at = source, start
        self._window, self._window_start = b"", start
        self.is_whole = True
        self.end = source.size

    def __iter__(self) -> Iterator[_Element]:
        while self._at < self._source.size:
            element = self._read(self._at)
            if element is None or (element.size is None and element.kind not in _OPENED):
                self.is_whole = False
                found = search(self._source, _CLUSTER_MARK, self._at + 1, self._source.size)
                if found is None:
                    return
                self._at = found
                continue
            yield element
            self._at = element.start if element.kind in _OPENED else element.start + (element.size or 0)

    def _read(self, at: int) -> _Element | None:
        head = self.bytes_at(at, _HEADER_BYTES)
        if len(head) < 2 or head[0] < 0x10:
            return None
        id_bytes = 9 - head[0].bit_length()
        if len(head) <= id_bytes or head[id_bytes] == 0:
            return None
        size_bytes = 9 - head[id_bytes].bit_length()
        value = int.from_bytes(head[id_bytes : id_bytes + size_bytes], "big") & (1 << 7 * size_bytes) - 1
        is_unknown = value == (1 << 7 * size_bytes) - 1
        kind = int.from_bytes(head[:id_bytes], "big")
        return _Element(at, kind, at + id_bytes + size_bytes, None if is_unknown else value)

    def bytes_at(self, at: int, count: int) -> bytes:
        """Through a window, because elements are small and many."""
        offset = at - self._window_start
        if offset < 0 or offset + count > len(self._window):
            self._window_start, self._window, offset = at, self._source.read_at(at, max(count, _WINDOW_BYTES)), 0
        return self._window[offset : offset + count]


def read_track(source: Source, start: int) -> tuple[Track, int]:
    """The first audio track of a file that begins there, and where the file ends: where a joined one begins.

    Raises:
        DamagedAudioError: No audio track, or its packets are packed in a way that is not supported.
        TruncatedAudioError: The file is shorter than it says.
    """
    elements, track = _Elements(source, start), Track()
    wanted: Track | None = None
    for element in elements:
        if element.kind == _HEADER and element.at > start:
            return _checked(wanted, elements, track), element.at
        if element.kind == _SEGMENT:
            _check_segment(source, element)
        elif element.kind == _ENTRY:
            wanted, track = wanted or _if_audio(track), Track()
        elif element.kind in (_BLOCK, _SIMPLE_BLOCK):
            wanted = wanted or _if_audio(track)
            if wanted is not None:
                _add_block(elements, element, wanted, source.size)
        else:
            _fill(track, elements, element)
    return _checked(wanted, elements, track), source.size


def _if_audio(track: Track) -> Track | None:
    return track if track.kind == _AUDIO else None


def _checked(wanted: Track | None, elements: _Elements, track: Track) -> Track:
    wanted = wanted or _if_audio(track)
    if wanted is None:
        raise DamagedAudioError("Matroska (WebM) without an audio track")
    wanted.is_whole = wanted.is_whole and elements.is_whole
    return wanted


def _check_segment(source: Source, element: _Element) -> None:
    if element.size is not None and element.start + element.size > source.size + TOLERANCE_BYTES:
        raise TruncatedAudioError(
            f"the header promises {element.start + element.size:,} bytes, the file has {source.size:,}"
        )


def _fill(track: Track, elements: _Elements, element: _Element) -> None:
    if element.kind not in (_NUMBER, _TYPE, _CODEC, _PRIVATE):
        return
    content = elements.bytes_at(element.start, min(element.size or 0, 1 << 16))
    if element.kind == _NUMBER:
        track.number = int.from_bytes(content, "big")
    elif element.kind == _TYPE:
        track.kind = int.from_bytes(content, "big")
    elif element.kind == _CODEC:
        track.codec = content.rstrip(b"\0").decode("latin-1")
    else:
        track.private = content


def _add_block(elements: _Elements, element: _Element, track: Track, end: int) -> None:
    """The packet of a block of this track."""
    size = element.size or 0
    head = elements.bytes_at(element.start, 12)
    if len(head) < 4 or head[0] == 0:
        track.is_whole = False
        return
    number_bytes = 9 - head[0].bit_length()
    number = int.from_bytes(head[:number_bytes], "big") & (1 << 7 * number_bytes) - 1
    packet_start = element.start + number_bytes + 3
    if number != track.number:
        return
    if element.start + size > end:
        track.is_whole = False
        return
    if head[number_bytes + 2 : number_bytes + 3] != b"" and head[number_bytes + 2] & _LACED:
        raise DamagedAudioError("Matroska whose blocks hold several packets, which is not supported")
    track.starts.append(packet_start)
    track.sizes.append(max(0, size - number_bytes - 3))
