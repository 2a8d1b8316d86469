"""MP3: frame after frame, whatever stands between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgephi.audio.containers.mp3_frames import MARKS, Frame, header_frame, parse, stated_frames
from edgephi.audio.containers.parts import DamagedAudioError, Part, TruncatedAudioError, Walk
from edgephi.audio.containers.sizes import TOLERANCE_S
from edgephi.audio.containers.source import Source, search
from edgephi.audio.containers.tags import NEXT_FILE, find_next_file, skip_tags
from edgephi.audio.containers.view import View, span

_WINDOW_BYTES = 1 << 20
REACH_BYTES = 1 << 16  # damage may stand before the first frame
_SYNC = re.compile(rb"\xff[\xe0-\xff]")
_MARKS = (*MARKS, b"VBRI")
_LAYER_3 = 3
_TAG_BYTES = 64  # of a frame, within which a header frame shows itself


@dataclass(slots=True)
class _Stream:
    """Frames of one kind that follow each other."""

    kind: tuple[int, int, int, bool]
    first_head: bytes
    samples: int  # of a frame
    stated: int | None = None  # frames, by a header frame
    header: tuple[int, int] | None = None  # that frame, where the decoder knows it
    count: int = 0
    ranges: list[list[int]] = field(default_factory=list)

    def add(self, start: int, end: int) -> None:
        """A frame of audio."""
        self.count += 1
        if self.ranges and self.ranges[-1][1] == start:
            self.ranges[-1][1] = end
        else:
            self.ranges.append([start, end])


def first_frame(source: Source, start: int, end: int) -> int | None:
    """Where the first frame begins that another of its kind follows, or the end; None where none does."""
    while start < end:
        found = search(source, _SYNC, start, end, longest=1)
        if found is None:
            return None
        if begins(source, found):
            return found
        start = found + 1
    return None


def begins(source: Source, start: int) -> bool:
    """Whether a frame begins there that another of its kind follows, or the end."""
    frame = parse(source.read_at(start, 4))
    return frame is not None and _is_followed(source, start, frame)


def walk(source: Source, start: int) -> Walk:
    """The streams of MP3 frames from there on; a new header frame, rate or channel count begins a new one.

    Raises:
        DamagedAudioError: No whole frame.
        TruncatedAudioError: A header frame states more frames than follow.
    """
    streams: list[_Stream] = []
    walker = _Walker(source, start)
    for at, head, frame in walker:
        body = walker.body(at)
        stated = stated_frames(body, frame) if any(mark in body for mark in _MARKS) else None
        if not streams or stated is not None or streams[-1].kind != frame.stream:
            streams.append(_Stream(frame.stream, head, frame.samples, stated or None))
        if stated is None:
            streams[-1].add(at, at + frame.size)
        elif stated and body[frame.tag_start : frame.tag_start + 4] in MARKS:
            streams[-1].header = (at, at + frame.size)
    streams = [stream for stream in streams if stream.count or stream.stated]
    if not streams:
        raise DamagedAudioError("MP3 without a whole frame")
    parts, notes = [], walker.notes
    for stream in streams:
        notes += _check_count(stream)
        parts.append(_part(source, stream))
    if walker.is_cut and streams[-1].count != streams[-1].stated:
        notes.append("its last frame is incomplete, so it was read up to that")
    return Walk(parts=tuple(parts), end=walker.end, notes=tuple(dict.fromkeys(notes)))


class _Walker:
    """Frames with their places and headers, read through a window."""

    def __init__(self, source: Source, start: int) -> None:
        self._source, self._start = source, start
        self._window_start, self._window = start, b""
        self._known: dict[bytes, Frame | None] = {}
        self.end = start
        self.is_cut = False
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[tuple[int, bytes, Frame]]:
        at: int | None = self._start
        last: Frame | None = None
        known, size = self._known, self._source.size
        while at is not None:
            offset = at - self._window_start
            if offset + _TAG_BYTES > len(self._window):
                self._window_start, self._window, offset = at, self._source.read_at(at, _WINDOW_BYTES), 0
            head = self._window[offset : offset + 4]
            if head not in known:
                known[head] = parse(head)
            frame = known[head]
            is_sure = frame is not None and last is not None and frame.stream == last.stream
            if frame is None or not (is_sure or _is_followed(self._source, at, frame)):
                at = self._next(at)
            elif at + frame.size > size:
                self.is_cut, self.end = True, size
                return
            else:
                yield at, head, frame
                last = frame
                at += frame.size
                self.end = at

    def body(self, at: int) -> bytes:
        """The beginning of the frame that was given last."""
        offset = at - self._window_start
        return self._window[offset : offset + _TAG_BYTES]

    def _next(self, at: int) -> int | None:
        """Where frames go on behind tags, padding or damage; None where they do not."""
        behind = skip_tags(self._source, at)
        if behind >= self._source.size:
            self.end = behind
            return None
        if behind > at and begins(self._source, behind):
            return behind
        return self._search(behind if behind > at else at + 1)

    def _search(self, at: int) -> int | None:
        other = find_next_file(self._source, self.end, self._source.size)
        found = first_frame(self._source, at, self._source.size if other is None else other + 2)
        if found is not None and self.end > self._start:
            self.notes.append("bytes between its frames that are no audio were left out")
        return found


def _is_followed(source: Source, at: int, frame: Frame) -> bool:
    """Whether at a frame's end another of its kind begins, or the file or a tag ends it."""
    behind = at + frame.size
    if behind > source.size:
        return False
    behind = skip_tags(source, behind)
    if behind >= source.size or NEXT_FILE.match(source.read_at(behind, 64)):
        return True
    following = parse(source.read_at(behind, 4))
    return following is not None and following.stream == frame.stream


def _check_count(stream: _Stream) -> list[str]:
    """Hold the count of a header frame against the frames; remarks on it.

    Raises:
        TruncatedAudioError: It states more.
    """
    stated, rate = stream.stated or 0, stream.kind[2]
    missing = (stated - stream.count) * stream.samples
    if missing > TOLERANCE_S * rate:
        raise TruncatedAudioError(
            f"the header promises {stated * stream.samples:,} samples, the file has {stream.count * stream.samples:,}"
        )
    if missing > 0:
        return [f"its header promises {missing:,} samples more than the file holds"]
    return ["it holds more than its header states; all of it was read"] if stated and missing < 0 else []


def _part(source: Source, stream: _Stream) -> Part:
    """A file of this stream alone, whose header frame states the true count."""
    ranges: list[tuple[int, int]] = [(start, end) for start, end in stream.ranges]
    pieces: list[Source | bytes] = []
    if stream.header is None or stream.count != stream.stated:
        pieces = [header_frame(stream.first_head, stream.count)]
    elif ranges and stream.header[1] == ranges[0][0]:
        ranges[0] = (stream.header[0], ranges[0][1])
    else:
        ranges.insert(0, stream.header)
    view = View([*pieces, *(span(source, start, end) for start, end in ranges)])
    # In layers I and II the decoder does not look for a header frame; it estimates from that one, which is small.
    is_counted = stream.kind[1] == _LAYER_3
    return Part(view=view, what="MP3", least_samples=None if is_counted else stream.count * stream.samples)
