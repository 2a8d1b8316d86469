"""Ogg: chained streams, several at once, and FLAC inside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgephi.audio.containers import mp3
from edgephi.audio.containers.flac import UNSTATED
from edgephi.audio.containers.flac import walk as walk_flac
from edgephi.audio.containers.parts import DamagedAudioError, Part, UnsupportedAudioError, Walk
from edgephi.audio.containers.source import Source, is_zero, search
from edgephi.audio.containers.tags import find_next_file, skip_tags
from edgephi.audio.containers.view import View, span

_PAGE = re.compile(rb"OggS\0")
_FIRST, _LAST = 2, 4
#: How the first packet of a stream begins, by codec.
_CODECS = {b"\x01vorbis": "Vorbis", b"OpusHead": "Opus", b"\x7fFLAC": "FLAC", b"Speex   ": "Speex"}
_FLAC_PREFIX_BYTES = 9
DAMAGED = "bytes between its pages that are no audio were left out"
UNENDED = "its last page is missing, so it was read to the end of the file"


@dataclass(frozen=True, slots=True)
class _Page:
    start: int
    body_start: int
    end: int
    flags: int
    serial: int


@dataclass(slots=True)
class _Stream:
    """One logical stream's pages, as ranges of the source."""

    codec: str | None
    ranges: list[tuple[int, int]] = field(default_factory=list)
    is_ended: bool = False

    def add(self, start: int, end: int) -> None:
        """A page or a body; neighbours become one range."""
        if self.ranges and self.ranges[-1][1] == start:
            self.ranges[-1] = (self.ranges[-1][0], end)
        else:
            self.ranges.append((start, end))


def walk(source: Source, start: int) -> Walk:
    """All links of an Ogg chain that begins there, a part each.

    Raises:
        DamagedAudioError: A link without a stream of audio.
    """
    links: list[dict[int, _Stream]] = []
    end, is_opening, is_damaged = start, False, False
    for page in _pages(source, start):
        if page.flags & _FIRST:
            if not is_opening:
                links.append({})
            links[-1][page.serial] = _Stream(_codec(source.read_at(page.body_start, 8)))
        is_damaged = is_damaged or not is_zero(source, end, page.start)
        is_opening = bool(page.flags & _FIRST)
        if not links:
            raise DamagedAudioError("Ogg whose beginning is missing")
        if stream := links[-1].get(page.serial):
            stream.add(page.body_start if stream.codec == "FLAC" else page.start, page.end)
            stream.is_ended = bool(page.flags & _LAST)
        end = page.end
    if not links:
        raise DamagedAudioError("Ogg without a whole page")
    walks = [_link(source, link) for link in links]
    notes = [note for walked in walks for note in walked.notes] + ([DAMAGED] if is_damaged else [])
    return Walk(
        parts=tuple(part for walked in walks for part in walked.parts),
        end=_behind_half_page(source, end),
        notes=tuple(dict.fromkeys(notes)),
    )


def _pages(source: Source, at: int) -> Iterator[_Page]:
    """Whole pages in order; what stands between them is skipped, up to where a file of another kind begins."""
    while True:
        head = source.read_at(at, 27 + 255)
        if len(head) < 27:
            return
        if head[:5] != b"OggS\0":
            if mp3.begins(source, skip_tags(source, at)):
                return
            found = search(source, _PAGE, at, source.size)
            other = find_next_file(source, at, source.size if found is None else found)
            if found is None or (other is not None and other < found):
                return
            at = found
            continue
        body_start = at + 27 + head[26]
        end = body_start + sum(head[27 : 27 + head[26]])
        if end > source.size:
            if search(source, _PAGE, at + 4, source.size) is None:
                return
            at += 4
            continue
        yield _Page(at, body_start, end, head[5], int.from_bytes(head[14:18], "little"))
        at = end


def _codec(packet: bytes) -> str | None:
    return next((name for mark, name in _CODECS.items() if packet.startswith(mark)), None)


def _link(source: Source, link: dict[int, _Stream]) -> Walk:
    stream = next((stream for stream in link.values() if stream.codec is not None), None)
    if stream is None:
        raise DamagedAudioError("Ogg without an audio stream")
    if stream.codec == "Speex":
        raise UnsupportedAudioError("Ogg with Speex audio")
    notes = () if stream.is_ended else (UNENDED,)
    view = View(span(source, start, end) for start, end in stream.ranges)
    if stream.codec == "FLAC":
        walked = walk_flac(_ViewSource(view), _FLAC_PREFIX_BYTES)
        known = tuple(note for note in walked.notes if note != UNSTATED)  # in Ogg, the last page states it
        return Walk(parts=walked.parts, end=0, notes=(*notes, *known))
    return Walk(parts=(Part(view=view, what=f"Ogg of {stream.codec}"),), end=0, notes=notes)


class _ViewSource:
    """A view as a source."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.size = view.size
        self.error: OSError | None = None

    def read_at(self, offset: int, count: int) -> bytes:
        """See Source."""
        self._view.seek(offset)
        data = self._view.read(max(0, count))
        self.error = self._view.error
        return data


def _behind_half_page(source: Source, end: int) -> int:
    """The file's end, where nothing but a page that was cut off follows."""
    return source.size if source.read_at(skip_tags(source, end), 4) == b"OggS" else end
